"""Claims: what is due, in turn and out of turn, and a look that is hurried."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import Health, HealthReason, State, Terms, Tracker
from worker.store import LEASE_S, ClaimedTracker, Store

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
ENDED = [State.COMPLETED, State.FAILED, State.EXPIRED, State.CANCELED]


async def track(store: Store, *names: str, now: int = T) -> None:
    wanted = [(name, Terms(deadline_s=3600.0)) for name in names]
    await store.trackers.track("luma", "luma", wanted, now=now)


async def claim(store: Store, *, now: int = T, limit: int = 50, rate: float = 1000) -> list[str]:
    claimed = await store.trackers.claim("luma", limit=limit, rate=rate, now=now)
    return [each.generation_id for each in claimed.looks]


async def claim_one(store: Store, name: str, *, now: int = T) -> Tracker:
    claimed = await store.trackers.claim_one("luma", name, rate=1000, now=now)
    assert isinstance(claimed, ClaimedTracker)
    return claimed.tracker


async def end(store: Store, name: str, state: State) -> None:
    tracker = await claim_one(store, name)
    await store.trackers.settle(replace(tracker, state=state, finished_at=T), now=T)


# --- claims in turn -------------------------------------------------------------------------------


async def test_a_claim_takes_what_is_due_the_longest_overdue_first(store: Store) -> None:
    await track(store, "g-1", now=T + 2)
    await track(store, "g-2", now=T)
    await track(store, "g-3", now=T + 1)
    await track(store, "later", now=T + 4)

    claimed = await store.trackers.claim("luma", limit=2, rate=1000, now=T + 3)

    assert [each.generation_id for each in claimed.looks] == ["g-2", "g-3"]
    assert claimed.wake_at == T + 2  # there is more than it has hands for
    assert await claim(store, now=T + 3) == ["g-1"]


async def test_a_claim_without_hands_takes_nothing(store: Store) -> None:
    await track(store, "g-1", now=T)
    assert await claim(store, limit=0, now=T + 4_000_000) == []
    assert await claim(store, limit=1, now=T + 4_000_000) == ["g-1"]


async def test_what_is_claimed_is_due_again_when_the_lease_ends(store: Store) -> None:
    await track(store, "g-1")
    claimed = await store.trackers.claim("luma", limit=5, rate=1000, now=T)

    assert claimed.wake_at == T + LEASE_MS
    assert await claim(store, now=T + LEASE_MS - 1) == []
    assert await claim(store, now=T + LEASE_MS) == ["g-1"]


async def test_an_empty_lane_has_nothing_ahead(store: Store) -> None:
    claimed = await store.trackers.claim("luma", limit=5, rate=5, now=T)

    assert (claimed.looks, claimed.blind, claimed.wake_at) == ([], [], None)
    assert claimed.health == Health()


async def test_what_has_gone_though_a_queue_names_it_is_forgotten(
    store: Store, redis: Redis
) -> None:
    await track(store, "gone", "g-1")
    await redis.delete("test:tracker:luma:gone")

    assert await claim(store) == ["g-1"]
    assert await redis.zrange("test:due:poll:luma", 0, -1) == [b"g-1"]
    assert await redis.zrange("test:deadlines:luma", 0, -1) == [b"g-1"]


# --- claims out of turn ---------------------------------------------------------------------------


async def test_a_tracker_is_claimed_out_of_turn_and_then_not_in_turn(store: Store) -> None:
    await track(store, "g-1", "g-2")

    tracker = await claim_one(store, "g-1")

    assert (tracker.generation_id, tracker.state) == ("g-1", State.TRACKING)
    assert await claim(store, now=T + LEASE_MS - 1) == ["g-2"]
    assert await claim(store, now=T + LEASE_MS) == ["g-1"]


async def test_there_is_no_claim_of_what_is_not_tracked(store: Store) -> None:
    assert await store.trackers.claim_one("luma", "g-1", rate=5, now=T) is None


@pytest.mark.parametrize("state", ENDED)
async def test_what_is_over_can_be_claimed_but_is_due_never_again(
    store: Store, redis: Redis, state: State
) -> None:
    await track(store, "g-1")
    await end(store, "g-1", state)

    tracker = await claim_one(store, "g-1", now=T + 5)

    assert tracker.state is state
    assert await claim(store, now=T + 10**8) == []
    assert not await redis.exists("test:due:poll:luma", "test:deadlines:luma", "test:lanes")


async def test_a_claim_out_of_turn_waits_for_the_end_of_a_hold_unless_nobody_is_asked(
    store: Store,
) -> None:
    await track(store, "g-1")
    held = Health(reason=HealthReason.THROTTLED, streak=1, held_until=T + 7500, detail="429")
    await store.trackers.settle(replace(await claim_one(store, "g-1"), next_poll_at=T), health=held)

    assert await store.trackers.claim_one("luma", "g-1", rate=5, now=T) == 7.5
    assert isinstance(
        await store.trackers.claim_one("luma", "g-1", rate=None, now=T), ClaimedTracker
    )


async def test_a_claim_out_of_turn_is_within_the_budget_unless_nobody_is_asked(
    store: Store,
) -> None:
    await track(store, "g-1")
    assert await claim(store, rate=1) == ["g-1"]

    assert await store.trackers.claim_one("luma", "g-1", rate=1, now=T + 250) == 0.75
    for _ in range(3):
        free = await store.trackers.claim_one("luma", "g-1", rate=None, now=T + 250)
        assert isinstance(free, ClaimedTracker)
    paid = await store.trackers.claim_one("luma", "g-1", rate=1, now=T + 1000)
    assert isinstance(paid, ClaimedTracker)
    assert await store.trackers.claim_one("luma", "g-1", rate=1, now=T + 1000) == 1.0


# --- hurry ----------------------------------------------------------------------------------------


async def test_a_hurried_look_is_due_now(store: Store) -> None:
    await track(store, "g-1")
    tracker = await claim_one(store, "g-1")
    await store.trackers.settle(replace(tracker, next_poll_at=T + 60_000), now=T)
    assert await claim(store, now=T + 1000) == []

    assert await store.trackers.hurry("luma", "g-1", now=T + 1000) == (State.TRACKING, False)
    assert await claim(store, now=T + 1000) == ["g-1"]


async def test_hurrying_what_is_overdue_costs_it_no_place_in_the_queue(store: Store) -> None:
    await track(store, "g-1", now=T)
    await track(store, "g-2", now=T + 1)

    await store.trackers.hurry("luma", "g-1", now=T + 2)

    assert await claim(store, now=T + 2, limit=1) == ["g-1"]


async def test_hurrying_what_is_over_or_unknown_changes_nothing(store: Store, redis: Redis) -> None:
    await track(store, "g-1")
    await end(store, "g-1", State.COMPLETED)
    await redis.delete("test:drain:poll:luma")

    assert await store.trackers.hurry("luma", "g-1") == (State.COMPLETED, False)
    assert await store.trackers.hurry("luma", "nope") == (None, False)
    assert not await redis.exists("test:due:poll:luma", "test:drain:poll:luma")
