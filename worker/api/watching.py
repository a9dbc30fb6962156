"""What those who watch may ask for, and the figures they are answered with, as types."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, field_validator
from pydantic_core import PydanticCustomError

from worker.api.schemas import Answer, Held, HeldAccount, Query
from worker.model import DeliveryState, EndpointEvent, EventType, HealthReason, JsonObject, State

_ONE = "[0-9]{1,15}-[0-9]{1,15}"
_OF_A_CELL = f"[a-z0-9][a-z0-9-]{{0,31}}:{_ONE}"
_PLACE = re.compile(f"{_ONE}|{_OF_A_CELL}(,{_OF_A_CELL})*")

_TYPES = (
    *(each.value for each in (*EventType, *EndpointEvent)),
    *("delivery.delivered", "delivery.exhausted"),
)
_GROUPS = ("generation", "endpoint", "delivery")

EVENTS_TEXT = """retry: 2000
: heartbeat
id: 1769860847249-0

id: 1769860847251-0
event: generation.completed
data: {"event_id":"evt_9a8b7c6d5e4f3a2b1c0d9e8f","type":"generation.completed","timestamp":"…",…}

"""

METRICS_TEXT = """# HELP dreamhook_looks_total Looks by what the provider answered.
# TYPE dreamhook_looks_total counter
dreamhook_looks_total{account="luma",answer="seen"} 1207.0
"""

LAST_EVENT_ID: JsonObject = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": f"^({_PLACE.pattern})$"},
    "description": "The `id` that was heard last; what came after it is told first.",
}


def is_place(text: str) -> bool:
    """Say whether a text can be the `id` of an event."""
    return _PLACE.fullmatch(text) is not None


class EventsQuery(Query):
    """Which events to hear, and from where on."""

    type: list[str] = Field(
        ["generation", "endpoint"],
        description="Those of these types, or of all types that begin so: "
        f"{', '.join(_GROUPS)}. Several: repeated, or with commas between them.",
    )
    account: str | None = Field(None, description="Those of this account's generations.")
    generation_id: str | None = Field(None, description="Those of this generation.")
    since: AwareDatetime | None = Field(
        None, description="Those since this instant, as far as they are kept; 0: all of those."
    )
    last_event_id: Annotated[str, Field(pattern=f"^({_PLACE.pattern})$")] | None = Field(
        None, description="Those after the one with this `id`, as the header `Last-Event-ID`."
    )

    @field_validator("type")
    @classmethod
    def _split(cls, given: list[str]) -> list[str]:
        types = [name.strip() for each in given for name in each.split(",")]
        if not {*_TYPES, *_GROUPS}.issuperset(types):
            known = ", ".join((*_GROUPS, *_TYPES))
            raise PydanticCustomError("unknown_type", "Should be of {known}", {"known": known})
        return types


class Due(Answer):
    """What is to be done now."""

    looks: int
    receivers: int = Field(description="Receivers' origins that have webhooks due.")


class AccountInTrouble(Answer):
    """An account that is held, or whose last looks failed."""

    name: str
    reason: HealthReason
    detail: str | None
    held_until: datetime | None = Field(description="When the next probe goes, as in `held`.")
    held: HeldAccount | None


class EndpointInTrouble(Answer):
    """An endpoint that is off, or to which no attempt has succeeded, since then."""

    name: str
    url: str
    since: datetime
    enabled: bool
    reason: str | None
    failed_with: str | None = Field(description="What came of the attempt that failed last.")
    held: Held | None = Field(description="Why nothing is sent to its origin now, if that is so.")


class EndpointsInTrouble(Answer):
    """How many there are, and the 20 that have been so the longest."""

    total: int
    items: list[EndpointInTrouble]


class Minute(Answer):
    """What happened in one minute. The latency is from an event's birth to its delivery."""

    at: datetime
    completed: int
    failed: int
    expired: int
    delivered: int
    latency_p50_s: float | None
    latency_p95_s: float | None


class RedisMemory(Answer):
    """The memory that Redis uses, and may use; null: it does not tell; there is no limit."""

    used_bytes: int | None
    max_bytes: int | None


class Stats(Answer):
    """The figures of the queue. Asking costs the same however much is tracked."""

    trackers: dict[State, int]
    deliveries: dict[DeliveryState, int]
    due: Due
    lag_s: float = Field(description="For how long the oldest due work has been due.")
    workers: int = Field(description="Workers that have shown within 15 s that they live.")
    troubles: list[str] = Field(description="What needs somebody's attention.")
    accounts_in_trouble: list[AccountInTrouble]
    endpoints_in_trouble: EndpointsInTrouble
    last_hour: list[Minute] = Field(description="60 minutes; the last is the one that runs.")
    redis: RedisMemory
    may_write: bool = Field(description="Whether the key that asked may do more than read.")
