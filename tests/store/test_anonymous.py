"""Anonymous endpoints: they come with a callback URL, and go when they have long been unused."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests.store.receiving import LANE, RETENTION_MS, URL, T, known, owe, put, settle, taken
from worker.model import Endpoint
from worker.store import Store


async def deliver(store: Store, *, now: int = T) -> None:
    """Deliver the next that is due."""
    (it,) = await taken(store, limit=1, now=now)
    assert await settle(store, it, now=now)


async def listed(store: Store) -> list[str]:
    return [name for _, name in await store.endpoints.names(before=None, limit=100)]


async def test_an_anonymous_endpoint_begins_with_its_first_delivery(store: Store) -> None:
    assert await owe(store, "1") == LANE
    assert await owe(store, "2") == ""

    found = await known(store, "url_1")
    assert found == Endpoint(name="url_1", url=URL, seq=found.seq)
    assert await listed(store) == ["url_1"]


async def test_an_anonymous_endpoint_stays_while_it_is_owed_anything(
    store: Store, redis: Redis
) -> None:
    await owe(store, "1")
    await owe(store, "2")

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
    await owe(store, "1")
    await deliver(store)
    await redis.delete("test:endpoint:url_1")  # its time had come
    if swept:
        await store.lanes.sweep(now=T + RETENTION_MS)

    await owe(store, "2", now=T + RETENTION_MS)

    await store.lanes.sweep(now=T + 9 * RETENTION_MS)
    assert await listed(store) == ["url_1"]
    assert await redis.pttl("test:endpoint:url_1") == -1


async def test_an_anonymous_endpoint_that_was_used_once_more_stays(
    store: Store, redis: Redis
) -> None:
    await owe(store, "1")
    await deliver(store)

    await owe(store, "2", now=T + 1)

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
    await owe(store, "1")
    if when == "owed":
        await put(store, Endpoint(name="url_1", url="", concurrency=2))
    await deliver(store)
    if when == "after":
        await put(store, Endpoint(name="url_1", url="", concurrency=2))

    assert await redis.pttl("test:endpoint:url_1") == -1
    await store.lanes.sweep(now=T + RETENTION_MS)
    assert await listed(store) == ["url_1"]
    assert (await known(store, "url_1")).concurrency == 2


async def test_an_anonymous_endpoint_may_be_deleted_and_made_again(
    store: Store, redis: Redis
) -> None:
    await owe(store, "1")
    await store.endpoints.drop("url_1")
    await store.endpoints.release("url_1")

    await put(store, Endpoint(name="url_1", url=URL))

    later = await store.now() + 2 * RETENTION_MS
    await store.lanes.sweep(now=later)
    assert await listed(store) == ["url_1"]
    assert await redis.pttl("test:endpoint:url_1") == -1
