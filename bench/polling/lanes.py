"""Many generations of one account at once: a short budget, and pages of a list.

A lane here is what it is in the store: one queue by due time, served earliest first.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from bench.polling.figures import Figures
from bench.polling.windows import Row, best_page
from bench.polling.workload import MIX, durations
from worker.durations import ANYTHING, EDGES, Curve, Durations
from worker.schedule import Kind, Market, Outlook, Sighting, learned

GIVE_UP_S = 600.0
PAGE = 100


def exact(kind: str) -> Curve:
    """Draw the curve of a kind whose durations are known."""
    took = np.sort(durations(kind, 400_000, np.random.default_rng(2)))
    alive = 1 - np.searchsorted(took, np.array(EDGES), side="right") / len(took)
    return Curve.through([float(share) for share in alive])


@dataclass(slots=True)
class World:
    """Generations born at random, `in_flight` at a time on the average."""

    kinds: list[str]
    took: list[float]
    born: list[float]
    rate: float

    @classmethod
    def of(cls, workload: str, in_flight: int, count: int, seed: int) -> World:
        """Draw one kind, or the mixed workload."""
        rng = np.random.default_rng(seed)
        mix = MIX if workload == "mixed" else {workload: 1.0}
        kinds = rng.choice(list(mix), size=count, p=list(mix.values()))
        took = np.empty(count)
        for kind in mix:
            took[kinds == kind] = durations(kind, int((kinds == kind).sum()), rng)
        rate = in_flight / float(np.minimum(took, GIVE_UP_S).mean())
        born = np.cumsum(rng.exponential(1 / rate, count))
        return cls(kinds.tolist(), took.tolist(), born.tolist(), rate)


@dataclass(slots=True)
class Lane:
    """The generations of one account in flight, and when each is to be looked at."""

    world: World
    price: float
    seed: int
    learns: bool = False
    market: Market = field(default_factory=Market)
    flying: list[int] = field(default_factory=list)
    seen: dict[int, Sighting] = field(default_factory=dict)
    late: dict[int, float] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    requests: int = 0
    requests_at_birth: list[int] = field(default_factory=list)
    _queue: list[tuple[float, int]] = field(default_factory=list)
    _expect: dict[str, Curve] = field(default_factory=dict)
    _known: dict[str, Durations] = field(default_factory=dict)
    _new: dict[str, list[tuple[Sighting, float]]] = field(default_factory=dict)
    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Begin empty, with the durations known unless they are to be learned."""
        self._dice = random.Random(self.seed)
        for kind in set(self.world.kinds):
            self._expect[kind] = ANYTHING if self.learns else exact(kind)
            self._known[kind], self._new[kind] = Durations(), []

    def bear(self, i: int) -> None:
        """Begin to track the next generation."""
        self.requests_at_birth.append(self.requests)
        self.flying.append(i)
        self.seen[i] = Sighting.first(0.0, queued=False)
        self._plan(i, self.market.page(self.price))

    def next_due(self) -> float:
        """Say when the earliest is due."""
        while self._queue and self.due.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else float("inf")

    def serve(self, at: float, *, pages: bool) -> None:
        """Spend one request on the one that is due, or on a page that shows it."""
        self.next_due()
        leader = self._queue[0][1]
        self.requests += 1
        reached = worth = self.delay(leader, at)
        covered = [leader]
        if pages:
            first, last = (bisect_left(self.flying, leader + d) for d in (1 - PAGE, PAGE))
            near = self.flying[first:last][::-1]  # the newest is the first of the list
            newest = near[0]
            rows = [Row(newest - i, self.delay(i, at)) for i in near]
            left, right, worth = best_page(rows, near.index(leader), PAGE)
            covered = near[left : right + 1]
        self.market = self.market.after(self.price, reached, worth)
        market, page = self.market, len(covered) > 1
        price = market.page(self.price) if page else market.look(self.price)
        for i in covered:
            self._look(i, at, price)

    def delay(self, i: int, at: float) -> float:
        """Say what is expected to be missed of one by now."""
        return self._outlook(i).delay(at - self.world.born[i] - self.seen[i].last)

    def _outlook(self, i: int) -> Outlook:
        return Outlook.of(self.seen[i], Kind(None, self._expect[self.world.kinds[i]]))

    def _plan(self, i: int, price: float) -> None:
        gap = self._outlook(i).next_gap(price, self._dice.random())
        self.due[i] = self.world.born[i] + self.seen[i].last + gap
        heapq.heappush(self._queue, (self.due[i], i))

    def _look(self, i: int, at: float, price: float) -> None:
        age = at - self.world.born[i]
        over = self.world.took[i] <= age
        if over:
            self.late[i] = age - self.world.took[i]
            self._learn(self.world.kinds[i], self.seen[i], age)
        if over or age >= GIVE_UP_S:
            del self.flying[bisect_left(self.flying, i)], self.due[i], self.seen[i]
        else:
            self.seen[i] = self.seen[i].then(age, queued=False)
            kind = self.world.kinds[i]
            if self.learns and self.seen[i].outlives(Kind(None, self._expect[kind])):
                self._learn(kind, self.seen[i], float("inf"))
                self.seen[i] = self.seen[i].counted()
            self._plan(i, price)

    def _learn(self, kind: str, sighting: Sighting, over: float) -> None:
        new = self._new[kind]
        new.append((sighting, over))
        if self.learns and len(new) >= 10:
            runs = [learned(seen, None, end)[1] for seen, end in new]
            self._known[kind] = self._known[kind].observe(runs, ANYTHING)
            self._expect[kind] = self._known[kind].curve(ANYTHING)
            new.clear()


