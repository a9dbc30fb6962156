"""Workers of the arq side on a real Redis, and drains that take note of being run."""

from __future__ import annotations

import asyncio
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
from worker.crew import Crew
from worker.embedded import EmbeddedRedis
from worker.jobs import Worker, create_worker
from worker.jobs_outage import Outage
from worker.jobs_starting import Starter, deserialize, queue_name, serialize
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
    """Says whether a next drain is to be started."""

    start: Callable[[str], Awaitable[None]] | None = None

    assisted: Counter[str] = field(default_factory=Counter)

    async def __call__(self, lane: str, stopping: asyncio.Event, *, assists: bool = False) -> None:
        self.count[lane] += 1
        self.assisted[lane] += assists
        async with self.began:
            self.began.notify_all()
        if self.does and await self.does(lane) and self.start:
            await self.start(lane)

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
        self.start = self.drains.start = Starter(self.redis, self.store, self.prefix)
        self.swept, self.outage = 0, Outage()

    def worker(self, crew: Crew | None = None) -> Worker:
        async def settle_switched_off() -> None:
            self.swept += 1

        return create_worker(
            *(self.redis, self.store, self.drains, self.start, settle_switched_off),
            crew=crew or Crew(),
            reconcile_all=settle_switched_off,
            prefix=self.prefix,
            outage=self.outage,
        )

    async def track(self, name: str = "g-1", account: str = "luma") -> None:
        """Do as the service does."""
        tracked = await self.store.trackers.track(account, "luma", [(name, Terms(deadline_s=60))])
        if tracked.must_start:
            await self.start(f"poll:{account}")

    async def queued(self) -> list[str]:
        names = await self.redis.zrange(queue_name(self.prefix), 0, -1)
        return [name.decode() for name in names if b":drain:" in name or b":assist:" in name]

    @asynccontextmanager
    async def working(self, crew: Crew | None = None) -> AsyncIterator[Worker]:
        """Run a worker; it listens when the block begins."""
        worker = self.worker(crew)
        tasks = [
            asyncio.create_task(self.store.bell.listen()),
            asyncio.create_task(worker.async_run()),
        ]
        alive, bell = f"{self.prefix}:workers", f"{self.prefix}:bell"
        async with asyncio.timeout(5):
            while not (await self.redis.exists(alive) and await self.listeners(bell)):  # noqa: ASYNC110 - Redis sets no events
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
    yield ArqRedis(pool, job_serializer=serialize, job_deserializer=deserialize)
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


def nothing_queued(fleet: Fleet) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return not await fleet.queued()

    return is_so
