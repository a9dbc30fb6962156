"""How long generations of one kind take: a life table, learned from what our own looks saw.

A look tells only that an end lies between the look before and itself, so what is learned from are
intervals. Old ones are forgotten. A factor for the provider's present load is kept apart from the
shape of the durations, so that a provider that slows down twofold is followed within a few
generations instead of being learned anew.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Self

# The bins of a life table: half a second, then each 6 % longer than the one before, to 31 minutes.
BINS = 142
RATIO = 1.06
FIRST_BIN_S = 0.5
EDGES = (0.0, *(FIRST_BIN_S * RATIO**k for k in range(BINS)))
WIDTHS = tuple(high - low for low, high in pairwise(EDGES))

KEEP = 1 - 1 / 1000
"""With each observation those before it count for so much less: the memory is a thousand."""
SMOOTHINGS = 3
"""Looks fall into the same places again and again: what they count is smoothed so many times."""
PRIOR_WEIGHT = 3.0
"""The prior counts as so many generations."""
PRIOR_SHARE = 0.002
"""The prior keeps this share of the curve for ever: what was never seen remains possible."""
LEAST_SHARE = 1e-5
"""No curve is below this share of `ANYTHING`: from a kind to its children the shares of the priors
multiply, to less than the differences of integrals can resolve."""
FAILING, FAILING_S = 0.05, 1.5
"""The share of runs that are expected to fail at once, and how soon, where nothing is known.

Looks are far apart where no end is expected, so when in such a gap the failures came is hardly
learned, and what was expected stays.
"""
STUCK = 0.005
"""The share of generations that are expected never to end, where nothing is known."""

# The load stretches all durations, by so many bins: by a factor of 0.39 to 2.54.
STEP = 2
LOADS = tuple(range(-16, 17, STEP))
STRETCHES = tuple(RATIO**bins for bins in LOADS)
DRIFT = 0.01
"""The chance that from one end to the next the load goes up by one step, or down."""
LEAP = 0.002
"""The chance that it leaps to anywhere, half of that back to 1."""
UNLIKELY = 1e-3
"""Loads less likely than this are left out of the curve."""
SURPRISE = 1e-3
"""The chance that an end has nothing to do with the load, so that one oddity convinces nobody."""

DRAWN = 128
"""So many curves are kept, the last ones: a kind is drawn after those it descends from, which have
mostly not changed since. Of each some 25 KB."""

_LAYOUT = struct.Struct(f"<B{2 * BINS + len(LOADS)}f")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Curve:
    """S(t), the chance that a generation is still running at age t, and its integrals.

    `alive` is S at the `EDGES`, straight in between and level after the last; `area` is the
    integral of S from 0, and `moment` the integral of `area`. Before age 0 everything is alive.
    """

    alive: tuple[float, ...]
    area: tuple[float, ...]
    moment: tuple[float, ...]

    @classmethod
    def through(cls, alive: Sequence[float]) -> Self:
        """Draw the curve with these values at the `EDGES`: from 1 down, never up, never 0."""
        area, moment = [0.0], [0.0]
        for (high, low), width in zip(pairwise(alive), WIDTHS, strict=True):
            moment.append(moment[-1] + width * (area[-1] + width * (2 * high + low) / 6))
            area.append(area[-1] + width * (high + low) / 2)
        return cls(tuple(alive), tuple(area), tuple(moment))

    def at(self, age: float) -> tuple[float, float, float]:
        """Return S at an age, its integral from 0, and the integral of that."""
        if age <= 0:
            return 1.0, age, age * age / 2
        k = bisect_right(EDGES, age) - 1
        s, area = self.alive[k], self.area[k]
        into = age - EDGES[k]
        fall = into * (s - self.alive[k + 1]) / WIDTHS[k] if k < BINS else 0.0
        return (
            s - fall,
            area + into * (s - fall / 2),
            self.moment[k] + into * (area + into * (s / 2 - fall / 6)),
        )

    def age_when(self, share: float) -> float:
        """Return the first age at which no more than `share` is alive, or the last of `EDGES`."""
        k = bisect_left(self.alive, -share, key=float.__neg__)
        if k == 0:
            return 0.0
        if k > BINS:
            return EDGES[-1]
        high, low = self.alive[k - 1], self.alive[k]
        return EDGES[k - 1] + WIDTHS[k - 1] * (high - share) / (high - low)

    def stretched(self, bins: int) -> Sequence[float]:
        """Return S at the `EDGES` if every duration were RATIO**bins times as long."""
        if bins <= 0:
            return [1.0, *self.alive[1 - bins :], *[self.alive[-1]] * -bins]
        first = [self.at(edge * RATIO**-bins)[0] for edge in EDGES[1 : bins + 1]]
        return [1.0, *first, *self.alive[1 : BINS + 1 - bins]]


def lognormal(median_s: float, sigma: float) -> Curve:
    """Return the curve of log-normal durations of which a few never end."""
    scale = sigma * math.sqrt(2)
    alive = (math.erfc(math.log(edge / median_s) / scale) / 2 for edge in EDGES[1:])
    return Curve.through([1.0, *(STUCK + (1 - STUCK) * s for s in alive)])


def typical(median_s: float, sigma: float) -> Curve:
    """Return the curve of runs that take about so long, unless they fail at once."""
    work, failures = lognormal(median_s, sigma), lognormal(FAILING_S, 0.8)
    both = zip(work.alive, failures.alive, strict=True)
    return Curve.through([s + FAILING * (f - s) for s, f in both])


ANYTHING = typical(30.0, 1.2)
"""What to expect of a duration of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What was seen of one duration: over after `low` and by `high`, watched since `entry`.

    `high` is infinite if the end was not seen. Ages in seconds, 0 <= entry <= low <= high.
    """

    low: float
    high: float = math.inf
    entry: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no interval, NaN included."""
        if not (0 <= self.entry <= self.low <= self.high and self.low < math.inf):
            raise ValueError(f"Not a lifetime: {self}")

    def chance(self, curve: Curve, stretch: float = 1.0) -> float:
        """Return how likely a duration on this curve, stretched, was to be seen like this."""
        after = 0.0 if self.high == math.inf else curve.at(self.high / stretch)[0]
        return curve.at(self.low / stretch)[0] - after

    def without(self, stretch: float) -> Lifetime:
        """Return it as it would have been without this stretch."""
        return Lifetime(self.low / stretch, self.high / stretch, self.entry / stretch)


