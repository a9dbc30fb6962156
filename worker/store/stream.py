"""The stream of events in Redis: what has happened, in order, read in pages or as it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.store import packing
from worker.store.scripts import Scripts, ms

BLOCK_S = 5.0
"""How long a read waits for something to happen; below the client's time-out for an answer."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """Something that has happened; `details` are the fields that not all types have."""

    id: str
    event_id: str
    type: str
    account: str
    generation_id: str
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The oldest entry that is kept (None: there is none), and the newest that there ever was.

    `is_whole` if nothing that ever was on the stream has left it, as far as Redis can tell: before
    7.0 it does not count what has left.
    """

    first: str | None
    last: str
    is_whole: bool


class Stream:
    """Reads the stream; events are born onto it by scripts."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._key = scripts.key

    async def bounds(self) -> Bounds:
        """Tell from where to where the stream goes; an empty one goes to `0-0`."""
        name = self._key("events")
        if not await self._redis.exists(name):
            return Bounds(None, "0-0", is_whole=True)
        found = await self._redis.xinfo_stream(name)
        first = found["first-entry"]
        return Bounds(
            first=first[0].decode() if first else None,
            last=found["last-generated-id"].decode(),
            is_whole=found.get("entries-added") == found["length"],
        )

    async def after(self, position: str, *, limit: int) -> list[StreamEntry]:
        """Read what follows a position, oldest first, without waiting and without bodies."""
        rows = await self._redis.xrange(self._key("events"), min=f"({position}", count=limit)
        return [_entry(row) for row in rows]

    async def wait(self, position: str, *, limit: int) -> list[StreamEntry]:
        """Read what follows a position, as `after` does; if there is nothing, wait a little."""
        name = self._key("events")
        found = await self._redis.xread({name: position}, count=limit, block=ms(BLOCK_S))
        return [_entry(row) for _, rows in found for row in rows]

    async def bodies(self, event_ids: list[str]) -> list[bytes | None]:
        """Read the bodies of events, None for those that are no longer kept."""
        pipe = self._redis.pipeline(transaction=False)
        for event_id in event_ids:
            pipe.hget(self._key(f"event:{event_id}"), "body")
        return [None if kept is None else packing.body_of(kept) for kept in await pipe.execute()]


_COMMON = ("event_id", "type", "account", "generation_id")


def _entry(row: tuple[bytes, Mapping[bytes, bytes]]) -> StreamEntry:
    entry_id, fields = row
    values: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items()}
    common = {name: values.pop(name) for name in _COMMON}
    return StreamEntry(entry_id.decode(), **common, details=values)
