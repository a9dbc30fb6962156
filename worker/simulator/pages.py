"""What a list call answers: a page of the world, after the habits in force have had their way."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import islice

from worker.simulator.faults import Fault, Kind
from worker.simulator.world import Generation, World


def page(
    world: World, habits: Iterable[Fault], rng: random.Random, *, limit: int, offset: int
) -> list[tuple[Generation, str]]:
    """Return the generations of a page and their states: newest first and true, but for `habits`.

    The page is as old as it is, then put in order, then cut out of the list, then holed.
    """
    by_kind = {habit.kind: habit for habit in habits}
    rows = world.all(oldest_first=Kind.OLDEST_FIRST in by_kind)
    ago_s = getattr(by_kind.get(Kind.STALE), "seconds", None) or 0.0
    cap = getattr(by_kind.get(Kind.CAPPED), "rows", None) or limit
    left_out = getattr(by_kind.get(Kind.OMISSION), "share", None) or 0.0
    if ago_s:
        rows = (row for row in rows if world.age_s(row, ago_s=ago_s) >= 0)
    if Kind.SHUFFLED in by_kind:
        there = list(rows)
        rows = iter(rng.sample(there, len(there)))
    cut = islice(rows, offset, offset + min(limit, cap))
    return [(row, world.state(row, ago_s=ago_s)) for row in cut if rng.random() >= left_out]
