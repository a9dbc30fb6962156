"""Deliveries in Redis: claimed for an attempt, settled, listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from worker.model import Attempt, Delivery, DeliveryState, Entry
from worker.store import records
from worker.store.scripts import ALIVE_S, Clock, Scripts, ms, pairs


@dataclass(frozen=True, slots=True)
class ClaimedDeliveries:
    """Deliveries claimed from a receiver's lane, each with the bytes to post.

    `wake_at` is None when nothing lies ahead.
    """

    clock: Clock
    wake_at: int | None
    deliveries: list[tuple[Delivery, bytes]]


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

    async def ids(
        self, states: Iterable[DeliveryState], *, before: int | None, limit: int
    ) -> list[tuple[int, str]]:
        """Name deliveries, newest first, as up to `limit` of (seq, ID) with seq below `before`."""
        indexes = [f"deliveries:{state}" for state in states]
        found = await self._scripts.newest(indexes, before=before, limit=limit)
        rows = [(seq, member) for members in found for member, seq in members]
        return sorted(rows, reverse=True)[:limit]

    async def claim(self, lane: str, *, limit: int, now: int | None = None) -> ClaimedDeliveries:
        """Claim up to `limit` of the deliveries due in a receiver's lane."""
        args = (lane, limit, self._scripts.lease_ms, ms(ALIVE_S))
        at, wake_at, rows = await self._scripts.run("claim_deliveries", *args, now=now)
        claimed = [
            (records.delivery_from_hash(delivery_id.decode(), pairs(row)), body)
            for delivery_id, body, row in rows
        ]
        return ClaimedDeliveries(Clock.at(at), None if wake_at < 0 else wake_at, claimed)

    async def settle(
        self, after: Delivery, attempt: Attempt, *, entry: Entry, now: int | None = None
    ) -> bool:
        """Write what an attempt made of a delivery; False if the claim was stale."""
        args = (
            *(after.id, after.fence, after.state.value, records.delivery_to_json(after)),
            *(after.next_attempt_at or 0, records.attempt_to_json(attempt)),
            *(f"{after.account}:{after.generation_id}", records.entry_to_json(entry)),
            self._scripts.retention_ms,
        )
        return bool(await self._scripts.run("settle_attempt", *args, now=now))
