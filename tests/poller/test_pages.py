"""One look for many, end to end: a real client, a simulated Luma on real sockets, a real store."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import pytest

from tests.poller.conftest import KEY, LANE, Desk
from worker import listing
from worker.listing import Page
from worker.model import Answer, State, Terms
from worker.poller import Poller
from worker.providers.client import ProviderClient, Refusal
from worker.providers.spec import load
from worker.simulator import Call, Fault, Faults, Kind, Outcome, Script, World, create_app, running

LIVES_S = (0.3, 1.2)


class Counting(ProviderClient):
    """A client that counts its requests."""

    looks = 0
    pages = 0

    async def get_generation(self, generation_id: str, *, mark: str | None = None) -> Answer:
        self.looks += 1
        return await super().get_generation(generation_id, mark=mark)

    async def list_generations(
        self, *, limit: int, offset: int, marks: Mapping[str, str | None] | None = None
    ) -> Page | Refusal:
        self.pages += 1
        return await super().list_generations(limit=limit, offset=offset, marks=marks)


@dataclass
class Luma:
    """An account at a simulated Luma, and the poller that looks at it."""

    desk: Desk
    world: World
    faults: Faults
    client: Counting
    poller: Poller

    async def track(self, count: int, *, foreign: int = 0) -> list[str]:
        """Start generations, ours spread among those of others, and track ours."""
        rng = random.Random(count)
        ours = [f"g-{n}" for n in range(count)]
        for name in rng.sample([*ours, *(f"other-{n}" for n in range(foreign))], count + foreign):
            lives_s = rng.uniform(*LIVES_S)
            script = Script(id=name, queued_s=0, dreaming_s=lives_s, outcome=Outcome.COMPLETED)
            self.world.create(generation_type="video", model="ray-2", request={}, script=script)
        terms = Terms(deadline_s=3600.0)
        await self.desk.store.trackers.track("luma", "luma", [(name, terms) for name in ours])
        return ours

    async def watch(self, ours: list[str]) -> None:
        """Drain until all are over."""
        async with asyncio.timeout(20):
            while await self.left(ours):
                await self.poller.drain("luma", LANE, self.desk.stopping)

    async def watch_together(self, *pollers: Poller, ours: list[str]) -> None:
        """Let several workers drain at once until all are over."""
        async with asyncio.timeout(20):
            while await self.left(ours):
                drains = (each.drain("luma", LANE, self.desk.stopping) for each in pollers)
                await asyncio.gather(*drains)

    async def left(self, ours: list[str]) -> int:
        found = await self.desk.store.trackers.get_many([("luma", name) for name in ours])
        return sum(each.state is State.TRACKING for each in found)


@pytest.fixture
async def luma(desk: Desk) -> AsyncIterator[Luma]:
    """An account with 50 requests a second."""
    world, faults = World(), Faults(())
    async with running(create_app(world, faults=faults, keys=[KEY])) as base_url:
        account = replace(
            desk.account, base_url=base_url, polls_per_second=50.0, poll_patience=0.02
        )
        desk.account = account
        client = Counting(account, load("luma"))
        yield Luma(desk, world, faults, client, desk.poller(client))
        await client.aclose()


def habit(kind: Kind, **options: float) -> Fault:
    return Fault(call=Call.LIST, kind=kind, **options)  # type: ignore[arg-type]


MISBEHAVIOUR = {
    "well": [],
    "oldest first": [habit(Kind.OLDEST_FIRST)],
    "shuffled": [habit(Kind.SHUFFLED)],
    "capped": [habit(Kind.CAPPED, rows=7)],
    "stale": [habit(Kind.STALE, seconds=5.0)],
    "omitting": [habit(Kind.OMISSION, share=0.5)],
    "empty": [habit(Kind.OMISSION, share=1.0)],
    "forbidden": [habit(Kind.FORBIDDEN)],
    "missing": [habit(Kind.MISSING)],
    "garbage": [habit(Kind.GARBAGE)],
    "broken now and then": [habit(Kind.BROKEN, p=0.3)],
}


@pytest.mark.parametrize("listed", MISBEHAVIOUR)
async def test_however_a_provider_lists_every_end_is_seen_once(luma: Luma, listed: str) -> None:
    for fault in MISBEHAVIOUR[listed]:
        luma.faults.add(fault)
    ours = await luma.track(30, foreign=40)

    await luma.watch(ours)

    bodies = await luma.desk.bodies()
    assert sorted(body["data"]["generation_id"] for body in bodies) == sorted(ours)
    assert {body["type"] for body in bodies} == {"generation.completed"}


async def test_a_page_stands_for_the_looks_at_all_that_it_shows(luma: Luma) -> None:
    ours = await luma.track(90)

    await luma.watch(ours)

    found = await luma.desk.store.trackers.get_many([("luma", name) for name in ours])
    polls = sum(each.polls for each in found)
    assert luma.client.pages + luma.client.looks < polls / 2


async def test_two_workers_share_pages_and_nothing_is_settled_twice(luma: Luma) -> None:
    other = Counting(luma.desk.account, load("luma"))
    ours = await luma.track(60, foreign=20)

    await luma.watch_together(luma.poller, luma.desk.poller(other), ours=ours)
    await other.aclose()

    bodies = await luma.desk.bodies()
    assert sorted(body["data"]["generation_id"] for body in bodies) == sorted(ours)
    polls = 0
    for name in ours:
        tracker = await luma.desk.tracker(name)
        lines = await luma.desk.store.trackers.timeline("luma", name)
        looks = [each.details.get("looks", 1) for each in lines if each.kind == "look"]
        assert tracker.polls == sum(looks)
        polls += tracker.polls
    asked = sum(each.pages + each.looks for each in (luma.client, other))
    assert asked < polls  # looked at singly, each would have been a request


@pytest.mark.parametrize("step_s", [-3600, 3600])
async def test_how_long_a_list_is_doubted_is_told_by_one_clock(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """That of this machine may be an hour off."""
    shifted = time.time() + step_s
    monkeypatch.setattr("time.time", lambda: shifted)
    desk.provider.page = 100

    async def rows(doubted_at: int) -> int:
        doubted = listing.dump(listing.Listing(trust=0.0, doubted_at=doubted_at))
        await desk.store.trackers.keep_listing("luma", doubted)
        return await desk.poller()._pages.rows("luma")

    now = await desk.store.now()
    assert await rows(now) == 0
    assert await rows(now - listing.DOUBT_MS) == 100