@dataclass(frozen=True, slots=True)
class Durations:
    """What was learned of one kind.

    For each bin, how many ended in it and how many reached it, at load 1; and for each of `LOADS`
    the chance that it is the present one. `seen` counts what was learned from, for people.
    """

    ended: tuple[float, ...] = (0.0,) * BINS
    reached: tuple[float, ...] = (0.0,) * BINS
    load: tuple[float, ...] = tuple(float(bins == 0) for bins in LOADS)

    def curve(self, prior: Curve) -> Curve:
        """Return what to expect of the next one, under the present load."""
        return _curve(self, prior)

    def observe(self, seen: Iterable[Sequence[Lifetime]], prior: Curve) -> Durations:
        """Return what is known after these durations, in this order.

        Each is one lifetime, or several guesses at it that were equally likely beforehand.
        """
        shape, known = _shape(self, prior), self
        for guesses in seen:
            known = known._after(guesses, shape)
        return known

    def _after(self, guesses: Sequence[Lifetime], shape: Curve) -> Durations:
        load = _load_after(self.load, guesses, shape)
        middle = sum(bins * chance for bins, chance in zip(LOADS, load, strict=True))
        stretch = RATIO ** (STEP * round(middle / STEP))
        guesses = [guess.without(stretch) for guess in guesses]
        chances = [guess.chance(shape) for guess in guesses]
        ended = [KEEP * count for count in self.ended]
        reached = [KEEP * count for count in self.reached]
        for guess, chance in zip(guesses, _shares(chances), strict=True):
            _count(guess, chance, shape, ended, reached)
        return Durations(tuple(ended), tuple(reached), load)

    def to_bytes(self) -> bytes:
        """Write it in about 1.2 KB."""
        return _LAYOUT.pack(_VERSION, *self.ended, *self.reached, *self.load)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote; from anything else nothing is known."""
        if len(data) != _LAYOUT.size or data[0] != _VERSION:
            return cls()
        numbers = _LAYOUT.unpack(data)[1:]
        ended, reached, load = numbers[:BINS], numbers[BINS : 2 * BINS], numbers[2 * BINS :]
        counts = all(0 <= number < math.inf for number in numbers)
        return cls(ended, reached, load) if counts and abs(sum(load) - 1) < UNLIKELY else cls()


@lru_cache(maxsize=DRAWN)
def _curve(known: Durations, prior: Curve) -> Curve:
    shape = _shape(known, prior)
    mixed = [0.0] * (BINS + 1)
    total = 0.0
    for bins, chance in zip(LOADS, known.load, strict=True):
        if chance > UNLIKELY:
            total += chance
            stretched = shape.stretched(bins)
            mixed = [m + chance * s for m, s in zip(mixed, stretched, strict=True)]
    return Curve.through([m / total for m in mixed])


@lru_cache(maxsize=DRAWN)
def _shape(known: Durations, prior: Curve) -> Curve:
    """Draw the curve at load 1: in each bin, as many of those that reach it end in it."""
    s, alive = 1.0, [1.0]
    bins = zip(_smooth(known.ended), _smooth(known.reached), pairwise(prior.alive), strict=True)
    for ended, reached, (before, after) in bins:
        gone = ended + PRIOR_WEIGHT * (before - after)
        s *= max(0.0, 1 - gone / (reached + PRIOR_WEIGHT * before))
        alive.append(s)
    all_three = zip(alive, prior.alive, ANYTHING.alive, strict=True)
    return Curve.through([max(s + PRIOR_SHARE * (p - s), LEAST_SHARE * a) for s, p, a in all_three])


def _load_after(
    load: tuple[float, ...], guesses: Sequence[Lifetime], shape: Curve
) -> tuple[float, ...]:
    """Weigh the loads by how well each explains an end, then let them drift a little."""
    if any(guess.high == math.inf for guess in guesses):
        return load
    odd = SURPRISE * max((guess.high - guess.low) / (guess.high + 5) for guess in guesses)
    explained = _shares(
        [
            chance * (sum(guess.chance(shape, by) for guess in guesses) / len(guesses) + odd)
            for chance, by in zip(load, STRETCHES, strict=True)
        ]
    )
    padded = [explained[0], *explained, explained[-1]]
    drifted = [
        (1 - 2 * DRIFT) * here + DRIFT * (below + above)
        for below, here, above in zip(padded, explained, padded[2:], strict=False)
    ]
    return tuple(
        (1 - LEAP) * chance + LEAP * (0.5 / len(LOADS) + 0.5 * (bins == 0))
        for bins, chance in zip(LOADS, drifted, strict=True)
    )


def _count(
    seen: Lifetime, weight: float, shape: Curve, ended: list[float], reached: list[float]
) -> None:
    """Add one lifetime to a life table, its end spread over its interval as `shape` expects."""
    first, last = bisect_right(EDGES, seen.entry) - 1, bisect_right(EDGES, seen.low) - 1
    for k in range(first, min(last, BINS)):
        reached[k] += weight
    if first < min(last, BINS):
        reached[first] -= weight * (seen.entry - EDGES[first]) / WIDTHS[first]
    if last >= BINS:
        return
    if seen.high == math.inf:
        reached[last] += weight * (seen.low - max(EDGES[last], seen.entry)) / WIDTHS[last]
        return
    inner = EDGES[last + 1 : bisect_left(EDGES, seen.high)]
    alive = [shape.at(age)[0] for age in (seen.low, *inner, seen.high)]
    still = weight
    shares = _shares([before - after for before, after in pairwise(alive)])
    for k, share in enumerate(shares[: BINS - last], last):
        ended[k] += weight * share
        reached[k] += still
        still = max(still - weight * share, 0.0)


def _smooth(counts: Sequence[float]) -> Sequence[float]:
    """Spread counts over their neighbours, by a bell about one bin wide to either side."""
    for _ in range(SMOOTHINGS):
        padded = [counts[0], *counts, counts[-1]]
        counts = [
            (below + 2 * here + above) / 4
            for below, here, above in zip(padded, counts, padded[2:], strict=False)
        ]
    return counts


def _shares(masses: Sequence[float]) -> list[float]:
    """Scale masses so that they sum to 1; if there are none, all are equal."""
    total = sum(masses)
    if total <= 0:
        return [1 / len(masses)] * len(masses)
    return [mass / total for mass in masses]
