"""Lets what was asked be answered though the input has ended: `printf … | dreamhook mcp`.

The SDK ends a connection, and the calls that are under way, as soon as nothing more can come in.
So the end is not let through to it until every request has its answer.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

DRAIN_S = 60.0
"""So long at most the end is held back: more than any call takes (`generations.WAIT`: 50 s)."""


class Owed:
    """The requests that came in and have no answer yet."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._none = asyncio.Event()
        self._none.set()

    def came(self, message: object) -> None:
        """Take note of a message that came in."""
        match message:
            case JSONRPCRequest(id=name):
                self._ids.add(str(name))
                self._none.clear()
            case JSONRPCNotification(method="notifications/cancelled", params=params):
                self._settle((params or {}).get("requestId"))

    def went(self, message: object) -> None:
        """Take note of a message that went out."""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._settle(message.id)

    def _settle(self, name: object) -> None:
        self._ids.discard(str(name))
        if not self._ids:
            self._none.set()

    async def settled(self) -> None:
        """Wait until there is none, for `DRAIN_S` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._none.wait()


class _Watched:
    def __init__(self, inner: Any, owed: Owed) -> None:
        self._inner = inner
        self._owed = owed

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class Incoming(_Watched):
    """What comes in; it ends when nothing is owed any more."""

    @property
    def last_context(self) -> Any:
        """The context that the message was sent in; the SDK asks for it."""
        return self._inner.last_context

    async def receive(self) -> SessionMessage | Exception:
        """Get the next message."""
        try:
            item: SessionMessage | Exception = await self._inner.receive()
        except anyio.EndOfStream:
            await self._owed.settled()
            raise
        if isinstance(item, SessionMessage):
            self._owed.came(item.message)
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Outgoing(_Watched):
    """What goes out."""

    async def send(self, item: SessionMessage) -> None:
        """Send a message."""
        await self._inner.send(item)
        self._owed.went(item.message)
