"""Pages against single looks at one budget: the whole poller, on a clock that the test moves."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.poller.conftest import Desk
from worker import health, learner, looking, pages
from worker.listing import Page
from worker.model import Progress, Same, Seen, Terms
from worker.store import scripts

BEGAN = 1_800_000_000.0
ROWS = 100
LASTED_S = 40.0
STEP_S = 0.1
MEDIAN_S, SIGMA = 12.0, 0.25


@dataclass
class Time:
    """Stands in for the clocks of the poller and of Redis."""

    now: float = BEGAN

    @property
    def ms(self) -> int:
        return round(self.now * 1000)

    def as_module(self) -> Any:
        return SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now)


@dataclass
class Provider:
    """Shows generations as they stand; lists them newest first. `lives` are (begin, end)."""

    time: Time
    lives: dict[str, tuple[float, float]]
    page: int | None
    asset_lifetime_s: float | None = None

    async def get_generation(self, generation_id: str, *, mark: str | None = None) -> Seen | Same:
        begin, end = self.lives[generation_id]
        progress = Progress.RUNNING if self.time.now < end else Progress.COMPLETED
        if mark == progress.value:
            return Same(created_at=round(begin * 1000))
        return Seen(
            progress=progress,
            provider_state=progress.value,
            created_at=round(begin * 1000),
            kind=("ray-2",),
            mark=progress.value,
        )

    async def list_generations(
        self, *, limit: int, offset: int, marks: Mapping[str, str | None]
    ) -> Page:
        begun = [name for name, (begin, _) in self.lives.items() if begin <= self.time.now]
        names = begun[::-1][offset : offset + limit]
        rows = [(name, await self.get_generation(name, mark=marks.get(name))) for name in names]
        return Page(offset, limit, tuple(rows))


def lives(in_flight: int) -> dict[str, tuple[float, float]]:
    """So many at a time: where each begins and ends, in the order of their beginnings."""
    rng, at = random.Random(in_flight), BEGAN
    found: dict[str, tuple[float, float]] = {}
    while at < BEGAN + LASTED_S:
        at += rng.expovariate(in_flight / MEDIAN_S)
        found[f"g-{len(found)}"] = (at, at + rng.lognormvariate(0, SIGMA) * MEDIAN_S)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """One clock for all: nothing takes any time but what the test lets pass."""
    time, run = Time(), scripts.Scripts.run

    async def run_now(self: scripts.Scripts, name: str, *args: Any, now: int | None = None) -> Any:
        return await run(self, name, *args, now=time.ms if now is None else now)

    monkeypatch.setattr(scripts.Scripts, "run", run_now)
    for module in (scripts, pages, looking, learner):
        monkeypatch.setattr(module, "time", time.as_module())
    for module in (health, looking):
        monkeypatch.setattr(module, "random", random.Random(7))
    return time


async def mean_delay(
    desk: Desk, clock: Time, in_flight: int, rate: float, page: int | None
) -> float:
    """Watch them all with one worker; returns how late their ends are noticed, in seconds."""
    clock.now = BEGAN
    await desk.redis.flushall()
    ends = lives(in_flight)
    desk.account = replace(desk.account, polls_per_second=rate)
    client: Any = Provider(clock, ends, page)
    poller, begin = desk.poller(client), list(ends.items())
    while begin or await desk.redis.zcard(desk.store._scripts.key("due:poll:luma")):
        while begin and begin[0][1][0] <= clock.now:
            name, _ = begin.pop(0)
            await desk.store.trackers.track("luma", "luma", [(name, Terms(deadline_s=3600.0))])
        claimed = await poller._claim("luma", 50, assists=False)
        for piece in claimed.work:
            await piece()
        clock.now += STEP_S
    found = await desk.store.trackers.get_many([("luma", name) for name in ends])
    late = [(each.finished_at or 0) / 1000 - ends[each.generation_id][1] for each in found]
    assert len(late) == len(ends)
    return statistics.mean(late)


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize("redis", ["embedded"], indirect=True)
@pytest.mark.parametrize(("in_flight", "rate"), [(4, 5.0), (12, 2.0)])
async def test_pages_notice_no_later_than_single_looks_at_the_same_budget(
    desk: Desk, clock: Time, in_flight: int, rate: float
) -> None:
    single = await mean_delay(desk, clock, in_flight, rate, None)
    paged = await mean_delay(desk, clock, in_flight, rate, ROWS)
    assert paged <= single
