"""What one machine carries: rates, delays and bytes, in one report.

The provider and the receivers are one process that answers at once: what is measured is
Dreamhook, its Redis and this load, all on the same cores. The provider has no list, so every look
is a request.

    python -m bench.capacity [--tracked 10000 100000 1000000] [--workers 1 2] [--seconds 15]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import astuple, dataclass
from itertools import product
from statistics import median
from typing import cast

import httpx
import orjson
import uvloop
from redis.asyncio import Redis

from bench import lanes, rig
from worker import telemetry
from worker.config import Settings
from worker.embedded import EmbeddedRedis
from worker.learner import Learner
from worker.looking import Looking
from worker.store import Store
from worker.wiring import opened

ACCOUNTS = [f"agents-{n}" for n in range(4)]
"""Looks spread over so many, since each may be asked 1,000 times a second at most."""

AT_ONCE = 32
"""What the receiver is said to take at once. The 8 of an endpoint that says nothing are 300 a
second if an attempt takes 27 ms; from claim to settled it takes more where two cores are full."""

ROUNDS = 7
RECENT = 200_000
"""Looked at again are some of so many whose first look is not long ago: others may have run so long
that a look teaches something, which costs more."""

SETTLING_S = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many registrations a second, of generations that the provider serves under a path."""

    what: str
    path: str
    rate: int


LOADS = [
    Load("registration to first look, ms", "stays", 1000),
    Load("end at the provider to webhook, ms", "ends", 300),
]


# --- the provider and the receivers -------------------------------------------------------------


class Outside(asyncio.Protocol):
    """Shows `/stays/…` running for ever, `/ends/…` completed at the second look, `/over/…` at once.

    A POST is a webhook; a GET of `/delays` tells how long each took, in ms from that second look.
    """

    asked: set[str] = set()  # noqa: RUF012 - of the whole process
    said: dict[str, float] = {}  # noqa: RUF012
    delays: list[float] = []  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        place = head.lower().find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r", 1)[0]) if place >= 0 else 0
        if len(body) < length:
            return
        self._received = body[length:]
        method, target, _ = head.split(b" ", 2)
        content = self._take(body[:length]) if method == b"POST" else self._show(target.decode())
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(content), content)
        )

    def _take(self, body: bytes) -> bytes:
        said = self.said.pop(orjson.loads(body)["data"]["generation_id"], None)
        if said is not None:
            self.delays.append(1000 * (time.perf_counter() - said))
        return b"{}"

    def _show(self, target: str) -> bytes:
        if target == "/delays":
            return orjson.dumps(self.delays)
        name = target.rpartition("/")[2]
        is_over = target.startswith("/over/") or (
            target.startswith("/ends/") and name in self.asked
        )
        self.asked.add(name)
        if is_over:
            self.said[name] = time.perf_counter()
        state = "completed" if is_over else "processing"
        output = [{"type": "image", "url": f"https://cdn.example/{name}"}] if is_over else []
        shown = {"id": name, "type": "image", "model": "uni-1", "state": state, "output": output}
        return orjson.dumps({**shown, "created_at": "2026-03-20T12:00:00Z", "failure_code": None})


async def serve(port: int) -> None:
    """Be the world outside."""
    server = await asyncio.get_running_loop().create_server(Outside, "127.0.0.1", port)
    await server.serve_forever()


# --- how much is tracked ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tracked:
    """So many trackers in a Redis of their own, each looked at once, and what that took."""

    count: int
    server: EmbeddedRedis
    redis: Redis
    store: Store
    looking: Looking
    registered: float
    first: float
    used: float

    async def again(self) -> lanes.Steady:
        """Look at some again whose first look is not long ago."""
        recent = range(max(0, self.count - RECENT), self.count)
        some = random.Random(1).sample(recent, min(self.count, lanes.LOOKS))
        names = [f"g-{n}" for n in some]
        return await lanes.again(self.redis, self.store, self.looking, names, self.server.pid)

    def line(self, rounds: Sequence[lanes.Steady]) -> str:
        """Write a line of the table: the medians of the rounds."""
        steady = [median(each) for each in zip(*map(astuple, rounds), strict=True)]
        cells = (self.count, self.registered, self.first, *steady, self.used)
        return f"| {' | '.join(f'{each:,.0f}' for each in cells)} |"


async def tracked(server: EmbeddedRedis, count: int) -> Tracked:
    """Track so many and look at each once."""
    redis = Redis.from_url(server.url)
    before = (await redis.info("memory"))["used_memory"]
    store = Store(redis, prefix="bench", retention_s=600)
    looking = Looking(store, {"luma": lanes.ACCOUNT}, {}, Learner(store, {}), lanes._start)  # noqa: SLF001
    started = time.perf_counter()
    await lanes.tracked(store, count)
    registered = count / (time.perf_counter() - started)
    started = time.perf_counter()
    await lanes.look(store, looking, count)
    first = count / (time.perf_counter() - started)
    used = ((await redis.info("memory"))["used_memory"] - before) / count
    return Tracked(count, server, redis, store, looking, registered, first, used)


# --- delays under load --------------------------------------------------------------------------


