"""Tells listeners what happens, as it happens: one reader for a process, however many listen.

Who listens first catches up, in pages read for him alone and as fast as he takes them. When he has
reached the place of the reader he is handed what that reads, in a queue of bounded length: one who
lets it fill up is sent away, and may come back to where he was.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from pydantic_core import from_json, to_json

from worker.errors import InvalidInputError, UnavailableError
from worker.model import JsonObject, rfc3339
from worker.store import Bounds, Store, StreamEntry, redis_may_be_away

HEARTBEAT_S = 15.0
MAX_LISTENERS = 1000
QUEUE_LIMIT = 1000
PAGE = 200
PACE_S = 0.02
"""A pause after each read, so that what happens together wakes each listener once."""

RETRY_S = 1.0

log = logging.getLogger(__name__)


class Away(StrEnum):
    """Why a listener is sent away."""

    SLOW = "slow"
    STOPPING = "stopping"
    UNAVAILABLE = "unavailable"

    @property
    def detail(self) -> str:
        """Say it for people."""
        return _DETAILS[self]


_DETAILS = {
    Away.SLOW: f"More than {QUEUE_LIMIT} events waited for you. Resume after the last you got.",
    Away.STOPPING: "This server is stopping. Resume after the last event you got.",
    Away.UNAVAILABLE: "The events cannot be read now. Resume later, after the last you got.",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a listener wants: of these types or their groups, and perhaps of one account."""

    types: frozenset[str]
    account: str | None = None
    generation_id: str | None = None

    def fits(self, entry: StreamEntry) -> bool:
        """Say whether an event is one of those."""
        return (
            (entry.type in self.types or entry.type.partition(".")[0] in self.types)
            and self.account in {None, entry.account}
            and self.generation_id in {None, entry.generation_id}
        )


