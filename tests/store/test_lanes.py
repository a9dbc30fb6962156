"""Lanes: who starts a drain, who wakes it, how it goes, and what is found when it is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import Health, HealthReason, State, Terms
from worker.store import ClaimedTracker, Store
from worker.store.lanes import LINGER_S

T = 1_700_000_000_000
LANE = "poll:luma"
MARKER = "test:drain:poll:luma"
LINGER_MS = round(LINGER_S * 1000)
HELD = Health(reason=HealthReason.THROTTLED, streak=1, held_until=T + 60_000, detail="429")


async def track(store: Store, name: str = "g-1", *, account: str = "luma", now: int = T) -> bool:
    """Track a generation; True if the caller must start the lane's drain."""
    wanted = [(name, Terms(deadline_s=3600))]
    return (await store.trackers.track(account, "luma", wanted, now=now)).must_start


async def claim(store: Store, *, account: str = "luma", now: int = T, limit: int = 50) -> None:
    await store.trackers.claim(account, limit=limit, rate=1000, now=now)


async def look_again_at(store: Store, at: int, *, health: Health | None = None) -> None:
    """Settle a look at g-1 so that the next is due at `at`."""
    claimed = await store.trackers.claim_one("luma", "g-1", rate=None, now=T)
    assert isinstance(claimed, ClaimedTracker)
    after = replace(claimed.tracker, next_poll_at=at)
    await store.trackers.settle(after, health=health, now=T)


async def settle_out_of_lane(store: Store, name: str) -> None:
    claimed = await store.trackers.claim_one("luma", name, rate=None, now=T)
    assert isinstance(claimed, ClaimedTracker)
    await store.trackers.settle(replace(claimed.tracker, state=State.COMPLETED), now=T)


@asynccontextmanager
async def overhearing(redis: Redis) -> AsyncIterator[list[bytes]]:
    """What is rung meanwhile is in the list afterwards."""
    rung: list[bytes] = []
    async with redis.pubsub(ignore_subscribe_messages=True) as ears:
        await ears.subscribe("test:bell")
        yield rung
        await redis.publish("test:bell", "that was all")
        async with asyncio.timeout(5):
            while rung[-1:] != [b"that was all"]:
                message = await ears.get_message(timeout=1)
                rung += [message["data"]] if message else []
        rung.pop()


# --- starting and waking --------------------------------------------------------------------------


async def test_the_first_who_tracks_must_start_the_drain_and_nobody_after(store: Store) -> None:
    assert await track(store, "g-1") is True
    assert await track(store, "g-2") is False
    assert await store.trackers.hurry("luma", "g-1", now=T) == (State.TRACKING, False)
    assert await store.lanes.stage(now=T) == []


async def test_each_lane_has_a_drain_of_its_own(store: Store) -> None:
    assert await track(store, account="a") is True
    assert await track(store, account="b") is True


async def test_a_drain_that_is_awake_is_not_rung(store: Store, redis: Redis) -> None:
    await track(store, "g-1")
    async with overhearing(redis) as rung:
        await track(store, "g-2")
        await claim(store, limit=1)  # there is more to do: it does not sleep
        await track(store, "g-3")
        await store.trackers.hurry("luma", "g-3", now=T)

    assert rung == []


async def test_a_sleeping_drain_is_rung_once(store: Store, redis: Redis) -> None:
    await claim(store)
    async with overhearing(redis) as rung:
        assert await track(store, "g-1") is False
        assert await track(store, "g-2") is False

    assert rung == [b"poll:luma"]


async def test_a_drain_that_has_slept_again_is_rung_again(store: Store, redis: Redis) -> None:
    await claim(store)
    async with overhearing(redis) as rung:
        await track(store, "g-1")
        await claim(store)
        await store.trackers.hurry("luma", "g-1", now=T + 1)

    assert rung == [b"poll:luma"] * 2