async def delays(port: int, load: Load, workers: int, seconds: float) -> list[float]:
    """Register so many a second over HTTP; returns ms to the first look, or to the webhook."""
    base_url = f"http://127.0.0.1:{port}"
    account = {"provider": "luma-agents", "api_key": "k", "polls_per_second": 1000}
    api_port = rig.free_port()
    with rig.redis() as redis:
        env = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_PORT": str(api_port),
            "DREAMHOOK_ACCOUNTS": json.dumps(
                {name: {**account, "base_url": f"{base_url}/{load.path}"} for name in ACCOUNTS}
            ),
            "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
            "DREAMHOOK_LOG_LEVEL": "warning",
        }
        async with AsyncExitStack() as stack:
            stack.enter_context(rig.process(*rig.dreamhook("serve"), port=api_port, **env))
            for _ in range(workers):
                stack.enter_context(rig.process(*rig.dreamhook("work"), **env))
            deployment = await stack.enter_async_context(opened(Settings.load(env)))
            await rig.at_work(deployment.store, workers)
            if load.path == "ends":
                await _put_endpoint(api_port, f"{base_url}/hook")
                names = await _register(api_port, {"endpoint": "hook"}, load.rate, seconds)
                return await _webhooks(base_url, len(names))
            names = await _register(api_port, {}, load.rate, seconds)
            return await _first_looks(deployment.store, names)


async def _put_endpoint(port: int, url: str) -> None:
    body = json.dumps({"url": url, "concurrency": AT_ONCE}).encode()
    await rig.load(port, [rig.request("PUT", "/v1/endpoints/hook", body)], connections=1)


async def _register(
    port: int, settings: dict[str, str], rate: int, seconds: float
) -> list[tuple[str, str]]:
    """PUT trackers, evenly spread over the time; returns their names."""
    count = int(rate * seconds)
    names = [(ACCOUNTS[n % len(ACCOUNTS)], str(uuid.uuid4())) for n in range(count)]
    body = json.dumps(settings).encode()
    started = time.perf_counter()
    for first in range(0, count, rate // 10):
        wait_s = started + first / rate - time.perf_counter()
        await asyncio.sleep(max(0.0, wait_s))
        puts = [
            rig.request("PUT", f"/v1/trackers/{account}/{name}", body)
            for account, name in names[first : first + rate // 10]
        ]
        await rig.load(port, puts, connections=8)
    took = time.perf_counter() - started
    print(f"registered {count / took:,.0f} a second over {took:.0f} s", file=sys.stderr)
    return names


async def _first_looks(store: Store, names: list[tuple[str, str]]) -> list[float]:
    async with asyncio.timeout(SETTLING_S):
        while True:
            found = await store.trackers.get_many(names)
            late = [each.entered_at - each.tracked_at for each in found if each.entered_at]
            if len(late) == len(names):
                return [float(each) for each in late]
            await asyncio.sleep(0.5)


async def _webhooks(base_url: str, count: int) -> list[float]:
    found: list[float] = []
    async with asyncio.timeout(4 * SETTLING_S), httpx.AsyncClient(trust_env=False) as http:
        while len(found) < count:
            await asyncio.sleep(0.5)
            found = (await http.get(f"{base_url}/delays")).json()
    return found


# --- the report ---------------------------------------------------------------------------------


def main() -> None:
    """Measure and print the report, as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("--tracked", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=15.0)
    asked = parser.parse_args()
    if asked.port:
        uvloop.run(serve(asked.port))
        return
    telemetry.configure("warning")
    print(f"{rig.machine()}, with Redis, workers and load on them.\n")
    uvloop.run(_tables(asked.tracked))
    print("| what | at | workers | p50 | p95 | p99 |\n|---|---|---|---|---|---|")
    for load, workers in product(LOADS, asked.workers):
        port = rig.free_port()
        with rig.process("-m", "bench.capacity", str(port), port=port):
            found = uvloop.run(delays(port, load, workers, asked.seconds))
        cells = " | ".join(f"{rig.percentile(found, p / 100):,.0f}" for p in (50, 95, 99))
        print(f"| {load.what} | {load.rate:,}/s | {workers} | {cells} |", flush=True)


async def _tables(counts: list[int]) -> None:
    print("| tracked | registered/s | first looks/s | looks/s | CPU µs a look | of Redis | bytes |")
    print("|---|---|---|---|---|---|---|")
    with ExitStack() as servers:
        sizes = [await tracked(servers.enter_context(rig.redis()), count) for count in counts]
        # In turns, since a machine that others use is faster in one minute than in the next.
        for each in sizes:
            await lanes.settled(each.redis)
        rounds = [[await each.again() for each in sizes] for _ in range(ROUNDS)]
        for size, of_size in zip(sizes, zip(*rounds, strict=True), strict=True):
            print(size.line(of_size), flush=True)
            await size.redis.aclose()
    with rig.redis() as server:
        redis = Redis.from_url(server.url)
        late = await lanes.lag(redis, 100_000)
        await redis.aclose()
    shares = ", ".join(f"p{p} {rig.percentile(late, p / 100):.3f} s" for p in (50, 95, 99))
    rate = len(late) / lanes.LAG_S
    print(f"\n100,000 in flight, {rate:,.0f} looks/s are due; they are late by {shares}.\n")


if __name__ == "__main__":
    main()
