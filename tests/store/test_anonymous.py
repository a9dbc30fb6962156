"""Anonymous endpoints: they come with a callback URL, and go when they have long been unused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import Attempt, Delivery, DeliveryState, Endpoint, Entry, NewEvent
from worker.store import Store

T = 1_700_000_000_000
RETENTION_MS = 600_000  # as the fixture has it
URL = "https://hooks.example.com/x"
LANE = "post:https://hooks.example.com:443"


async def put(store: Store, endpoint: Endpoint) -> None:
    assert await store.endpoints.put(endpoint, enabled=None, secret="s1")


def owed_to(name: str, number: int) -> Delivery:
    return Delivery(
        id=f"dlv_{number}",
        event_id=f"evt_{number}",
        type="endpoint.test",
        account="",
        generation_id="",
        endpoint=name,
        url=URL,
        state=DeliveryState.PENDING,
        created_at=T,
    )


async def announce(store: Store, name: str, number: int = 1, *, now: int = T) -> str:
    """Owe an endpoint an event; returns the lane whose drain is to be started."""
    event = NewEvent(
        id=f"evt_{number}",
        type="endpoint.test",
        body=b"{}",
        delivery=owed_to(name, number),
        lane=LANE,
    )
    return await store.deliveries.announce(event, now=now)


async def deliver(store: Store, *, now: int = T) -> None:
    """Deliver the next that is due."""
    claimed = await store.deliveries.claim(LANE, limit=1, now=now)
    done = replace(claimed.deliveries[0].delivery, state=DeliveryState.DELIVERED, finished_at=now)
    made = Attempt(at=now, duration_ms=5, status=200)
    assert (await store.deliveries.settle(done, made, entry=Entry(now, "attempt"), now=now))[0]


async def listed(store: Store) -> list[str]:
    return [name for _, name in await store.endpoints.names(before=None, limit=100)]


async def test_an_anonymous_endpoint_begins_with_its_first_delivery(store: Store) -> None:
    assert await announce(store, "url_1", 1) == LANE
    assert await announce(store, "url_1", 2) == ""

    found = await store.endpoints.get("url_1")
    assert found is not None
    assert found == Endpoint(name="url_1", url=URL, seq=found.seq)
    assert await listed(store) == ["url_1"]


async def test_an_anonymous_endpoint_stays_while_it_is_owed_anything(
    store: Store, redis: Redis
) -> None:
    await announce(store, "url_1", 1)
    await announce(store, "url_1", 2)

    await deliver(store)
    assert await redis.pttl("test:endpoint:url_1") == -1
    assert await store.lanes.sweep(now=T + RETENTION_MS) == 1  # the delivery
    assert await listed(store) == ["url_1"]

    await deliver(store)
    assert 0 < await redis.pttl("test:endpoint:url_1") <= RETENTION_MS
    await store.lanes.sweep(now=T + RETENTION_MS - 1)
    assert await listed(store) == ["url_1"]
    await store.lanes.sweep(now=T + RETENTION_MS)
    assert await listed(store) == []


@pytest.mark.parametrize("swept", [True, False])
async def test_an_anonymous_endpoint_that_has_ended_begins_anew(
    store: Store, redis: Redis, *, swept: bool
) -> None:
    await announce(store, "url_1", 1)
    await deliver(store)
    await redis.delete("test:endpoint:url_1")  # its time had come
    if swept:
        await store.lanes.sweep(now=T + RETENTION_MS)

    await announce(store, "url_1", 2, now=T + RETENTION_MS)

    await store.lanes.sweep(now=T + 9 * RETENTION_MS)
    assert await listed(store) == ["url_1"]
    assert await redis.pttl("test:endpoint:url_1") == -1


async def test_an_anonymous_endpoint_that_was_used_once_more_stays(
    store: Store, redis: Redis
) -> None:
    await announce(store, "url_1", 1)
    await deliver(store)

    await announce(store, "url_1", 2, now=T + 1)

    assert await redis.pttl("test:endpoint:url_1") == -1
    await store.lanes.sweep(now=T + RETENTION_MS)
    assert await listed(store) == ["url_1"]


@pytest.mark.parametrize("when", ["new", "owed", "after"])
async def test_what_somebody_has_settled_about_an_anonymous_endpoint_is_not_forgotten(
    store: Store, redis: Redis, when: str
) -> None:
    """Else a receiver that was switched off would be called again after a quiet week."""
    if when == "new":
        await put(store, Endpoint(name="url_1", url=URL, concurrency=2))
    await announce(store, "url_1")
    if when == "owed":
        await put(store, Endpoint(name="url_1", url="", concurrency=2))
    await deliver(store)
    if when == "after":
        await put(store, Endpoint(name="url_1", url="", concurrency=2))

    assert await redis.pttl("test:endpoint:url_1") == -1
    await store.lanes.sweep(now=T + RETENTION_MS)
    assert await listed(store) == ["url_1"]
    found = await store.endpoints.get("url_1")
    assert found is not None
    assert found.concurrency == 2


async def test_an_anonymous_endpoint_may_be_deleted_and_made_again(
    store: Store, redis: Redis
) -> None:
    await announce(store, "url_1")
    await store.endpoints.drop("url_1")
    await store.endpoints.release("url_1")

    await put(store, Endpoint(name="url_1", url=URL))

    later = await store.now() + 2 * RETENTION_MS
    await store.lanes.sweep(now=later)
    assert await listed(store) == ["url_1"]
    assert await redis.pttl("test:endpoint:url_1") == -1