def lists(
    workload: str, in_flight: int, count: int, price: float, *, seed: int, learns: bool
) -> Figures:
    """Poll where a page shows a hundred rows: requests per generation, and delays."""
    world = World.of(workload, in_flight, count, seed)
    lane = Lane(world, price, seed, learns)
    for i, birth in enumerate(world.born):
        while lane.next_due() < birth:
            lane.serve(lane.next_due(), pages=True)
        lane.bear(i)
    return _settled(lane)


def budget(in_flight: int, count: int, per_generation: float, *, seed: int, ours: bool) -> Figures:
    """Poll the mixed workload on a short budget.

    Ours plans with next to no price: the whole budget is used. Otherwise everyone in turn.
    """
    world = World.of("mixed", in_flight, count, seed)
    lane: Lane | RoundRobin
    lane = Lane(world, 0.01, seed) if ours else RoundRobin(world)
    rate, at, born, tokens = per_generation * world.rate, 0.0, 0, 0.0
    while born < count:
        at, tokens = at + 1 / rate, min(tokens + 1, rate)  # a bucket of one second's worth
        while born < count and world.born[born] <= at:
            lane.bear(born)
            born += 1
        while tokens >= 1 and lane.next_due() <= at:
            lane.serve(at, pages=False)
            tokens -= 1
    return _settled(lane)


@dataclass(slots=True)
class RoundRobin:
    """Looks at everyone in turn."""

    world: World
    late: dict[int, float] = field(default_factory=dict)
    requests: int = 0
    requests_at_birth: list[int] = field(default_factory=list)
    _turns: list[tuple[int, int]] = field(default_factory=list)
    _turn: int = 0

    def bear(self, i: int) -> None:
        """Begin to track the next generation."""
        self.requests_at_birth.append(self.requests)
        self._queue_up(i)

    def next_due(self) -> float:
        """Always have somebody to look at."""
        return 0.0 if self._turns else float("inf")

    def serve(self, at: float, *, pages: bool) -> None:
        """Look at the one that waited longest."""
        assert not pages
        _, i = heapq.heappop(self._turns)
        self.requests += 1
        age = at - self.world.born[i]
        if self.world.took[i] <= age:
            self.late[i] = age - self.world.took[i]
        elif age < GIVE_UP_S:
            self._queue_up(i)

    def _queue_up(self, i: int) -> None:
        self._turn += 1
        heapq.heappush(self._turns, (self._turn, i))


def _settled(lane: Lane | RoundRobin) -> Figures:
    """Sum up the part in which the lane is neither filling up nor running dry."""
    count = len(lane.world.born)
    span = range(int(count * 0.35), int(count * 0.95))
    late = np.array([lane.late[i] for i in span if i in lane.late])
    spent = lane.requests_at_birth[-1] - lane.requests_at_birth[span[0]]
    requests = spent / (count - 1 - span[0])
    p50, p95, p99 = (float(value) for value in np.percentile(late, [50, 95, 99]))
    return Figures(requests, requests, float(late.mean()), p50, p95, p99)
