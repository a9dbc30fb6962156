"""The words of Dreamhook as types: trackers, answers, verdicts, events, deliveries.

Values only: nothing here reads a clock, rolls a die or talks to anyone. Instants are integers,
milliseconds since the Unix epoch (`…_at`); durations are floats, seconds (`…_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]


class State(StrEnum):
    """A tracker's state; all but `TRACKING` are final."""

    TRACKING = "tracking"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Reason(StrEnum):
    """Why a tracker expired."""

    DEADLINE = "deadline"
    NOT_FOUND = "not_found"


class EventType(StrEnum):
    """What an event says. The first three are terminal; `UPDATED` is opt-in."""

    COMPLETED = "generation.completed"
    FAILED = "generation.failed"
    EXPIRED = "generation.expired"
    UPDATED = "generation.updated"


class EndpointEvent(StrEnum):
    """Events about an endpoint rather than a generation."""

    DISABLED = "endpoint.disabled"
    TEST = "endpoint.test"


TERMINAL_EVENTS = (EventType.COMPLETED, EventType.FAILED, EventType.EXPIRED)
DEFAULT_EVENTS = tuple(sorted(each.value for each in TERMINAL_EVENTS))

EVENT_OF_STATE = {
    State.COMPLETED: EventType.COMPLETED,
    State.FAILED: EventType.FAILED,
    State.EXPIRED: EventType.EXPIRED,
}


class DeliveryState(StrEnum):
    """A delivery's state; all but `PENDING` are final until someone asks for a replay."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    DISCARDED = "discarded"


class DeliveryReason(StrEnum):
    """Why a delivery is exhausted."""

    ATTEMPTS = "attempts"
    ENDPOINT_DISABLED = "endpoint_disabled"


class Progress(StrEnum):
    """Our reading of a provider state. Whatever we have never seen before is `RUNNING`."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


# --- what a provider answered to one look -------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The provider showed the generation."""

    progress: Progress
    provider_state: str
    model: str | None = None
    type: str | None = None
    assets: Mapping[str, str] = field(default_factory=dict)
    failure_reason: str | None = None
    created_at: int | None = None
    generation: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    """404: the provider does not know the ID (or says so)."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """401 or 403: the provider does not accept the account's credentials."""

    detail: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: the account asked too often. `retry_after_s` is what the provider said, if it did."""

    detail: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Anything else: no connection, a time-out, a 5xx, a body that cannot be read."""

    detail: str
    retry_after_s: float | None = None


Answer: TypeAlias = Seen | Missing | Refused | Throttled | Trouble


# --- accounts -----------------------------------------------------------------------------------


class HealthReason(StrEnum):
    """Why an account's looks are held."""

    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    CREDENTIALS = "credentials rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an account is doing. `streak` counts the answers in a row that gave `reason`.

    `version` rises with every change; an answer to a look that was claimed under an older version
    says nothing new and is ignored.
    """

    reason: HealthReason | None = None
    streak: int = 0
    held_until: int = 0
    detail: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One configured use of a provider. `api_key` never appears in its repr."""

    name: str
    provider: str
    api_key: str = field(repr=False)
    base_url: str
    polls_per_second: float = 5.0


# --- trackers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was agreed when tracking began: normalised, defaults filled in, comparable with ==.

    At most one of `callback_url` and `endpoint` is set. `events` is sorted. `headers` are sent
    with every webhook.
    """

    callback_url: str | None = None
    endpoint: str | None = None
    events: tuple[str, ...] = DEFAULT_EVENTS
    metadata: JsonObject = field(default_factory=dict)
    deadline_s: float
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """Our durable promise to watch one generation to its end."""

    account: str
    generation_id: str
    provider: str
    state: State
    terms: Terms
    tracked_at: int
    deadline_at: int
    reason: Reason | None = None
    provider_state: str | None = None
    model: str | None = None
    type: str | None = None
    assets: Mapping[str, str] = field(default_factory=dict)
    failure_reason: str | None = None
    polls: int = 0
    poll_errors: int = 0
    last_error: str | None = None
    error_streak: int = 0
    missing_count: int = 0
    missing_since: int | None = None
    looked_at: int | None = None
    seen_at: int | None = None
    created_at: int | None = None
    finished_at: int | None = None
    next_poll_at: int | None = None
    generation: JsonObject | None = None
    seq: int = 0
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tracker's timeline: `kind` is tracked, look, change, event, attempt, ..."""

    at: int
    kind: str
    details: Mapping[str, Any] = field(default_factory=dict)


# --- verdicts: what a look's answer means for its tracker -----------------------------------------


@dataclass(frozen=True, slots=True)
class Wait:
    """Not over yet: look again at `at`. Costs no error budget."""

    at: int


@dataclass(frozen=True, slots=True)
class BackOff:
    """The look failed: try again at `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class Finish:
    """It is over: completed or failed as the provider said, or expired for `reason`."""

    state: State
    reason: Reason | None = None


Verdict: TypeAlias = Wait | BackOff | Finish


# --- endpoints ----------------------------------------------------------------------------------


class DisabledReason(StrEnum):
    """Why an endpoint is off."""

    GONE = "it answered 410 Gone"
    FAILING = "nothing but failures for five days"
    ASKED = "it was switched off"


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret. `until` is when it stops signing; None for the newest."""

    text: str = field(repr=False)
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A named receiver. `secrets` are the newest first; none: the deployment's own secret signs.

    `failing_since` is when the first of its attempts failed after which none succeeded.
    """

    name: str
    url: str
    events: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = 8
    refresh_assets: bool = False
    enabled: bool = True
    disabled_reason: str | None = None
    failing_since: int | None = None
    secrets: tuple[Secret, ...] = ()
    seq: int = 0


# --- deliveries ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """The receiver answered with complete headers."""

    status: int
    duration_ms: int
    retry_after: str | None = None
    response: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """No complete answer: `error` says what happened, in words fit for the receiver's owner."""

    error: str
    duration_ms: int


Reply: TypeAlias = Replied | Unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One HTTP POST of a delivery."""

    at: int
    duration_ms: int
    status: int | None = None
    error: str | None = None
    response: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event owed to one endpoint. `tries` counts the attempts since birth or replay."""

    id: str
    event_id: str
    type: str
    account: str
    generation_id: str
    endpoint: str
    url: str
    state: DeliveryState
    created_at: int
    reason: DeliveryReason | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    next_attempt_at: int | None = None
    finished_at: int | None = None
    tries: int = 0
    attempts: tuple[Attempt, ...] = ()
    seq: int = 0
    fence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to be born with a settle, and the delivery owed for it, if any."""

    id: str
    type: str
    body: bytes
    delivery: Delivery | None = None
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has taken it."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """It did not; try again at `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """It did not, and nothing more is tried unless someone asks."""

    reason: DeliveryReason


DeliveryVerdict: TypeAlias = Delivered | RetryAt | Exhausted


@lru_cache(maxsize=1024)  # what begins together shows the same few instants a thousand times
def rfc3339(at: int | None) -> str | None:
    """Write an instant as RFC 3339 in UTC with milliseconds; None stays None."""
    if at is None:
        return None
    moment = datetime.fromtimestamp(at / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
