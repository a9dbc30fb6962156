"""What is known of a run when it is over: plain records, for the judge.

Instants are seconds since the run began, by the director's steady clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """A kind of mischief."""

    KILL = "kill"
    STOP = "stop"
    CLOCK = "clock"
    REDIS_KILL = "redis kill"
    REDIS_STOP = "redis stop"
    PROVIDER = "provider"
    RECEIVER = "receiver"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Deed:
    """One piece of mischief.

    Attributes:
        at: When it begins.
        lasts_s: After so long it is undone: what was killed is started, what was stopped goes on.
        kind: What is done, …
        whom: … and to whom, such as `worker-2`.
        how: Of a provider its fault, of a receiver its manner, of a clock the step in seconds.
    """

    at: float
    lasts_s: float
    kind: Kind
    whom: str
    how: str = ""

    @property
    def until(self) -> float:
        """When it is undone."""
        return self.at + self.lasts_s

    def __str__(self) -> str:
        how = f" {self.how}" if self.how else ""
        return f"{self.at:7.2f} s  {self.kind} {self.whom}{how}, for {self.lasts_s:.2f} s"


@dataclass(frozen=True, slots=True)
class Promise:
    """A tracker that the API has acknowledged.

    Attributes:
        generation_id: The generation's ID.
        at: When the acknowledgement came.
        receiver: Who is to get its webhooks.
        canceled: Whether the API has said that it was canceled.
        asked: How many requests it took.
    """

    generation_id: str
    at: float
    receiver: str
    canceled: bool = False
    asked: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """A tracker as Dreamhook shows it."""

    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Born:
    """A terminal event."""

    event_id: str
    type: str
    generation_id: str


@dataclass(frozen=True, slots=True)
class Owed:
    """A delivery on record."""

    delivery_id: str
    event_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A webhook that came in.

    Attributes:
        receiver: Who got it.
        webhook_id: Its ID.
        state: What its body says of the generation.
        is_signed: Whether its signature verifies.
        at: When it was there as a whole.
        status: What was answered; None if nothing was, as far as the receiver knows.
        answered_at: When.
    """

    receiver: str
    webhook_id: str
    state: str
    is_signed: bool
    at: float
    status: int | None = None
    answered_at: float | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has said that it has it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended without being told to."""

    at: float
    whom: str
    code: int


@dataclass(frozen=True)
class Run:
    """Everything that is known of a run.

    Attributes:
        promises: What was acknowledged.
        truth: How the provider says its generations are, by ID: `completed`, `failed`, or another
            word for one that runs on; it has not heard of those that are missing.
        trackers: What Dreamhook says of them, by ID.
        begun: How often the tracking of each began, by ID; once, of those that are missing. It
            begins anew when it has expired and a request for it comes, as a caller's that has not
            heard of the first.
        events: The terminal events that were born.
        heard: The IDs of those that a listener at `/v1/events` heard, in order.
        owed: The deliveries on record.
        receipts: What the receivers got, in order.
        keys: The keys in Redis without the deployment's prefix, with their seconds to live; None:
            no end.
        deeds: What was done to whom.
        deaths: Who ended by himself.
        refused: What an API would not do although nothing was wrong with it, by generation.
        had_gap: Whether the listener was told of a gap, and so need not have heard all.
        deaf: Why the listener gave up, if it has.
    """

    promises: Sequence[Promise] = ()
    truth: Mapping[str, str] = field(default_factory=dict)
    trackers: Mapping[str, Ended] = field(default_factory=dict)
    begun: Mapping[str, int] = field(default_factory=dict)
    events: Sequence[Born] = ()
    heard: Sequence[str] = ()
    owed: Sequence[Owed] = ()
    receipts: Sequence[Receipt] = ()
    keys: Mapping[str, float | None] = field(default_factory=dict)
    deeds: Sequence[Deed] = ()
    deaths: Sequence[Death] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    had_gap: bool = False
    deaf: str | None = None
