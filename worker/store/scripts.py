"""Runs the Lua scripts: one file per atomic step, each behind those that all of them share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis

COMMON = ("common", "deliveries")

LEASE_S = 30.0
"""How long a claim lasts, unless told otherwise: more than a look or an attempt may take."""

ALIVE_S = 3.0
"""How long a drain is believed to be alive after its last sign of life."""


def ms(seconds: float) -> int:
    """Turn seconds into whole milliseconds."""
    return round(seconds * 1000)


def pairs(flat: Iterable[bytes]) -> dict[bytes, bytes]:
    """Turn an HGETALL as a script returns it (field, value, field, …) into a mapping."""
    each = iter(flat)
    return dict(zip(each, each, strict=True))


@dataclass(frozen=True, slots=True)
class Clock:
    """Redis's clock as read with a claim, carried on by this process's steady clock."""

    read_at: int
    started: float

    @classmethod
    def at(cls, now: int) -> Clock:
        """Start a clock that says `now`."""
        return cls(now, time.monotonic())

    def now(self) -> int:
        """Tell the time, in milliseconds since the epoch."""
        return self.read_at + ms(time.monotonic() - self.started)


class Scripts:
    """The scripts of one deployment: its Redis, its key prefix, its retention and its lease.

    A Redis that has forgotten the scripts (a restart) is sent them again by redis-py.
    """

    def __init__(self, redis: Redis, *, prefix: str, retention_s: float, lease_s: float) -> None:
        self.redis = redis
        self.prefix = prefix
        self.retention_ms = ms(retention_s)
        self.lease_ms = ms(lease_s)
        folder = files("worker") / "lua"
        common = "".join((folder / f"{name}.lua").read_text() for name in COMMON)
        self._scripts = {
            file.name.removesuffix(".lua"): redis.register_script(common + file.read_text())
            for file in folder.iterdir()
            if file.name.endswith(".lua") and file.name.removesuffix(".lua") not in COMMON
        }

    async def run(self, name: str, *args: Any, now: int | None = None) -> Any:
        """Run `lua/<name>.lua`; `now` stands in for Redis's clock, in tests."""
        clock = "" if now is None else now
        return await self._scripts[name](keys=[self.prefix], args=[clock, *args])

    def key(self, name: str) -> str:
        """Put the deployment's prefix before the name of a key or a channel."""
        return f"{self.prefix}:{name}"

    async def newest(
        self, indexes: Iterable[str], *, before: int | None, limit: int
    ) -> list[list[tuple[str, int]]]:
        """Read the newest members of each index, as (member, seq) with seq below `before`."""
        pipe = self.redis.pipeline(transaction=False)
        newest = "+inf" if before is None else f"({before}"
        for index in indexes:
            pipe.zrevrangebyscore(
                self.key(index), newest, "-inf", start=0, num=limit, withscores=True
            )
        found = await pipe.execute()
        return [[(member.decode(), int(seq)) for member, seq in members] for members in found]
