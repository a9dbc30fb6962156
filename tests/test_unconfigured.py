"""Trackers of an account that the deployment no longer configures: kept, counted, ended in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from worker.model import Account, Reason, State, Terms
from worker.poller import Poller
from worker.status import Status
from worker.store import ClaimedTracker, Store
from worker.store.scripts import REST_S

LANE = "poll:former"
LONG_AGO_S = 1_000_000
HOOK = "https://hooks.example.com/luma"

LUMA = Account(name="luma", provider="luma", api_key="k", base_url="http://x")


async def track(store: Store, *names: str, deadline_s: float = 3600, **terms: Any) -> None:
    agreed = Terms(deadline_s=deadline_s, **terms)
    await store.trackers.track("former", "luma", [(name, agreed) for name in names])


async def drain(store: Store) -> list[str]:
    """Run the drain of a deployment that configures another account; tell what it started."""
    started: list[str] = []

    async def start(lane: str) -> None:
        started.append(lane)

    await Poller(store, {"luma": LUMA}, {}, start).drain("former", LANE, asyncio.Event())
    return started


async def state(store: Store, name: str) -> tuple[State, Reason | None, str | None]:
    tracker = await store.trackers.get("former", name)
    assert tracker is not None
    return tracker.state, tracker.reason, tracker.last_error


async def staged(store: Store, *, in_s: float = 0) -> list[str]:
    return await store.lanes.stage(now=await store.now() + round(in_s * 1000))


async def test_its_lane_sleeps_and_counts_as_no_lag(store: Store) -> None:
    await track(store, "g-1")
    assert await drain(store) == []
    assert await staged(store) == []
    assert await store.lanes.lag_s(now=await store.now() + 10_000) == 0
    assert (await state(store, "g-1"))[0] is State.TRACKING


async def test_now_and_then_it_is_tried_whether_somebody_knows_it_by_now(store: Store) -> None:
    await track(store, "g-1")
    await drain(store)
    assert await staged(store, in_s=REST_S + 1) == [LANE]


async def test_it_is_awake_for_the_next_deadline(store: Store) -> None:
    await track(store, "g-1", deadline_s=20)
    await drain(store)
    assert await staged(store, in_s=19) == []
    assert await staged(store, in_s=20) == [LANE]


async def test_a_deadline_ends_its_tracker_with_an_event_that_is_owed(
    store: Store, redis: Redis
) -> None:
    await track(store, "late", deadline_s=-LONG_AGO_S, callback_url=HOOK)
    await track(store, "in-time")
    started = await drain(store)
    assert await state(store, "late") == (
        *(State.EXPIRED, Reason.DEADLINE),
        "account former is not configured",
    )
    assert (await state(store, "in-time"))[0] is State.TRACKING
    assert started == ["post:https://hooks.example.com:443", LANE]
    assert await redis.xlen("test:events") == 1
    assert await drain(store) == []
    assert await staged(store) == []


async def test_it_is_counted_until_it_tracks_nothing(store: Store, redis: Redis) -> None:
    await track(store, "g-1", "g-2")
    await drain(store)
    assert await store.strays({"luma"}) == {"former": 2}
    for name in ("g-1", "g-2"):
        claimed = await store.trackers.claim_one("former", name, rate=None)
        assert isinstance(claimed, ClaimedTracker)
        await store.trackers.settle(replace(claimed.tracker, state=State.CANCELED))
    assert await store.strays({"luma"}) == {}
    await drain(store)
    assert await redis.exists("test:unconfigured") == 0


async def test_once_configured_it_is_an_account_like_others(store: Store) -> None:
    await track(store, "g-1")
    await drain(store)
    assert await store.strays({"former"}) == {}


async def test_it_is_shown_among_the_accounts_and_the_troubles(store: Store) -> None:
    await track(store, "g-1")
    await drain(store)
    status = Status(store, accounts={"luma": LUMA}, deadlines={"luma": 60.0})
    luma, former = await status.accounts()
    assert (luma["name"], luma["configured"], luma["tracking"]) == ("luma", True, 0)
    assert (former["name"], former["configured"], former["tracking"]) == ("former", False, 1)
    [trouble] = await status.troubles()
    assert "account former: it is not configured, but 1 " in trouble


async def test_more_than_one_claim_holds_are_ended_drain_by_drain(store: Store) -> None:
    await track(store, *(f"g-{n}" for n in range(450)), deadline_s=-LONG_AGO_S)
    drains = 1
    while await drain(store):
        drains += 1
        assert drains < 20
    assert await store.tracking(["former"]) == [0]
