"""Endpoints in Redis: who receives, signed with what, and what became of what they were owed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from worker.model import Delivery, Endpoint, EndpointEvent, Queue, Secret
from worker.store import records
from worker.store.lanes import lane_of
from worker.store.scripts import ALIVE_S, Scripts, ms, pairs

RELEASED_PER_STEP = 200
"""No step takes Redis longer than some milliseconds; more than any endpoint has under way."""


@dataclass(frozen=True, slots=True)
class PutEndpoint:
    """An endpoint that was put, whether it is new, and the lane to start ('' = none)."""

    endpoint: Endpoint
    created: bool
    must_start: str


class Endpoints:
    """Named receivers, and the anonymous ones that come with a callback URL."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.key

    async def put(
        self, endpoint: Endpoint, *, enabled: bool | None, secret: str | None
    ) -> PutEndpoint | None:
        """Make an endpoint, or change one.

        Args:
            endpoint: as it shall be; an empty URL leaves that as it is. To another origin what it
                is owed moves along.
            enabled: switches it on or off; None leaves that as it is.
            secret: signs for it if it is new; None: the deployment's own does.

        Returns:
            What came of it; None if there is none and no URL was given.
        """
        watches = int(EndpointEvent.DISABLED in endpoint.events)
        secrets = records.secrets_to_json([Secret(secret)] if secret else [])
        record = records.endpoint_to_json(endpoint)
        lane = lane_of(endpoint.url) if endpoint.url else ""
        return await self._put(
            *(endpoint.name, endpoint.url, lane, record, _flag(enabled), secrets),
            *(endpoint.concurrency, watches),
        )

    async def switch(self, name: str, *, enabled: bool | None) -> PutEndpoint | None:
        """Switch an endpoint on or off, and leave all else as it is; None if there is none."""
        return await self._put(name, "", "", "", _flag(enabled), "", "", "")

    async def _put(self, name: str, *args: str | bytes | int) -> PutEndpoint | None:
        created, *more = await self._scripts.run("put_endpoint", name, *args, ms(ALIVE_S))
        if not more:
            return None
        row, must_start = more
        endpoint = records.endpoint_from_hash(name, pairs(row))
        return PutEndpoint(endpoint, bool(created), must_start.decode())

    async def get(self, name: str) -> Endpoint | None:
        """Read an endpoint, or None."""
        found = await self.get_many([name])
        return found[0] if found else None

    async def get_many(self, names: Sequence[str]) -> list[Endpoint]:
        """Read endpoints, leaving out those that are no longer there."""
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(self._key(f"endpoint:{name}"))
        rows = zip(names, await pipe.execute(), strict=True)
        return [records.endpoint_from_hash(name, row) for name, row in rows if row]

    async def names(self, *, before: int | None, limit: int) -> list[tuple[int, str]]:
        """Name endpoints, newest first, as up to `limit` of (seq, name) with seq below `before`."""
        (found,) = await self._scripts.newest(["endpoints"], before=before, limit=limit)
        return [(seq, name) for name, seq in found]

    async def lanes(self, urls: Mapping[str, str]) -> dict[str, str]:
        """Tell in whose lane each of these endpoints is owed: where it is now.

        Args:
            urls: By endpoint's name, where it was called last; it is taken for those that are no
                longer there.
        """
        pipe = self._redis.pipeline(transaction=False)
        for name in urls:
            pipe.hget(self._key(f"endpoint:{name}"), "lane")
        rows = zip(urls.items(), await pipe.execute() if urls else (), strict=True)
        return {name: lane.decode() if lane else lane_of(url) for (name, url), lane in rows}

    async def queues(self, endpoints: Sequence[Endpoint], *, now: int) -> dict[str, Queue]:
        """Count by endpoint's name what its queue has under way and due, in one go.

        Bare callback URLs of one origin have one queue between them; one whose concurrency was
        set has its own.
        """
        pipe = self._redis.pipeline(transaction=False)
        for each in endpoints:
            pipe.hexists(self._key(f"endpoint:{each.name}"), "concurrency")
            for queue in (lane_of(each.url), each.name):
                pipe.zcount(self._key(f"busy:{queue}"), now + 1, "+inf")
                pipe.zcount(self._key(f"due:{queue}"), "-inf", now)
        answers, found = iter(await pipe.execute()), {}
        for each in endpoints:
            has_own, *counts = islice(answers, 5)
            found[each.name] = Queue(*(counts[2:] if has_own else counts[:2]))
        return found

    async def drop(self, name: str) -> bool:
        """Delete an endpoint; False if there is none. What it is owed is then to be released."""
        return bool(await self._scripts.run("drop_endpoint", name))

    async def set_secrets(self, before: Endpoint, secrets: Iterable[Secret]) -> bool:
        """Replace an endpoint's secrets; False if they are no longer what `before` has."""
        old, new = records.secrets_to_json(before.secrets), records.secrets_to_json(secrets)
        return bool(await self._scripts.run("rotate", before.name, old, new))

    async def failed(
        self, name: str, *, since: int, until: int, step: int
    ) -> AsyncIterator[list[str]]:
        """Name the exhausted deliveries of an endpoint that ended in a span of time, oldest first.

        They come in steps, each read when the one before has been dealt with, and so many at a
        time that Redis serves others in between. Those that leave the list meanwhile, or stay in
        it, make no difference to what comes next.
        """
        key, named = self._key(f"failed:{name}"), dict[str, float]()
        while True:
            rows = await self._redis.zrangebyscore(
                key, since, until, start=0, num=len(named) + step, withscores=True
            )
            fresh = {member.decode(): at for member, at in rows if member.decode() not in named}
            if not fresh:
                return
            yield list(fresh)
            since = max(fresh.values())  # of this instant there may be more
            named = {member: at for member, at in (named | fresh).items() if at == since}

    # --- what is to be done about those that were switched off ------------------------------------

    async def switched_off(self) -> list[tuple[str, str]]:
        """Name the endpoints that were switched off or deleted and whose consequences are due.

        Returns:
            Names, each with the event to tell others of; '' = nobody needs to be told.
        """
        found = await self._redis.smembers(self._key("switched_off"))  # type: ignore[misc]
        pairs_ = (each.decode().partition(" ") for each in sorted(found))
        return [(name, event_id) for name, _, event_id in pairs_]

    async def release(self, name: str, *, now: int | None = None) -> None:
        """Give up what an endpoint that is off or deleted is owed, but for what is under way."""
        args = (name, RELEASED_PER_STEP, self._scripts.retention_ms)
        while await self._scripts.run("release", *args, now=now):
            pass

    async def watchers(self) -> list[Endpoint]:
        """Read the endpoints that ask to be told when one is switched off."""
        names = await self._redis.smembers(self._key("watchers"))  # type: ignore[misc]
        return await self.get_many(sorted(name.decode() for name in names))

    async def owe(self, owed: Delivery, lane: str) -> str:
        """Owe an event that is on record to one more endpoint, once.

        Returns:
            The lane whose drain the caller must start ('' = none).
        """
        args = (self._scripts.retention_ms, ms(ALIVE_S), owed.event_id)
        return str(
            (await self._scripts.run("owe", *args, *records.delivery_args(owed, lane))).decode()
        )

    async def settled(self, name: str, event_id: str) -> None:
        """Note that all has been done about one time that an endpoint was switched off."""
        await self._redis.srem(self._key("switched_off"), f"{name} {event_id}")  # type: ignore[misc]


def _flag(enabled: bool | None) -> str | int:  # noqa: FBT001 - what a caller said, or nothing
    return "" if enabled is None else int(enabled)
