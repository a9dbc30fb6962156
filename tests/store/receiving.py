"""What the tests of receivers share: endpoints and deliveries, owed, claimed and settled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Endpoint,
    Entry,
    Failing,
    Health,
    NewEvent,
    State,
    Terms,
)
from worker.store import LEASE_S, ClaimedDeliveries, ClaimedTracker, Store, SwitchOff

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
RETENTION_MS = 600_000  # as the fixture has it
URL = "https://hooks.example.com/x"
LANE = "post:https://hooks.example.com:443"
ELSEWHERE = "https://new.example.com/x"
NEW_LANE = "post:https://new.example.com:443"
BODY = b'{"\xc3\xb6":1}'
FINISHED = [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED]


def owed(name: str, *, endpoint: str = "url_1", **more: Any) -> Delivery:
    """Make a delivery as it is born, of an event that is about no generation."""
    given = {"account": "", "generation_id": "", "url": URL, "next_attempt_at": T, **more}
    return Delivery(
        id=f"dlv_{name}",
        event_id=f"evt_{name}",
        type="endpoint.test",
        endpoint=endpoint,
        state=DeliveryState.PENDING,
        created_at=T,
        **given,
    )


def event_of(delivery: Delivery, lane: str = LANE) -> NewEvent:
    return NewEvent(
        id=delivery.event_id, type=delivery.type, body=BODY, delivery=delivery, lane=lane
    )


async def put(store: Store, endpoint: Endpoint, *, enabled: bool | None = None) -> Endpoint:
    """Make an endpoint, or change it."""
    made = await store.endpoints.put(endpoint, enabled=enabled, secret="s1")
    assert made is not None
    return made.endpoint


async def known(store: Store, name: str = "orders") -> Endpoint:
    found = await store.endpoints.get(name)
    assert found is not None
    return found


async def owe(
    store: Store, name: str, *, endpoint: str = "url_1", now: int = T, lane: str = LANE
) -> str:
    """Owe an endpoint an event; returns the lane whose drain the caller must start."""
    delivery = owed(name, endpoint=endpoint)
    return await store.deliveries.announce(event_of(delivery, lane), now=now)


async def end(
    store: Store,
    name: str,
    *,
    endpoint: str | None = "url_1",
    state: State = State.COMPLETED,
    now: int = T,
) -> str:
    """End a generation with its event; returns the lane whose drain the caller must start."""
    await store.trackers.track("luma", "luma", [(name, Terms(deadline_s=60))], now=now)
    claimed = await store.trackers.claim_one("luma", name, rate=None, now=now)
    assert isinstance(claimed, ClaimedTracker)
    event = NewEvent(id=f"evt_{name}", type="generation.completed", body=BODY)
    if endpoint is not None:
        delivery = owed(name, endpoint=endpoint, account="luma", generation_id=name)
        event = replace(event, delivery=delivery, lane=LANE)
    done = replace(claimed.tracker, state=state)
    applied, lane = await store.trackers.settle(done, event=event, now=now)
    assert applied
    return lane


async def claim(
    store: Store, *, now: int = T, limit: int = 50, lane: str = LANE
) -> ClaimedDeliveries:
    return await store.deliveries.claim(lane, limit=limit, now=now)


async def taken(store: Store, *, now: int = T, limit: int = 50, lane: str = LANE) -> list[Delivery]:
    """Claim, and tell which deliveries were given out."""
    return [
        each.delivery for each in (await claim(store, now=now, limit=limit, lane=lane)).deliveries
    ]


def names(claimed: ClaimedDeliveries) -> list[str]:
    return [each.delivery.id.removeprefix("dlv_") for each in claimed.deliveries]


async def settle(
    store: Store, it: Delivery, state: DeliveryState = DeliveryState.DELIVERED, **more: Any
) -> bool:
    """Settle an attempt as `attempted` does; tells whether it was written."""
    applied, _ = await attempted(store, it, state, **more)
    return applied


async def attempted(
    store: Store,
    it: Delivery,
    state: DeliveryState = DeliveryState.DELIVERED,
    *,
    now: int = T,
    health: Health | None = None,
    failing: Failing | None = None,
    off: SwitchOff | None = None,
    again_at: int | None = None,
    **attempt: Any,
) -> tuple[bool, bool]:
    """Settle an attempt as it came out; what is pending is tried again after nine seconds."""
    reason = None
    if state is DeliveryState.EXHAUSTED:
        reason = DeliveryReason.ENDPOINT_DISABLED if off else DeliveryReason.ATTEMPTS
    pending = state is DeliveryState.PENDING
    after = replace(
        it,
        state=state,
        reason=reason,
        tries=it.tries + 1,
        next_attempt_at=(again_at or now + 9000) if pending else None,
        finished_at=None if pending else now,
    )
    made = Attempt(at=now, duration_ms=3, **{"status": 500, **attempt})
    entry = Entry(now, "attempt", {"delivery_id": it.id})
    settled = await store.deliveries.settle(
        after, made, entry=entry, health=health, failing=failing, off=off, now=now
    )
    return settled.applied, settled.switched_off


async def get(store: Store, name: str = "g-1") -> Delivery:
    (found,) = await store.deliveries.get_many([f"dlv_{name}"])
    return found


async def counted(store: Store) -> dict[str, int]:
    """Count deliveries by state, leaving out those that there are none of."""
    found = {
        state.value: len(await store.deliveries.ids([state], before=None, limit=100_000))
        for state in DeliveryState
    }
    return {state: count for state, count in found.items() if count}


async def failed(store: Store, *, since: int, step: int = 50) -> list[str]:
    """Name what an endpoint was owed in vain, as far as it ended within a minute after `T`."""
    steps = store.endpoints.failed("orders", since=since, until=T + 60_000, step=step)
    return [delivery_id async for some in steps for delivery_id in some]


async def born(redis: Redis) -> list[tuple[bytes, bytes]]:
    """Read the events on the stream, as (ID, type), without what it says of deliveries."""
    said = [entry for _, entry in await redis.xrange("test:events")]
    return [(each[b"event_id"], each[b"type"]) for each in said if b"delivery_id" not in each]
