"""How others poll, and how one would who knew everything: on arrays, all generations at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from bench.polling.figures import Play
from bench.polling.workload import GIVE_UP_S, NEVER_S, Floats, durations

Gap = Callable[[int, float, int, np.random.Generator], Floats | float]
"""(number of the look, age before it, how many generations, dice) -> seconds to wait."""


def fixed(seconds: float) -> Gap:
    return lambda _n, _age, _count, _rng: seconds


def backoff(first: float, factor: float, cap: float, *, jitter: float = 0.0) -> Gap:
    """Wait longer each time; with `jitter` uniformly between that share of it less, and it."""

    def gap(n: int, _age: float, count: int, rng: np.random.Generator) -> Floats | float:
        seconds = min(first * factor ** min(n, 60), cap)
        return seconds * (1 - jitter * rng.random(count)) if jitter else seconds

    return gap


def smithy(low: float, high: float) -> Gap:
    """Wait as AWS waiters do: between the shortest wait and an exponential one."""
    return lambda n, _age, count, rng: rng.uniform(low, min(low * 2 ** min(n, 60), high), count)


def between(low: float, high: float) -> Gap:
    return lambda _n, _age, count, rng: rng.uniform(low, high, count)


def estimate(first: float, then: float) -> Gap:
    """Wait for an estimate of the duration, then poll at a fixed rate."""
    return lambda n, _age, _count, _rng: first if n == 0 else then


def play(gap: Gap, seed: int) -> Play:
    """Turn a gap into outcomes, generation by generation, until they end or are given up."""

    def played(took: Floats) -> tuple[Floats, Floats]:
        rng = np.random.default_rng(seed)
        polls, late = np.zeros(len(took)), np.full(len(took), np.nan)
        open_, age = np.arange(len(took)), np.zeros(len(took))
        for n in itertools.count():
            age = age + gap(n, 0.0, len(age), rng)
            polls[open_] += 1
            over = took[open_] <= age
            late[open_[over]] = (age - took[open_])[over]
            left = ~over & (age < GIVE_UP_S)
            open_, age = open_[left], age[left]
            if not len(open_):
                return polls, late
        raise AssertionError

    return played


# --- the clairvoyant ----------------------------------------------------------------------------


def _grid() -> Floats:
    ages = [0.0]
    while ages[-1] < GIVE_UP_S:
        ages.append(ages[-1] + min(max(0.05, 0.004 * ages[-1]), 2.0))
    return np.array(ages)


GRID = _grid()
PRICES = tuple(float(price) for price in np.geomspace(0.008, 12, 16))


@cache
def best_looks(kind: str, stretch: float, price: float) -> Floats:
    """Return the ages at which to look that cost least, by dynamic programming.

    For durations of a kind that all take `stretch` times as long, known exactly.
    """
    took = np.sort(durations(kind, 300_000, np.random.default_rng(1)) * stretch)
    alive = 1 - np.searchsorted(took, GRID, side="right") / len(took)
    last = len(GRID) - 1
    soonest = np.minimum(np.searchsorted(GRID, GRID + 0.25), last)
    latest = np.maximum(np.searchsorted(GRID, GRID + 60, side="right"), soonest + 1)
    cost, then = np.zeros(last + 1), np.full(last + 1, last)
    for i in range(last - 1, -1, -1):
        j = slice(soonest[i], latest[i])
        costs = price + GRID[j] - GRID[i] + alive[j] / alive[i] * cost[j]
        best = int(np.argmin(costs))
        cost[i], then[i] = costs[best], soonest[i] + best
    return GRID[list(_follow(then.tolist()))]


def _follow(then: Sequence[int]) -> Iterator[int]:
    at = 0
    while at < len(then) - 1:
        at = int(then[at])
        yield at


def clairvoyant(kind: str, price: float, load: Floats) -> Play:
    """Know the distribution and the present load, but no single duration."""

    def played(took: Floats) -> tuple[Floats, Floats]:
        polls, late = np.zeros(len(took)), np.full(len(took), np.nan)
        for stretch in np.unique(load):
            looks = best_looks(kind, float(stretch), price)
            mine = load == stretch
            at = np.searchsorted(looks, took[mine])
            ended = took[mine] < NEVER_S
            polls[mine] = np.where(ended, at + 1, len(looks))
            delay = looks[np.minimum(at, len(looks) - 1)] - took[mine]
            late[mine] = np.where(ended & (delay >= 0), delay, np.nan)
        return polls, late

    return played