async def test_a_drain_that_wakes_in_time_by_itself_is_not_rung(store: Store, redis: Redis) -> None:
    await track(store, "g-1")
    await look_again_at(store, T + 1000)
    await claim(store)
    async with overhearing(redis) as rung:
        await track(store, "g-2", now=T + 1000)

    assert rung == []


async def test_a_ring_makes_no_drain_live_longer(store: Store, redis: Redis) -> None:
    await claim(store)
    await redis.pexpire(MARKER, 1000)

    await track(store, "g-1")

    assert 0 < await redis.pttl(MARKER) <= 1000


async def test_a_drain_must_be_started_again_when_its_marker_has_gone(
    store: Store, redis: Redis
) -> None:
    await track(store, "g-1")
    await redis.delete(MARKER)

    assert await track(store, "g-1") is False  # nothing new came due
    assert await track(store, "g-2") is True


async def test_while_an_account_is_held_no_drain_is_started_for_it(
    store: Store, redis: Redis
) -> None:
    await track(store, "g-1")
    await look_again_at(store, T + 1, health=HELD)
    await redis.delete(MARKER)

    assert await track(store, "g-2", now=T + 2) is False
    assert await store.trackers.hurry("luma", "g-1", now=T + 2) == (State.TRACKING, False)
    assert await store.lanes.stage(now=T + 59_999) == []
    assert await store.lanes.stage(now=T + 60_000) == [LANE]


# --- going ----------------------------------------------------------------------------------------


async def test_a_drain_may_leave_an_empty_lane(store: Store) -> None:
    await claim(store)

    assert await store.lanes.leave(LANE, now=T) is True
    assert await track(store) is True


async def test_a_drain_stays_while_something_is_due_soon(store: Store) -> None:
    await track(store)
    await look_again_at(store, T + 10_000)

    assert await store.lanes.leave(LANE, now=T + 10_000 - LINGER_MS) is False
    assert await track(store, "g-2", now=T + 10_000) is False
    await settle_out_of_lane(store, "g-2")
    assert await store.lanes.leave(LANE, now=T + 10_000 - LINGER_MS - 1) is True


async def test_what_comes_due_as_a_drain_leaves_has_a_drain(store: Store) -> None:
    """Either the drain sees it and stays, or whoever brought it is told to start one."""
    for n in range(20):
        await claim(store)
        left, must_start = await asyncio.gather(
            store.lanes.leave(LANE, now=T), track(store, f"g-{n}")
        )
        assert left is must_start
        await settle_out_of_lane(store, f"g-{n}")


async def test_a_drain_may_leave_for_as_long_as_its_account_is_held(store: Store) -> None:
    await track(store)
    await look_again_at(store, T + 1, health=HELD)

    assert await store.lanes.leave(LANE, now=T + 2) is True


async def test_a_lane_with_work_is_handed_over_by_starting_the_next_drain(store: Store) -> None:
    await track(store)

    assert await store.lanes.hand_over(LANE, now=T) is True
    assert await track(store, "g-2") is False  # it has been started already


async def test_a_lane_with_work_soon_is_handed_over_and_one_with_work_later_is_not(
    store: Store,
) -> None:
    await track(store)
    await look_again_at(store, T + 10_000)

    assert await store.lanes.hand_over(LANE, now=T + 10_000 - LINGER_MS) is True
    assert await store.lanes.hand_over(LANE, now=T + 10_000 - LINGER_MS - 1) is False
    assert await track(store, "g-2") is True


async def test_a_lane_without_work_is_not_handed_over(store: Store) -> None:
    await claim(store)

    assert await store.lanes.hand_over(LANE, now=T) is False
    assert await track(store) is True


# --- staging --------------------------------------------------------------------------------------


