"""Events and what is owed for them: born with an end, claimed for an attempt, settled, listed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from tests.store.receiving import (
    BODY,
    FINISHED,
    LANE,
    LEASE_MS,
    T,
    counted,
    end,
    event_of,
    get,
    owed,
    settle,
    taken,
)
from worker.model import Attempt, Delivery, DeliveryReason, DeliveryState, Entry, State, Terms
from worker.store import ClaimedTracker, Store

PENDING = DeliveryState.PENDING


def delivery(name: str) -> Delivery:
    """A delivery as it is born with the end of generation `name`."""
    return owed(name, account="luma", generation_id=name)


# --- the newest of a tracker ----------------------------------------------------------------------


async def test_what_is_owed_for_a_tracker_is_found_with_its_last_attempt(store: Store) -> None:
    names = [("luma", "g-1"), ("luma", "g-2"), ("luma", "unknown")]
    await end(store, "g-1")
    await end(store, "g-2", endpoint=None)
    for status in (500, 503):
        await settle(store, (await taken(store))[0], PENDING, status=status, again_at=T)

    owed = await store.deliveries.latest_of(names)

    assert list(owed) == [("luma", "g-1")]
    it, attempts = owed["luma", "g-1"]
    assert (it.id, it.state, attempts) == ("dlv_g-1", PENDING, 2)
    assert [each.outcome for each in it.attempts] == ["HTTP 503"]


async def test_a_tracker_that_begins_anew_has_been_owed_nothing(store: Store) -> None:
    await end(store, "g-1", state=State.EXPIRED)
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)
    assert await store.deliveries.latest_of([("luma", "g-1")]) == {}


# --- births ---------------------------------------------------------------------------------------


async def test_an_event_is_born_with_its_delivery_which_is_due_at_once(
    store: Store, redis: Redis
) -> None:
    assert await end(store, "g-1") == LANE

    claimed = await store.deliveries.claim(LANE, limit=5, now=T)

    (it,) = claimed.deliveries
    born = it.delivery
    assert it.body == BODY
    assert born == replace(delivery("g-1"), seq=born.seq, fence=born.fence)
    assert await redis.pttl("test:event:evt_g-1") == -1  # it stays while anything is owed


async def test_an_event_that_is_owed_to_nobody_is_on_the_stream_and_ends(
    store: Store, redis: Redis
) -> None:
    assert await end(store, "g-1", endpoint=None) == ""

    ((_, entry),) = await redis.xrange("test:events")
    assert set(entry.values()) == {b"evt_g-1", b"generation.completed", b"luma", b"g-1"}
    assert await store.deliveries.ids(list(DeliveryState), before=None, limit=5) == []
    assert await redis.pttl("test:event:evt_g-1") > 0


async def test_only_the_first_of_many_deliveries_has_its_drain_started(store: Store) -> None:
    lanes = [await end(store, f"g-{n}") for n in range(3)]

    assert lanes == [LANE, "", ""]


async def test_a_sleeping_drain_is_rung_for_a_delivery_and_an_awake_one_is_not(
    store: Store, redis: Redis
) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as ears:
        await ears.subscribe("test:bell")
        await taken(store)  # it sleeps, for there is nothing to do
        assert [await end(store, f"g-{n}") for n in range(2)] == ["", ""]
        await taken(store, limit=1)  # it is awake, for there is more
        assert await end(store, "g-3") == ""
        await redis.publish("test:bell", "that was all")
        rung: list[bytes] = []
        async with asyncio.timeout(5):
            while b"that was all" not in rung:
                message = await ears.get_message(timeout=1)
                rung += [message["data"]] if message else []

    assert rung == [LANE.encode(), b"that was all"]


async def test_the_stream_keeps_about_the_newest_20000_events(store: Store, redis: Redis) -> None:
    pipe = redis.pipeline(transaction=False)
    for _ in range(20_300):
        pipe.xadd("test:events", {"event_id": "old"})
    await pipe.execute()

    await end(store, "g-1", endpoint=None)

    assert 20_000 <= await redis.xlen("test:events") <= 20_200
    ((_, newest),) = await redis.xrevrange("test:events", count=1)
    assert newest[b"event_id"] == b"evt_g-1"


# --- claims ---------------------------------------------------------------------------------------


async def test_a_claim_takes_what_is_due_the_longest_overdue_first(store: Store) -> None:
    for name, late in (("g-1", 2), ("g-2", 0), ("g-3", 1), ("later", 9)):
        await end(store, name, now=T + late)

    claimed = await store.deliveries.claim(LANE, limit=2, now=T + 3)

    names = [each.delivery.generation_id for each in claimed.deliveries]
    assert names == ["g-2", "g-3"]
    assert claimed.wake_at == T + 2
    assert [d.generation_id for d in await taken(store, now=T + 3)] == ["g-1"]


async def test_a_claim_without_hands_takes_nothing(store: Store) -> None:
    await end(store, "g-1")

    assert await taken(store, limit=0) == []
    assert len(await taken(store)) == 1


async def test_what_is_claimed_is_due_again_when_the_lease_ends(store: Store) -> None:
    await end(store, "g-1")
    claimed = await store.deliveries.claim(LANE, limit=5, now=T)

    assert claimed.wake_at == T + LEASE_MS
    assert await taken(store, now=T + LEASE_MS - 1) == []
    assert len(await taken(store, now=T + LEASE_MS)) == 1


async def test_an_empty_lane_has_nothing_ahead(store: Store) -> None:
    claimed = await store.deliveries.claim(LANE, limit=5, now=T)

    assert (claimed.deliveries, claimed.wake_at) == ([], None)


async def test_a_delivery_that_has_gone_though_its_lane_names_it_is_forgotten(
    store: Store, redis: Redis
) -> None:
    await end(store, "gone")
    await end(store, "g-1")
    await redis.delete("test:delivery:dlv_gone")

    assert [d.generation_id for d in await taken(store)] == ["g-1"]
    assert await redis.zrange(f"test:due:{LANE}", 0, -1) == [b"dlv_g-1"]


# --- settles --------------------------------------------------------------------------------------


async def test_an_attempt_that_is_followed_by_another_is_on_record(store: Store) -> None:
    await end(store, "g-1")
    (claimed,) = await taken(store)

    assert await settle(store, claimed, PENDING, again_at=T + 5000, error="no answer", status=None)

    found = await get(store)
    assert found.state is DeliveryState.PENDING
    assert (found.tries, found.next_attempt_at) == (1, T + 5000)
    assert found.attempts == (Attempt(at=T, duration_ms=3, error="no answer"),)
    timeline = await store.trackers.timeline("luma", "g-1")
    assert timeline[-1] == Entry(T, "attempt", {"delivery_id": "dlv_g-1"})
    assert await taken(store, now=T + 4999) == []
    (claimed_again,) = await taken(store, now=T + 5000)
    assert claimed_again == replace(found, attempts=(), fence=claimed_again.fence)


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_finished_is_listed_as_such_due_nowhere_and_ends(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    await end(store, "g-1")
    (claimed,) = await taken(store)
    reason = DeliveryReason.ATTEMPTS if state is DeliveryState.EXHAUSTED else None

    assert await settle(store, claimed, state, status=204)

    found = await get(store)
    assert (found.state, found.reason, found.finished_at) == (state, reason, T)
    assert await counted(store) == {state.value: 1}
    assert not await redis.exists(f"test:due:{LANE}", "test:deliveries:pending")
    for name in ("delivery:dlv_g-1", "attempts:dlv_g-1", "event:evt_g-1"):
        assert await redis.pttl(f"test:{name}") > 0


async def test_the_same_settle_twice_is_applied_once(store: Store) -> None:
    await end(store, "g-1")
    (claimed,) = await taken(store)

    assert await settle(store, claimed, PENDING, again_at=T + 5000)
    assert not await settle(store, claimed, PENDING, again_at=T + 5000)
    assert not await settle(store, claimed)

    found = await get(store)
    assert (found.state, len(found.attempts)) == (DeliveryState.PENDING, 1)
    assert len(await store.trackers.timeline("luma", "g-1")) == 2


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_finished_stays_so(store: Store, state: DeliveryState) -> None:
    await end(store, "g-1")
    (first,) = await taken(store)
    (second,) = await taken(store, now=T + LEASE_MS)
    await settle(store, second, state)
    before = await get(store)

    assert not await settle(store, first)
    assert not await settle(store, first, PENDING, again_at=T)
    assert not await settle(store, replace(first, fence=before.fence))

    assert await get(store) == before


async def test_of_many_who_claimed_it_at_once_one_settles(store: Store) -> None:
    await end(store, "g-1")
    claims = [(await taken(store, now=T + n * LEASE_MS))[0] for n in range(8)]

    applied = await asyncio.gather(*(settle(store, each) for each in claims))

    assert applied == [False] * 7 + [True]  # the last
    assert len((await get(store)).attempts) == 1


async def test_a_settle_of_what_has_gone_leaves_nothing_behind(store: Store, redis: Redis) -> None:
    await end(store, "g-1")
    (claimed,) = await taken(store)
    await redis.flushall()

    assert not await settle(store, claimed)
    assert await redis.keys() == []


async def test_the_newest_50_attempts_are_kept(store: Store) -> None:
    await end(store, "g-1")
    for n in range(55):
        (claimed,) = await taken(store, now=T + n)
        await settle(store, claimed, PENDING, again_at=T + n + 1, now=T + n)

    found = await get(store)

    assert found.tries == 55
    assert [each.at for each in found.attempts] == [T + n for n in range(5, 55)]


async def test_an_event_ends_when_nothing_is_owed_for_it_any_more(
    store: Store, redis: Redis
) -> None:
    await end(store, "g-1")
    (claimed,) = await taken(store)
    await settle(store, claimed, PENDING, again_at=T)
    assert await redis.pttl("test:event:evt_g-1") == -1

    (claimed,) = await taken(store)
    await settle(store, claimed)

    assert 0 < await redis.pttl("test:event:evt_g-1") <= 600_000


async def test_a_delivery_goes_on_when_its_tracker_begins_anew(store: Store) -> None:
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)
    one = await store.trackers.claim_one("luma", "g-1", rate=None, now=T)
    assert isinstance(one, ClaimedTracker)
    event = event_of(delivery("g-1"))
    await store.trackers.settle(replace(one.tracker, state=State.EXPIRED), event=event, now=T)

    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)

    (claimed,) = await taken(store)
    assert await settle(store, claimed)


# --- lists ----------------------------------------------------------------------------------------


async def test_deliveries_are_listed_newest_first_page_by_page(store: Store) -> None:
    for n in range(4):
        await end(store, f"g-{n}")
    await settle(store, (await taken(store, limit=1))[0])

    first = await store.deliveries.ids(list(DeliveryState), before=None, limit=3)
    second = await store.deliveries.ids(list(DeliveryState), before=first[-1][0], limit=3)
    pending = await store.deliveries.ids([DeliveryState.PENDING], before=None, limit=9)

    assert [name for _, name in first + second] == [f"dlv_g-{n}" for n in (3, 2, 1, 0)]
    assert [name for _, name in pending] == [f"dlv_g-{n}" for n in (3, 2, 1)]


async def test_reading_many_leaves_out_what_is_not_there(store: Store) -> None:
    await end(store, "g-1")

    found = await store.deliveries.get_many(["nope", "dlv_g-1"])

    assert [each.id for each in found] == ["dlv_g-1"]
    assert await store.deliveries.get_many([]) == []
