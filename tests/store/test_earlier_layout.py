"""What an earlier version has left in Redis: one list for each lane, none for an endpoint."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests.store.receiving import (
    ELSEWHERE,
    LANE,
    NEW_LANE,
    URL,
    T,
    counted,
    get,
    owe,
    put,
    settle,
    taken,
)
from worker.model import DeliveryState, Endpoint
from worker.store import Store

ORDERS = Endpoint(name="orders", url=URL)
DUE_AT = T + 5


@pytest.fixture(autouse=True)
async def left(store: Store, redis: Redis) -> None:
    """A delivery that an earlier version was to try again."""
    await put(store, ORDERS)
    await owe(store, "1", endpoint="orders")
    await redis.hdel("test:delivery:dlv_1", "queue")  # type: ignore[misc]
    await redis.hdel("test:endpoint:orders", "lane")  # type: ignore[misc]
    await redis.delete("test:due:orders", f"test:queues:{LANE}", f"test:drain:{LANE}")
    await redis.zadd(f"test:due:{LANE}", {"dlv_1": DUE_AT})
    await redis.zadd("test:lanes", {LANE: DUE_AT})


async def test_it_is_claimed_and_settled(store: Store, redis: Redis) -> None:
    (it,) = await taken(store, now=DUE_AT)
    assert await settle(store, it, DeliveryState.PENDING, again_at=T + 9)
    (it,) = await taken(store, now=T + 9)
    assert await settle(store, it, now=T + 9)

    assert await counted(store) == {"delivered": 1}
    assert not await redis.exists(f"test:due:{LANE}", "test:due:orders", "test:lanes")


@pytest.mark.parametrize("url", [URL, ELSEWHERE])
async def test_its_lane_is_not_forgotten_when_its_endpoint_is_put(
    store: Store, redis: Redis, url: str
) -> None:
    await put(store, Endpoint(name="orders", url=url))

    assert await redis.zscore("test:lanes", LANE) == DUE_AT
    assert len(await taken(store, now=DUE_AT)) == 1


async def test_its_lane_is_not_forgotten_when_a_drain_ends_before_it_has_claimed(
    store: Store, redis: Redis
) -> None:
    await store.lanes.hand_over(LANE, now=T)

    assert await redis.zscore("test:lanes", LANE) == DUE_AT


async def test_it_does_not_wait_for_what_moves_into_its_lane(store: Store, redis: Redis) -> None:
    await put(store, Endpoint(name="mover", url=ELSEWHERE))
    await owe(store, "later", endpoint="mover", lane=NEW_LANE)
    (it,) = await taken(store, lane=NEW_LANE)
    await settle(store, it, DeliveryState.PENDING, again_at=T + 9999)

    await put(store, Endpoint(name="mover", url=URL))

    assert await redis.zscore("test:lanes", LANE) == DUE_AT


async def test_an_endpoint_that_had_moved_is_called_in_its_new_lane_from_the_next_event_on(
    store: Store, redis: Redis
) -> None:
    await redis.hset("test:endpoint:orders", "url", ELSEWHERE)  # type: ignore[misc]

    await owe(store, "2", endpoint="orders", lane=NEW_LANE)

    (it,) = await taken(store, now=DUE_AT)
    await settle(store, it, DeliveryState.PENDING, again_at=T + 9)
    found = await taken(store, now=T + 9, lane=NEW_LANE)
    assert [each.id for each in found] == ["dlv_2", "dlv_1"]
    assert await store.deliveries.replay(await get(store, "1"), now=T + 9) == ("pending", "")
