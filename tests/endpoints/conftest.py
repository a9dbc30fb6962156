"""A desk of the use cases of endpoints, with a store that tells what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest
from redis.asyncio import Redis

from worker import events
from worker.endpoints import Endpoints
from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Endpoint,
    Entry,
    EventType,
    State,
    Terms,
)
from worker.requests import EndpointRequest
from worker.store import Store

URL = "https://hooks.example.com/in"
LANE = "post:https://hooks.example.com:443"
TO_URL = EndpointRequest(url=URL)


@dataclass
class Desk:
    """The use cases, with a store that tells what came of them."""

    redis: Redis
    store: Store
    started: list[str] = field(default_factory=list)
    tracked: int = 0

    async def start(self, lane: str) -> None:
        self.started.append(lane)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.store, start=self.start, allow_private=[ip_network("10.0.0.0/8")])

    async def owe(self, to: Endpoint | str = "shop") -> str:
        """Owe an endpoint an event; returns the delivery's ID."""
        self.tracked += 1
        known = await self.store.endpoints.get(to) if isinstance(to, str) else to
        await self.store.trackers.track(
            "luma", "luma", [(f"g-{self.tracked}", Terms(deadline_s=9))]
        )
        claimed = await self.store.trackers.claim_one("luma", f"g-{self.tracked}", rate=None)
        done = replace(claimed.tracker, state=State.COMPLETED)  # type: ignore[union-attr]
        now = await self.store.now()
        event = events.about_tracker(done, EventType.COMPLETED, known, now)
        await self.store.trackers.settle(done, event=event)
        assert event.delivery is not None
        return event.delivery.id

    async def exhaust(self, *, now: int | None = None) -> list[str]:
        """Let all that is due fail for the last time."""
        claimed = await self.store.deliveries.claim(LANE, limit=100, now=now)
        for each in claimed.deliveries:
            over = replace(
                each.delivery,
                state=DeliveryState.EXHAUSTED,
                reason=DeliveryReason.ATTEMPTS,
                tries=each.delivery.tries + 1,
            )
            attempt, entry = Attempt(at=1, duration_ms=1, status=500), Entry(1, "attempt")
            await self.store.deliveries.settle(over, attempt, entry=entry, now=now)
        return [each.delivery.id for each in claimed.deliveries]

    async def delivery(self, delivery_id: str) -> Delivery:
        (found,) = await self.store.deliveries.get_many([delivery_id])
        return found

    async def secrets(self, name: str = "shop") -> list[str]:
        known = await self.store.endpoints.get(name)
        assert known is not None
        return [each.text for each in known.secrets]


@pytest.fixture
def desk(redis: Redis, store: Store) -> Desk:
    return Desk(redis, store)
