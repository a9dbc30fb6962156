"""Settles: what a look made of a tracker is written once, with its event, or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.model import (
    Delivery,
    DeliveryState,
    Entry,
    NewEvent,
    State,
    Terms,
    Tracker,
)
from worker.store import LEASE_S, ClaimedTracker, Store

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
POST = "post:https://hooks.example.com:443"
TRACKER = "test:tracker:luma:g-1"
ENDED = [State.COMPLETED, State.FAILED, State.EXPIRED, State.CANCELED]


@pytest.fixture
async def tracker(store: Store) -> Tracker:
    """One tracker, claimed for a look."""
    terms = Terms(deadline_s=3600.0)
    await store.trackers.track("luma", "luma", [("g-1", terms)], now=T)
    return await claim(store)


async def claim(store: Store, *, now: int = T) -> Tracker:
    claimed = await store.trackers.claim_one("luma", "g-1", rate=None, now=now)
    assert isinstance(claimed, ClaimedTracker)
    return claimed.tracker


async def get(store: Store) -> Tracker:
    found = await store.trackers.get("luma", "g-1")
    assert found is not None
    return found


def event(number: int = 1, *, owed: bool = True) -> NewEvent:
    delivery = Delivery(
        id=f"dlv_{number}",
        event_id=f"evt_{number}",
        type="generation.completed",
        account="luma",
        generation_id="g-1",
        endpoint="url_1",
        url="https://hooks.example.com/x",
        state=DeliveryState.PENDING,
        created_at=T,
        next_attempt_at=T,
    )
    name, body = f"evt_{number}", b'{"\xc3\xb6":1}'
    if not owed:
        return NewEvent(id=name, type="generation.completed", body=body)
    return NewEvent(id=name, type="generation.completed", body=body, delivery=delivery, lane=POST)


def over(tracker: Tracker, state: State = State.COMPLETED) -> Tracker:
    return replace(tracker, state=state, finished_at=T, next_poll_at=None)


async def events(redis: Redis) -> list[str]:
    return [e[b"event_id"].decode() for _, e in await redis.xrange("test:events")]


async def owed(store: Store) -> list[str]:
    found = await store.deliveries.ids(list(DeliveryState), before=None, limit=100)
    return [name for _, name in found]


async def settle(store: Store, after: Tracker, **more: Any) -> bool:
    return (await store.trackers.settle(after, now=T, **more))[0]


# --- what is written ------------------------------------------------------------------------------


async def test_all_that_a_look_showed_is_there_afterwards(store: Store, tracker: Tracker) -> None:
    after = replace(
        tracker,
        provider_state="dreaming",
        model="ray-2",
        type="video",
        assets={"video": "https://a.example/v.mp4"},
        polls=2,
        poll_errors=1,
        last_error="502 Bad Gateway",
        seen_at=T + 5,
        created_at=T - 9,
        next_poll_at=T + 9000,
        generation={"id": "g-1", "prompt": "ö\x00 \U0001f600", "n": [1.5, None, {}]},
    )

    assert await settle(store, after)

    found = await get(store)
    assert found == replace(after, fence=found.fence)


async def test_a_look_that_showed_nothing_leaves_the_generation_as_it_was(
    store: Store, tracker: Tracker
) -> None:
    await settle(store, replace(tracker, next_poll_at=T, generation={"id": "g-1"}))

    await settle(store, replace(await claim(store), next_poll_at=T, last_error="502"))

    assert (await get(store)).generation == {"id": "g-1"}


async def test_a_settled_look_is_due_when_it_says_and_at_its_deadline(
    store: Store, redis: Redis, tracker: Tracker
) -> None:
    await settle(store, replace(tracker, next_poll_at=T + 9000))

    assert await redis.zscore("test:due:poll:luma", "g-1") == T + 9000
    assert await redis.zscore("test:deadlines:luma", "g-1") == T + 3_600_000
    assert await redis.zscore("test:lanes", "poll:luma") == T + 9000


@pytest.mark.parametrize("state", ENDED)
async def test_what_is_over_is_listed_as_such_and_due_nowhere(
    store: Store, redis: Redis, tracker: Tracker, state: State
) -> None:
    assert await settle(store, over(tracker, state))

    counts = (await store.figures.read(["luma"], now=T)).trackers["luma"]
    assert {name: n for name, n in counts.items() if n} == {state.value: 1}
    assert not await redis.exists("test:due:poll:luma", "test:deadlines:luma", "test:lanes")


async def test_a_timeline_keeps_its_newest_200_entries(store: Store, tracker: Tracker) -> None:
    for first in range(0, 250, 50):
        entries = [Entry(T + n, "look", {"n": n}) for n in range(first, first + 50)]
        await settle(store, replace(await claim(store), next_poll_at=T), entries=entries)
    assert len(await store.trackers.timeline("luma", "g-1")) == 200
    ended = [Entry(T + 250, "canceled")]
    await settle(store, over(await claim(store), State.CANCELED), entries=ended)
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=3600.0))], now=T + 250)

    found = await store.trackers.timeline("luma", "g-1")

    assert len(found) == 200
    assert [each.kind for each in found[-3:]] == ["look", "canceled", "tracked"]
    assert found[-3] == Entry(T + 249, "look", {"n": 249})


# --- once -----------------------------------------------------------------------------------------


async def test_the_same_settle_twice_is_applied_once(
    store: Store, redis: Redis, tracker: Tracker
) -> None:
    """Whoever sends it again may have lost Redis's answer to the first."""
    end = {"event": event(), "entries": [Entry(T, "event")]}
    assert await settle(store, over(tracker), **end)

    assert not await settle(store, over(tracker), **end)
    assert not await settle(store, over(tracker), event=event(2))

    assert await events(redis) == ["evt_1"]
    assert await owed(store) == ["dlv_1"]
    assert len(await store.trackers.timeline("luma", "g-1")) == 2


