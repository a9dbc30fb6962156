"""A poller on a desk: with a stand-in provider and a real store."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from worker import policy, schedule, telemetry
from worker.model import (
    Account,
    Answer,
    DeliveryState,
    JsonObject,
    Progress,
    Same,
    Seen,
    State,
    Terms,
    Tracker,
)
from worker.poller import Poller
from worker.providers.client import ProviderClient
from worker.store import Store, packing

LANE = "poll:luma"
KEY = "luma-key-hunter2"
HOOK = "https://hooks.example.com/hunter2?token=hunter2"
ASSETS = {"video": "https://a.example/v.mp4"}
SHOWN = {"id": "g-1", "state": "completed", "assets": ASSETS, "new": [1]}

DREAMING = Seen(
    progress=Progress.RUNNING, provider_state="dreaming", generation={"n": 1}, mark="dreaming"
)
QUEUED = Seen(progress=Progress.RUNNING, provider_state="queued", mark="queued")
COMPLETED = Seen(
    progress=Progress.COMPLETED,
    provider_state="completed",
    model="ray-2",
    assets=ASSETS,
    generation=SHOWN,
)
FAILED = Seen(progress=Progress.FAILED, provider_state="failed", failure_reason="Too dreamy")


@dataclass
class Provider:
    """Stands in for an account's client: answers the n-th look with the n-th answer, then waits.

    The last answer repeats.
    """

    answers: Sequence[Answer | Exception] = (COMPLETED,)
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    page: int | None = None
    _busy: int = 0

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def get_generation(self, generation_id: str, *, mark: str | None = None) -> Answer:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(generation_id)
        self._busy += 1
        self.most_at_once = max(self.most_at_once, self._busy)
        async with self.came:
            self.came.notify_all()
        await self.may_answer.wait()
        self._busy -= 1
        if isinstance(answer, Exception):
            raise answer
        return Same() if isinstance(answer, Seen) and mark == answer.mark is not None else answer

    async def was_asked(self, times: int) -> None:
        async with asyncio.timeout(5), self.came:
            await self.came.wait_for(lambda: len(self.asked) >= times)


@dataclass
class Desk:
    """A poller with a stand-in provider and a real store."""

    redis: Redis
    store: Store
    provider: Provider
    account: Account
    started: list[str] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def poller(self, client: ProviderClient | None = None) -> Poller:
        async def start(lane: str) -> None:
            self.started.append(lane)

        clients: Any = {"luma": client or self.provider}
        return Poller(self.store, {"luma": self.account}, clients, start)

    async def track(self, *generation_ids: str, **terms: Any) -> None:
        agreed = Terms(**{"deadline_s": 3600.0, **terms})
        wanted = [(name, agreed) for name in generation_ids or ("g-1",)]
        await self.store.trackers.track("luma", "luma", wanted)

    async def drain(self) -> bool:
        """Look until nothing is due within a couple of seconds."""
        async with asyncio.timeout(10):
            return await self.poller().drain("luma", LANE, self.stopping)

    async def tracker(self, generation_id: str = "g-1") -> Tracker:
        found = await self.store.trackers.get("luma", generation_id)
        assert found is not None
        return found

    async def cancel(self) -> None:
        tracker = replace(await self.tracker(), state=State.CANCELED, next_poll_at=None)
        assert (await self.store.trackers.settle(tracker))[0]

    async def health(self) -> Any:
        return (await self.store.lanes.health([LANE]))[0]

    async def bodies(self) -> list[JsonObject]:
        """The events on the stream, oldest first, as receivers get them."""
        entries = await self.redis.xrange(self.store._scripts.key("events"))
        names = [entry[b"event_id"].decode() for _, entry in entries]
        keys = [self.store._scripts.key(f"event:{name}") for name in names]
        bodies = [packing.body_of(await self.redis.hget(key, "body")) for key in keys]
        return [json.loads(body) for body in bodies]

    async def owed(self) -> list[Any]:
        ids = await self.store.deliveries.ids(list(DeliveryState), before=None, limit=100)
        return await self.store.deliveries.get_many([name for _, name in ids])


@pytest.fixture
def desk(redis: Redis, store: Store) -> Desk:
    account = Account(
        name="luma", provider="luma", api_key=KEY, base_url="http://x", polls_per_second=1000
    )
    return Desk(redis, store, Provider(), account)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks, back-offs and the 404 grace in milliseconds."""
    monkeypatch.setattr(schedule, "SHORTEST_GAP_S", 0.01)
    monkeypatch.setattr(schedule, "LONGEST_GAP_S", 0.01)
    monkeypatch.setattr(policy, "BACKOFF_BASE_S", 0.01)
    monkeypatch.setattr(policy, "BACKOFF_FLOOR_S", 0.01)
    monkeypatch.setattr(policy, "HOLD_FLOOR_S", 0.02)
    monkeypatch.setattr(policy, "HOLD_CAP_S", 0.02)
    monkeypatch.setattr(policy, "REFUSED_HOLD_S", 0.1)
    monkeypatch.setattr(policy, "MISSING_GRACE_S", 0.1)
    monkeypatch.setattr(policy, "MISSING_GAPS_S", (0.02, 0.02))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look is far away, so a drain looks once and goes."""
    monkeypatch.setattr(schedule, "SHORTEST_GAP_S", 25.0)
    monkeypatch.setattr(schedule, "LONGEST_GAP_S", 25.0)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    # A look's line is not even made if nobody is to read it, and another test may have said so.
    monkeypatch.setattr(telemetry, "_least", logging.INFO)
    with structlog.testing.capture_logs() as captured:
        yield captured


def instant(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
