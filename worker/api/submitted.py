"""The answers about submissions: what a provider was asked to make, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from worker.api.schemas import Answer, NextCursor, PageQuery, Tracker
from worker.model import SubmissionState


class SubmissionsQuery(PageQuery):
    """Which submissions to list."""

    state: SubmissionState | None = Field(None, description="Those in this state.")
    account: str | None = Field(None, description="Those of this account.")


class Refusal(Answer):
    """What a provider answered that made nothing."""

    status: int = Field(description="Its HTTP status.")
    body: Any = Field(description="What it said, JSON or text, up to 16 KiB; null if nothing.")


class Submission(Answer):
    """A generation that a provider was asked to make, and what came of it."""

    id: str
    account: str
    provider: str
    state: SubmissionState = Field(
        description="`unknown`: nobody can say whether it was made; `detail` says what to do."
    )
    begun_at: datetime
    ended_at: datetime | None
    searches: int = Field(description="How often the provider's list was searched for it.")
    detail: str | None = Field(description="Why it is not created, or not known to be.")
    refusal: Refusal | None
    generation_id: str | None
    tracker: Tracker | None = Field(description="What it became; null in lists.")


class SubmissionPage(Answer):
    """Part of the list of submissions, newest first."""

    items: list[Submission]
    next_cursor: NextCursor
