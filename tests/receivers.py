"""Receivers of webhooks on real sockets, whatever it is that they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar


class Serves(Protocol):
    """Answers what comes in, once it may."""

    url: str
    may_answer: asyncio.Event

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


Receiver = TypeVar("Receiver", bound=Serves)


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Let it listen on a port of its own, answering at once unless it is told not to."""
    receiver.may_answer.set()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield receiver
    receiver.may_answer.set()
    server.close()
    await server.wait_closed()
