"""Lanes in Redis: which have work, which have a drain."""

from __future__ import annotations

import math
from collections.abc import Iterable

from worker import addresses
from worker.model import Health, Hold
from worker.store import holds, records
from worker.store.scripts import ALIVE_S, Scripts, ms

LINGER_S = 2.0
"""A drain stays while its lane has work due within this time."""

STAGE_LIMIT = 1000
SWEEP_LIMIT = 1000


def lane_of(url: str) -> str:
    """Name the lane that deliveries to a URL belong to: one for each origin."""
    return f"post:{addresses.origin(url)}"


class Lanes:
    """What everything that shares one limit has to do, and who is doing it."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.key

    async def stage(self, *, ahead_s: float = 0.0, now: int | None = None) -> list[str]:
        """Name the lanes that have work due and no drain; the caller must start theirs.

        Args:
            ahead_s: Those too whose work comes due within so many seconds.
            now: Stands in for Redis's clock, in tests.
        """
        args = (STAGE_LIMIT, ms(ALIVE_S), ms(ahead_s))
        lanes = await self._scripts.run("stage", *args, now=now)
        return [lane.decode() for lane in lanes]

    async def leave(self, lane: str, *, now: int | None = None) -> bool:
        """Ask to end the drain of a lane; False if it has work due soon."""
        return bool(await self._scripts.run("leave", lane, ms(LINGER_S), now=now))

    async def hand_over(self, lane: str, *, now: int | None = None) -> bool:
        """End the drain of a lane; True if the caller must start the next one."""
        args = (lane, ms(LINGER_S), ms(ALIVE_S))
        return bool(await self._scripts.run("hand_over", *args, now=now))

    async def sweep(self, *, now: int | None = None) -> int:
        """Take out of the lists what is no longer kept; returns how many entries that were."""
        swept, retention_ms = 0, self._scripts.retention_ms
        while (taken := await self._scripts.run("sweep", SWEEP_LIMIT, retention_ms, now=now)) > 0:
            swept += taken
        return swept

    async def lag_s(self, *, now: int) -> float:
        """Tell for how many seconds the oldest due work of all lanes has been due."""
        first = await self._redis.zrange(self._key("lanes"), 0, 0, withscores=True)
        return max(0.0, (now - first[0][1]) / 1000) if first else 0.0

    async def health(self, lanes: Iterable[str]) -> list[Health]:
        """Read how the accounts or receivers of lanes are doing."""
        pipe = self._redis.pipeline(transaction=False)
        for lane in lanes:
            pipe.hmget(self._key(f"card:{lane}"), records.HEALTH_FIELDS)
        return [records.health_from_row(row) for row in await pipe.execute()]

    async def holds(self, lanes: Iterable[str], *, now: int | None = None) -> dict[str, Hold]:
        """Read how those of these lanes are held that are, in one go.

        Args:
            lanes: Of receivers or accounts; one may be named often and is read once.
            now: Stands in for Redis's clock, in tests.
        """
        names = sorted(set(lanes))
        if not names:
            return {}
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        for lane in names:
            pipe.hmget(self._key(f"card:{lane}"), holds.FIELDS)
        (seconds, microseconds), *rows = await pipe.execute()
        at = seconds * 1000 + microseconds // 1000 if now is None else now
        found = (
            (lane, holds.from_row(lane, row, at)) for lane, row in zip(names, rows, strict=True)
        )
        return {lane: hold for lane, hold in found if hold}

    async def looks_per_second(self, lane: str, *, now: int) -> float:
        """Tell how many requests an account was asked for each second, over a minute or so."""
        card = self._key(f"card:{lane}")
        spent, at = await self._redis.hmget(card, ["spent", "refilled_at"])  # type: ignore[misc]
        return float(spent or 0) * math.exp(-max(0, now - int(at or now)) / 60_000) / 60
