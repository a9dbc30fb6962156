"""The arq side on a real Redis: who starts a drain, how often, and what heals by itself."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool

from worker import jobs, running
from worker.embedded import EmbeddedRedis
from worker.jobs import LANES_A_JOB, STAND_INS, Starter, Worker, create_worker, queue_name
from worker.model import Terms
from worker.store import Store

LANE = "poll:luma"
JOB = f"test:drain:{LANE}"


@dataclass
class Drains:
    """Stands in for drains: counts them, and does what the test says."""

    count: Counter[str] = field(default_factory=Counter)
    began: asyncio.Condition = field(default_factory=asyncio.Condition)
    does: Callable[[str], Awaitable[bool]] | None = None

    async def __call__(self, lane: str, stopping: asyncio.Event) -> bool:
        self.count[lane] += 1
        async with self.began:
            self.began.notify_all()
        return await self.does(lane) if self.does else False

    async def ran(self, lane: str = LANE, times: int = 1) -> None:
        async with asyncio.timeout(5), self.began:
            await self.began.wait_for(lambda: self.count[lane] >= times)


@dataclass
class Fleet:
    """One deployment's arq side, its drains stood in for."""

    redis: ArqRedis
    store: Store
    prefix: str = "test"
    drains: Drains = field(default_factory=Drains)

    def __post_init__(self) -> None:
        self.start = Starter(self.redis, self.store, self.prefix)
        self.swept = 0

    def worker(self) -> Worker:
        async def settle_switched_off() -> None:
            self.swept += 1

        return create_worker(
            *(self.redis, self.store, self.drains, self.start, settle_switched_off),
            prefix=self.prefix,
        )

    async def track(self, name: str = "g-1", account: str = "luma") -> None:
        """Do as the service does."""
        tracked = await self.store.trackers.track(account, "luma", [(name, Terms(deadline_s=60))])
        if tracked.must_start:
            await self.start(f"poll:{account}")

    async def queued(self) -> list[str]:
        names = await self.redis.zrange(queue_name(self.prefix), 0, -1)
        return [name.decode() for name in names if b":drain:" in name]

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        """Run a worker; it listens when the block begins."""
        worker = self.worker()
        tasks = [
            asyncio.create_task(self.store.bell.listen()),
            asyncio.create_task(worker.async_run()),
        ]
        health, bell = f"{queue_name(self.prefix)}:health-check", f"{self.prefix}:bell"
        async with asyncio.timeout(5):
            while not (await self.redis.exists(health) and await self.listeners(bell)):  # noqa: ASYNC110 - Redis sets no events
                await asyncio.sleep(0.002)
        try:
            yield worker
        finally:
            tasks += worker.tasks.values()
            await running._cancel(*tasks)

    async def listeners(self, channel: str) -> int:
        ((_, count),) = await self.redis.pubsub_numsub(channel)
        return int(count)


@asynccontextmanager
async def connected(server: EmbeddedRedis) -> AsyncIterator[ArqRedis]:
    pool = ConnectionPool.from_url(server.url)
    yield ArqRedis(pool, job_serializer=jobs.serialize, job_deserializer=jobs.deserialize)
    await pool.aclose()


@pytest.fixture
async def fleet(embedded: EmbeddedRedis) -> AsyncIterator[Fleet]:
    async with connected(embedded) as redis:
        await redis.flushall()
        yield Fleet(redis, Store(redis, prefix="test", retention_s=600))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain that shows no sign of life is given up after a tenth of a second."""
    for module in ("trackers", "lanes", "deliveries", "endpoints"):
        monkeypatch.setattr(f"worker.store.{module}.ALIVE_S", 0.1)


@pytest.fixture
def deaf_but_for_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker looks into its queue when the bell rings and not by itself: no cron either."""
    monkeypatch.setattr(jobs, "IDLE_POLL_S", 60.0)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await condition():  # noqa: ASYNC110 - Redis sets no events
            await asyncio.sleep(0.002)


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

    fleet.drains.does = hand_over_or_stay
    context = {"drains": fleet.drains, "start": start, "stopping": asyncio.Event()}

    await jobs.drain(context, "lane-1", "lane-2")

    assert ended == ["lane-2"]
    assert [line["lane"] for line in lines] == ["lane-1"]


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


def nothing_queued(fleet: Fleet) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return not await fleet.queued()

    return is_so


# --- what heals -----------------------------------------------------------------------------------


async def test_a_flushed_arq_queue_heals(fleet: Fleet, hasty: None) -> None:
    await fleet.track()
    await fleet.redis.delete(queue_name("test"), *await fleet.redis.keys("arq:*"))

    async with fleet.working():
        await fleet.drains.ran()


