"""Deliveries in Redis: claimed for an attempt, settled, listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from worker.delivery_policy import held_for_ms
from worker.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Endpoint,
    Entry,
    Failing,
    Health,
    NewEvent,
)
from worker.store import holds, packing, records, timelines
from worker.store.scripts import ALIVE_S, Clock, Scripts, ms, pairs

BARE_CONCURRENCY = 8
"""Attempts under way at a time to all bare callback URLs of an origin; an endpoint has its own."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """One delivery, claimed: the bytes to post, to whom, and how long a hold kept it waiting."""

    delivery: Delivery
    body: bytes
    endpoint: Endpoint
    held_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ClaimedDeliveries:
    """Deliveries claimed from a receiver's lane. `wake_at` is None when nothing lies ahead."""

    clock: Clock
    wake_at: int | None
    health: Health
    deliveries: list[ClaimedDelivery]


@dataclass(frozen=True, slots=True)
class SwitchOff:
    """An endpoint is switched off with an attempt: why, and the event that says so.

    If the conclusion rests on its failing since some time, it stays on when it has had a success
    meanwhile.
    """

    reason: str
    event: NewEvent
    rests_on_failing: bool = False


class Settled(NamedTuple):
    """What came of settling an attempt.

    Whether it was written, whether it switched its endpoint off, and whether what it says of its
    receiver's health was written: of conclusions drawn at once, the first alone is.
    """

    applied: bool
    switched_off: bool
    told_health: bool


