"""Deliveries per second to receivers that answer in 100 ms, beside simpler senders in the same run.

Receivers live in a process of their own, each origin an address. Ours is a worker process with
Redis, leases, signatures and records; the rivals only post, with nothing kept: one shared httpx
client, and aiohttp with one session. The rate leaves out the first and the last tenth; the CPU is
that of the sending process alone, which says more on a machine that others use too.

    python -m bench.deliveries [origins …]
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import aiohttp
import httpx
from arq.connections import ArqRedis
from redis.asyncio import BlockingConnectionPool

from bench import rig
from bench.receivers import host, is_hung
from worker import events
from worker.jobs_starting import Starter, deserialize, serialize
from worker.model import Endpoint, EndpointEvent
from worker.store import Store

IN_FLIGHT = 200
PAUSE_MS = 100
DELIVERIES = 6_000  # and one for every origin at least
RIVAL_S = 4.0
PACED_S = 6.0
PACE = 0.6  # of what was measured just before
SEED = 20
FIRST_HEALTHY = 1
MOST_ORIGINS = 1000
AT_ONCE = 64  # calls to Redis by those who owe webhooks

Post = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Receivers:
    """A running process of receivers."""

    port: int
    control: int

    def url(self, n: int) -> str:
        """Name the n-th receiver."""
        return f"http://{host(n)}:{self.port}/hook"

    async def told(self) -> dict[str, object]:
        """Ask what the healthy ones have taken."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control)
        found: dict[str, object] = json.loads(await reader.read())
        writer.close()
        return found


@dataclass(frozen=True, slots=True)
class Figures:
    """What a sender came to: deliveries per second, and milliseconds of its CPU for each."""

    rate: float
    cpu_ms: float
    lags: Sequence[float] = ()

    def __str__(self) -> str:
        return f"{self.rate:7.0f}/s  {self.cpu_ms:5.2f} ms CPU each"


def main() -> None:
    """Measure and print a table."""
    print(f"{rig.machine()}; receivers answer after {PAUSE_MS} ms")
    for origins in [int(each) for each in sys.argv[1:]] or [20, 500, 10_000]:
        print(f"  {origins} origins")
        everyone = range(origins)
        healthy = [n for n in everyone if not is_hung(n)]
        ours = run_ours(everyone, "dreamhook, Redis and signing included")
        if origins > MOST_ORIGINS:
            continue  # here the cost of a lane is the question
        alone = run_ours(healthy, "the same, four of five receivers")
        beside = run_ours(everyone, "the same, the fifth there and hung", hung=origins)
        print(f"    healthy receivers keep {beside.rate / alone.rate:.0%}; goal: 90 %")
        paced(origins, PACE * ours.rate)
        aio, shared = run_rivals(origins)
        print(
            f"    beside aiohttp {ours.rate / aio.rate:.2f} times, beside the shared httpx client"
            f" {ours.rate / shared.rate:.1f} times; goal: 1,200/s and 10 times"
        )


