"""Words of receiving: endpoints, deliveries, attempts, and what a reply means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from worker.model.tracking import HealthReason


class EndpointEvent(StrEnum):
    """Events about an endpoint rather than a generation."""

    DISABLED = "endpoint.disabled"
    TEST = "endpoint.test"


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


# --- endpoints ----------------------------------------------------------------------------------


class DisabledReason(StrEnum):
    """Why an endpoint is off."""

    GONE = "it answered 410 Gone"
    FAILING = "nothing but failures for five days"
    ASKED = "it was switched off"


MAX_CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret. `until` is when it stops signing; None for the newest."""

    text: str = field(repr=False)
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A named receiver. `secrets` are the newest first; none: the deployment's own secret signs.

    `failing_since` is when the first of its attempts failed after which none succeeded (nor was
    there a long pause); `failed_at` when the last did, `failed_with` what came of that one, and
    `failing_days` on how many days they did.
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
    failed_at: int = 0
    failed_with: str | None = None
    failing_days: int = 0
    secrets: tuple[Secret, ...] = ()
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """How full an endpoint's queue is: so many attempts are under way, and more deliveries due."""

    under_way: int
    due: int


@dataclass(frozen=True, slots=True)
class Failing:
    """An endpoint that does nothing but fail: since when, and on how many days.

    `read_since` is what its `failing_since` was when this was concluded.
    """

    since: int
    days: int
    read_since: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A receiver's origin is sent nothing, since it is not there; or an account is not asked.

    `name` is the origin's, or the account's. It has been so `since` then, after `streak` attempts
    or looks in a row that failed, the last with `detail`. `until` is when a probe goes; with one
    under way (`is_probing`) it is the instant at which this was read.
    """

    name: str
    since: int
    until: int
    is_probing: bool = False
    reason: HealthReason
    detail: str | None
    streak: int


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
    """One HTTP POST of a delivery. `held_ms`: so long a hold of its origin kept it waiting."""

    at: int
    duration_ms: int
    status: int | None = None
    error: str | None = None
    response: str | None = None
    held_ms: int | None = None

    @property
    def outcome(self) -> str:
        """What came of it, in a few words: the status, or why there is none."""
        return self.error or f"HTTP {self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event owed to one endpoint. `tries` counts the attempts since birth or replay.

    `is_replayed` once somebody has asked for it again.
    """

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
    is_replayed: bool = False
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