class Deliveries:
    """What is owed, and what became of it."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.key

    async def get_many(self, ids: Sequence[str]) -> list[Delivery]:
        """Read deliveries with their attempts, leaving out those that are no longer kept."""
        pipe = self._redis.pipeline(transaction=False)
        for delivery_id in ids:
            pipe.hgetall(self._key(f"delivery:{delivery_id}"))
            pipe.lrange(self._key(f"attempts:{delivery_id}"), 0, -1)
        answers = await pipe.execute()
        return [
            records.delivery_from_hash(delivery_id, row, attempts)
            for delivery_id, row, attempts in zip(ids, answers[::2], answers[1::2], strict=True)
            if row
        ]

    async def latest_of(
        self, trackers: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[Delivery, int]]:
        """Find what was owed last for each of these trackers, named by account and generation ID.

        Returns:
            For those that have been owed something, the delivery, with the last of its attempts
            alone, and how many of them are kept.
        """
        pipe = self._redis.pipeline(transaction=False)
        for account, generation_id in trackers:
            pipe.hget(self._key(f"tracker:{account}:{generation_id}"), "webhook")
        owed = {
            name: each.decode()
            for name, each in zip(trackers, await pipe.execute(), strict=True)
            if each
        }
        for delivery_id in owed.values():
            pipe.hgetall(self._key(f"delivery:{delivery_id}"))
            pipe.lrange(self._key(f"attempts:{delivery_id}"), -1, -1)
            pipe.llen(self._key(f"attempts:{delivery_id}"))
        answers = iter(await pipe.execute() if owed else ())
        return {
            name: (records.delivery_from_hash(delivery_id, row, last), count)
            for (name, delivery_id), row, last, count in zip(
                owed.items(), answers, answers, answers, strict=True
            )
            if row
        }

    async def ids(
        self, states: Iterable[DeliveryState], *, before: int | None, limit: int
    ) -> list[tuple[int, str]]:
        """Name deliveries, newest first, as up to `limit` of (seq, ID) with seq below `before`."""
        indexes = [f"deliveries:{state}" for state in states]
        found = await self._scripts.newest(indexes, before=before, limit=limit)
        rows = [(seq, member) for members in found for member, seq in members]
        return sorted(rows, reverse=True)[:limit]

    async def claim(
        self, lane: str, *, limit: int, assists: bool = False, now: int | None = None
    ) -> ClaimedDeliveries:
        """Claim up to `limit` of the deliveries due in a receiver's lane.

        Fewer, if the receiver is held or its endpoints have as much under way as they allow. What
        is owed to an endpoint that is off or gone ends here. If it `assists`, the lane's own drain,
        of which its marker tells, is another.
        """
        args = (
            *(lane, limit, self._scripts.lease_ms, ms(ALIVE_S), self._scripts.retention_ms),
            *(BARE_CONCURRENCY, int(assists)),
        )
        answer = await self._scripts.run("claim_deliveries", *args, now=now)
        at, wake_at, health, hold, found, rows = answer
        known = records.health_from_row(health)
        last_hold = holds.last_of_row(hold, at, lasts=known.held_until > 0)
        endpoints = {
            name: records.endpoint_from_hash(name.decode(), pairs(row))
            for name, row in zip(found[::2], found[1::2], strict=True)
            if row
        }
        claimed = []
        for delivery_id, fence, body, row in rows:
            kept = pairs(row) | {b"fence": b"%d" % fence}
            delivery = records.delivery_from_hash(delivery_id.decode(), kept)
            to = endpoints[kept[b"endpoint"]]
            held_ms = held_for_ms(delivery.next_attempt_at, last_hold)
            claimed.append(ClaimedDelivery(delivery, packing.body_of(body), to, held_ms))
        return ClaimedDeliveries(Clock.at(at), None if wake_at < 0 else wake_at, known, claimed)

    async def settle(
        self,
        after: Delivery,
        attempt: Attempt,
        *,
        entry: Entry,
        health: Health | None = None,
        failing: Failing | None = None,
        off: SwitchOff | None = None,
        now: int | None = None,
    ) -> Settled:
        """Write what an attempt made of a delivery, unless the claim is stale.

        Args:
            after: the delivery as it is now, with the fence of its claim.
            attempt: what happened.
            entry: for the tracker's timeline.
            health: the receiver's after the attempt, with the version it was claimed under; None:
                it is as it was.
            failing: what a failure makes of its endpoint's failures; None: it is the first.
            off: the endpoint is switched off by this, if it still is where it was called.
            now: stands in for Redis's clock, in tests.
        """
        args = (
            *(after.id, after.fence, after.state.value, after.reason or ""),
            *(records.delivery_to_json(after), after.next_attempt_at or 0),
            *(records.attempt_to_json(attempt), timelines.entry_to_json(entry)),
            *(self._scripts.retention_ms, *records.health_args(health)),
            "ok" if after.state is DeliveryState.DELIVERED else "failed",
            *records.failing_args(failing),
            attempt.outcome,
            *((off.reason, int(off.rests_on_failing), after.url) if off else ()),
            *(records.event_args(off.event) if off else ()),
        )
        return Settled(*map(bool, await self._scripts.run("settle_attempt", *args, now=now)))

    async def replay(self, again: Delivery, *, now: int | None = None) -> tuple[str, str]:
        """Owe a finished delivery again; one that is pending becomes due now.

        Args:
            again: the delivery as it shall be, with the fence it was read with: due now, and if
                it is finished with its tries at nought.
            now: stands in for Redis's clock, in tests.

        Returns:
            Its state before ('' = there is none; `disabled` = its endpoint is off; `gone` = its
            endpoint or event is no longer kept; `changed` = it has ended since it was read), and
            the lane whose drain the caller must start.
        """
        args = (again.id, again.fence, records.delivery_to_json(again), ms(ALIVE_S))
        before, lane = await self._scripts.run("replay", *args, now=now)
        return before.decode(), lane.decode()

    async def announce(self, event: NewEvent, *, now: int | None = None) -> str:
        """Bear an event that is not about a generation; returns the lane to start ('' = none)."""
        args = (self._scripts.retention_ms, ms(ALIVE_S), *records.event_args(event))
        lane: bytes = await self._scripts.run("announce", *args, now=now)
        return lane.decode()
