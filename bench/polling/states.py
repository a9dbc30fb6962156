"""A provider that tells `queued` from running: what knowing it is worth. Both sides learn."""

from __future__ import annotations

import heapq
import math
import random

from worker.durations import ANYTHING, Durations, Lifetime, lognormal
from worker.schedule import Kind, Outlook, Sighting, learned

QUEUE_S, RUN_S, SPREAD = 30.0, 28.0, 0.1
IN_FLIGHT = 10
QUEUE_PRIOR = lognormal(5.0, 1.5)


def cost(price: float, count: int, *, aware: bool, seed: int) -> float:
    """Return price times looks plus delay, per generation, once something has been learned."""
    dice = random.Random(seed)
    waits = [dice.expovariate(1 / QUEUE_S) for _ in range(count)]
    ends = [wait + RUN_S * math.exp(SPREAD * dice.gauss(0, 1)) for wait in waits]
    kind = Kind(QUEUE_PRIOR if aware else None, ANYTHING)
    queue, run = Durations(), Durations()
    new: list[tuple[tuple[Lifetime, ...], tuple[Lifetime, ...]]] = []
    spent = [0.0] * count
    first: float = 0.0
    due: list[tuple[float, int, float, Sighting | None]] = []
    for i in range(count):
        due.append((first, i, first, None))
        first += dice.expovariate(IN_FLIGHT / (QUEUE_S + RUN_S))
    while due:
        now, i, birth, sighting = heapq.heappop(due)
        age = now - birth
        if sighting is None:
            sighting = Sighting.first(0.0, queued=aware)
        else:
            spent[i] += price
            if ends[i] <= age:
                spent[i] += age - ends[i]
                new.append(learned(sighting, kind.queue, age))
                if len(new) == 10:
                    run = run.observe([one[1] for one in new], ANYTHING)
                    if aware:
                        queue = queue.observe([one[0] for one in new], QUEUE_PRIOR)
                    told = queue.curve(QUEUE_PRIOR) if aware else None
                    kind, new = Kind(told, run.curve(ANYTHING)), []
                continue
            sighting = sighting.then(age, queued=aware and age < waits[i])
        gap = Outlook.of(sighting, kind).next_gap(price, dice.random())
        heapq.heappush(due, (now + gap, i, birth, sighting))
    settled = spent[count // 4 :]
    return sum(settled) / len(settled)
