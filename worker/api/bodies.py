"""The bodies of webhooks as types: what a receiver gets."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from worker.api.schemas import Answer
from worker.model import EndpointEvent, EventType, JsonObject, Reason, State


class EventData(Answer):
    """The generation that the event is about."""

    account: str
    provider: str
    generation_id: str
    state: State
    reason: Reason | None
    provider_state: str | None
    assets: dict[str, str]
    assets_expire_at: datetime | None
    failure_reason: str | None
    failure_code: str | None
    retryable: bool | None
    metadata: JsonObject = Field(description="What was handed over when tracking began.")
    tracked_at: datetime
    seen_at: datetime | None
    finished_at: datetime | None
    polls: int
    generation: JsonObject | None = Field(description="The provider's object, verbatim.")


class Event(Answer):
    """The body of a webhook about a generation."""

    type: EventType
    timestamp: datetime = Field(description="When it happened.")
    data: EventData


class NoticeData(Answer):
    """The endpoint that the event is about."""

    endpoint: str
    url: str
    reason: str | None = Field(description="Why it was switched off.")


class Notice(Answer):
    """The body of a webhook about an endpoint."""

    type: EndpointEvent
    timestamp: datetime = Field(description="When it happened.")
    data: NoticeData
