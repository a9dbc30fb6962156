"""Looks that show nothing new: written many at a time, no more than what they change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import Entry, State, Terms, Tracker, Watched
from worker.policy import rate_share, seen_again
from worker.store import ClaimedTracker, Store, timelines

T = 1_700_000_000_000


async def claim(store: Store, name: str = "g-1", now: int = T) -> Tracker:
    claimed = await store.trackers.claim_one("luma", name, rate=None, now=now)
    assert isinstance(claimed, ClaimedTracker)
    return claimed.tracker


def looked(tracker: Tracker, at: int) -> Watched:
    """Look at a tracker without seeing anything new."""
    after = seen_again(Watched.of(tracker), now=at, duration_ms=at - T, request_id=f"r-{at - T}")
    return after.but(next_poll_at=at + 9000)


@pytest.fixture
async def tracker(store: Store) -> Tracker:
    wanted = [(name, Terms(deadline_s=3600)) for name in ("g-1", "g-2", "g-3")]
    await store.trackers.track("luma", "luma", wanted, now=T)
    before = replace(await claim(store), provider_state='dre"am,ing', generation={"id": "g-1"})
    await store.trackers.settle(replace(before, next_poll_at=T), now=T)
    return await claim(store)


async def test_what_every_look_changes_is_read_back_with_all_the_rest(
    store: Store, tracker: Tracker
) -> None:
    after = looked(tracker, T + 5)

    assert await store.trackers.settle_waits("luma", [after], now=T) == [True]

    found = await store.trackers.get("luma", "g-1")
    assert found is not None
    assert Watched.of(found) == after.but(fence=found.fence)
    assert (found.polls, found.seen_at, found.generation) == (1, T + 5, {"id": "g-1"})


async def test_each_is_written_unless_somebody_settled_it_meanwhile(
    store: Store, tracker: Tracker
) -> None:
    others = [await claim(store, "g-2"), await claim(store, "g-3")]
    await store.trackers.settle(replace(others[0], state=State.CANCELED), now=T)
    looks = [looked(each, T + 5) for each in (tracker, *others)]

    written = await store.trackers.settle_waits("luma", looks, now=T)
    again = await store.trackers.settle_waits("luma", looks, now=T)

    assert (written, again) == ([True, False, True], [False] * 3)


async def test_it_is_due_when_the_look_says_and_at_its_deadline(
    store: Store, tracker: Tracker, redis: Redis
) -> None:
    await store.trackers.settle_waits("luma", [looked(tracker, T + 5)], now=T)

    assert await redis.zscore("test:due:poll:luma", "g-1") == T + 9005
    assert await redis.zscore("test:deadlines:luma", "g-1") == tracker.deadline_at


async def test_a_later_full_settle_counts_more(store: Store, tracker: Tracker) -> None:
    await store.trackers.settle_waits("luma", [looked(tracker, T + 5)], now=T)
    read = await claim(store)
    await store.trackers.settle(replace(read, polls=read.polls + 1, last_error="502"), now=T)

    found = await store.trackers.get("luma", "g-1")

    assert found is not None
    assert (found.polls, found.last_error) == (2, "502")


async def test_in_a_timeline_a_run_of_such_looks_is_one_line(
    store: Store, tracker: Tracker
) -> None:
    for at in (T + 5, T + 10, T + 20):
        await store.trackers.settle_waits("luma", [looked(await claim(store), at)], now=T)

    _, look = await store.trackers.timeline("luma", "g-1")

    said = {"provider_state": 'dre"am,ing', "duration_ms": 20, "request_id": "r-20"}
    assert look == Entry(T + 5, "look", {**said, "looks": 3, "until": T + 20})


async def test_what_happens_in_between_parts_the_runs(store: Store, tracker: Tracker) -> None:
    await store.trackers.settle_waits("luma", [looked(tracker, T + 5)], now=T)
    between = [Entry(T + 7, "look", {"error": "502", "duration_ms": 3})]
    await store.trackers.settle(replace(await claim(store), next_poll_at=T), entries=between, now=T)
    await store.trackers.settle_waits("luma", [looked(await claim(store), T + 9)], now=T)

    lines = await store.trackers.timeline("luma", "g-1")

    assert [each.at - T for each in lines] == [0, 5, 7, 9]


async def test_a_look_is_in_the_timeline_before_what_happened_after_it(
    store: Store, tracker: Tracker, redis: Redis
) -> None:
    await store.trackers.settle_waits("luma", [looked(tracker, T + 5)], now=T)
    await redis.rpush("test:timeline:luma:g-1", timelines.entry_to_json(Entry(T + 6, "attempt")))

    lines = await store.trackers.timeline("luma", "g-1")

    assert [each.kind for each in lines] == ["tracked", "look", "attempt"]

    await store.trackers.settle(await claim(store), entries=[Entry(T + 7, "change")], now=T)

    lines = await store.trackers.timeline("luma", "g-1")
    assert [each.kind for each in lines] == ["tracked", "look", "attempt", "change"]


async def test_a_look_at_what_was_claimed_by_a_page_reads_the_rest_when_it_is_asked_for(
    store: Store, tracker: Tracker
) -> None:
    await store.trackers.settle_waits("luma", [looked(tracker, T + 5)], now=T)

    claimed = await store.trackers.claim("luma", limit=9, rate=9, now=T + 9005)

    it = next(each for each in claimed.looks if each.generation_id == "g-1")
    assert it == Watched.of(it.whole())
    assert it.whole() == await store.trackers.get("luma", "g-1")


@pytest.mark.parametrize("minutes", [0, 1, 4, 30])
async def test_the_budget_is_spent_at_the_rate_that_the_policy_says(
    store: Store, minutes: int
) -> None:
    """The rule stands in two places: `policy.rate_share` and `rate_at` of common.lua."""
    names = [(f"n-{n}", Terms(deadline_s=36_000)) for n in range(100)]
    await store.trackers.track("luma", "luma", names, now=T)
    health = (await store.trackers.claim("luma", limit=0, rate=40, now=T)).health
    slowed = replace(health, slowed_until=T + 450_000)
    await store.trackers.tell_health("luma", slowed)
    now = T + 60_000 * minutes

    claimed = await store.trackers.claim("luma", limit=100, rate=40, now=now)

    assert len(claimed.looks) == int(40 * rate_share(slowed, now=now) + 1e-9)


async def test_it_is_told_how_many_requests_were_made_lately(
    store: Store, tracker: Tracker
) -> None:
    wanted = [(f"n-{n}", Terms(deadline_s=36_000)) for n in range(30)]
    await store.trackers.track("luma", "luma", wanted, now=T)
    assert len((await store.trackers.claim("luma", limit=100, rate=30, now=T)).looks) == 30

    assert await store.lanes.looks_per_second("poll:luma", now=T) == pytest.approx(0.5)
    assert await store.lanes.looks_per_second("poll:luma", now=T + 600_000) < 0.001
