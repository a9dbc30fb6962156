"""Events and what is owed for them: born with an end, claimed for an attempt, settled, listed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Entry,
    NewEvent,
    State,
    Terms,
)
from worker.store import LEASE_S, ClaimedTracker, Store

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
LANE = "post:https://hooks.example.com:443"
BODY = b'{"\xc3\xb6":1}'
FINISHED = [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED]


def delivery(name: str, **more: Any) -> Delivery:
    """A delivery as it is born with the end of generation `name`."""
    return Delivery(
        id=f"dlv_{name}",
        event_id=f"evt_{name}",
        type="generation.completed",
        account="luma",
        generation_id=name,
        endpoint="url_1",
        url="https://hooks.example.com/x",
        state=DeliveryState.PENDING,
        created_at=T,
        next_attempt_at=T,
        **more,
    )


async def end(store: Store, name: str, *, owed: bool = True, now: int = T) -> str:
    """Complete a generation with its event; the lane whose drain the caller must start."""
    await store.trackers.track("luma", "luma", [(name, Terms(deadline_s=60))], now=now)
    claimed = await store.trackers.claim_one("luma", name, rate=None, now=now)
    assert isinstance(claimed, ClaimedTracker)
    event = NewEvent(id=f"evt_{name}", type="generation.completed", body=BODY)
    if owed:
        event = replace(event, delivery=delivery(name), lane=LANE)
    done = replace(claimed.tracker, state=State.COMPLETED)
    applied, lane = await store.trackers.settle(done, event=event, now=now)
    assert applied
    return lane


async def claim(store: Store, *, now: int = T, limit: int = 50) -> list[Delivery]:
    claimed = await store.deliveries.claim(LANE, limit=limit, now=now)
    return [each.delivery for each in claimed.deliveries]


async def settle(store: Store, after: Delivery, *, now: int = T, **more: Any) -> bool:
    attempt = Attempt(at=now, duration_ms=3, **{"status": 500, **more})
    entry = Entry(now, "attempt", {"delivery_id": after.id})
    applied, _ = await store.deliveries.settle(after, attempt, entry=entry, now=now)
    return applied


def again(it: Delivery, at: int) -> Delivery:
    return replace(it, tries=it.tries + 1, next_attempt_at=at)


def finished(it: Delivery, state: DeliveryState = DeliveryState.DELIVERED) -> Delivery:
    return replace(it, state=state, tries=it.tries + 1, next_attempt_at=None, finished_at=T)


async def get(store: Store, name: str = "g-1") -> Delivery:
    (found,) = await store.deliveries.get_many([f"dlv_{name}"])
    return found


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
    assert await end(store, "g-1", owed=False) == ""

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
        await claim(store)  # it sleeps, for there is nothing to do
        assert [await end(store, f"g-{n}") for n in range(2)] == ["", ""]
        await claim(store, limit=1)  # it is awake, for there is more
        assert await end(store, "g-3") == ""
        await redis.publish("test:bell", "that was all")
        rung: list[bytes] = []
        async with asyncio.timeout(5):
            while b"that was all" not in rung:
                message = await ears.get_message(timeout=1)
                rung += [message["data"]] if message else []

    assert rung == [LANE.encode(), b"that was all"]


async def test_the_stream_keeps_about_the_newest_10000_events(store: Store, redis: Redis) -> None:
    pipe = redis.pipeline(transaction=False)
    for _ in range(10_300):
        pipe.xadd("test:events", {"event_id": "old"})
    await pipe.execute()

    await end(store, "g-1", owed=False)

    assert 10_000 <= await redis.xlen("test:events") <= 10_200
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
    assert [d.generation_id for d in await claim(store, now=T + 3)] == ["g-1"]


async def test_a_claim_without_hands_takes_nothing(store: Store) -> None:
    await end(store, "g-1")

    assert await claim(store, limit=0) == []
    assert len(await claim(store)) == 1


async def test_what_is_claimed_is_due_again_when_the_lease_ends(store: Store) -> None:
    await end(store, "g-1")
    claimed = await store.deliveries.claim(LANE, limit=5, now=T)

    assert claimed.wake_at == T + LEASE_MS
    assert await claim(store, now=T + LEASE_MS - 1) == []
    assert len(await claim(store, now=T + LEASE_MS)) == 1


async def test_an_empty_lane_has_nothing_ahead(store: Store) -> None:
    claimed = await store.deliveries.claim(LANE, limit=5, now=T)

    assert (claimed.deliveries, claimed.wake_at) == ([], None)


async def test_a_delivery_that_has_gone_though_its_lane_names_it_is_forgotten(
    store: Store, redis: Redis
) -> None:
    await end(store, "gone")
    await end(store, "g-1")
    await redis.delete("test:delivery:dlv_gone")

    assert [d.generation_id for d in await claim(store)] == ["g-1"]
    assert await redis.zrange(f"test:due:{LANE}", 0, -1) == [b"dlv_g-1"]


# --- settles --------------------------------------------------------------------------------------


async def test_an_attempt_that_is_followed_by_another_is_on_record(store: Store) -> None:
    await end(store, "g-1")
    (claimed,) = await claim(store)

    assert await settle(store, again(claimed, T + 5000), error="no answer", status=None)

    found = await get(store)
    assert found.state is DeliveryState.PENDING
    assert (found.tries, found.next_attempt_at) == (1, T + 5000)
    assert found.attempts == (Attempt(at=T, duration_ms=3, error="no answer"),)
    timeline = await store.trackers.timeline("luma", "g-1")
    assert timeline[-1] == Entry(T, "attempt", {"delivery_id": "dlv_g-1"})
    assert await claim(store, now=T + 4999) == []
    (claimed_again,) = await claim(store, now=T + 5000)
    assert claimed_again == replace(found, attempts=(), fence=claimed_again.fence)


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_finished_is_listed_as_such_due_nowhere_and_ends(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    await end(store, "g-1")
    (claimed,) = await claim(store)
    reason = DeliveryReason.ATTEMPTS if state is DeliveryState.EXHAUSTED else None

    assert await settle(store, replace(finished(claimed, state), reason=reason), status=204)

    found = await get(store)
    assert (found.state, found.reason, found.finished_at) == (state, reason, T)
    counts = (await store.counts(["luma"]))[1]
    assert {name: n for name, n in counts.items() if n} == {state.value: 1}
    assert not await redis.exists(f"test:due:{LANE}", "test:deliveries:pending")
    for name in ("delivery:dlv_g-1", "attempts:dlv_g-1", "event:evt_g-1"):
        assert await redis.pttl(f"test:{name}") > 0


async def test_the_same_settle_twice_is_applied_once(store: Store) -> None:
    await end(store, "g-1")
    (claimed,) = await claim(store)

    assert await settle(store, again(claimed, T + 5000))
    assert not await settle(store, again(claimed, T + 5000))
    assert not await settle(store, finished(claimed))

    found = await get(store)
    assert (found.state, len(found.attempts)) == (DeliveryState.PENDING, 1)
    assert len(await store.trackers.timeline("luma", "g-1")) == 2


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_finished_stays_so(store: Store, state: DeliveryState) -> None:
    await end(store, "g-1")
    (first,) = await claim(store)
    (second,) = await claim(store, now=T + LEASE_MS)
    await settle(store, finished(second, state))
    before = await get(store)

    assert not await settle(store, finished(first))
    assert not await settle(store, again(first, T))
    assert not await settle(store, replace(finished(first), fence=before.fence))

    assert await get(store) == before


async def test_of_many_who_claimed_it_at_once_one_settles(store: Store) -> None:
    await end(store, "g-1")
    claims = [(await claim(store, now=T + n * LEASE_MS))[0] for n in range(8)]

    applied = await asyncio.gather(*(settle(store, finished(each)) for each in claims))

    assert applied == [False] * 7 + [True]  # the last
    assert len((await get(store)).attempts) == 1


async def test_a_settle_of_what_has_gone_leaves_nothing_behind(store: Store, redis: Redis) -> None:
    await end(store, "g-1")
    (claimed,) = await claim(store)
    await redis.flushall()

    assert not await settle(store, finished(claimed))
    assert await redis.keys() == []


async def test_the_newest_50_attempts_are_kept(store: Store) -> None:
    await end(store, "g-1")
    for n in range(55):
        (claimed,) = await claim(store, now=T + n)
        await settle(store, again(claimed, T + n + 1), now=T + n)

    found = await get(store)

    assert found.tries == 55
    assert [each.at for each in found.attempts] == [T + n for n in range(5, 55)]


async def test_an_event_ends_when_nothing_is_owed_for_it_any_more(
    store: Store, redis: Redis
) -> None:
    await end(store, "g-1")
    (claimed,) = await claim(store)
    await settle(store, again(claimed, T))
    assert await redis.pttl("test:event:evt_g-1") == -1

    (claimed,) = await claim(store)
    await settle(store, finished(claimed))

    assert 0 < await redis.pttl("test:event:evt_g-1") <= 600_000


async def test_a_delivery_goes_on_when_its_tracker_begins_anew(store: Store) -> None:
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)
    one = await store.trackers.claim_one("luma", "g-1", rate=None, now=T)
    assert isinstance(one, ClaimedTracker)
    event = NewEvent(
        id="evt_g-1", type="generation.expired", body=BODY, delivery=delivery("g-1"), lane=LANE
    )
    await store.trackers.settle(replace(one.tracker, state=State.EXPIRED), event=event, now=T)

    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)

    (claimed,) = await claim(store)
    assert await settle(store, finished(claimed))


# --- lists ----------------------------------------------------------------------------------------


async def test_deliveries_are_listed_newest_first_page_by_page(store: Store) -> None:
    for n in range(4):
        await end(store, f"g-{n}")
    await settle(store, finished((await claim(store, limit=1))[0]))

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
