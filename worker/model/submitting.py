"""Words of submitting: what comes of a create call, and the submission that it was made for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self, TypeAlias

from worker.model.common import JsonObject
from worker.model.tracking import Terms


class SubmissionState(StrEnum):
    """A submission's state; all but `PENDING` are final, though an `UNKNOWN` one may turn out."""

    PENDING = "pending"
    CREATED = "created"
    REFUSED = "refused"
    UNKNOWN = "unknown"


# --- what came of a create call -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Created:
    """The provider has made the generation, and this is its ID."""

    generation_id: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider has made nothing, and says why; `body` is what it said, JSON or text, bounded.

    `status` is its HTTP status, `retry_after_s` how long it asks to stay away, if it does.
    """

    status: int
    detail: str
    body: Any = None
    retry_after_s: float | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request has not left this machine: nothing was made."""

    detail: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The request was sent, and nobody knows what came of it."""

    detail: str


Creation: TypeAlias = Created | Declined | NotSent | InDoubt


# --- submissions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A generation that somebody asked us to have made and to track, on record before the call.

    `request` is what was sent to the provider, without a callback of ours; it is kept until the
    outcome is known, if it is what tells its row of a list from others. `token` is the digest of
    the token in that callback, None if there is none. `begun_at` is when it was put on record; the
    call was made then or up to a minute later. `marks` tells its fields from another request's, if
    it has an idempotency key. `looks` counts how often the provider's list was
    searched for it. `detail` says why the outcome is in doubt, `refusal` what the provider said.
    """

    id: str
    account: str
    provider: str
    state: SubmissionState
    terms: Terms
    begun_at: int
    request: JsonObject = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    token: str | None = None
    looks: int = 0
    in_doubt: bool = False
    detail: str | None = None
    refusal: Declined | None = None
    generation_id: str | None = None
    ended_at: int | None = None
    seq: int = 0

    def but(self, **changes: Any) -> Self:
        """Return it with these fields changed."""
        return replace(self, **changes)
