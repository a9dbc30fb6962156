"""A process that dies before or after any one of its Redis commands: all of them are tried.

Whatever a process has done stands in Redis, so to die between two commands is to be killed at any
instruction between them. Here that happens inside the test's process, which makes it cheap enough
to try every place; real processes are killed next door.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.crash.mortal import Fate, KilledError, MortalRedis
from worker import addresses, policy, schedule, signing
from worker.courier import Courier
from worker.egress import Egress
from worker.embedded import EmbeddedRedis
from worker.model import (
    Account,
    Answer,
    DeliveryState,
    Endpoint,
    EndpointEvent,
    Missing,
    Progress,
    Replied,
    Reply,
    Seen,
    State,
    Terms,
)
from worker.poller import Poller
from worker.store import Store, packing

PREFIX = "test"
LEASE_S = 0.05
LOST = 4
"""So many posts may be in vain: all that a process had in hand when it died."""
GOOD, FLAKY = "https://good.example.com/hook", "https://flaky.example.com/hook"
GONE = Endpoint(name="gone", url="https://gone.example.com/hook", concurrency=1)
WATCHER = Endpoint(
    name="watcher", url="https://watcher.example.com/hook", events=(EndpointEvent.DISABLED,)
)
ALL_EVENTS = ("generation.completed", "generation.failed", "generation.updated")
TERMS = {
    "completes": Terms(deadline_s=60, callback_url=GOOD),
    "changes": Terms(deadline_s=60, callback_url=GOOD, events=ALL_EVENTS),
    "fails": Terms(deadline_s=60, callback_url=FLAKY),
    "missing": Terms(deadline_s=60),
    "unwanted": Terms(deadline_s=60, endpoint="gone"),
    "unwanted too": Terms(deadline_s=60, endpoint="gone"),
}
ENDS = {
    "completes": State.COMPLETED,
    "changes": State.COMPLETED,
    "fails": State.FAILED,
    "missing": State.EXPIRED,
    "unwanted": State.COMPLETED,
    "unwanted too": State.COMPLETED,
}


@dataclass
class Outside:
    """The provider and the receivers, who live through it all, and what they have seen."""

    looks: Counter[str] = field(default_factory=Counter)
    posts: list[tuple[str, bytes]] = field(default_factory=list)
    page: int | None = None

    async def get_generation(self, generation_id: str, *, mark: str | None = None) -> Answer:
        self.looks[generation_id] += 1
        match generation_id:
            case "missing":
                return Missing("404 Not Found")
            case "fails":
                return Seen(progress=Progress.FAILED, provider_state="failed")
            case "changes" if self.looks[generation_id] == 1:
                return Seen(progress=Progress.RUNNING, provider_state="dreaming")
        return Seen(progress=Progress.COMPLETED, provider_state="completed")

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.posts.append((headers["webhook-id"], body))
        times = sum(event_id == headers["webhook-id"] for event_id, _ in self.posts)
        if url == GONE.url:
            return Replied(status=410, duration_ms=1)
        return Replied(status=500 if url == FLAKY and times == 1 else 200, duration_ms=1)


@dataclass
class Process:
    """A worker without its arq: whatever it was to start dies with it."""

    redis: MortalRedis
    outside: Outside
    to_start: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(self.redis, prefix=PREFIX, retention_s=600, lease_s=LEASE_S)
        account = Account(
            name="luma", provider="luma", api_key="", base_url="", polls_per_second=1000
        )

        async def start(lane: str) -> None:
            self.to_start.append(lane)

        client = cast("Any", self.outside)
        self.poller = Poller(self.store, {"luma": account}, {"luma": client}, start)
        secret = signing.new_secret(bytes(32))
        egress = cast("Egress", self.outside)
        self.courier = Courier(
            self.store,
            egress,
            secret=secret,
            schedule=[0.02, 0.02],
            refresh=self.poller.refreshed,
            start=start,
        )

    async def live(self) -> bool:
        """Track and work until nothing is left to do; False if it was killed on the way."""
        try:
            if not await self.store.trackers.get("luma", "completes"):  # not acknowledged yet
                tracked = await self.store.trackers.track("luma", "luma", list(TERMS.items()))
                assert tracked.must_start
                self.to_start.append("poll:luma")
            async with asyncio.timeout(10):
                while not await self.is_over():
                    await self.work()
        except KilledError:
            return False
        return True

    async def is_over(self) -> bool:
        found = await self.store.figures.read(["luma"], now=0)
        to_tell = await self.store.endpoints.switched_off()
        is_tracking, is_owed = found.trackers["luma"]["tracking"], found.deliveries["pending"]
        return not is_tracking and not is_owed and not to_tell

    async def work(self) -> None:
        started, self.to_start = self.to_start, []
        drains = [self.drain(lane) for lane in started or await self.store.lanes.stage()]
        outcomes = await asyncio.gather(*drains, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        if not drains:
            await self.courier.settle_switched_off()  # as the sweep does
            await asyncio.sleep(0.005)

    async def drain(self, lane: str) -> None:
        stopping = asyncio.Event()
        if lane.startswith("poll:"):
            await self.poller.drain("luma", lane, stopping)
        else:
            await self.courier.drain(lane, stopping)


@pytest.fixture
async def redis(embedded: EmbeddedRedis) -> AsyncIterator[MortalRedis]:
    redis = MortalRedis.from_url(embedded.url)
    redis.fate = Fate()
    await redis.flushall()
    yield redis
    await redis.aclose()


@pytest.fixture(autouse=True)
def _fast_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("trackers", "lanes", "deliveries", "endpoints"):
        monkeypatch.setattr(f"worker.store.{module}.ALIVE_S", LEASE_S)
    monkeypatch.setattr("worker.drain.HEARTBEAT_S", LEASE_S / 4)
    monkeypatch.setattr(schedule, "LONGEST_GAP_S", 0.01)
    monkeypatch.setattr(schedule, "SHORTEST_GAP_S", 0.01)
    monkeypatch.setattr(policy, "MISSING_GRACE_S", 0.02)
    monkeypatch.setattr(policy, "MISSING_GAPS_S", (0.005, 0.005))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_wherever_a_process_dies_the_next_one_keeps_every_promise(
    redis: MortalRedis, *, after: bool
) -> None:
    nth, survived = 0, False
    while not survived:
        nth += 1
        outside = await begin_anew(redis)
        redis.fate = Fate(nth, after=after)
        survived = await Process(redis, outside).live()

        redis.fate = Fate()
        assert await Process(redis, outside).live()

        await assert_all_is_well(redis, outside, f"died {'after' if after else 'before'} {nth}")
    assert nth > 25


async def begin_anew(redis: MortalRedis) -> Outside:
    redis.fate = Fate()
    await redis.flushall()
    store = Store(redis, prefix=PREFIX, retention_s=600)
    for endpoint in (GONE, WATCHER):
        await store.endpoints.put(endpoint, enabled=None, secret=signing.new_secret(bytes(32)))
    return Outside()


async def assert_all_is_well(redis: MortalRedis, outside: Outside, story: str) -> None:
    store = Store(redis, prefix=PREFIX, retention_s=600)
    trackers = await store.trackers.get_many([("luma", name) for name in TERMS])
    assert {each.generation_id: each.state for each in trackers} == ENDS, story

    events = await born(redis)
    told = Counter((body["data"].get("generation_id"), body["type"]) for body in events.values())
    seen_changing = told.pop(("changes", "generation.updated"), 0)
    assert seen_changing <= 1, story  # nobody may have seen that state and lived
    assert told == {
        ("completes", "generation.completed"): 1,
        ("changes", "generation.completed"): 1,
        ("fails", "generation.failed"): 1,
        ("missing", "generation.expired"): 1,
        ("unwanted", "generation.completed"): 1,
        ("unwanted too", "generation.completed"): 1,
        (None, "endpoint.disabled"): 1,
    }, story

    ids = await store.deliveries.ids(list(DeliveryState), before=None, limit=100)
    deliveries = await store.deliveries.get_many([name for _, name in ids])
    states = Counter((each.endpoint == "gone", each.state) for each in deliveries)
    assert states == {
        (False, DeliveryState.DELIVERED): 4 + seen_changing,
        (True, DeliveryState.EXHAUSTED): 2,
    }, story
    posted = {event_id for event_id, _ in outside.posts}
    assert posted >= {each.event_id for each in deliveries if each.endpoint != "gone"}, story
    assert posted <= {each.event_id for each in deliveries}, story
    assert all(json.loads(body) == events[event_id] for event_id, body in outside.posts), story
    assert len(outside.posts) <= len(deliveries) + 1 + LOST, story

    for pattern in ("due:*", "queues:*", "owed:*", "deadlines:*", "lanes", "switched_off"):
        assert await redis.keys(f"{PREFIX}:{pattern}") == [], story


async def born(redis: MortalRedis) -> dict[str, Any]:
    """All events by ID, each as its receivers get it."""
    entries = await redis.xrange(f"{PREFIX}:events")
    names = [entry[b"event_id"].decode() for _, entry in entries]
    kept = {name: await redis.hget(f"{PREFIX}:event:{name}", "body") for name in names}
    return {name: json.loads(packing.body_of(body)) for name, body in kept.items()}


def test_the_receivers_have_a_lane_each() -> None:
    assert addresses.origin(GOOD) != addresses.origin(FLAKY)
