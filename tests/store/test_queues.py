"""Queues: how much of a receiver's lane is under way at a time, for whom, and when they move."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.store.receiving import (
    ELSEWHERE,
    LANE,
    LEASE_MS,
    NEW_LANE,
    URL,
    T,
    claim,
    get,
    names,
    owe,
    put,
    settle,
    taken,
)
from worker.embedded import EmbeddedRedis
from worker.model import DeliveryState, Endpoint, Health, HealthReason, Queue
from worker.store import Store

ORDERS_ELSEWHERE = Endpoint(name="orders", url=ELSEWHERE)
OPEN = Health(reason=HealthReason.UNREACHABLE, streak=3, held_until=T + 5000, detail="refused")


async def owe_many(store: Store, count: int, *, endpoint: str = "url_1") -> None:
    for number in range(count):
        await owe(store, f"{number:03}", endpoint=endpoint)


async def two_endpoints(store: Store, *, small: int, large: int) -> None:
    await put(store, Endpoint(name="small", url=URL, concurrency=small))
    await put(store, Endpoint(name="large", url=f"{URL}/large", concurrency=large))


async def test_no_more_is_under_way_than_the_endpoint_allows_over_all_workers(
    store: Store, redis: Redis
) -> None:
    other = Store(redis, prefix="test", retention_s=600)
    await owe_many(store, 12)

    mine = await claim(store, limit=5)
    yours = await claim(other)

    assert (len(mine.deliveries), len(yours.deliveries)) == (5, 3)
    assert names(mine) + names(yours) == [f"{n:03}" for n in range(8)]
    assert names(await claim(other)) == []


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_an_endpoint_may_allow_another_number(store: Store, concurrency: int) -> None:
    await put(store, Endpoint(name="orders", url=URL, concurrency=concurrency))
    await owe_many(store, 12, endpoint="orders")

    claimed = await claim(store)

    assert len(claimed.deliveries) == concurrency
    assert claimed.deliveries[0].endpoint.concurrency == concurrency


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.DELIVERED])
async def test_for_each_attempt_that_ends_another_may_begin(
    store: Store, state: DeliveryState
) -> None:
    await owe_many(store, 12)
    first = await claim(store)
    await settle(store, first.deliveries[0].delivery, state)

    assert names(await claim(store)) == ["008"]


async def test_a_full_lane_is_looked_at_again_soon_and_its_drain_may_not_leave(
    store: Store,
) -> None:
    """What is under way may be in the hands of another worker, who rings nobody."""
    await owe_many(store, 9)
    await claim(store)

    full = await claim(store)

    assert full.wake_at == T + 1000
    assert not await store.lanes.leave(LANE, now=T)


async def test_what_a_crashed_worker_had_in_hand_is_under_way_until_its_lease_ends(
    store: Store,
) -> None:
    await owe_many(store, 12)
    await claim(store)

    assert names(await claim(store, now=T + LEASE_MS - 1)) == []
    again = await claim(store, now=T + LEASE_MS + 999)

    assert names(again) == [f"{n:03}" for n in (8, 9, 10, 11, 0, 1, 2, 3)]


async def test_a_late_settle_gives_no_room_that_is_taken(store: Store) -> None:
    await owe_many(store, 8)
    first = await claim(store)
    await claim(store, now=T + LEASE_MS)
    await owe(store, "new", now=T + LEASE_MS)

    await settle(store, first.deliveries[0].delivery, now=T + LEASE_MS)

    assert names(await claim(store, now=T + LEASE_MS)) == []


# --- endpoints of one origin ----------------------------------------------------------------------


async def test_each_endpoint_has_as_much_under_way_as_it_allows_itself(store: Store) -> None:
    await two_endpoints(store, small=1, large=3)
    for number in range(4):
        await owe(store, f"small{number}", endpoint="small")
        await owe(store, f"large{number}", endpoint="large", now=T + 1)

    claimed = await claim(store, now=T + 1)

    assert names(claimed) == ["small0", "large0", "large1", "large2"]
    assert {e.delivery.endpoint: e.endpoint.concurrency for e in claimed.deliveries} == {
        "small": 1,
        "large": 3,
    }


async def test_an_endpoint_that_is_full_holds_up_no_other_however_much_it_is_owed(
    store: Store,
) -> None:
    await two_endpoints(store, small=2, large=64)
    for number in range(300):
        await owe(store, f"early{number:03}", endpoint="small")
    await owe(store, "late", endpoint="large", now=T + 1)
    await owe(store, "bare", now=T + 2)

    first = await claim(store, now=T + 2)
    await settle(store, first.deliveries[0].delivery, now=T + 3)
    await owe(store, "latest", endpoint="large", now=T + 3)

    assert names(first) == ["early000", "early001", "late", "bare"]
    assert sorted(names(await claim(store, now=T + 3))) == ["early002", "latest"]


async def test_what_a_claim_costs_does_not_grow_with_what_waits_for_a_full_endpoint(
    embedded: EmbeddedRedis,
) -> None:
    redis = Redis.from_url(embedded.url)
    await redis.flushall()
    store = Store(redis, prefix="test", retention_s=600)
    await two_endpoints(store, small=1, large=1)
    costs = []
    for waiting in (10, 300):
        for number in range(waiting):
            await owe(store, f"{waiting}-{number}", endpoint="small")
        await claim(store)
        costs.append(await commands(redis, claim(store, now=T + 1000)))

    await redis.aclose()
    assert costs[0] == costs[1] > 0


async def test_more_full_endpoints_than_a_claim_looks_at_hold_up_no_other(store: Store) -> None:
    for name in ("a", "b", "c", "free"):
        await put(store, Endpoint(name=name, url=URL, concurrency=1))
        await owe(store, f"{name}1", endpoint=name)
    assert len(await taken(store, limit=3)) == 3
    for name in ("a", "b", "c"):
        await owe(store, f"{name}2", endpoint=name)

    waiting = await claim(store, limit=3, now=T)
    if not waiting.deliveries:
        assert waiting.wake_at == T + 1  # not before somebody else rings

    assert "free1" in [*names(waiting), *names(await claim(store, limit=3, now=T + 1))]


async def test_bare_callback_urls_of_an_origin_share_what_it_is_given(store: Store) -> None:
    """One for each generation is common; eight at a time to each would be thousands at once."""
    for number in range(20):
        await owe(store, f"{number:02}", endpoint=f"url_{number}")

    assert len((await claim(store)).deliveries) == 8


async def test_a_bare_callback_url_that_was_given_a_number_of_its_own_has_it(store: Store) -> None:
    for number in range(12):
        await owe(store, f"{number:02}", endpoint=f"url_{number}")
    await put(store, Endpoint(name="url_0", url="", concurrency=2))
    for number in range(4):
        await owe(store, f"more{number}", endpoint="url_0", now=T + 1)

    found = names(await claim(store, now=T + 1))

    assert found == [f"{n:02}" for n in range(8)] + ["more0", "more1"]


async def test_an_endpoint_may_be_switched_and_keeps_what_it_shares(store: Store) -> None:
    for number in range(12):
        await owe(store, f"{number:02}", endpoint=f"url_{number}")
    await store.endpoints.switch("url_9", enabled=True)
    await owe(store, "more", endpoint="url_9")

    assert len((await claim(store)).deliveries) == 8


async def test_after_a_hold_one_probe_goes_whatever_endpoints_there_are(store: Store) -> None:
    await two_endpoints(store, small=2, large=2)
    for name in ("small", "large"):
        for number in range(2):
            await owe(store, f"{name}{number}", endpoint=name)
    (first,) = (await claim(store, limit=1)).deliveries
    await settle(store, first.delivery, DeliveryState.PENDING, again_at=T + 1, health=OPEN)

    assert len((await claim(store, now=T + 5000)).deliveries) == 1
    assert names(await claim(store, now=T + 5001)) == []


# --- endpoints that move --------------------------------------------------------------------------


async def test_what_is_owed_to_an_endpoint_moves_to_another_origin_with_it(store: Store) -> None:
    await put(store, Endpoint(name="orders", url=URL))
    for number in range(3):
        await owe(store, f"{number}", endpoint="orders")

    moved = await store.endpoints.put(ORDERS_ELSEWHERE, enabled=None, secret="s1")

    assert moved is not None
    assert moved.must_start == NEW_LANE
    assert names(await claim(store)) == []
    claimed = await claim(store, lane=NEW_LANE, now=await store.now())
    assert names(claimed) == ["0", "1", "2"]
    assert {each.endpoint.url for each in claimed.deliveries} == {ELSEWHERE}


async def test_a_hold_of_the_old_origin_is_none_of_the_new_one(store: Store) -> None:
    await put(store, Endpoint(name="orders", url=URL))
    for number in range(2):
        await owe(store, f"{number}", endpoint="orders")
    (it,) = (await claim(store, limit=1)).deliveries
    await settle(store, it.delivery, DeliveryState.PENDING, again_at=T, health=OPEN)

    await put(store, ORDERS_ELSEWHERE)

    claimed = await claim(store, lane=NEW_LANE)
    assert (len(claimed.deliveries), claimed.health) == (2, Health())


async def test_what_was_under_way_then_tells_of_the_old_origin_and_goes_on_in_the_new_one(
    store: Store,
) -> None:
    await put(store, Endpoint(name="orders", url=URL))
    await owe(store, "1", endpoint="orders")
    (it,) = (await claim(store)).deliveries
    await put(store, ORDERS_ELSEWHERE)

    await settle(store, it.delivery, DeliveryState.PENDING, again_at=T + 9, health=OPEN)

    old, new = await store.lanes.health([LANE, NEW_LANE])
    assert (old, new) == (replace(OPEN, version=1), Health())
    assert names(await claim(store, now=T + 9000)) == []
    assert names(await claim(store, now=T + 9, lane=NEW_LANE)) == ["1"]


async def test_what_crashed_under_way_falls_due_in_the_new_lane(store: Store) -> None:
    await put(store, Endpoint(name="orders", url=URL))
    await owe(store, "1", endpoint="orders")
    await claim(store)

    await put(store, ORDERS_ELSEWHERE)

    assert names(await claim(store, now=T + LEASE_MS, lane=NEW_LANE)) == ["1"]


async def test_a_replay_is_owed_where_the_endpoint_is_by_then(store: Store) -> None:
    await put(store, Endpoint(name="orders", url=URL))
    await owe(store, "1", endpoint="orders")
    await settle(store, (await taken(store))[0], DeliveryState.EXHAUSTED)
    await put(store, ORDERS_ELSEWHERE)

    found = await get(store, "1")

    assert await store.deliveries.replay(found, now=T) == ("exhausted", NEW_LANE)
    assert names(await claim(store, lane=NEW_LANE)) == ["1"]


async def test_an_event_that_was_made_before_the_move_is_owed_after_it_in_the_new_lane(
    store: Store,
) -> None:
    await put(store, ORDERS_ELSEWHERE)

    assert await owe(store, "1", endpoint="orders", lane=LANE) == NEW_LANE
    assert names(await claim(store, lane=NEW_LANE)) == ["1"]


async def test_an_endpoint_that_is_deleted_and_made_again_elsewhere_is_called_there_only(
    store: Store,
) -> None:
    await put(store, Endpoint(name="orders", url=URL))
    await owe(store, "1", endpoint="orders")
    await store.endpoints.drop("orders")

    await put(store, ORDERS_ELSEWHERE)  # before what it was owed had been discarded

    assert names(await claim(store)) == []
    assert names(await claim(store, lane=NEW_LANE)) == ["1"]
    assert await store.lanes.leave(LANE, now=T)


async def commands(redis: Redis, step: Awaitable[Any]) -> int:
    """Count the commands that Redis runs for a step, those within scripts included."""
    before = await redis.info("commandstats")
    await step
    after = await redis.info("commandstats")
    calls = {name: each["calls"] for name, each in before.items()}
    return sum(
        each["calls"] - calls.get(name, 0)
        for name, each in after.items()
        if name not in {"cmdstat_info", "cmdstat_script|load"}
    )


# --- how full they are ----------------------------------------------------------------------------


async def full(store: Store, name: str, *, now: int = T) -> Queue:
    [found] = await store.endpoints.get_many([name])
    return (await store.endpoints.queues([found], now=now))[name]


async def test_a_queue_tells_what_is_under_way_and_what_is_due_besides(store: Store) -> None:
    await put(store, Endpoint(name="orders", url=URL, concurrency=3))
    await owe_many(store, 12, endpoint="orders")
    claimed = await claim(store)
    assert await full(store, "orders") == Queue(under_way=3, due=9)

    await settle(store, claimed.deliveries[0].delivery)
    assert await full(store, "orders") == Queue(under_way=2, due=9)


async def test_what_was_claimed_by_a_worker_that_died_is_due_again(store: Store) -> None:
    await put(store, Endpoint(name="orders", url=URL, concurrency=3))
    await owe_many(store, 12, endpoint="orders")
    await claim(store)

    assert await full(store, "orders", now=T + LEASE_MS - 1) == Queue(under_way=3, due=9)
    assert await full(store, "orders", now=T + LEASE_MS) == Queue(under_way=0, due=12)


async def test_bare_callback_urls_of_an_origin_are_as_full_as_what_they_share(store: Store) -> None:
    await owe_many(store, 10)
    await owe(store, "other", endpoint="url_2")
    await claim(store)

    assert await full(store, "url_1") == await full(store, "url_2") == Queue(under_way=8, due=3)


async def test_a_bare_callback_url_with_a_concurrency_of_its_own_tells_of_that_alone(
    store: Store,
) -> None:
    await owe_many(store, 10)
    await put(store, Endpoint(name="url_2", url=URL, concurrency=2))
    for number in range(5):
        await owe(store, f"own-{number}", endpoint="url_2")
    await claim(store)

    assert await full(store, "url_1") == Queue(under_way=8, due=2)
    assert await full(store, "url_2") == Queue(under_way=2, due=3)


async def test_what_is_tried_again_later_is_not_due(store: Store) -> None:
    await put(store, Endpoint(name="orders", url=URL))
    await owe(store, "later", endpoint="orders")
    [delivery] = await taken(store)
    await settle(store, delivery, DeliveryState.PENDING, again_at=T + 5000)

    assert await full(store, "orders") == Queue(under_way=0, due=0)
    assert await full(store, "orders", now=T + 5000) == Queue(under_way=0, due=1)
