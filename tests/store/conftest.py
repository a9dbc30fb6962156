"""A desk at the store: what its tests do again and again, at an instant of their choosing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Entry,
    JsonObject,
    State,
    Terms,
    Tracker,
)
from worker.store import ClaimedLooks, NewEvent, Store, Tracked

NOW = 1_800_000_000_000
RATE = 1000.0
HOOK = "https://hooks.example.com/dreamhook"
POST_LANE = "post:https://hooks.example.com"
DREAM: JsonObject = {"id": "g-1", "state": "dreaming", "prompt": "Ein Boot läuft aus 🚢"}


@dataclass
class Desk:
    """A store, and an instant that stands in for Redis's clock."""

    redis: Redis
    store: Store
    now: int = NOW

    def later(self, seconds: float) -> int:
        """Let time pass."""
        self.now += round(seconds * 1000)
        return self.now

    # --- trackers

    async def track(self, *ids: str, account: str = "luma", **terms: Any) -> Tracked:
        agreed = Terms(**{"deadline_s": 3600.0, **terms})
        wanted = [(name, agreed) for name in ids or ("g-1",)]
        return await self.store.trackers.track(account, "luma", wanted, now=self.now)

    async def claim(
        self, limit: int = 10, *, account: str = "luma", rate: float = RATE
    ) -> ClaimedLooks:
        return await self.store.trackers.claim(account, limit=limit, rate=rate, now=self.now)

    async def claimed(self, generation_id: str = "g-1", account: str = "luma") -> Tracker:
        """Claim all that is due; returns one of them."""
        looks = (await self.claim(1000, account=account)).looks
        (found,) = [each for each in looks if each.generation_id == generation_id]
        return found

    async def claimed_one(self, generation_id: str = "g-1", account: str = "luma") -> Tracker:
        """Claim one out of turn, as a cancel does."""
        found = await self.store.trackers.claim_one(account, generation_id, rate=None, now=self.now)
        assert found is not None
        assert not isinstance(found, float)
        return found.tracker

    async def wait(self, tracker: Tracker, seconds: float = 5.0, **changes: Any) -> bool:
        """Settle a look that found it running."""
        at = self.now + round(seconds * 1000)
        after = replace(tracker, polls=tracker.polls + 1, next_poll_at=at, looked_at=self.now)
        entry = Entry(self.now, "look", {"provider_state": "dreaming"})
        return (
            await self.store.trackers.settle(after, entries=[entry], now=self.now, **changes)
        )[0]

    async def end(
        self,
        tracker: Tracker,
        state: State = State.COMPLETED,
        *,
        event_id: str = "evt_1",
        owed: str | None = None,
        lane: str = POST_LANE,
    ) -> tuple[bool, str]:
        """Settle its end, with its event (none when it is canceled) and, if `owed`, a delivery."""
        after = replace(tracker, state=state, finished_at=self.now, next_poll_at=None)
        entry = Entry(self.now, "canceled" if state is State.CANCELED else "event")
        delivery = a_delivery(owed, event_id, self.now) if owed else None
        event = NewEvent(
            id=event_id, type=f"generation.{state}", body=b"{}", delivery=delivery, lane=lane
        )
        return await self.store.trackers.settle(
            after,
            entries=[entry],
            event=None if state is State.CANCELED else event,
            now=self.now,
        )

    async def tracker(self, generation_id: str = "g-1", account: str = "luma") -> Tracker:
        found = await self.store.trackers.get(account, generation_id)
        assert found is not None
        return found

    async def listed(self, account: str = "luma") -> dict[str, list[str]]:
        """The IDs under each state that has any, newest first."""
        lists = {
            state.value: await self.store.trackers.names([account], [state], before=None, limit=99)
            for state in State
        }
        return {state: [name for _, _, name in found] for state, found in lists.items() if found}

    async def kinds(self, generation_id: str = "g-1") -> list[str]:
        entries = await self.store.trackers.timeline("luma", generation_id)
        return [entry.kind for entry in entries]

    async def events(self) -> Counter[str]:
        """How often each event stands on the stream."""
        entries = await self.redis.xrange(self.key("events"))
        return Counter(entry[b"event_id"].decode() for _, entry in entries)

    # --- deliveries

    async def owe(self, *ids: str, lane: str = POST_LANE) -> None:
        """Let trackers end, each with a delivery."""
        for name in ids or ("dlv_1",):
            await self.track(f"g-{name}")
            tracker = await self.claimed(f"g-{name}")
            await self.end(tracker, event_id=f"evt-{name}", owed=name, lane=lane)

    async def taken(self, limit: int = 10, *, lane: str = POST_LANE) -> list[Delivery]:
        """Claim deliveries."""
        found = await self.store.deliveries.claim(lane, limit=limit, now=self.now)
        return [delivery for delivery, _ in found.deliveries]

    async def attempted(
        self,
        delivery: Delivery,
        state: DeliveryState = DeliveryState.DELIVERED,
        *,
        next_in: float = 5.0,
    ) -> bool:
        """Settle an attempt."""
        at = self.now + round(next_in * 1000) if state is DeliveryState.PENDING else None
        after = replace(delivery, state=state, tries=delivery.tries + 1, next_attempt_at=at)
        attempt = Attempt(at=self.now, duration_ms=12, status=200 if at is None else 500)
        entry = Entry(self.now, "attempt", {"delivery_id": delivery.id, "status": attempt.status})
        return await self.store.deliveries.settle(after, attempt, entry=entry, now=self.now)

    async def delivery(self, delivery_id: str = "dlv_1") -> Delivery:
        (found,) = await self.store.deliveries.get_many([delivery_id])
        return found

    # --- keys

    def key(self, name: str) -> str:
        return self.store._scripts.key(name)

    async def scores(self, name: str) -> dict[str, int]:
        """A sorted set, by member."""
        found = await self.redis.zrange(self.key(name), 0, -1, withscores=True)
        return {member.decode(): int(score) for member, score in found}

    async def keys(self) -> set[str]:
        return {name.decode() for name in await self.redis.keys("*")}


def a_delivery(delivery_id: str, event_id: str, at: int) -> Delivery:
    """What is owed for an event to `HOOK`."""
    return Delivery(
        id=delivery_id,
        event_id=event_id,
        type="generation.completed",
        account="luma",
        generation_id=delivery_id.replace("dlv", "g"),
        endpoint="url_1",
        url=HOOK,
        state=DeliveryState.PENDING,
        created_at=at,
        next_attempt_at=at,
    )


@pytest.fixture
def desk(redis: Redis, store: Store) -> Desk:
    return Desk(redis, store)
