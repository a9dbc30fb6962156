"""Tells listeners what happens in several cells, as one stream.

A place on it is a place on each cell's own, so whoever resumes misses nothing of any. Events of one
cell come in their order; those of two cells as they are read. A cell that is away is asked again
until it is back, and what happened there meanwhile is told then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping
from contextlib import aclosing
from functools import partial

from worker.cells import places_text, read_places
from worker.errors import InvalidInputError, UnavailableError
from worker.stream import RETRY_S, Away, EventStream, Gap, Heard, Part, Told, Wanted

BEGINNING = "0-0"

log = logging.getLogger(__name__)


class MergedStream:
    """What happens in all cells, for all who listen at this process.

    Args:
        streams: of the cells, by name.
    """

    def __init__(self, streams: Mapping[str, EventStream]) -> None:
        self._streams = streams
        self._is_closed = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return max(each.listeners for each in self._streams.values())

    async def listen(
        self, wanted: Wanted, after: str | None, *, since: int | None = None
    ) -> AsyncGenerator[Part]:
        """Begin to listen, as `EventStream.listen` does; a place without some cell hears all of it.

        Raises:
            InvalidInputError: the place is not one of ours.
            UnavailableError: no cell can be listened to.
        """
        given = {} if after is None else read_places(after)
        if given is None:
            raise InvalidInputError("Last-Event-ID", "it is not the `id` of an event of cells")
        if after is not None:
            given = {name: given.get(name, BEGINNING) for name in self._streams}
        begun = round(time.time() * 1000) if since is None else since
        first: dict[str, AsyncGenerator[Part]] = {}
        why: UnavailableError | None = None
        for name, stream in self._streams.items():
            try:
                first[name] = await stream.listen(wanted, given.get(name), since=since)
            except UnavailableError as error:
                why = error
        if why is not None and not first:
            raise why
        heard: asyncio.Queue[tuple[str, Part]] = asyncio.Queue(maxsize=1)
        follow = [
            partial(
                self._follow,
                *(name, wanted, first.get(name), given.get(name)),
                begun=begun,
                heard=heard,
            )
            for name in self._streams
        ]
        away = dict.fromkeys(self._streams.keys() - first.keys(), f"{begun}-0")
        return _merged(follow, heard, set(first), away | given)

    async def close(self) -> None:
        """Send all listeners away; nobody can listen any more."""
        self._is_closed = True
        for each in self._streams.values():
            await each.close()

    async def _follow(
        self,
        name: str,
        wanted: Wanted,
        parts: AsyncGenerator[Part] | None,
        place: str | None,
        *,
        begun: int,
        heard: asyncio.Queue[tuple[str, Part]],
    ) -> None:
        """Pass on what is heard of one cell, again and again if it goes away."""
        while True:
            try:
                if parts is None:
                    since = begun if place is None else None
                    parts = await self._streams[name].listen(wanted, place, since=since)
                async with aclosing(parts):
                    async for part in parts:
                        if part is Away.UNAVAILABLE:
                            break
                        if isinstance(part, Heard):
                            place = part.position
                        await heard.put((name, part))
            except UnavailableError:
                if self._is_closed:
                    await heard.put((name, Away.STOPPING))
            except Exception:
                log.exception("listening to cell %s failed", name)
                await heard.put((name, Away.UNAVAILABLE))
            parts = None
            await asyncio.sleep(RETRY_S)


async def _merged(
    follow: Collection[Callable[[], Coroutine[None, None, None]]],
    heard: asyncio.Queue[tuple[str, Part]],
    unplaced: set[str],
    places: dict[str, str],
) -> AsyncGenerator[Part]:
    """Give out what is heard, once there is a place in each cell that answers."""
    followed = [asyncio.create_task(each()) for each in follow]
    held: list[tuple[str, Part]] = []
    try:
        while True:
            name, part = await heard.get()
            if isinstance(part, Away):
                yield part
                return
            held.append((name, part))
            if isinstance(part, Heard):
                unplaced.discard(name)
                places.setdefault(name, part.position)
            if not unplaced:
                for name, part in held:
                    yield _placed(part, name, places)
                held.clear()
    finally:
        for task in followed:
            task.cancel()
        await asyncio.gather(*followed, return_exceptions=True)


def _placed(part: Part, name: str, places: dict[str, str]) -> Part:
    """Give events, and the place after them, the places that they have among all cells."""
    match part:
        case Heard(told=told, position=position):
            placed = []
            for each in told:
                places[name] = each.id
                placed.append(Told(places_text(places), each.type, each.data))
            places[name] = position
            return Heard(placed, places_text(places))
        case Gap(after=after, first=first):
            return Gap(f"{name}:{after}", first and f"{name}:{first}")
        case Away():
            return part
