"""A server on real sockets that says what it is told, and a provider client that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import orjson
import pytest

from worker.model import (
    Account,
    Answer,
)
from worker.providers.client import ProviderClient
from worker.providers.spec import load

KEY = "luma-0123456789-secret"
GENERATION = {"id": "g1", "state": "dreaming", "model": "ray-2", "assets": None}


@dataclass(frozen=True)
class Say:
    """Bytes for one request, and what becomes of the connection then."""

    content: bytes
    then: Literal["keep", "close", "hang", "reset", "drip"] = "keep"


@dataclass
class Server:
    """Answers the n-th request with the n-th line of the script; the last one repeats."""

    script: list[Say]
    base_url: str = ""
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.tasks.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(request)
                async with self.changed:
                    self.changed.notify_all()
                said = self.script[min(len(self.requests), len(self.script)) - 1]
                writer.write(said.content)
                if said.then != "keep":
                    await self.end(writer, said.then)
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has hung up
        finally:
            writer.close()

    async def end(self, writer: asyncio.StreamWriter, how: str) -> None:
        if how == "hang":
            await self.over.wait()
        while how == "drip" and not self.over.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
        if how == "reset":
            writer.transport.abort()

    async def asked(self, times: int) -> None:
        """Return once so many requests have come in."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.requests) >= times)


@asynccontextmanager
async def serving(*script: Say) -> AsyncIterator[Server]:
    server = Server(list(script))
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        server.over.set()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.gather(*server.tasks)
        await listener.wait_closed()


def http(status: int, body: bytes = b"", *headers: str, then: str = "keep") -> Say:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return Say("\r\n".join([*lines, "", ""]).encode() + body, then)  # type: ignore[arg-type]


def says(value: object, *headers: str, status: int = 200) -> Say:
    return http(status, orjson.dumps(value), *headers)


@asynccontextmanager
async def client(
    base_url: str, *, api_key: str = KEY, timeout_s: float = 5.0
) -> AsyncIterator[ProviderClient]:
    account = Account(name="luma", provider="luma", api_key=api_key, base_url=base_url)
    it = ProviderClient(account, load("luma"), timeout_s=timeout_s)
    try:
        yield it
    finally:
        await it.aclose()


async def look(*script: Say, generation_id: str = "g1", timeout_s: float = 5.0) -> Answer:
    async with serving(*script) as server, client(server.base_url, timeout_s=timeout_s) as it:
        return await it.get_generation(generation_id)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