async def test_only_lanes_that_are_due_and_have_no_drain_are_staged(
    store: Store, redis: Redis
) -> None:
    for account in ("drained", "later", "due"):
        await track(store, account=account, now=T + (5000 if account == "later" else 0))
    await redis.delete("test:drain:poll:later", "test:drain:poll:due")

    assert await store.lanes.stage(now=T + 4999) == ["poll:due"]
    assert await store.lanes.stage(now=T + 4999) == []  # whoever was told so starts it
    assert await store.lanes.stage(now=T + 5000) == ["poll:later"]


async def test_a_lane_can_be_staged_before_its_work_is_due_so_that_its_drain_is_there_in_time(
    store: Store, redis: Redis
) -> None:
    await track(store, now=T + 5000)
    await redis.delete(MARKER)

    assert await store.lanes.stage(ahead_s=1, now=T + 3999) == []
    assert await store.lanes.stage(ahead_s=1, now=T + 4000) == [LANE]


async def test_a_lane_whose_drain_crashed_is_staged_when_its_marker_expires(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.trackers.ALIVE_S", 0.05)
    await track(store)
    await claim(store)  # its last sign of life
    assert await store.lanes.stage(now=T + 10**6) == []

    async with asyncio.timeout(5):
        while not (staged := await store.lanes.stage(now=T + 10**6)):
            await redis.pttl(MARKER)

    assert staged == [LANE]


async def test_busy_lanes_do_not_hide_those_that_wait(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.lanes.STAGE_LIMIT", 2)
    for n in range(5):
        await track(store, account=f"busy-{n}", now=T + n)
    for n in range(3):
        await track(store, account=f"waits-{n}", now=T + 10 + n)
        await redis.delete(f"test:drain:poll:waits-{n}")

    assert await store.lanes.stage(now=T + 99) == ["poll:waits-0", "poll:waits-1"]
    assert await store.lanes.stage(now=T + 99) == ["poll:waits-2"]


# --- lag and sweep --------------------------------------------------------------------------------


async def test_lag_is_the_age_of_the_oldest_due_work_of_all_lanes(store: Store) -> None:
    assert await store.lanes.lag_s(now=T) == 0
    await track(store, "g-1", now=T)
    await track(store, "g-2", account="other", now=T + 1000)

    assert await store.lanes.lag_s(now=T - 1) == 0
    assert await store.lanes.lag_s(now=T + 2500) == 2.5
    await claim(store, now=T + 2500)
    assert await store.lanes.lag_s(now=T + 2500) == 1.5


async def test_a_sweep_takes_out_what_has_ended_and_only_that(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.lanes.SWEEP_LIMIT", 2)
    for n in range(5):
        await track(store, f"g-{n}")
        await settle_out_of_lane(store, f"g-{n}")
    await track(store, "g-9")

    assert await store.lanes.sweep(now=T + 599_999) == 0
    assert await store.lanes.sweep(now=T + 600_000) == 5
    assert await store.lanes.sweep(now=T + 600_000) == 0
    counts = (await store.figures.read(["luma"], now=T)).trackers["luma"]
    assert {name: n for name, n in counts.items() if n} == {"tracking": 1}


async def test_an_unswept_entry_is_renewed_when_its_id_ends_once_more(
    store: Store, redis: Redis
) -> None:
    await track(store)
    await settle_out_of_lane(store, "g-1")
    await redis.delete("test:tracker:luma:g-1", "test:timeline:luma:g-1")  # its time had come
    await track(store, now=T + 600_000)
    claimed = await store.trackers.claim_one("luma", "g-1", rate=None, now=T + 600_000)
    assert isinstance(claimed, ClaimedTracker)
    done = replace(claimed.tracker, state=State.COMPLETED)
    await store.trackers.settle(done, now=T + 600_000)

    assert await store.lanes.sweep(now=T + 600_000) == 0
    counts = (await store.figures.read(["luma"], now=T)).trackers["luma"]
    assert counts[State.COMPLETED] == 1
    assert await store.lanes.sweep(now=T + 1_200_000) == 1