def run_ours(to: Sequence[int], name: str, *, hung: int = 0) -> Figures:
    """Let a worker deliver what it finds; `hung`: of so many origins every fifth hangs."""
    each = -(-DELIVERIES // len(to))
    expected = each * sum(not (hung and is_hung(n)) for n in to)
    with receivers(hung) as there, rig.redis() as redis:
        asyncio.run(seed(redis.url, there, to, each))
        with worker(redis.url) as pid:
            figures = asyncio.run(until(there, expected, pid))
    return shown(name, figures)


def paced(origins: int, rate: float) -> None:
    """Owe webhooks at `rate`, every fifth to a hung receiver; how long do the others wait?"""
    with receivers(origins) as there, rig.redis() as redis:
        asyncio.run(seed(redis.url, there, [FIRST_HEALTHY], 1))
        with worker(redis.url) as pid:
            asyncio.run(until(there, 1, pid))  # the worker is up
            expected = 1 + asyncio.run(owe(redis.url, there, origins, rate))
            lags = asyncio.run(until(there, expected, pid)).lags[1:]
    p50, p99 = (1000 * rig.percentile(lags, share) for share in (0.5, 0.99))
    print(
        f"    at {rate:.0f}/s, every fifth hung: from due to sent"
        f" p50 {p50:.0f} ms, p99 {p99:.0f} ms; goal: p99 1000 ms"
    )


def shown(name: str, figures: Figures) -> Figures:
    print(f"    {name:40} {figures}", flush=True)
    return figures


@contextmanager
def receivers(hung: int = 0) -> Iterator[Receivers]:
    """Run receivers; of the first `hung` origins every fifth hangs."""
    there = Receivers(rig.free_port(), rig.free_port())
    numbers = (there.port, there.control, PAUSE_MS, hung)
    with rig.process("-m", "bench.receivers", *map(str, numbers), port=there.control):
        yield there


@contextmanager
def worker(redis_url: str) -> Iterator[int]:
    """Run a worker process; gives its process ID."""
    settings = {
        "DREAMHOOK_REDIS_URL": redis_url,
        "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
        "DREAMHOOK_LOG_LEVEL": "error",
    }
    with rig.process(*rig.dreamhook("work"), **settings) as child:
        yield child.pid


@asynccontextmanager
async def office(redis_url: str) -> AsyncIterator[tuple[Store, Starter]]:
    """Open what those have who owe webhooks."""
    pool = BlockingConnectionPool.from_url(redis_url, max_connections=32, timeout=20)
    redis = ArqRedis(pool, job_serializer=serialize, job_deserializer=deserialize)
    store = Store(redis, prefix="dreamhook", retention_s=604800)
    yield store, Starter(redis, store, "dreamhook")
    await pool.aclose()


def endpoint(there: Receivers, n: int, origins: int) -> Endpoint:
    return Endpoint(name=f"r{n}", url=there.url(n), concurrency=max(1, IN_FLIGHT // origins))


async def register(store: Store, to: Sequence[Endpoint]) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    for some in batches(to):
        puts = (store.endpoints.put(each, enabled=None, secret=secret) for each in some)
        await asyncio.gather(*puts)


def batches(all_: Sequence[Endpoint]) -> Iterator[Sequence[Endpoint]]:
    return (all_[n : n + AT_ONCE] for n in range(0, len(all_), AT_ONCE))


async def owe_one(store: Store, to: Endpoint) -> str:
    """Owe one webhook that says when it was due; returns the lane to start."""
    event = events.about_endpoint(to, EndpointEvent.TEST, "x" * 600 + f"due={time.time()};", 0)
    owed, lane = events.owed_notice(event.id, event.type, to, 0)
    return await store.deliveries.announce(events.owing(event, owed, lane))


async def seed(redis_url: str, there: Receivers, to: Sequence[int], each: int) -> None:
    """Owe every receiver so many, before there is a worker."""
    async with office(redis_url) as (store, start):
        endpoints = [endpoint(there, n, len(to)) for n in to]
        await register(store, endpoints)
        for some in batches(endpoints * each):
            lanes = await asyncio.gather(*(owe_one(store, one) for one in some))
            await asyncio.gather(*(start(lane) for lane in lanes if lane))


async def owe(redis_url: str, there: Receivers, origins: int, rate: float) -> int:
    """Owe webhooks to random receivers at `rate`; returns how many are for healthy ones."""
    dice, owed, to_healthy = random.Random(SEED), set[asyncio.Task[None]](), 0
    async with office(redis_url) as (store, start):
        endpoints = [endpoint(there, n, 20) for n in range(origins)]
        await register(store, endpoints)

        async def owe_and_start(to: Endpoint) -> None:
            if lane := await owe_one(store, to):
                await start(lane)

        began = time.monotonic()
        for n in range(int(PACED_S * rate)):
            await asyncio.sleep(max(0, began + n / rate - time.monotonic()))
            to = dice.randrange(origins)
            to_healthy += not is_hung(to)
            owed.add(task := asyncio.create_task(owe_and_start(endpoints[to])))
            task.add_done_callback(owed.discard)
        await asyncio.gather(*owed)
    return to_healthy


async def until(there: Receivers, expected: int, pid: int) -> Figures:
    """Wait until the healthy receivers have taken so many."""
    async with asyncio.timeout(180):
        while not (first := await there.told())["count"]:  # noqa: ASYNC110 - polled over TCP
            await asyncio.sleep(0.05)
        cpu_s = rig.cpu_s(pid)
        while (found := await there.told())["count"] < expected:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.5)
    cpu_s = rig.cpu_s(pid) - cpu_s
    return Figures(found["rate"], 1000 * cpu_s / (expected - first["count"] or 1), found["lags"])


def run_rivals(origins: int) -> tuple[Figures, Figures]:
    """Let the rivals post for some seconds each."""
    with receivers() as there:
        return asyncio.run(_rivals([there.url(n) for n in range(origins)]))


async def _rivals(urls: Sequence[str]) -> tuple[Figures, Figures]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def with_aiohttp(url: str, body: bytes) -> None:
            async with session.post(url, data=body) as answer:
                await answer.read()

        aio = shown(f"aiohttp alone, {IN_FLIGHT} in flight", await _measured(urls, with_aiohttp))
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def with_httpx(url: str, body: bytes) -> None:
            await client.post(url, content=body)

        name = f"one shared httpx client, {IN_FLIGHT} in flight"
        return aio, shown(name, await _measured(urls, with_httpx))


async def _measured(urls: Sequence[str], post: Post) -> Figures:
    body, done, until_ = b"x" * 760, 0, time.perf_counter() + RIVAL_S

    async def sender(n: int) -> None:
        nonlocal done
        while time.perf_counter() < until_:
            n += IN_FLIGHT + 1
            with suppress(OSError, httpx.TransportError, aiohttp.ClientError):
                await post(urls[n % len(urls)], body)
                done += 1

    started, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(sender(n) for n in range(IN_FLIGHT)))
    took, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    return Figures(done / took, 1000 * cpu_s / done)


if __name__ == "__main__":
    main()
