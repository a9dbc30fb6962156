"""Who starts a drain, how often, and which drains share a job."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import pytest
from arq.connections import ArqRedis

from worker import jobs, jobs_starting
from worker.crew import Crew
from worker.drain import BUDGET_JITTER, BUDGET_S
from worker.jobs import JOB_TIMEOUT_S
from worker.jobs_starting import LANES_A_JOB, Starter
from worker.model import Terms

from .conftest import JOB, LANE, Fleet, eventually, nothing_queued

# --- how a drain is started -----------------------------------------------------------------------


async def test_a_drain_is_started_by_the_bell_at_once(
    fleet: Fleet, deaf_but_for_the_bell: None
) -> None:
    async with fleet.working():
        began = asyncio.get_running_loop().time()
        await fleet.track()
        await fleet.drains.ran()
        assert asyncio.get_running_loop().time() - began < 0.3


async def test_a_lane_has_one_drain_however_much_is_tracked(
    fleet: Fleet, deaf_but_for_the_bell: None
) -> None:
    async def stay(lane: str) -> bool:
        return await asyncio.Event().wait()

    fleet.drains.does = stay
    async with fleet.working():
        await asyncio.gather(*[fleet.track(f"g-{n}") for n in range(50)])
        await fleet.track("g-1", account="other")
        await fleet.drains.ran("poll:other")

        assert fleet.drains.count == {LANE: 1, "poll:other": 1}
        assert sorted(await fleet.queued()) == [JOB, "test:drain:poll:other"]


async def test_two_workers_give_a_drain_to_one_of_them(fleet: Fleet) -> None:
    async with fleet.working(), fleet.working():
        for n in range(20):
            await fleet.start(f"lane-{n}")
        for n in range(20):
            await fleet.drains.ran(f"lane-{n}")
        await eventually(nothing_queued(fleet))

    assert set(fleet.drains.count.values()) == {1}


async def test_of_two_workers_the_one_with_less_to_do_takes_the_next_drain(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "GIVE_WAY_S", 2.0)

    async def stay(_: str) -> bool:
        return await asyncio.Event().wait()

    fleet.drains.does = stay
    crew = Crew()
    async with fleet.working(crew) as busy:
        await fleet.start("lane-1")
        await fleet.drains.ran("lane-1")
        crew.busy = 1.0
        async with fleet.working() as idle:
            await fleet.start("lane-2")
            await fleet.drains.ran("lane-2")

            assert "test:drain:lane-1" in busy.tasks
            assert "test:drain:lane-2" in idle.tasks


async def test_a_drain_that_hands_over_is_followed_by_the_next(
    fleet: Fleet, deaf_but_for_the_bell: None
) -> None:
    async def hand_over_twice(lane: str) -> bool:
        return fleet.drains.count[lane] < 3

    fleet.drains.does = hand_over_twice
    async with fleet.working():
        await fleet.track()
        await fleet.drains.ran(times=3)
        await eventually(nothing_queued(fleet))


async def test_drains_that_wait_for_hung_work_do_not_keep_the_next_from_starting(
    fleet: Fleet, deaf_but_for_the_bell: None
) -> None:
    """A job lives until the last look in it has ended, a drain hands over long before."""
    at_once = math.ceil(JOB_TIMEOUT_S / (BUDGET_S * (1 - BUDGET_JITTER)))

    async def hand_over_and_hang(lane: str) -> bool:
        if fleet.drains.count[lane] < at_once:
            await fleet.start(lane)
        return await asyncio.Event().wait()

    fleet.drains.does = hand_over_and_hang
    async with fleet.working():
        await fleet.track()
        await fleet.drains.ran(times=at_once)


async def test_lanes_that_are_started_together_share_jobs(fleet: Fleet) -> None:
    lanes = [f"lane-{n}" for n in range(3 * LANES_A_JOB)]
    await asyncio.gather(*map(fleet.start, lanes))

    assert len(await fleet.queued()) <= 4
    async with fleet.working():
        await eventually(nothing_queued(fleet))
    assert fleet.drains.count == dict.fromkeys(lanes, 1)


async def test_no_drain_waits_for_another_in_its_job(fleet: Fleet) -> None:
    async def stay_in_one(lane: str) -> bool:
        if lane == "lane-1":
            await asyncio.Event().wait()
        return fleet.drains.count[lane] < 2

    fleet.drains.does = stay_in_one
    await asyncio.gather(*[fleet.start(f"lane-{n}") for n in range(3)])
    async with fleet.working():
        await fleet.drains.ran("lane-0", times=2)
        await fleet.drains.ran("lane-2", times=2)


async def test_a_drain_that_fails_harms_no_other(fleet: Fleet, lines: list[Any]) -> None:
    async def fail(lane: str) -> bool:
        if lane == "lane-1":
            raise RuntimeError("a bug")
        return fleet.drains.count[lane] < 2

    fleet.drains.does = fail
    await asyncio.gather(*[fleet.start(f"lane-{n}") for n in range(3)])
    async with fleet.working():
        await fleet.drains.ran("lane-0", times=2)
        await fleet.drains.ran("lane-2", times=2)
        await eventually(nothing_queued(fleet))
    assert [(line["event"], line["lane"]) for line in lines] == [("drain failed", "lane-1")]


async def test_a_drain_that_cannot_be_followed_by_the_next_harms_no_other(
    fleet: Fleet, lines: list[Any]
) -> None:
    """An attempt that is cancelled after its receiver has taken it is made twice."""
    failed, ended = asyncio.Event(), []

    async def hand_over_or_stay(lane: str) -> bool:
        if lane == "lane-2":
            await failed.wait()
            for _ in range(10):  # time enough to be cancelled
                await asyncio.sleep(0)
            ended.append(lane)
        return lane == "lane-1"

    async def start(lane: str) -> None:
        failed.set()
        raise ConnectionError("Redis is away")

    fleet.drains.does, fleet.drains.start = hand_over_or_stay, start
    context = {"drains": fleet.drains, "stopping": asyncio.Event(), "outage": fleet.outage}

    await jobs.drain(context, "lane-1", "lane-2")

    assert ended == ["lane-2"]
    assert [line["event"] for line in lines] == ["redis is away"]


async def test_hundreds_of_lanes_that_are_found_waiting_are_a_few_jobs(fleet: Fleet) -> None:
    """Their worker was away for a while."""
    names = [f"account-{n}" for n in range(300)]
    for name in names:
        await fleet.store.trackers.track(name, "luma", [("g-1", Terms(deadline_s=60))])
    await fleet.redis.delete(*await fleet.redis.keys("test:drain:*"))

    await jobs.stage(fleet.worker().ctx)

    assert len(await fleet.queued()) <= 20
    async with fleet.working():
        for name in names:
            await fleet.drains.ran(f"poll:{name}")


# --- helping --------------------------------------------------------------------------------------


@dataclass(eq=False)
class Busy:
    """A drain at work."""

    lane: str
    in_hand: int = 1
    is_full: bool = True


async def test_help_comes_from_a_worker_that_does_not_drain_the_lane(fleet: Fleet) -> None:
    async with fleet.working():
        await fleet.start.ask_for_help(LANE)
        await fleet.drains.ran()

    assert fleet.drains.assisted == {LANE: 1}


async def test_a_worker_that_drains_the_lane_already_is_no_help(fleet: Fleet) -> None:
    busy = Crew()
    with busy.at_work(Busy(LANE)):
        async with fleet.working(crew=busy):
            await fleet.start.ask_for_help(LANE)
            await eventually(nothing_queued(fleet))

    assert fleet.drains.count == {}


async def test_who_asks_again_at_once_asks_once_and_later_once_more(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that took the first job may have been killed over it."""
    monkeypatch.setattr(jobs_starting, "HELP_S", 1e9)
    for _ in range(3):
        await fleet.start.ask_for_help(LANE)
    assert len(await fleet.queued()) == 1

    monkeypatch.setattr(jobs_starting, "HELP_S", 1e-3)
    await fleet.start.ask_for_help(LANE)
    assert len(await fleet.queued()) == 2


async def test_who_cannot_ask_since_redis_is_away_goes_on(fleet: Fleet) -> None:
    away = ArqRedis(host="127.0.0.1", port=1)
    await Starter(away, fleet.store, "test").ask_for_help(LANE)


async def test_who_cannot_ask_since_the_connection_has_broken_goes_on(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(fleet.redis, "enqueue_job", broken)
    await fleet.start.ask_for_help(LANE)