@dataclass(frozen=True, slots=True)
class Told:
    """An event as listeners get it: its place on the stream, its type, its JSON."""

    id: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """Some events, perhaps none, and the place up to which all there is has been told."""

    told: Sequence[Told]
    position: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Between the place somebody wants to resume from and `first` something may be lost."""

    after: str
    first: str | None


Part: TypeAlias = Heard | Gap | Away


@dataclass(eq=False, slots=True)
class _Listener:
    wanted: Wanted
    position: str
    gap_at: str | None = None  # the place where he knows of a gap
    is_live: bool = False
    away: Away | None = None
    queue: deque[Told] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, read: Iterable[tuple[StreamEntry, Told | None]]) -> None:
        """Queue what is wanted of what the reader has read."""
        ahead = _place(self.position)
        wanted = [
            told
            for entry, told in read
            if told is not None and self.wanted.fits(entry) and _place(entry.id) > ahead
        ]
        if len(self.queue) + len(wanted) > QUEUE_LIMIT:
            self.send_away(Away.SLOW)
        elif wanted:
            self.queue.extend(wanted)
            self.wake.set()

    def send_away(self, why: Away) -> None:
        self.away, self.is_live = self.away or why, False
        self.queue.clear()  # it is all still on the stream
        self.wake.set()


class EventStream:
    """What happens, for all who listen at this process.

    Args:
        store: where the stream is.
        heartbeat_s: how often a listener hears something at least.
    """

    def __init__(self, store: Store, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._store = store
        self._heartbeat_s = heartbeat_s
        self._listeners: set[_Listener] = set()
        self._reader: asyncio.Task[None] | None = None
        self._position = "0-0"
        self._is_closed = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @redis_may_be_away
    async def listen(
        self, wanted: Wanted, after: str | None, *, since: int | None = None
    ) -> AsyncGenerator[Part]:
        """Begin to listen; what comes of it ends when the listener is sent away, or goes.

        Args:
            wanted: which events.
            after: the place to resume from; None begins now, or at `since`.
            since: an instant, in milliseconds since the epoch.

        Raises:
            InvalidInputError: the place is one among several cells.
            UnavailableError: Redis does not answer, too many listen, or the process is stopping.
        """
        if after is not None and ":" in after:
            raise InvalidInputError("Last-Event-ID", "it is the `id` of an event of several cells")
        if self._is_closed:
            raise UnavailableError(Away.STOPPING.detail)
        if len(self._listeners) >= MAX_LISTENERS:
            raise UnavailableError(f"{MAX_LISTENERS} listen here already. Try again later.")
        bounds = await self._store.stream.bounds()
        gap = None
        if after is None and since is not None:
            after = min(_place_before(since), bounds.last, key=_place)
        if after is not None and _place(after) > _place(bounds.last):
            gap, after = Gap(after, bounds.first), bounds.last
        elif after is not None:
            gap = _gap(after, bounds)
        listener = _Listener(wanted, after or bounds.last, gap.after if gap else None)
        return self._parts(listener, bounds.last, gap)

    async def close(self) -> None:
        """Send all listeners away; nobody can listen any more."""
        self._is_closed = True
        for each in self._listeners:
            each.send_away(Away.STOPPING)
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    # --- one listener -----------------------------------------------------------------------------

    async def _parts(self, listener: _Listener, last: str, gap: Gap | None) -> AsyncGenerator[Part]:
        self._listeners.add(listener)
        try:
            self._ensure_reader(last)
            if self._is_closed:
                listener.send_away(Away.STOPPING)
            if gap is not None:
                yield gap
            yield Heard((), listener.position)
            while listener.away is None and not listener.is_live:
                for part in await self._caught_up(listener):
                    yield part
            while listener.away is None:
                yield await self._next(listener)
            yield listener.away
        finally:
            self._listeners.discard(listener)

    async def _caught_up(self, listener: _Listener) -> list[Part]:
        """Read the next page for a listener; at the reader's place let him follow that instead."""
        reached = self._position
        if _place(listener.position) >= _place(reached):
            listener.is_live = True
            return []
        try:
            entries = await self._page(listener.position)
            # He may be slower than the trimming.
            gap = _gap(listener.position, await self._bounds())
            told = await self._told([each for each in entries if listener.wanted.fits(each)])
        except UnavailableError:
            listener.send_away(Away.UNAVAILABLE)
            return []
        is_news = listener.position != listener.gap_at
        # Nothing there: what was has been trimmed away. The reader may have gone on since.
        listener.position = entries[-1].id if entries else reached
        listener.gap_at = None if entries else reached
        heard = Heard([each for each in told if each is not None], listener.position)
        return [gap, heard] if gap is not None and is_news else [heard]

    async def _next(self, listener: _Listener) -> Heard:
        """Take what waits for a listener; after a heartbeat's time without anything, nothing."""
        if not listener.queue:
            listener.wake.clear()
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await listener.wake.wait()
            except TimeoutError:
                pass
        told = tuple(listener.queue)
        listener.queue.clear()
        if listener.is_live:  # what is in no queue has been looked at up to here
            listener.position = max(listener.position, self._position, key=_place)
        return Heard(told, listener.position)

    # --- the reader -------------------------------------------------------------------------------

    def _ensure_reader(self, last: str) -> None:
        if self._is_closed or (self._reader is not None and not self._reader.done()):
            return
        self._position = last
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Read for as long as anybody listens."""
        try:
            while self._listeners:
                try:
                    await self._pass_on()
                except UnavailableError:
                    await asyncio.sleep(RETRY_S)
        except Exception:
            log.exception("reading the events failed")
        finally:  # nobody waits for a reader that is gone
            for each in self._listeners:
                each.send_away(Away.UNAVAILABLE)

    async def _pass_on(self) -> None:
        """Read what comes next and hand it to those who have caught up."""
        entries = await self._wait(self._position)
        if not entries:
            return
        # Whoever comes while this reads will want it too, so it is read whoever is there now.
        told = await self._told(entries)
        # After an outage much may have been trimmed away unread: who comes back is told so.
        is_lost = len(entries) == PAGE and _gap(self._position, await self._bounds()) is not None
        for listener in self._listeners:
            if listener.is_live and is_lost:
                listener.send_away(Away.UNAVAILABLE)
            elif listener.is_live:
                listener.take(zip(entries, told, strict=True))
        self._position = entries[-1].id
        await asyncio.sleep(PACE_S)

    # --- reading ----------------------------------------------------------------------------------

    @redis_may_be_away
    async def _wait(self, position: str) -> list[StreamEntry]:
        return await self._store.stream.wait(position, limit=PAGE)

    @redis_may_be_away
    async def _page(self, position: str) -> list[StreamEntry]:
        return await self._store.stream.after(position, limit=PAGE)

    @redis_may_be_away
    async def _bounds(self) -> Bounds:
        return await self._store.stream.bounds()

    @redis_may_be_away
    async def _told(self, entries: Sequence[StreamEntry]) -> list[Told | None]:
        """Show entries as listeners get them; None for events that are no longer kept."""
        bodies = await self._store.stream.bodies([each.event_id for each in entries])
        return [_shown(entry, body) for entry, body in zip(entries, bodies, strict=True)]


def _gap(after: str, bounds: Bounds) -> Gap | None:
    """Tell what may be lost after a place; who asks for all that is kept, from 0-0 on, has it."""
    first = _place(bounds.first or bounds.last)
    is_kept = bounds.is_whole or _place(after) == (0, 0) or _place(after) >= first
    return None if is_kept else Gap(after, bounds.first)


def _place_before(at: int) -> str:
    """Name the place on the stream right before an instant, in milliseconds since the epoch."""
    return f"{at - 1}-{10**15 - 1}" if at > 0 else "0-0"


def _place(position: str) -> tuple[int, int]:
    milliseconds, _, number = position.partition("-")
    return int(milliseconds), int(number or 0)


def _shown(entry: StreamEntry, body: bytes | None) -> Told | None:
    if entry.type.startswith("delivery."):
        event: JsonObject = {
            "timestamp": rfc3339(_place(entry.id)[0]),
            "data": {
                **entry.details,
                "account": entry.account,
                "generation_id": entry.generation_id,
                "reason": entry.details.get("reason") or None,
            },
        }
    elif body is None:
        return None
    else:
        event = from_json(body)
        event["data"].pop("generation", None)
    shape = {
        "event_id": entry.event_id,
        "type": entry.type,
        "timestamp": event["timestamp"],
        "data": event["data"],
    }
    return Told(entry.id, entry.type, to_json(shape))
