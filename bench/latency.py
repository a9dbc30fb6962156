"""From "the provider says completed" at a look to "the webhook is at the receiver".

The API, the worker and Redis are real processes; Luma and the receiver live in this one, which
takes both times by its one clock. Its rival is an arq job per webhook, as arq is by default:
enqueued when the answer is sent, it posts with httpx.

    python -m bench.latency
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable

import arq
import httpx
from arq.connections import RedisSettings

from bench import rig

SAMPLES = 200
GAP_S = 0.05

RIVAL = """
import sys, arq, httpx
from arq.connections import RedisSettings

async def post(ctx, url, body):
    async with httpx.AsyncClient() as client:
        await client.post(url, content=body)

arq.run_worker({"functions": [post], "redis_settings": RedisSettings(unix_socket_path=sys.argv[1])})
"""


class Provider:
    """Says `dreaming` at the first look and `completed` at the second; notes when."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}
        self.said: dict[str, float] = {}
        self.heard: dict[str, float] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer looks and take webhooks on one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    await self._take(head, reader, writer)
                else:
                    self._answer(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        name = head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
        self.looks[name] = self.looks.get(name, 0) + 1
        state = "dreaming" if self.looks[name] == 1 else "completed"
        body = json.dumps({"id": name, "state": state, "model": "ray-2", "assets": {}}).encode()
        if state == "completed":
            self.said.setdefault(name, time.perf_counter())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def _take(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        now, length = time.perf_counter(), head.lower().index(b"content-length:") + 15
        body = json.loads(await reader.readexactly(int(head[length : head.index(b"\r", length)])))
        self.heard.setdefault(body["data"]["generation_id"], now)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def latencies_ms(self) -> list[float]:
        """Tell the time from each answer to its webhook."""
        return [1000 * (self.heard[name] - self.said[name]) for name in self.heard]


def main() -> None:
    """Measure and print a table."""
    ours, rival = asyncio.run(_measure())
    print(f"{rig.machine()}; {SAMPLES} generations, ms from the answer to the webhook")
    for name, found in (("dreamhook", ours), ("an arq job per webhook", rival)):
        shares = "  ".join(f"p{p} {rig.percentile(found, p / 100):7.1f}" for p in (50, 95, 99))
        print(f"  {name:25} {shares}  max {max(found):7.1f}")
    print("  goal: p50 <= 20 ms, p99 <= 150 ms")


async def _measure() -> tuple[list[float], list[float]]:
    with rig.redis() as redis:
        provider = Provider()
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        account = {"provider": "luma", "api_key": "k", "base_url": url, "polls_per_second": 1000}
        port = rig.free_port()
        settings = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_PORT": str(port),
            "DREAMHOOK_ACCOUNTS": json.dumps({"luma": account}),
            "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
            "DREAMHOOK_LOG_LEVEL": "error",
        }
        with (
            rig.process(*rig.dreamhook("serve"), port=port, **settings),
            rig.process(*rig.dreamhook("work"), **settings),
        ):
            api = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
            async with api:
                await _all(provider, lambda name: _track(api, name, url))
        ours = provider.latencies_ms()
        with rig.process("-c", RIVAL, str(redis.socket_path)):
            rival = await _rival(str(redis.socket_path), url, provider)
        server.close()
    return ours, rival


async def _track(api: httpx.AsyncClient, name: str, url: str) -> None:
    (await api.put(f"/v1/trackers/luma/{name}", json={"callback_url": url})).raise_for_status()


async def _rival(socket_path: str, url: str, provider: Provider) -> list[float]:
    provider.said.clear()
    provider.heard.clear()
    pool = await arq.create_pool(RedisSettings(unix_socket_path=socket_path))

    async def enqueue(name: str) -> None:
        provider.said[name] = time.perf_counter()
        body = json.dumps({"data": {"generation_id": name}})
        await pool.enqueue_job("post", url, body)

    await _all(provider, enqueue)
    await pool.aclose()
    return provider.latencies_ms()


async def _all(provider: Provider, begin: Callable[[str], Awaitable[None]]) -> None:
    """Begin all samples, a little apart, and wait for their webhooks."""
    for _ in range(SAMPLES):
        await begin(str(uuid.uuid4()))
        await asyncio.sleep(GAP_S)
    async with asyncio.timeout(60):
        while len(provider.heard) < SAMPLES:  # noqa: ASYNC110 - counted by what comes in
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
