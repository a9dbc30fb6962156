"""Replays: a finished delivery is owed again, under the same ID, if it still can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from tests.store import receiving
from tests.store.receiving import (
    FINISHED,
    LANE,
    LEASE_MS,
    RETENTION_MS,
    URL,
    T,
    counted,
    failed,
    get,
    owed,
    put,
    settle,
    taken,
)
from worker.model import Delivery, DeliveryState, Endpoint, Entry
from worker.store import Store

ORDERS = Endpoint(name="orders", url=URL)
KEYS = ("delivery:dlv_1", "attempts:dlv_1", "event:evt_1")


async def end(store: Store, name: str = "1", *, endpoint: str = "orders") -> None:
    """Complete a generation, with what is owed for it."""
    await put(store, ORDERS)
    await receiving.end(store, name, endpoint=endpoint)


async def finish(store: Store, state: DeliveryState) -> Delivery:
    """Bring delivery 1 to its end, which is returned as it is then."""
    await end(store)
    (it,) = await taken(store)
    assert await settle(store, it, state)
    return await get(store, "1")


async def replay(store: Store, it: Delivery, *, now: int = T) -> tuple[str, str]:
    tries = it.tries if it.state is DeliveryState.PENDING else 0
    return await store.deliveries.replay(replace(it, tries=tries, next_attempt_at=now), now=now)


# --- what is finished -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_finished_is_owed_again_from_its_first_attempt_on(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    before = await finish(store, state)
    await store.lanes.leave(LANE, now=T)

    assert await replay(store, before, now=T + 5) == (state, LANE)

    after = await get(store, "1")
    assert after == replace(
        before,
        state=DeliveryState.PENDING,
        reason=None,
        finished_at=None,
        tries=0,
        next_attempt_at=T + 5,
        fence=after.fence,
    )
    assert len(after.attempts) == 1  # what happened stays on record
    assert [await redis.pttl(f"test:{key}") for key in KEYS] == [-1] * 3
    (claimed,) = await taken(store, now=T + 5)
    assert (claimed.id, claimed.event_id, claimed.seq) == ("dlv_1", "evt_1", before.seq)


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_owed_again_is_listed_as_pending_only(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    await replay(store, await finish(store, state))

    assert await counted(store) == {"pending": 1}
    assert await failed(store, since=0) == []
    assert await redis.zrange("test:owed:orders", 0, -1) == [b"dlv_1"]
    await store.lanes.sweep(now=T + 9 * RETENTION_MS)
    assert await counted(store) == {"pending": 1}


async def test_a_replay_is_on_the_timeline_of_its_generation(store: Store) -> None:
    await replay(store, await finish(store, DeliveryState.DELIVERED), now=T + 5)

    newest = (await store.trackers.timeline("luma", "1"))[-1]
    assert newest == Entry(T + 5, "replay", {"delivery_id": "dlv_1"})


async def test_a_settle_from_before_the_replay_changes_nothing(store: Store) -> None:
    await end(store)
    (slow,) = await taken(store)
    (quick,) = await taken(store, now=T + LEASE_MS)
    await settle(store, quick, DeliveryState.EXHAUSTED)
    await replay(store, await get(store, "1"))

    assert not await settle(store, slow, DeliveryState.DELIVERED)
    assert not await settle(store, quick, DeliveryState.DELIVERED)

    assert (await get(store, "1")).state is DeliveryState.PENDING


async def test_what_was_replayed_ends_like_any_other(store: Store, redis: Redis) -> None:
    await replay(store, await finish(store, DeliveryState.EXHAUSTED))

    (it,) = await taken(store)
    assert await settle(store, it, DeliveryState.DELIVERED)

    assert (await get(store, "1")).tries == 1
    assert -1 not in [await redis.pttl(f"test:{key}") for key in KEYS]
    assert await redis.hget("test:event:evt_1", "pending") == b"0"  # type: ignore[misc]


async def test_a_second_replay_owes_nothing_twice(store: Store, redis: Redis) -> None:
    before = await finish(store, DeliveryState.EXHAUSTED)

    assert (await replay(store, before))[0] == "exhausted"
    assert (await replay(store, before))[0] == "pending"

    assert await redis.hget("test:event:evt_1", "pending") == b"1"  # type: ignore[misc]
    assert len(await taken(store)) == 1


async def test_an_anonymous_endpoint_stays_for_what_is_owed_again(
    store: Store, redis: Redis
) -> None:
    await end(store, endpoint="url_1")
    await settle(store, (await taken(store))[0], DeliveryState.DELIVERED)

    await replay(store, await get(store, "1"))

    assert await redis.pttl("test:endpoint:url_1") == -1
    await store.lanes.sweep(now=T + 9 * RETENTION_MS)
    assert len(await store.endpoints.names(before=None, limit=5)) == 2


async def test_what_has_ended_since_it_was_read_does_not_go_on_with_its_old_schedule(
    store: Store,
) -> None:
    """Its one attempt left would be its last."""
    await end(store)
    await settle(store, (await taken(store))[0], DeliveryState.PENDING, again_at=T)
    read = await get(store, "1")
    await settle(store, (await taken(store))[0], DeliveryState.EXHAUSTED)
    ended = await get(store, "1")

    assert await replay(store, read) == ("changed", "")
    assert await get(store, "1") == ended


# --- what is pending ------------------------------------------------------------------------------


async def test_what_waits_for_its_next_attempt_becomes_due_now(store: Store) -> None:
    await end(store)
    await settle(store, (await taken(store))[0], DeliveryState.PENDING)
    before = await get(store, "1")
    await store.lanes.leave(LANE, now=T)

    assert await replay(store, before, now=T + 5) == ("pending", LANE)

    assert (await get(store, "1")).next_attempt_at == T + 5
    (it,) = await taken(store, now=T + 5)
    assert it.tries == before.tries == 1


async def test_what_was_settled_since_it_was_read_becomes_due_as_it_is_now(store: Store) -> None:
    await end(store)
    read = await get(store, "1")
    await settle(store, (await taken(store))[0], DeliveryState.PENDING)

    await replay(store, read, now=T + 5)

    (it,) = await taken(store, now=T + 5)
    assert it.tries == 1


async def test_what_a_crashed_worker_had_in_hand_becomes_due_now_once_its_lease_has_ended(
    store: Store,
) -> None:
    await end(store)
    (it,) = await taken(store)

    assert (await replay(store, it, now=T + LEASE_MS))[0] == "pending"

    assert len(await taken(store, now=T + LEASE_MS)) == 1


async def test_what_is_under_way_is_left_to_whoever_has_it(store: Store) -> None:
    await end(store)
    (it,) = await taken(store)

    assert (await replay(store, it, now=T + 5))[0] == "pending"

    assert await taken(store, now=T + 5) == []
    assert await settle(store, it, DeliveryState.DELIVERED)


# --- what cannot be replayed ----------------------------------------------------------------------


async def test_what_is_not_there_is_not_replayed(store: Store, redis: Redis) -> None:
    assert await replay(store, owed("1")) == ("", "")
    assert await redis.keys() == []


@pytest.mark.parametrize("key", ["event:evt_1", "endpoint:orders"])
async def test_what_has_lost_its_event_or_its_endpoint_is_not_replayed(
    store: Store, redis: Redis, key: str
) -> None:
    before = await finish(store, DeliveryState.EXHAUSTED)
    await redis.delete(f"test:{key}")

    assert await replay(store, before) == ("gone", "")
    assert await get(store, "1") == before


async def test_what_was_owed_to_an_endpoint_that_is_off_is_not_replayed(store: Store) -> None:
    before = await finish(store, DeliveryState.EXHAUSTED)
    await store.endpoints.put(ORDERS, enabled=False, secret="s1")

    assert await replay(store, before) == ("disabled", "")
    assert await get(store, "1") == before

    await store.endpoints.put(ORDERS, enabled=True, secret="s1")
    assert (await replay(store, before))[0] == "exhausted"


async def test_a_replay_leaves_nothing_behind_in_a_queue_that_was_left(
    store: Store, redis: Redis
) -> None:
    await end(store, endpoint="url_1")
    await taken(store)  # by a worker that dies
    await put(store, Endpoint(name="url_1", url="", concurrency=2))  # from now on it has a queue

    await replay(store, await get(store, "1"), now=T + LEASE_MS)

    (it,) = await taken(store, now=T + LEASE_MS)
    await settle(store, it, now=T + LEASE_MS)
    assert await redis.keys("test:busy:*") == []


# --- what is to be recovered ----------------------------------------------------------------------


async def test_what_failed_since_an_instant_is_listed_in_the_order_of_its_end(
    store: Store,
) -> None:
    for name in "123":
        await end(store, name)
    await end(store, "other", endpoint="url_1")
    for late, it in enumerate(reversed(await taken(store))):
        await settle(store, it, DeliveryState.EXHAUSTED, now=T + late)

    assert await failed(store, since=0) == ["dlv_3", "dlv_2", "dlv_1"]
    assert await failed(store, since=T + 2) == ["dlv_2", "dlv_1"]
    assert await failed(store, since=T + 4) == []


@pytest.mark.parametrize("stay", [0, 2, 9])
async def test_what_failed_is_named_once_in_steps_whether_or_not_it_stays(
    store: Store, stay: int
) -> None:
    for name in range(8):
        await end(store, f"{name}")
    for number, it in enumerate(await taken(store)):
        await settle(store, it, DeliveryState.EXHAUSTED, now=T + number // 3)

    named = []
    async for some in store.endpoints.failed("orders", since=T, until=T + 9, step=2):
        assert len(some) <= 5
        named += some
        for each in some if len(named) > stay else ():
            (found,) = await store.deliveries.get_many([each])
            assert (await replay(store, found))[0] == "exhausted"

    assert named == [f"dlv_{name}" for name in range(8)]


async def test_what_failed_after_an_instant_is_not_named(store: Store) -> None:
    await finish(store, DeliveryState.EXHAUSTED)

    steps = store.endpoints.failed("orders", since=0, until=T - 1, step=9)

    assert [some async for some in steps] == []


async def test_what_is_no_longer_kept_is_not_listed(store: Store) -> None:
    await finish(store, DeliveryState.EXHAUSTED)

    await store.lanes.sweep(now=T + RETENTION_MS)

    assert await failed(store, since=0) == []


async def test_what_failed_again_is_kept_from_then_on(store: Store) -> None:
    await replay(store, await finish(store, DeliveryState.EXHAUSTED))
    await settle(store, (await taken(store))[0], DeliveryState.EXHAUSTED, now=T + 9)

    await store.lanes.sweep(now=T + RETENTION_MS)
    assert await failed(store, since=0) == ["dlv_1"]
    await store.lanes.sweep(now=T + RETENTION_MS + 9)
    assert await failed(store, since=0) == []
