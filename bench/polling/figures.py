"""What a way of polling comes to: requests per generation, and how late ends are noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.polling.workload import Floats


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests per generation (of all, and of those that end) and delays in seconds."""

    polls: float
    finished_polls: float
    mean: float
    p50: float
    p95: float
    p99: float


def figures(outcomes: Mapping[str, tuple[Floats, Floats]], shares: Mapping[str, float]) -> Figures:
    """Sum up several kinds, each (polls, delays; NaN for what never ended), by their shares."""
    polls = finished = 0.0
    late, weights = [], []
    for kind, share in shares.items():
        count, delay = outcomes[kind]
        ended = ~np.isnan(delay)
        polls += share * float(count.mean())
        finished += share * float(count[ended].mean())
        late.append(delay[ended])
        weights.append(np.full(int(ended.sum()), share / ended.sum()))
    delays, weight = np.concatenate(late), np.concatenate(weights)
    order = np.argsort(delays)
    reached = np.cumsum(weight[order])
    p50, p95, p99 = (float(delays[order][np.searchsorted(reached, q)]) for q in (0.5, 0.95, 0.99))
    return Figures(polls, finished, float((delays * weight).sum()), p50, p95, p99)


def read(frontier: Sequence[Figures], value: str, *, where: str, equals: float) -> float | None:
    """Read a value off a frontier where another has this value; None where it does not reach."""
    points = sorted((getattr(f, where), getattr(f, value)) for f in frontier)
    x = np.log([p[0] for p in points])
    if not x[0] - 0.01 <= np.log(equals) <= x[-1] + 0.01:
        return None
    return float(np.exp(np.interp(np.log(equals), x, np.log([p[1] for p in points]))))


Play = Callable[[Floats], tuple[Floats, Floats]]
"""Plays durations through a way of polling: polls and delay of each."""
