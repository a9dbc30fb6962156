"""Words of tracking: what a provider answers, accounts, trackers, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

from worker.model.common import Changeable, JsonObject


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


TERMINAL_EVENTS = (EventType.COMPLETED, EventType.FAILED, EventType.EXPIRED)
DEFAULT_EVENTS = tuple(sorted(each.value for each in TERMINAL_EVENTS))

EVENT_OF_STATE = {
    State.COMPLETED: EventType.COMPLETED,
    State.FAILED: EventType.FAILED,
    State.EXPIRED: EventType.EXPIRED,
}


class Progress(StrEnum):
    """Our reading of a provider state. Whatever we have never seen before is `RUNNING`."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


# --- what a provider answered to one look -------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The provider showed the generation.

    `queued`: it runs in our sense of the word, but its work has not begun. `fraction` is how much
    of it is done, from 0 to 1. `kind` is what its duration depends on, the most telling first.
    `answered_at` is when it was shown, by the provider's own clock. `asset_lifetime_s` is how long
    the provider says that the URLs are good for. `retryable`: the same request again may succeed;
    None if nobody knows. `mark` stands for all that was shown: what has the same is the same.
    """

    progress: Progress
    provider_state: str
    queued: bool = False
    model: str | None = None
    type: str | None = None
    assets: Mapping[str, str] = field(default_factory=dict)
    failure_reason: str | None = None
    failure_code: str | None = None
    retryable: bool | None = None
    fraction: float | None = None
    asset_lifetime_s: float | None = None
    created_at: int | None = None
    answered_at: int | None = None
    kind: tuple[str, ...] = ()
    generation: JsonObject = field(default_factory=dict)
    request_id: str | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Same:
    """The provider showed the generation to the letter as at the look before: it still runs."""

    created_at: int | None = None
    request_id: str | None = None
    progress: ClassVar[Progress] = Progress.RUNNING


@dataclass(frozen=True, slots=True)
class Missing:
    """404: the provider does not know the ID (or says so)."""

    detail: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """401 or 403: the provider does not accept the account's credentials.

    Unless it is `of_account` it may mean this generation alone, which belongs to somebody else.
    """

    detail: str
    of_account: bool = True
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """429: the account asked too often. `retry_after_s` is what the provider said, if it did."""

    detail: str
    retry_after_s: float | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Anything else: no connection, a time-out, a 5xx, a body that cannot be read."""

    detail: str
    retry_after_s: float | None = None
    request_id: str | None = None


Answer: TypeAlias = Seen | Same | Missing | Refused | Throttled | Trouble


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
    says nothing new and is ignored. `slowed_until` is when its rate will be the configured one
    again. `suspect` is the generation that alone was refused so far.
    """

    reason: HealthReason | None = None
    streak: int = 0
    held_until: int = 0
    detail: str | None = None
    version: int = 0
    slowed_until: int = 0
    suspect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One configured use of a provider. `api_key` never appears in its repr.

    `poll_patience` is the price of a look: the seconds of delay that one request is worth.
    """

    name: str
    provider: str
    api_key: str = field(repr=False)
    base_url: str
    polls_per_second: float = 5.0
    poll_patience: float = 0.3


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


class Repeats(NamedTuple):
    """Looks in a row that showed the same as the one before: in a timeline they are one line."""

    since: int
    until: int
    looks: int
    duration_ms: int
    provider_state: str | None
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tracker(Changeable):
    """Our durable promise to watch one generation to its end.

    `born_at` is when the generation began, on our clock (None: when it was tracked). Of the looks
    that showed it before its end, `entered_at` is the first and `seen_at` the last, `queued_at` the
    last that showed it queued, `running_at` the first after that. `mark` is what the last look
    showed, if that was a generation that runs, and `repeats` those that have shown it again and do
    not stand in the timeline yet. It was `turned_away` if the last look failed for its account's
    sake alone (401, 429): that is in no streak of its own. `traceparent` came with the request to
    track, and goes with its webhooks.
    """

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
    assets_expire_at: int | None = None
    failure_reason: str | None = None
    failure_code: str | None = None
    retryable: bool | None = None
    fraction: float | None = None
    polls: int = 0
    poll_errors: int = 0
    last_error: str | None = None
    error_streak: int = 0
    turned_away: bool = False
    missing_count: int = 0
    missing_since: int | None = None
    seen_at: int | None = None
    created_at: int | None = None
    born_at: int | None = None
    entered_at: int | None = None
    queued_at: int | None = None
    running_at: int | None = None
    kind: tuple[str, ...] = ()
    mark: str | None = None
    repeats: Repeats | None = None
    finished_at: int | None = None
    next_poll_at: int | None = None
    traceparent: str | None = None
    generation: JsonObject | None = None
    seq: int = 0
    fence: int = 0


@dataclass(frozen=True, kw_only=True)
class Watched(Changeable):
    """Of a tracker that was claimed, what a look must know that shows it as it was.

    The fields are those of `Tracker`. Most looks need no more, and to read the rest was most of
    what they cost: `whole` reads it, as it was when it was claimed.
    """

    account: str
    generation_id: str
    fence: int
    tracked_at: int
    deadline_at: int
    provider_state: str | None = None
    polls: int = 0
    seen_at: int | None = None
    created_at: int | None = None
    born_at: int | None = None
    entered_at: int | None = None
    queued_at: int | None = None
    running_at: int | None = None
    kind: tuple[str, ...] = ()
    mark: str | None = None
    repeats: Repeats | None = None
    next_poll_at: int | None = None
    whole: Callable[[], Tracker] = field(repr=False, compare=False)

    @classmethod
    def of(cls, tracker: Tracker) -> Self:
        """Take it from a tracker; what is over gets no mark, so that no look takes it up again."""
        names = (each.name for each in fields(cls) if each.name != "whole")
        known = {name: getattr(tracker, name) for name in names}
        if tracker.state is not State.TRACKING:
            known["mark"] = None
        return cls(**known, whole=lambda: tracker)


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