async def test_a_look_that_goes_on_is_settled_once_as_well(store: Store, tracker: Tracker) -> None:
    after = replace(tracker, polls=1, next_poll_at=T + 1000)
    assert await settle(store, after, entries=[Entry(T, "look")])
    before = await get(store)

    assert not await settle(store, after, entries=[Entry(T, "look")])

    assert await get(store) == before
    assert len(await store.trackers.timeline("luma", "g-1")) == 2


async def test_of_many_who_claimed_it_at_once_one_settles(store: Store, redis: Redis) -> None:
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)
    states = [State.COMPLETED, State.FAILED, State.EXPIRED] * 8

    claimed = await asyncio.gather(*(claim(store) for _ in states))
    settles = (
        settle(store, over(tracker, state), event=event(number))
        for number, (tracker, state) in enumerate(zip(claimed, states, strict=True))
    )

    applied = await asyncio.gather(*settles)

    won = applied.index(True)
    assert applied.count(True) == 1
    assert (await get(store)).state is states[won]
    assert await events(redis) == [f"evt_{won}"]
    assert await owed(store) == [f"dlv_{won}"]


async def test_a_slow_answer_counts_though_others_have_claimed_since(
    store: Store, tracker: Tracker
) -> None:
    """Else whoever asks again and again, faster than the provider answers, would see no end."""
    for second in range(1, 5):
        await store.trackers.hurry("luma", "g-1", now=T + second)
        assert (await store.trackers.claim("luma", limit=1, rate=9, now=T + second)).looks
        await claim(store, now=T + second)

    assert await settle(store, over(tracker))


async def test_an_answer_that_comes_after_another_was_settled_changes_nothing(
    store: Store, redis: Redis, tracker: Tracker
) -> None:
    second = await claim(store, now=T + LEASE_MS)
    await settle(store, replace(second, polls=1, next_poll_at=T + 90_000))

    assert not await settle(store, over(tracker), event=event())

    assert (await get(store)).state is State.TRACKING
    assert await redis.zscore("test:due:poll:luma", "g-1") == T + 90_000
    assert await events(redis) == []


async def test_an_answer_that_comes_after_the_cancel_changes_nothing(
    store: Store, redis: Redis, tracker: Tracker
) -> None:
    await settle(store, over(await claim(store), State.CANCELED))

    assert not await settle(store, over(tracker), event=event())

    assert (await get(store)).state is State.CANCELED
    assert await events(redis) == []


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "long gone"])
async def test_an_answer_to_an_earlier_tracking_changes_nothing(
    store: Store, redis: Redis, tracker: Tracker, *, kept: bool
) -> None:
    await settle(store, over(await claim(store), State.CANCELED))
    if not kept:  # its retention has passed
        await redis.delete(TRACKER, "test:timeline:luma:g-1")
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)
    for _ in range(5):
        assert not await settle(store, over(tracker), event=event())
        await claim(store)

    assert (await get(store)).state is State.TRACKING
    assert await events(redis) == []


async def test_an_answer_for_what_has_gone_leaves_nothing_behind(
    store: Store, redis: Redis, tracker: Tracker
) -> None:
    await settle(store, over(await claim(store)))
    await redis.flushall()

    assert not await settle(store, over(tracker), event=event())
    assert await redis.keys() == []


# --- what is over stays over ----------------------------------------------------------------------


@pytest.mark.parametrize("state", ENDED)
async def test_a_look_at_what_is_over_brings_news_but_no_event_and_no_new_life(
    store: Store, redis: Redis, tracker: Tracker, state: State
) -> None:
    await settle(store, over(tracker, state))
    for key in await redis.keys("test:*:luma:g-1"):
        await redis.pexpire(key, 5000)
    seen = replace(await claim(store), assets={"video": "new"}, polls=1, generation={"id": "g-1"})

    assert await settle(store, seen, event=event())

    found = await get(store)
    assert (found.state, found.assets, found.generation) == (state, {"video": "new"}, {"id": "g-1"})
    assert await events(redis) == []
    lefts = [await redis.pttl(key) for key in await redis.keys("test:*:luma:g-1")]
    assert all(0 < left <= 5000 for left in lefts)
    assert await store.lanes.sweep(now=T + 600_000) == 1


@pytest.mark.parametrize("other", [State.TRACKING, State.CANCELED, State.FAILED])
async def test_what_is_over_takes_no_other_state(
    store: Store, redis: Redis, tracker: Tracker, other: State
) -> None:
    await settle(store, over(tracker))
    before = await get(store)

    assert not await settle(store, replace(await claim(store), state=other), event=event())

    assert await get(store) == before
    assert await events(redis) == []
