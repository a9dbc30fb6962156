"""Deliveries per second to receivers that answer in 100 ms, beside simpler senders in the same run.

Receivers live in a process of their own, each origin a port. Ours is a worker process with Redis,
leases, signatures and records; the rivals only post, 200 at a time, with nothing kept: one shared
httpx client, and aiohttp with one session.

    python -m bench.deliveries [origins …]
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import httpx
from redis.asyncio import Redis

from bench import rig
from worker import events
from worker.model import Endpoint, EndpointEvent
from worker.store import Store

IN_FLIGHT = 200
PAUSE_MS = 100
RIVAL_S = 6.0

RECEIVERS = """
import asyncio, json, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
control, pause, hung, ports = int(sys.argv[1]), float(sys.argv[2]) / 1000, int(sys.argv[3]), []
count, first, last, lags = 0, 0.0, 0.0, []
OK = b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n"

class Receiver(asyncio.Protocol):
    def __init__(self, hangs): self.hangs, self.data = hangs, b""
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data):
        global count, first, last
        self.data += data
        head, found, body = self.data.partition(b"\\r\\n\\r\\n")
        if not found: return
        length = int(head.lower().split(b"content-length:")[1].split(b"\\r", 1)[0])
        if len(body) < length or self.hangs: return
        self.data = b""
        now = asyncio.get_running_loop().time()
        count, first, last = count + 1, first or now, now
        asyncio.get_running_loop().call_later(pause, self.answer)
    def answer(self):
        if not self.transport.is_closing(): self.transport.write(OK)

async def tell(reader, writer):
    await reader.readline()
    found = {"ports": ports, "count": count, "took": last - first}
    writer.write(json.dumps(found).encode() + b"\\n")
    writer.close()

async def main():
    loop = asyncio.get_running_loop()
    for n in range(int(sys.argv[4])):
        make = lambda n=n: Receiver(n < hung)
        server = await loop.create_server(make, "127.0.0.1", 0, backlog=1000)
        ports.append(server.sockets[0].getsockname()[1])
    await (await asyncio.start_server(tell, "127.0.0.1", control)).serve_forever()

asyncio.run(main())
"""

Post = Callable[[str, bytes], Awaitable[None]]


def main() -> None:
    """Measure and print a table."""
    print(f"{rig.machine()}; receivers answer after {PAUSE_MS} ms; deliveries per second")
    for origins in [int(each) for each in sys.argv[1:]] or [20, 500]:
        ours, took = run_ours(origins, hung=0, deliveries=8_000)
        hung, _ = run_ours(origins, hung=origins // 5, deliveries=8_000)
        aio, shared = run_rivals(origins)
        print(f"  {origins} origins")
        print(f"    dreamhook, Redis and signing included     {ours:7.0f}  ({took:.0f} s)")
        print(f"    the same, every fifth receiver hung       {hung:7.0f}  ({hung / ours:.0%})")
        print(f"    aiohttp alone, {IN_FLIGHT} in flight            {aio:7.0f}")
        print(f"    one shared httpx client, {IN_FLIGHT} in flight  {shared:7.0f}")
        print(
            f"    beside the shared client: {ours / shared:.1f} times; goal: 1,200/s and 10 times"
        )


def run_ours(origins: int, *, hung: int, deliveries: int) -> tuple[float, float]:
    """Let a worker deliver what it finds; returns deliveries to healthy receivers per second."""
    control = rig.free_port()
    arguments = (str(control), str(PAUSE_MS), str(hung), str(origins))
    with rig.redis() as redis, rig.process("-c", RECEIVERS, *arguments, port=control):
        ports = asyncio.run(ask(control))["ports"]
        expected = asyncio.run(seed(redis.url, ports, hung, deliveries))
        settings = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
            "DREAMHOOK_LOG_LEVEL": "error",
        }
        with rig.process(*rig.dreamhook("work"), **settings):
            found = asyncio.run(until(control, expected))
    return found["count"] / found["took"], found["took"]


async def seed(url: str, ports: list[int], hung: int, deliveries: int) -> int:
    """Owe every receiver its share; returns how many go to healthy ones."""
    redis = Redis.from_url(url)
    store = Store(redis, prefix="dreamhook", retention_s=604800)
    concurrency = max(1, IN_FLIGHT // len(ports))
    for n, port in enumerate(ports):
        to = Endpoint(name=f"r{n}", url=f"http://127.0.0.1:{port}/hook", concurrency=concurrency)
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        await store.endpoints.put(to, enabled=None, secret=secret)
        for _ in range(deliveries // len(ports)):
            event = events.about_endpoint(to, EndpointEvent.TEST, "x" * 600, 0)
            owed, lane = events.owed_notice(event.id, event.type, to, 0)
            await store.deliveries.announce(events.owing(event, owed, lane))
    await redis.aclose()
    return deliveries // len(ports) * (len(ports) - hung)


async def until(control: int, expected: int) -> dict[str, float]:
    """Wait until the receivers have taken so many."""
    async with asyncio.timeout(180):
        while (found := await ask(control))["count"] < expected:  # noqa: ASYNC110 - polled over TCP
            await asyncio.sleep(0.2)
    return found


async def ask(control: int) -> dict[str, object]:
    """Ask the receivers what they have taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", control)
    writer.write(b"tell\n")
    found = json.loads(await reader.readline())
    writer.close()
    return found


def run_rivals(origins: int) -> tuple[float, float]:
    """Let the rivals post for some seconds each; returns deliveries per second."""
    control = rig.free_port()
    arguments = (str(control), str(PAUSE_MS), "0", str(origins))
    with rig.process("-c", RECEIVERS, *arguments, port=control):
        return asyncio.run(_rivals(control))


async def _rivals(control: int) -> tuple[float, float]:
    urls = [f"http://127.0.0.1:{port}/hook" for port in (await ask(control))["ports"]]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def with_aiohttp(url: str, body: bytes) -> None:
            async with session.post(url, data=body) as answer:
                await answer.read()

        aio = await _rate(urls, with_aiohttp)
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def with_httpx(url: str, body: bytes) -> None:
            await client.post(url, content=body)

        return aio, await _rate(urls, with_httpx)


async def _rate(urls: list[str], post: Post) -> float:
    body, done, until_ = b"x" * 760, 0, time.perf_counter() + RIVAL_S

    async def sender(n: int) -> None:
        nonlocal done
        while time.perf_counter() < until_:
            n += IN_FLIGHT + 1
            with suppress(OSError, httpx.TransportError, aiohttp.ClientError):
                await post(urls[n % len(urls)], body)
                done += 1

    started = time.perf_counter()
    await asyncio.gather(*(sender(n) for n in range(IN_FLIGHT)))
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
