"""Receivers of webhooks that misbehave when they are told to, and note all that they get."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

import orjson
from standardwebhooks import Webhook, WebhookVerificationError

from chaos.evidence import Receipt

WELL = "well"
LONGEST_S = 20.0
"""Longer than an attempt: then whoever hangs or drips lets go."""

_WORDS = {"302": "Found", "500": "Internal Server Error", "503": "Service Unavailable"}


class Receiver:
    """One receiver at an origin of its own.

    Its manner says how it behaves: `well` answers 200; `500`, `503` and `302` answer that; `hang`
    never answers; `drip` sends a byte of its answer a second; `mute` takes the webhook and hangs
    up without an answer; `garbage` answers what is no HTTP; `down` does not even listen.

    Args:
        name: its name.
        receipts: where it notes what it gets, with those of the others.
        clock: tells the seconds since the run began.
    """

    def __init__(self, name: str, receipts: list[Receipt], clock: Callable[[], float]) -> None:
        self.name = name
        self.manner = WELL
        self.secret = ""
        self._receipts = receipts
        self._clock = clock
        self._place = _bound(0)  # keeps the port from others while nobody listens
        self._server: asyncio.Server | None = None
        self._callers: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """Where webhooks are to go."""
        return f"http://127.0.0.1:{self._place.getsockname()[1]}/hook"

    async def behave(self, manner: str) -> None:
        """Behave like that from now on."""
        if manner == "down":
            self.close()
        elif self._server is None:
            port = self._place.getsockname()[1]
            self._server = await asyncio.start_server(self._serve, sock=_bound(port))
        self.manner = manner

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in self._callers.items():
            writer.transport.abort()
            if task is not None:
                task.cancel()

    def end(self) -> None:
        """Close, and give the port away."""
        self.close()
        self._place.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers[asyncio.current_task()] = writer
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # whoever called was killed or gave up; or it is we who hang up
        finally:
            self._callers.pop(asyncio.current_task(), None)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one webhook; False: hang up."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
        headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in lines if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        place = len(self._receipts)
        self._receipts.append(self._receipt(headers, body))
        status = await self._answer(writer)
        if status is not None and not writer.is_closing():
            self._receipts[place] = replace(
                self._receipts[place], status=status, answered_at=self._clock()
            )
        return status is not None

    def _receipt(self, headers: dict[str, str], body: bytes) -> Receipt:
        try:
            Webhook(self.secret).verify(body, headers)
            is_signed = True
        except WebhookVerificationError:
            is_signed = False
        state = str(orjson.loads(body)["data"]["state"])
        return Receipt(self.name, headers["webhook-id"], state, is_signed, self._clock())

    async def _answer(self, writer: asyncio.StreamWriter) -> int | None:
        match self.manner:
            case "hang":
                await asyncio.sleep(LONGEST_S)
            case "drip":
                await _drip(writer)
            case "mute" | "down":
                pass
            case "garbage":
                writer.write(b"\x00\xff\r\nthis is no HTTP\r\n\r\n")
                await writer.drain()
            case manner:
                status = 200 if manner == WELL else int(manner)
                word = _WORDS.get(manner, "OK")
                writer.write(f"HTTP/1.1 {status} {word}\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
                return status
        return None


async def _drip(writer: asyncio.StreamWriter) -> None:
    for letter in b"HTTP/1.1 200 OK and a long story"[: int(LONGEST_S)]:
        writer.write(bytes([letter]))
        await writer.drain()
        await asyncio.sleep(1)


def _bound(port: int) -> socket.socket:
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind(("127.0.0.1", port))
    return place


@contextlib.asynccontextmanager
async def receiving(
    names: Iterable[str], receipts: list[Receipt], clock: Callable[[], float]
) -> AsyncIterator[dict[str, Receiver]]:
    """Run receivers by name, all of them behaving well at first."""
    there = {name: Receiver(name, receipts, clock) for name in names}
    try:
        for receiver in there.values():
            await receiver.behave(WELL)
        yield there
    finally:
        for receiver in there.values():
            receiver.end()
