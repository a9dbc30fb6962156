"""The world around processes that are killed: a Redis, a simulated Luma, a receiver."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis
from standardwebhooks import Webhook

from tests.receivers import receiving
from worker import signing
from worker.embedded import EmbeddedRedis
from worker.model import Delivery, DeliveryState, State, Terms, Tracker
from worker.simulator import Outcome, Script, World, create_app
from worker.simulator import running as simulated
from worker.simulator.faults import Faults
from worker.store import Store

SECRET = signing.new_secret(bytes(range(32)))
CHILD = Path(__file__).with_name("child.py")
PREFIX = "crash"


@dataclass
class Receiver:
    """Keeps every webhook, and answers the n-th, once it may, with the n-th status.

    The last status repeats.
    """

    url: str = ""
    statuses: Sequence[int] = (200,)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    came: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # whoever called was stopped before he had said anything
            return
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        status = self.statuses[min(len(self.got), len(self.statuses) - 1)]
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        self.came.release()
        await self.may_answer.wait()
        writer.write(f"HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()

    def webhook_ids(self) -> list[str]:
        """The `webhook-id` of everything that was received, each with a valid signature."""
        for headers, body in self.got:
            assert Webhook(SECRET).verify(body, headers) == orjson.loads(body)
        return [headers["webhook-id"] for headers, _ in self.got]


@dataclass
class Process:
    """A child process of the deployment."""

    process: asyncio.subprocess.Process

    async def go(self) -> None:
        """Let it begin, once it has come so far."""
        await self.says("ready")
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    async def says(self, word: str) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            assert await self.process.stdout.readline() == f"{word}\n".encode()

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


@dataclass
class Scene:
    """Everything that does not die, and what it has seen."""

    redis: Redis
    store: Store
    world: World
    faults: Faults
    receiver: Receiver
    env: dict[str, str]
    processes: list[Process] = field(default_factory=list)

    async def process(self, **env: str) -> Process:
        """Start a child; it waits for `go`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(CHILD)),
            env={**os.environ, **self.env, **env},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self.processes.append(Process(process))
        return self.processes[-1]

    def complete_generation(self, name: str) -> None:
        script = Script(id=name, queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
        self.world.create(generation_type="video", model="ray-2", request={}, script=script)

    async def track(self, name: str) -> None:
        """Track and start nothing, as if the caller had died right then."""
        terms = Terms(callback_url=self.receiver.url, deadline_s=3600)
        await self.store.trackers.track("luma", "luma", [(name, terms)])
        await self.redis.delete(f"{PREFIX}:drain:poll:luma")  # his claim to the start has expired

    async def tracker(self, name: str) -> Tracker:
        found = await self.store.trackers.get("luma", name)
        assert found is not None
        return found

    async def deliveries(self) -> list[Delivery]:
        ids = await self.store.deliveries.ids(list(DeliveryState), before=None, limit=100)
        return await self.store.deliveries.get_many([name for _, name in ids])

    async def events(self) -> list[str]:
        """The IDs of all events that were born."""
        entries = await self.redis.xrange(f"{PREFIX}:events")
        return [
            entry[b"event_id"].decode()
            for _, entry in entries
            if not entry[b"type"].startswith(b"delivery.")
        ]

    async def is_over(self) -> bool:
        """Whether nothing is tracked any more, and nothing owed."""
        states = [State.TRACKING]
        tracked = await self.store.trackers.names(["luma"], states, before=None, limit=1)
        owed = await self.store.deliveries.ids([DeliveryState.PENDING], before=None, limit=1)
        return not tracked and not owed

    async def eventually_over(self) -> None:
        """Wait until nothing is owed: less than the half minute of a lease in earnest."""
        async with asyncio.timeout(20):
            while not await self.is_over():  # noqa: ASYNC110 - other processes set no events
                await asyncio.sleep(0.01)

    async def stranded(self) -> list[bytes]:
        """What still waits for somebody, in any queue of ours."""
        patterns = ("due:*", "queues:*", "busy:*", "owed:*", "deadlines:*", "lanes")
        found = [await self.redis.keys(f"{PREFIX}:{pattern}") for pattern in patterns]
        return [key for keys in found for key in keys]

    def webhook_ids(self) -> list[str]:
        return self.receiver.webhook_ids()


@pytest.fixture
async def scene(embedded: EmbeddedRedis) -> AsyncIterator[Scene]:
    world, faults = World(speed=1000, failure_rate=0, stuck_rate=0), Faults()
    redis = Redis.from_url(embedded.url)
    await redis.flushall()
    luma = create_app(world, faults=faults)
    async with simulated(luma) as base_url, receiving(Receiver()) as receiver:
        account = {"provider": "luma", "api_key": "key", "base_url": base_url}
        env = {
            "DREAMHOOK_REDIS_URL": embedded.url,
            "DREAMHOOK_PREFIX": PREFIX,
            "DREAMHOOK_ACCOUNTS": orjson.dumps({"luma": account}).decode(),
            "DREAMHOOK_WEBHOOK_SECRET": SECRET,
            "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
            "DREAMHOOK_LOG_LEVEL": "error",
            "PYTHONPATH": str(CHILD.parents[2]),
            "CALLBACK_URL": receiver.url,
        }
        store = Store(redis, prefix=PREFIX, retention_s=600)
        scene = Scene(redis, store, world, faults, receiver, env)
        yield scene
        for process in scene.processes:
            await process.kill()
    await redis.aclose()
