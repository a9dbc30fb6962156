"""Two cells, a Redis and a worker each, behind one API: processes all. Luma is simulated."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import pytest

from tests.receivers import receiving
from tests.redis_servers import Server, dreamhook, eventually, free_port, server
from worker import signing
from worker.cells import cell_of
from worker.model import JsonObject
from worker.simulator import Outcome, Script, World, create_app
from worker.simulator import running as simulated

NAMES = ("a", "b")
KEY = "api-key"
SECRET = signing.new_secret(bytes(range(32)))


def account_in(cell: str) -> str:
    """An account that lives in a cell."""
    names = (f"luma-{n}" for n in itertools.count())
    return next(name for name in names if cell_of(NAMES, name) == cell)


IN_A, IN_B, WIDE = account_in("a"), account_in("b"), "wide"


@dataclass
class Receiver:
    """Takes every webhook, and remembers them by their generations."""

    url: str = ""
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    heard: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard[orjson.loads(body)["data"].get("generation_id", "")] = (headers, body)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    def verify(self, generation_id: str, secret: str) -> None:
        """Verify what came about a generation."""
        headers, body = self.heard[generation_id]
        signing.verify(headers, body, secret, time.time())


@dataclass
class Divided:
    """The cells, and what is around them."""

    world: World
    receiver: Receiver
    servers: dict[str, Server]
    env: dict[str, str]
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "dreamhook.log"

    def create(self, *names: str) -> None:
        """Have Luma make generations that are over at once."""
        for name in names:
            script = Script(id=name, queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
            self.world.create(generation_type="video", model="ray-2", request={}, script=script)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[httpx.AsyncClient]:
        """Run the API of all cells; gives a client once it answers."""
        port = free_port()
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=30,
            headers={"Authorization": f"Bearer {KEY}"},
        )
        env = {**self.env, "DREAMHOOK_PORT": str(port)}
        async with client, dreamhook("serve", env, self.log) as process:

            async def answers() -> bool:
                assert process.returncode is None, self.log.read_text()
                try:
                    return (await client.get("/healthz")).is_success
                except httpx.TransportError:
                    return False

            await eventually(answers)
            yield client

    async def heard(self, *names: str) -> None:
        """Wait until the receiver has heard of these generations."""

        async def has() -> bool:
            return self.receiver.heard.keys() >= set(names)

        await eventually(has)


@pytest.fixture
async def divided(tmp_path: Path) -> AsyncIterator[Divided]:
    world = World()
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(simulated(create_app(world)))
        receiver = await stack.enter_async_context(receiving(Receiver()))
        servers = {name: stack.enter_context(server(tmp_path / name)) for name in NAMES}
        account: JsonObject = {"provider": "luma", "api_key": "key", "base_url": base_url}
        account["polls_per_second"] = 200
        accounts = {IN_A: account, IN_B: account, WIDE: {**account, "spread": True}}
        env = {
            "DREAMHOOK_ACCOUNTS": orjson.dumps(accounts).decode(),
            "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
            "DREAMHOOK_API_KEYS": KEY,
            "DREAMHOOK_CELLS": orjson.dumps({n: s.url for n, s in servers.items()}).decode(),
            "DREAMHOOK_WEBHOOK_SECRET": SECRET,
        }
        cells = Divided(world, receiver, servers, env, tmp_path)
        for name in NAMES:
            await stack.enter_async_context(
                dreamhook("work", {**env, "DREAMHOOK_CELL": name}, cells.log)
            )
        yield cells


@pytest.fixture
async def api(divided: Divided) -> AsyncIterator[httpx.AsyncClient]:
    async with divided.serving() as client:
        yield client