async def test_a_drain_that_nobody_started_heals(fleet: Fleet, hasty: None) -> None:
    """Whoever tracked was killed before he could start it."""
    await fleet.store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))])

    async with fleet.working():
        await fleet.drains.ran()


async def test_a_job_whose_text_has_expired_heals(fleet: Fleet, hasty: None) -> None:
    await fleet.track()
    await fleet.redis.delete(f"arq:job:{JOB}")

    async with fleet.working():
        await fleet.drains.ran()


async def test_a_job_locked_by_a_killed_worker_heals(fleet: Fleet, hasty: None) -> None:
    await fleet.track()
    await fleet.redis.set(f"arq:in-progress:{JOB}", 1, ex=40)

    async with fleet.working():
        await fleet.drains.ran()
        assert fleet.drains.count == {LANE: 1}


async def test_a_new_drain_is_staged_for_work_that_falls_due_later(fleet: Fleet) -> None:
    await fleet.track()
    claimed = await fleet.store.trackers.claim("luma", limit=1, rate=5)
    assert claimed.looks
    await fleet.store.trackers.hurry("luma", "g-1")
    await fleet.redis.delete(f"test:drain:{LANE}")

    async with fleet.working():
        await fleet.drains.ran()


async def test_deployments_that_share_a_redis_do_not_take_each_others_turn_to_heal(
    fleet: Fleet,
) -> None:
    """A cron job runs once per name and second, whoever asks for it."""
    other = Fleet(fleet.redis, fleet.store, prefix="other")

    ours, theirs = ({job.name for job in each.worker().cron_jobs} for each in (fleet, other))

    assert len(ours) == len(theirs) == 2
    assert ours.isdisjoint(theirs)


# --- what stays bounded ---------------------------------------------------------------------------


async def test_without_a_worker_the_queue_does_not_grow(fleet: Fleet, hasty: None) -> None:
    for n in range(3 * STAND_INS):
        await fleet.redis.delete(f"test:drain:{LANE}")  # as if the marker had expired
        await fleet.track(f"g-{n}")

    assert await fleet.queued() == [JOB, *(f"{JOB}:{n}" for n in range(1, STAND_INS + 1))]
    async with fleet.working():
        await eventually(nothing_queued(fleet))


async def test_nothing_of_a_drain_is_left_behind(fleet: Fleet, deaf_but_for_the_bell: None) -> None:
    async with fleet.working():
        await fleet.track()
        await fleet.drains.ran()
        await eventually(nothing_queued(fleet))
        assert await fleet.redis.keys(f"arq:*{JOB}*") == []


async def test_a_lane_whose_drain_does_nothing_is_not_drained_without_pause(fleet: Fleet) -> None:
    """So it is with an account that is no longer configured."""
    async with fleet.working() as worker:
        await fleet.track()
        await fleet.drains.ran()
        for _ in range(5):
            await jobs.stage(worker.ctx)
        assert fleet.drains.count == {LANE: 1}
        assert await fleet.queued() == []


async def test_all_that_arq_keeps_of_its_cron_ends(fleet: Fleet, hasty: None) -> None:
    await fleet.store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))])
    async with fleet.working():
        await fleet.drains.ran(times=2)

        keys = await fleet.redis.keys("arq:*")
        assert keys
        assert [key for key in keys if await fleet.redis.pttl(key) == -1] == []


# --- what it looks like ---------------------------------------------------------------------------


async def test_jobs_are_json(fleet: Fleet) -> None:
    await fleet.track()

    text = await fleet.redis.get(f"arq:job:{JOB}")
    job = json.loads(text)
    assert (job["f"], job["a"], job["k"]) == ("drain", [LANE], {})


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("a pickle from the queue was loaded",)


async def test_a_pickle_in_the_queue_is_not_loaded_and_does_not_stop_the_worker(
    fleet: Fleet,
) -> None:
    await fleet.redis.set("arq:job:bomb", pickle.dumps({"f": Bomb()}), ex=60)
    await fleet.redis.zadd(queue_name("test"), {"bomb": 1})

    async with fleet.working():
        await fleet.track()
        await fleet.drains.ran()
        await eventually(nothing_queued(fleet))


async def test_a_worker_shows_that_it_is_alive(fleet: Fleet) -> None:
    async with fleet.working():
        assert 0 < await fleet.redis.ttl("test:queue:health-check") <= 11


async def test_what_is_over_is_swept(fleet: Fleet) -> None:
    await fleet.redis.zadd("test:trackers:luma:completed", {"g-1": 1})
    await fleet.redis.zadd("test:expiry", {"trackers:luma:completed g-1": 1})

    await jobs.sweep(fleet.worker().ctx)

    assert await fleet.redis.zcard("test:trackers:luma:completed") == 0
    assert fleet.swept == 1
