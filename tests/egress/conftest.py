"""A way out, receivers on real sockets that behave as told, and names in a fake resolver."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import make_certificate
from worker.egress import Egress
from worker.model import Reply

LOOPBACK = [ip_network("127.0.0.0/8")]
WHOLE_LOOPBACK = [*LOOPBACK, ip_network("::1/128")]
SHORT_S = 0.3
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
UNKNOWN = "the host is unknown: no address was found for its name"
NOT_ALLOWED = (
    "the address is not public, or Dreamhook's own: "
    "if it may be called, list its network in DREAMHOOK_ALLOW_PRIVATE"
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return head, await reader.readexactly(length)


@asynccontextmanager
async def receiver(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run `handler` on a loopback port; whatever it still does at the end is cancelled."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.ensure_future(handler(reader, writer)))
        try:
            await task
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the sender has hung up, or the test is over
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def way_out(**options: Any) -> AsyncIterator[Egress]:
    sender = Egress(options.pop("allow_private", LOOPBACK), **options)
    try:
        yield sender
    finally:
        await sender.aclose()


async def post_to(handler: Handler, **options: Any) -> Reply:
    async with receiver(handler) as port, way_out(**options) as sender:
        return await sender.post(f"http://127.0.0.1:{port}/hook?a=b", {}, b"{}")


def answering(*parts: bytes, pause: asyncio.Event | None = None) -> Handler:
    """Read the request, write the parts, then hold the connection (or close it)."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
        await writer.drain()
        if pause is not None:
            await pause.wait()

    return handler


def dripping(first: bytes, drop: bytes, *, every_s: float = 0.01) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(first)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every_s)

    return handler


def resolving(*answers: str) -> Callable[[str], Awaitable[Sequence[str]]]:
    async def resolve(host: str) -> Sequence[str]:
        return answers

    return resolve


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for hooks.example, its key in the same file."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "hooks.example", "DNS:hooks.example")


def server_context(certificate: Path, names: list[str | None]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    return context


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)
