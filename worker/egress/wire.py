"""One connection to a receiver: sends a request, hears the answer, and may be kept for another."""

from __future__ import annotations

import asyncio
import select
from dataclasses import dataclass

import h11

from worker.egress.words import HeadTooLongError, NoAnswerError

HEAD_LIMIT = 64 * 1024  # bytes of the answer's head, interim answers included
BODY_LIMIT = 16 * 1024  # bytes read after the head
TEXT_LIMIT = 2 * 1024  # bytes of the body that are kept
_INTERIM_COST = 4 * 1024  # what an interim answer counts besides its bytes: it is costly to parse,
_CHUNK_COST = 64  # and so is each chunk of a body that is not kept
_PIECE = 4 * 1024  # so much is parsed before the limits are looked at again
_RETRY_AFTER_LIMIT = 64

IDLE_S = 2.0  # less than any server we know of keeps a silent connection open
IDLE_WIRES = 512  # kept by a process at most: the one that has been idle longest goes first

# The parser has to know that a POST has been sent; which one does not matter to it.
_POST = h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")])


@dataclass(slots=True)
class Heard:
    """What an attempt has come to so far; it survives the attempt's end, however that comes."""

    doing: str = "preparing the request"
    status: int | None = None
    retry_after: str | None = None
    body: bytes = b""
    began: bool = False


class Wire(asyncio.Protocol):
    """A connection, parsed as bytes come in: nothing of an answer waits in a buffer of ours.

    Args:
        good_until: The loop's time from which it is not used again: what was judged of its address
            does not hold for ever.
    """

    _transport: asyncio.Transport

    def __init__(self, good_until: float) -> None:
        self._good_until = good_until
        self._heard: Heard | None = None
        self._ended: asyncio.Future[None] | None = None
        self._is_clean = False

    async def converse(self, request: bytes, heard: Heard) -> None:
        """Send a request and hear the answer until it ends or has been long enough.

        Raises:
            NoAnswerError, HeadTooLongError, OSError, h11.RemoteProtocolError: It broke; `heard` may
                have a status all the same.
        """
        if self._transport.is_closing():
            raise NoAnswerError
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        self._http.send(_POST)
        self._http.send(h11.EndOfMessage())
        self._left, self._is_clean = HEAD_LIMIT, False
        self._heard, self._ended = heard, asyncio.get_running_loop().create_future()
        heard.doing = "waiting for the answer"
        self._transport.write(request)  # not drained: the answer may come first
        try:
            await self._ended
        finally:
            self._heard = None

    def is_fit(self) -> bool:
        """Say whether another request may be sent on it.

        Only if the last answer was complete, well framed and its sender keeps the connection open,
        and not a byte has come since: what is sent ahead would pass for the next answer. That is
        asked of the kernel too, where something may lie that nobody has read yet.
        """
        if not self._is_clean or self._transport.is_closing():
            return False
        if asyncio.get_running_loop().time() >= self._good_until:
            return False
        waiting = select.poll()
        waiting.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        """Close it at once: no close_notify is waited for, the peer may be hostile."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; called by the event loop, as all below."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if self._heard is None:  # nobody has asked
            self._is_clean = False
            self.close()
            return
        try:
            self._hear(data, self._heard)
        except (h11.RemoteProtocolError, HeadTooLongError) as failure:
            self._end(failure)

    def eof_received(self) -> None:
        """End the answer: without a length this is how it is complete."""
        self._end(NoAnswerError())

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer."""
        self._end(exc or NoAnswerError())

    def _hear(self, data: bytes, heard: Heard) -> None:
        heard.began = True
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._left -= len(piece)
            self._http.receive_data(piece)
            while self._left > 0 and (event := self._http.next_event()) is not h11.NEED_DATA:
                if self._note(event, heard):
                    self._is_clean = start + _PIECE >= len(data) and self._is_at_rest()
                    self._end(None)
                    return
            if self._left <= 0:
                self._end(HeadTooLongError() if heard.status is None else None)
                return

    def _note(self, event: object, heard: Heard) -> bool:
        """Note what has been parsed; True at the end of the answer."""
        match event:
            case h11.InformationalResponse():
                self._left -= _INTERIM_COST
            case h11.Response() as answer:
                self._left = BODY_LIMIT
                heard.status = answer.status_code
                heard.retry_after = _retry_after(answer)
            case h11.Data(data=data) if len(heard.body) < TEXT_LIMIT:
                heard.body += bytes(data[: TEXT_LIMIT - len(heard.body)])
            case h11.Data():
                self._left -= _CHUNK_COST
            case _:
                return True
        return False

    def _is_at_rest(self) -> bool:
        """Say whether nothing is left of it, neither theirs to read nor ours to send."""
        return (
            self._http.their_state is h11.DONE
            and not self._http.trailing_data[0]
            and not self._transport.get_write_buffer_size()
        )

    def _end(self, failure: Exception | None) -> None:
        if self._heard is None or self._ended is None or self._ended.done():
            return
        self._heard = None
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)


class Idle:
    """Connections that wait for the next attempt at their origin.

    An origin has no more of them than it had attempts at once within the last `IDLE_S`.
    """

    def __init__(self) -> None:
        self._wires: dict[str, list[Wire]] = {}
        self._timers: dict[Wire, tuple[str, asyncio.TimerHandle]] = {}  # the longest idle first

    def take(self, origin: str) -> Wire | None:
        """Take the one that was last in use and is fit for use again, if there is any."""
        while origin in self._wires:
            wire = self._wires[origin][-1]
            self._forget(wire)
            if wire.is_fit():
                return wire
            wire.close()
        return None

    def put(self, origin: str, wire: Wire) -> None:
        """Keep a connection for a while, if it may be used again at all; else close it."""
        if not wire.is_fit():
            wire.close()
            return
        timer = asyncio.get_running_loop().call_later(IDLE_S, self._close, wire)
        self._wires.setdefault(origin, []).append(wire)
        self._timers[wire] = origin, timer
        if len(self._timers) > IDLE_WIRES:
            self._close(next(iter(self._timers)))

    def close(self) -> None:
        """Close them all."""
        for wire in list(self._timers):
            self._close(wire)

    def _close(self, wire: Wire) -> None:
        self._forget(wire)
        wire.close()

    def _forget(self, wire: Wire) -> None:
        origin, timer = self._timers.pop(wire)
        timer.cancel()
        self._wires[origin].remove(wire)
        if not self._wires[origin]:
            del self._wires[origin]


def _retry_after(answer: h11.Response) -> str | None:
    first = next((value for name, value in answer.headers if name == b"retry-after"), None)
    return first[:_RETRY_AFTER_LIMIT].decode("latin-1") if first else None
