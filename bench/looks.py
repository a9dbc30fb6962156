"""Looks per second against a provider that takes 0 ms.

The provider is a process of its own that answers every request at once. First the looks of one
account's provider client, which is all of a look but the store: from the generation's ID to what
it means. Beside it the same client on httpx's own engine, and bare aiohttp that reads the bytes
and nothing more. Then those of a whole `dreamhook work` with its Redis: claimed, made, decided and
settled.

    python -m bench.looks
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import cast

import aiohttp
import httpx
import orjson
import uvloop

from bench import rig
from worker import figures
from worker.config import Settings
from worker.listing import Page
from worker.model import Account, Seen, Terms
from worker.providers.client import ProviderClient
from worker.providers.spec import load
from worker.providers.transport import MAX_CONNECTIONS
from worker.store import Store
from worker.wiring import opened

LOOKS = 3000
ROUNDS = 3
IN_FLIGHT = (1, 10, 50)
ACCOUNTS, WATCHED = [f"agents-{n}" for n in range(8)], 1000
START_S, MEASURED_S = 8.0, 4.0
ROWS = 100

REQUEST = {
    "generation_type": "video",
    "model": "ray-2",
    "prompt": "a fox in the snow, turning to look at the camera",
    "aspect_ratio": "16:9",
    "loop": False,
    "keyframes": None,
    "callback_url": None,
    "resolution": "720p",
    "duration": "5s",
}


def generation(number: int) -> dict[str, object]:
    """Write a generation as Luma shows it."""
    return {
        "id": f"d290f1ee-6c54-4b01-90e6-{number:012}",
        "generation_type": "video",
        "state": "dreaming",
        "failure_reason": None,
        "created_at": "2025-03-20T12:00:00.731114Z",
        "assets": None,
        "model": "ray-2",
        "request": REQUEST,
    }


NAME = str(generation(0)["id"])


class Provider(asyncio.Protocol):
    """Answers each request with the same generation, or the same page."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast(asyncio.Transport, transport)
        self._head = b""

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole; nothing else comes before that."""
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            target = self._head.split(b" ", 2)[1]
            name = target.rpartition(b"/")[2]
            answer = _PAGE if b"?" in target else _ONE
            self._transport.write(answer.replace(NAME.encode(), name) if answer is _ONE else answer)
            self._head = b""


def _answer(body: object) -> bytes:
    content = orjson.dumps(body)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(content) + content


_ONE = _answer(generation(0))
_PAGE = _answer({"generations": [generation(n) for n in range(ROWS)]})


async def serve(port: int) -> None:
    """Be the provider."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port)
    await server.serve_forever()


async def cost(
    look: Callable[[], Awaitable[object]], count: int, in_flight: int
) -> tuple[float, float]:
    """Do it so many times, so many at once; returns how many a second, and CPU µs of each."""
    left = iter(range(count))

    async def hand() -> None:
        for _ in left:
            await look()

    started, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(hand() for _ in range(in_flight)))
    took, used = time.perf_counter() - started, time.process_time() - busy
    return count / took, 1e6 * used / count


async def measure(port: int) -> None:
    """Measure and print."""
    base_url = f"http://127.0.0.1:{port}/dream-machine/v1"
    account = Account(name="luma", provider="luma", api_key="k", base_url=base_url)
    ours, httpxs = (ProviderClient(account, load("luma")) for _ in range(2))
    limits = httpx.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
    )
    httpxs._exchange._transport = httpx.AsyncHTTPTransport(limits=limits)  # noqa: SLF001 - the rival
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
    bare = aiohttp.ClientSession(connector=connector)

    async def look(client: ProviderClient) -> None:
        assert isinstance(await client.get_generation(NAME), Seen)

    async def look_bare() -> None:
        async with bare.get(f"{base_url}/generations/{NAME}") as answer:
            await answer.read()

    async def list_page() -> None:
        page = await ours.list_generations(limit=ROWS, offset=0)
        assert isinstance(page, Page)
        assert len(page.rows) == ROWS

    async with bare:
        await table("this client", lambda: look(ours), LOOKS)
        await table("the same on httpx's engine", lambda: look(httpxs), LOOKS // 4)
        await table("bare aiohttp, bytes only", look_bare, LOOKS)
        await table(f"this client, pages of {ROWS}", list_page, LOOKS // 20)
    await ours.aclose()
    await httpxs.aclose()


async def worker(port: int) -> None:
    """Measure a whole worker with so many trackers that looks are always due; print a line."""
    base_url = f"http://127.0.0.1:{port}/v1"
    account = {"provider": "luma-agents", "api_key": "k", "base_url": base_url}
    accounts = {name: {**account, "polls_per_second": 1000} for name in ACCOUNTS}
    with rig.redis() as redis:
        env = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_ACCOUNTS": json.dumps(accounts),
            "DREAMHOOK_LOG_LEVEL": "warning",
            "DREAMHOOK_POLL_PATIENCE": "0.01",
        }
        async with opened(Settings.load(env)) as deployment:
            terms = Terms(deadline_s=3600.0)
            for name in accounts:
                wanted = [(str(uuid.uuid4()), terms) for _ in range(WATCHED)]
                await deployment.store.trackers.track(name, "luma-agents", wanted)
            with rig.process(*rig.dreamhook("work"), **env) as process:
                await asyncio.sleep(START_S)
                rounds = [await made(deployment.store, process.pid, redis.pid) for _ in range(5)]
    rate, busy, of_redis = sorted(rounds)[len(rounds) // 2]
    print(f"  a worker, everything included: {rate:,.0f} looks/s, {busy:,.0f} µs CPU each,")
    print(f"    and {of_redis:,.0f} µs of Redis; {len(accounts)} accounts of {WATCHED:,} trackers")


async def made(store: Store, *pids: int) -> tuple[float, ...]:
    """Tell the looks per second over some seconds, and the CPU µs of each process for one."""
    first, began = await looks_in(store), time.perf_counter()
    used = [rig.cpu_s(pid) for pid in pids]
    await asyncio.sleep(MEASURED_S)
    took = time.perf_counter() - began
    looks = await looks_in(store) - first
    spent = (rig.cpu_s(pid) - before for pid, before in zip(pids, used, strict=True))
    return (looks / took, *(1e6 * each / max(looks, 1) for each in spent))


async def looks_in(store: Store) -> int:
    """Count the looks that all workers have made."""
    totals = await store.figures.totals()
    return sum(totals.get(figures.LOOKS.times(name, "seen"), 0) for name in ACCOUNTS)


async def table(name: str, look: Callable[[], Awaitable[object]], count: int) -> None:
    """Print a line: the median of some rounds for each number in flight."""
    cells = []
    for in_flight in IN_FLIGHT:
        await cost(look, count // 10, in_flight)
        found = sorted([await cost(look, count, in_flight) for _ in range(ROUNDS)])
        rate, busy = found[ROUNDS // 2]
        cells.append(f"{in_flight:3} in flight {rate:7,.0f}/s {busy:6,.0f} µs CPU")
    print(f"  {name:28} {'  '.join(cells)}", flush=True)


def main() -> None:
    """Start the provider, measure, stop it."""
    port = rig.free_port()
    with rig.process("-m", "bench.looks", str(port), port=port):
        print(f"{rig.machine()}; one process, uvloop; median of {ROUNDS} rounds")
        uvloop.run(measure(port))
        uvloop.run(worker(port))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        uvloop.run(serve(int(sys.argv[1])))
    else:
        main()
