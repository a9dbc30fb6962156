"""Our way, through the real code: `worker.schedule` decides, `worker.durations` learns.

Nothing here knows a duration: what is learned is what looks show, when they show it.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import numpy as np

from bench.polling.workload import GIVE_UP_S, Floats
from worker.durations import ANYTHING, Curve, Durations
from worker.schedule import Kind, Outlook, Sighting, learned

IN_FLIGHT = 10


@dataclass(slots=True)
class Learner:
    """One kind's durations, folded in batches of so many generations as the product does."""

    every: int = 10
    prior: Curve = field(default_factory=lambda: ANYTHING)
    known: Durations = field(default_factory=Durations)
    kind: Kind = field(init=False)
    _new: list[tuple[Sighting, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Expect what the prior says."""
        self.kind = Kind(None, self.prior)

    def learn(self, sighting: Sighting, over: float) -> None:
        """Take in the end of a generation."""
        self._new.append((sighting, over))
        if len(self._new) >= self.every:
            runs = [learned(seen, None, end)[1] for seen, end in self._new]
            self.known = self.known.observe(runs, self.prior)
            self.kind = Kind(None, self.known.curve(self.prior))
            self._new.clear()


def play(
    took: Floats, price: float, *, seed: int, learner: Learner | None = None
) -> tuple[Floats, Floats]:
    """Poll one kind's generations, about ten in flight at a time, learning as they end.

    As for the rivals, tracking begins with the generation and costs no look by itself.
    """
    dice, learner = random.Random(seed), learner or Learner()
    polls, late = np.zeros(len(took)), np.full(len(took), np.nan)
    ends = took.tolist()
    pace = float(np.minimum(took, GIVE_UP_S).mean()) / IN_FLIGHT
    due: list[tuple[float, int, float, Sighting]] = []
    born, birth = 0, 0.0

    def plan(i: int, birth: float, sighting: Sighting) -> None:
        gap = Outlook.of(sighting, learner.kind).next_gap(price, dice.random())
        heapq.heappush(due, (birth + sighting.last + gap, i, birth, sighting))

    while born < len(ends) or due:
        if born < len(ends) and (not due or birth <= due[0][0]):
            plan(born, birth, Sighting.first(0.0, queued=False))
            born, birth = born + 1, birth + dice.expovariate(1 / pace)
            continue
        now, i, began, sighting = heapq.heappop(due)
        age = now - began
        polls[i] += 1
        if ends[i] <= age:
            late[i] = age - ends[i]
            learner.learn(sighting, age)
        elif age >= GIVE_UP_S:
            learner.learn(sighting.then(age, queued=False), float("inf"))
        else:
            sighting = sighting.then(age, queued=False)
            if sighting.outlives(learner.kind):
                learner.learn(sighting, float("inf"))
                sighting = sighting.counted()
            plan(i, began, sighting)
    return polls, late
