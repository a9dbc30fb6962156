"""A deployment whose processes, Redis and receivers are real; only Luma is simulated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import pytest

from tests.receivers import receiving
from tests.redis_servers import dreamhook, eventually, free_port
from worker.simulator import Outcome, Script, World, create_app
from worker.simulator import running as simulated

KEY = "api-key"


@dataclass
class Receiver:
    """Takes every webhook, and remembers which generations it has heard of."""

    url: str = ""
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    heard: set[str] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = orjson.loads(await reader.readexactly(int(headers["content-length"])))
        self.heard.add(body["data"].get("generation_id", ""))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()


@dataclass
class Deployment:
    """`dreamhook up` (or `serve`, or `work`) and what is around it."""

    world: World
    receiver: Receiver
    env: dict[str, str]
    folder: Path

    def create(self, name: str, *, over: bool = True) -> None:
        """Have Luma begin a generation, which has ended, or goes on for an hour."""
        script = Script(
            id=name, queued_s=0, dreaming_s=0 if over else 3600, outcome=Outcome.COMPLETED
        )
        self.world.create(generation_type="video", model="ray-2", request={}, script=script)

    def end(self, name: str) -> None:
        """Have a generation end now."""
        self.world.finish(name, Outcome.COMPLETED)

    async def finish(self, api: httpx.AsyncClient, name: str) -> None:
        """Have a generation end now, and Dreamhook look."""
        self.end(name)
        assert (await api.post(f"/v1/trackers/luma/{name}/poll")).is_success

    @asynccontextmanager
    async def running(
        self, redis_url: str, command: str = "up", **more: str
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Run it on a Redis; gives a client of its API once that answers."""
        port = free_port()
        env = {**self.env, **more, "DREAMHOOK_REDIS_URL": redis_url, "DREAMHOOK_PORT": str(port)}
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}",
                    timeout=30,
                    headers={"Authorization": f"Bearer {KEY}"},
                )
            )
            process = await stack.enter_async_context(dreamhook(command, env, self.log))

            async def answers() -> bool:
                assert process.returncode is None, self.log.read_text()
                try:
                    return (await client.get("/healthz")).is_success
                except httpx.TransportError:
                    return False

            await eventually(answers)
            yield client

    async def ended(self, command: str, redis_url: str, **more: str) -> bytes:
        """Run a command that ends by itself; gives all that it has said."""
        log = self.folder / f"{len([*self.folder.iterdir()])}-{command}-{id(more)}.log"
        async with dreamhook(
            command, {**self.env, **more, "DREAMHOOK_REDIS_URL": redis_url}, log
        ) as p:
            await p.wait()
        return log.read_bytes()

    @property
    def log(self) -> Path:
        return self.folder / "dreamhook.log"

    async def track(self, api: httpx.AsyncClient, name: str) -> httpx.Response:
        terms: Mapping[str, str] = {"callback_url": self.receiver.url}
        return await api.put(f"/v1/trackers/luma/{name}", json=terms)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    world = World()
    async with simulated(create_app(world)) as base_url, receiving(Receiver()) as receiver:
        account = {"provider": "luma", "api_key": "key", "base_url": base_url}
        account["polls_per_second"] = 200  # type: ignore[assignment]
        env = {
            "DREAMHOOK_ACCOUNTS": orjson.dumps({"luma": account}).decode(),
            "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
            "DREAMHOOK_API_KEYS": KEY,
        }
        yield Deployment(world, receiver, env, tmp_path)
