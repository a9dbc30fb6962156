"""Trackers in Redis: tracked once, begun anew, found again in lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.model import Entry, State, Terms, Tracker
from worker.store import ClaimedTracker, Store, Tracked

T = 1_700_000_000_000
ENDED = [State.COMPLETED, State.FAILED, State.EXPIRED, State.CANCELED]


async def track(store: Store, *names: str, now: int = T, **terms: Any) -> Tracked:
    wanted = [(name, Terms(**{"deadline_s": 3600.0, **terms})) for name in names]
    return await store.trackers.track("luma", "luma", wanted, now=now)


async def claim(store: Store, *, now: int = T, limit: int = 50, rate: float = 1000) -> list[str]:
    claimed = await store.trackers.claim("luma", limit=limit, rate=rate, now=now)
    return [each.generation_id for each in claimed.looks]


async def claim_one(store: Store, name: str, *, now: int = T) -> Tracker:
    claimed = await store.trackers.claim_one("luma", name, rate=1000, now=now)
    assert isinstance(claimed, ClaimedTracker)
    return claimed.tracker


async def end(store: Store, name: str, state: State, *, now: int = T) -> None:
    tracker = await claim_one(store, name, now=now)
    await store.trackers.settle(replace(tracker, state=state, finished_at=now), now=now)


async def get(store: Store, name: str = "g-1") -> Tracker:
    found = await store.trackers.get("luma", name)
    assert found is not None
    return found


async def listed(store: Store, state: State, account: str = "luma") -> list[str]:
    found = await store.trackers.names([account], [state], before=None, limit=100)
    return [name for _, _, name in found]


# --- tracking -------------------------------------------------------------------------------------


async def test_a_new_tracker_is_due_at_once_and_keeps_its_terms(store: Store) -> None:
    terms = Terms(
        callback_url="https://hooks.example.com/x",
        metadata={"b": [1, {"ö": None}], "a": 0.5},
        headers={"x-a": "1"},
        events=("generation.completed", "generation.updated"),
        deadline_s=90.5,
    )
    tracked = await store.trackers.track("luma", "luma-agents", [("g-1", terms)], now=T)

    tracker = await get(store)
    assert tracked == Tracked(T, ["new"], must_start=True)
    assert (tracker.state, tracker.provider, tracker.terms) == (
        State.TRACKING,
        "luma-agents",
        terms,
    )
    assert (tracker.tracked_at, tracker.deadline_at) == (T, T + 90_500)
    assert await store.trackers.timeline("luma", "g-1") == [Entry(T, "tracked")]
    assert await claim(store) == ["g-1"]


@pytest.mark.parametrize("state", [State.TRACKING, State.COMPLETED, State.FAILED])
async def test_the_same_again_changes_nothing_whatever_its_state(
    store: Store, state: State
) -> None:
    await track(store, "g-1")
    if state is not State.TRACKING:
        await end(store, "g-1", state)
    before = await get(store)

    again = await track(store, "g-1", now=T + 1)

    assert (again.outcomes, again.must_start) == (["same"], False)
    assert await get(store) == before


@pytest.mark.parametrize("state", [State.TRACKING, State.COMPLETED, State.FAILED])
async def test_other_terms_are_a_conflict_and_change_nothing(store: Store, state: State) -> None:
    await track(store, "g-1")
    if state is not State.TRACKING:
        await end(store, "g-1", state)
    before = await get(store)

    assert (await track(store, "g-1", deadline_s=3601.0)).outcomes == ["conflict"]
    assert (await track(store, "g-1", metadata={"a": 1})).outcomes == ["conflict"]
    assert await get(store) == before


async def test_terms_are_the_same_whatever_the_order_of_their_keys(store: Store) -> None:
    await track(store, "g-1", metadata={"a": 1, "b": {"c": 2, "d": 3}}, headers={"x": "", "y": ""})

    again = await track(
        store, "g-1", metadata={"b": {"d": 3, "c": 2}, "a": 1}, headers={"y": "", "x": ""}
    )

    assert again.outcomes == ["same"]


@pytest.mark.parametrize("state", [State.EXPIRED, State.CANCELED])
async def test_an_expired_or_canceled_tracker_starts_anew_with_new_terms(
    store: Store, redis: Redis, state: State
) -> None:
    await track(store, "g-1", metadata={"a": 1})
    seen = replace(await claim_one(store, "g-1"), polls=9, generation={"id": "g-1"}, model="ray-2")
    await store.trackers.settle(replace(seen, state=state, last_error="404"), now=T)

    anew = await track(store, "g-1", now=T + 5000, metadata={"a": 2}, deadline_s=60.0)

    tracker = await get(store)
    assert anew.outcomes == ["new"]
    assert (tracker.state, tracker.polls, tracker.generation) == (State.TRACKING, 0, None)
    assert (tracker.model, tracker.last_error, tracker.reason) == (None, None, None)
    assert (tracker.terms.metadata, tracker.tracked_at) == ({"a": 2}, T + 5000)
    assert tracker.deadline_at == T + 65_000
    assert await claim(store, now=T + 5000) == ["g-1"]


@pytest.mark.parametrize("state", [State.EXPIRED, State.CANCELED])
async def test_a_tracker_begun_anew_keeps_its_old_timeline_and_outlives_its_old_end(
    store: Store, redis: Redis, state: State
) -> None:
    await track(store, "g-1")
    await end(store, "g-1", state)
    assert await redis.pttl("test:tracker:luma:g-1") > 0

    await track(store, "g-1", now=T + 5000)

    assert await redis.pttl("test:tracker:luma:g-1") == -1
    assert await redis.pttl("test:timeline:luma:g-1") == -1
    timeline = await store.trackers.timeline("luma", "g-1")
    assert timeline == [Entry(T, "tracked"), Entry(T + 5000, "tracked")]
    assert await store.lanes.sweep(now=T + 10**9) == 0
    assert await listed(store, State.TRACKING) == ["g-1"]
    assert await listed(store, state) == []


async def test_each_of_many_has_its_own_outcome(store: Store) -> None:
    await track(store, "same", "over", "other")
    await end(store, "over", State.CANCELED)
    await track(store, "other", deadline_s=1.0)
    wanted = [(name, Terms(deadline_s=3600.0)) for name in ("same", "new", "over", "new")]
    wanted.append(("other", Terms(deadline_s=2.0)))

    tracked = await store.trackers.track("luma", "luma", wanted, now=T)

    assert tracked.outcomes == ["same", "new", "new", "same", "conflict"]


async def test_a_thousand_are_tracked_in_one_step(store: Store) -> None:
    names = [f"g-{n}" for n in range(1000)]

    tracked = await track(store, *names)

    assert tracked.outcomes == ["new"] * 1000
    assert await store.tracking(["luma"]) == [1000]
    assert await claim(store, limit=1000, rate=10_000) == sorted(names)


# --- lists ----------------------------------------------------------------------------------------


async def test_trackers_are_listed_newest_first_page_by_page(store: Store) -> None:
    await track(store, "g-1", "g-2", "g-3")
    await store.trackers.track("other", "luma", [("g-4", Terms(deadline_s=60))])
    await end(store, "g-2", State.FAILED)

    async def page(before: int | None) -> list[tuple[int, str, str]]:
        accounts = ["luma", "other"]
        return await store.trackers.names(accounts, list(State), before=before, limit=3)

    first = await page(None)
    second = await page(first[-1][0])

    names = [(account, name) for _, account, name in first + second]
    assert names == [("other", "g-4"), ("luma", "g-3"), ("luma", "g-2"), ("luma", "g-1")]


async def test_reading_many_leaves_out_what_is_not_there(store: Store) -> None:
    await track(store, "g-1", "g-2")

    found = await store.trackers.get_many([("luma", n) for n in ("g-1", "nope", "g-2")])

    assert [each.generation_id for each in found] == ["g-1", "g-2"]
    assert await store.trackers.get_many([]) == []


@pytest.mark.parametrize("name", ["a:b", ":", "post:x", "tracking", "g 1", "ü", "%s", "a" * 200])
async def test_an_id_may_look_like_anything(store: Store, name: str) -> None:
    """Spaces and letters are refused earlier, but nothing here depends on that."""
    await store.trackers.track("a", "luma", [(name, Terms(deadline_s=60))], now=T)
    claimed = await store.trackers.claim("a", limit=5, rate=5, now=T)
    done = replace(claimed.looks[0].whole(), state=State.FAILED)
    assert (await store.trackers.settle(done, now=T))[0]

    assert await listed(store, State.FAILED, "a") == [name]
    assert await store.lanes.sweep(now=T + 600_000) == 1
    assert await listed(store, State.FAILED, "a") == []


async def test_the_same_id_in_two_accounts_is_two_trackers(store: Store) -> None:
    await store.trackers.track("a", "luma", [("b:c", Terms(deadline_s=60))])
    await store.trackers.track("b", "luma", [("c", Terms(deadline_s=60))])

    assert await listed(store, State.TRACKING, "a") == ["b:c"]
    assert await listed(store, State.TRACKING, "b") == ["c"]
    assert await store.trackers.get("b", "b:c") is None
