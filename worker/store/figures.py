"""The figures in Redis: what is kept and due, and what all processes have counted together.

Reading them costs the same whatever the number tracked: each is a length, a rank or a counter.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from redis.exceptions import RedisError, ResponseError

from worker.figures import MINUTES, Figures
from worker.model import DeliveryState, Endpoint, Hold, State
from worker.store import records
from worker.store.endpoints import Endpoints
from worker.store.lanes import Lanes, lane_of
from worker.store.scripts import Scripts, ms

WORKER_ALIVE_S = 15.0
"""A worker that has not shown for so long that it lives is not counted; it does every 5 s."""

ADD_EVERY_S = 1.0

_MINUTE_KEPT_S = (MINUTES + 2) * 60.0
_WORKER_KEPT_S = 3600.0
_FLUSH_KEPT_S = 3600.0
_TROUBLED_SHOWN = 20


class FigureBook:
    """What is counted by all processes of a deployment, and read by any."""

    def __init__(self, scripts: Scripts, endpoints: Endpoints, lanes: Lanes) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.key
        self._endpoints = endpoints
        self._lanes = lanes
        self._process, self._flushes = uuid.uuid4().hex, 0
        self._unsent = Counter[str]()

    async def add(self, counts: Mapping[str, int], *, now: int | None = None) -> None:
        """Add what this process has counted to the totals, and to the minute that runs."""
        self._flushes += 1
        self._unsent = Counter(counts)
        await self._send(now)

    async def _send(self, now: int | None = None) -> None:
        """Send what is unsent. Under the number it has, so that it counts once if sent twice."""
        pairs = [each for pair in self._unsent.items() for each in pair]
        flush = (self._process, self._flushes, ms(_FLUSH_KEPT_S))
        await self._scripts.run("count", ms(_MINUTE_KEPT_S), *flush, *pairs, now=now)
        self._unsent = Counter()

    async def add_from(self, take: Callable[[], Counter[str]]) -> None:
        """Add what was counted since the last time; while Redis is away it is kept for the next."""
        with suppress(RedisError, OSError):
            if self._unsent:  # perhaps it has arrived, and only the answer has not
                await self._send()
            if counts := take():
                await self.add(counts)

    async def keep_adding(self, take: Callable[[], Counter[str]]) -> None:
        """Add what is counted, every second, until cancelled."""
        while True:
            await asyncio.sleep(ADD_EVERY_S)
            await self.add_from(take)

    async def beat(self, worker: str, *, now: int | None = None) -> None:
        """Show that a worker lives."""
        await self._scripts.run("beat", worker, ms(_WORKER_KEPT_S), now=now)

    async def totals(self) -> dict[str, int]:
        """Read what all processes have counted since this Redis began."""
        found = await self._redis.hgetall(self._key("totals"))  # type: ignore[misc]
        return _counts(found)

    async def minutes(self, *, now: int) -> list[dict[str, int]]:
        """Read what was counted in each of the last 60 minutes, the one that runs being last."""
        pipe = self._redis.pipeline(transaction=False)
        for minute in range(now // 60_000 - MINUTES + 1, now // 60_000 + 1):
            pipe.hgetall(self._key(f"minute:{minute}"))
        return [_counts(each) for each in await pipe.execute()]

    async def workers(self, *, now: int) -> list[str]:
        """Name the workers that live."""
        alive_since = now - ms(WORKER_ALIVE_S)
        found = await self._redis.zrangebyscore(self._key("workers"), alive_since, "+inf")
        return [each.decode() for each in found]

    async def read(self, accounts: Sequence[str], *, now: int) -> Figures:
        """Read how the queue stands, in these accounts and all receivers."""
        pipe, key = self._redis.pipeline(transaction=False), self._key
        for account in accounts:
            for state in State:
                pipe.zcard(key(f"trackers:{account}:{state}"))
            pipe.zcount(key(f"due:poll:{account}"), "-inf", now)
            pipe.zscore(key("lanes"), f"poll:{account}")
            pipe.hmget(key(f"card:poll:{account}"), records.HEALTH_FIELDS)
        for owed in DeliveryState:
            pipe.zcard(key(f"deliveries:{owed}"))
        pipe.zcount(key("lanes"), "-inf", now)
        pipe.zrange(key("lanes"), 0, 0, withscores=True)
        pipe.zcount(key("held"), now + 1, "+inf")
        pipe.zcard(key("troubled"))
        pipe.zrange(key("troubled"), 0, _TROUBLED_SHOWN - 1, withscores=True)
        answers = iter(await pipe.execute())
        of = {name: list(islice(answers, len(State) + 3)) for name in accounts}
        deliveries = dict(zip(DeliveryState, answers, strict=False))
        lanes_due, first, held, troubled, longest = answers
        memory, troubled_longest = await self._memory(), await self._troubled(longest)
        held_accounts, held_endpoints = await self._holds(
            accounts, [each for _, each in troubled_longest], now
        )
        return Figures(
            now=now,
            trackers={name: dict(zip(State, of[name], strict=False)) for name in accounts},
            deliveries=deliveries,
            looks_due={name: of[name][-3] for name in accounts},
            lanes_due=lanes_due,
            accounts_due=sum(of[name][-2] is not None and of[name][-2] <= now for name in accounts),
            oldest_due=first[0][1] if first else None,
            health={name: records.health_from_row(of[name][-1]) for name in accounts},
            workers=await self.workers(now=now),
            troubled=troubled,
            troubled_longest=troubled_longest,
            holds=held_endpoints,
            account_holds=held_accounts,
            receivers_held=held,
            used_bytes=memory.get("used_memory"),
            max_bytes=memory.get("maxmemory") or None,
        )

    async def _memory(self) -> dict[str, int]:
        try:
            return dict(await self._redis.info("memory"))
        except ResponseError:  # some that are managed by others do not tell
            return {}

    async def _troubled(self, rows: Sequence[tuple[bytes, float]]) -> list[tuple[int, Endpoint]]:
        since = {name.decode(): int(at) for name, at in rows}
        return [(since[each.name], each) for each in await self._endpoints.get_many(list(since))]

    async def _holds(
        self, accounts: Sequence[str], endpoints: Sequence[Endpoint], now: int
    ) -> tuple[dict[str, Hold], dict[str, Hold]]:
        """Read how accounts and the origins of endpoints are held, by their names."""
        polled = {name: f"poll:{name}" for name in accounts}
        posted = {each.name: lane_of(each.url) for each in endpoints if each.enabled}
        holds = await self._lanes.holds([*polled.values(), *posted.values()], now=now)

        def of(lanes: Mapping[str, str]) -> dict[str, Hold]:
            return {name: holds[lane] for name, lane in lanes.items() if lane in holds}

        return of(polled), of(posted)


def _counts(row: Mapping[bytes, bytes]) -> Counter[str]:
    return Counter({field.decode(): int(count) for field, count in row.items()})
