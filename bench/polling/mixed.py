"""The mixed workload: every rival's row, our frontier beside it, and targets T1 to T7."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from bench.polling import ours, rivals
from bench.polling.figures import Figures, Play, figures, read
from bench.polling.workload import KINDS, MIX, Floats, durations, load

OUR_PRICES = (0.02, 0.045, 0.07, 0.15, 0.3, 0.6, 1.5, 4.0, 10.0)
DRIFTING_PRICES = (0.2, 0.45)

GAPS: Mapping[str, rivals.Gap] = {
    "fixed 1 s": rivals.fixed(1),
    "fixed 2 s": rivals.fixed(2),
    "fixed 3 s": rivals.fixed(3),
    "fixed 5 s": rivals.fixed(5),
    "fixed 10 s": rivals.fixed(10),
    "exp 1 s x1.5 cap 20": rivals.backoff(1, 1.5, 20),
    "exp 1 s x1.5 cap 45": rivals.backoff(1, 1.5, 45),
    "exp 1 s x2 cap 60": rivals.backoff(1, 2, 60),
    "gax 5 s x1.5 cap 45": rivals.backoff(5, 1.5, 45),
    "api-core as coded": rivals.backoff(1, 1.5, 20, jitter=1.0),
    "Smithy 2 to 120": rivals.smithy(2, 120),
    "5 s + U(0,1)": rivals.between(5, 6),
    "runway 6 +- 1.5": rivals.between(4.5, 7.5),
}
ESTIMATES: Mapping[str, tuple[float, float, float]] = {
    "ETA .8 median, 3 s": (0.5, 0.8, 3.0),
    "ETA p10, 2 s": (0.1, 1.0, 2.0),
    "ETA p10, 5 s": (0.1, 1.0, 5.0),
}
"""Told the true quantile for nothing: (which, times what, then every so many seconds)."""


Outcomes: TypeAlias = dict[str, tuple[Floats, Floats]]
"""Polls and delay of each generation, by kind."""


@dataclass(slots=True)
class Study:
    """The samples, and what each way of polling makes of them."""

    count: int
    seed: int
    regime: str = "steady"
    loads: dict[str, Floats] = field(default_factory=dict)
    took: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Draw the samples."""
        for n, kind in enumerate(KINDS):
            rng = np.random.default_rng([self.seed, n])
            self.loads[kind] = load(self.regime, self.count, rng)
            self.took[kind] = durations(kind, self.count, rng) * self.loads[kind]

    def play(self, way: Callable[[str], Play]) -> Outcomes:
        """Play every kind."""
        return {kind: way(kind)(took) for kind, took in self.took.items()}

    def us(self, price: float, kinds: Sequence[str] = KINDS) -> Outcomes:
        """Poll at a price as the product does."""
        return {
            kind: ours.play(self.took[kind], price, seed=self.seed + KINDS.index(kind))
            for kind in kinds
        }

    def best(self, price: float) -> Outcomes:
        """Poll at a price as one would who knew each kind's distribution and the load."""
        return self.play(lambda kind: rivals.clairvoyant(kind, price, self.loads[kind]))

    def rival(self, gap: rivals.Gap) -> Figures:
        """Poll the mixed workload as a rival does."""
        return figures(self.play(lambda _: rivals.play(gap, self.seed)), MIX)

    def told(self, quantile: float, times: float, then: float) -> Figures:
        """Poll it as a rival does who is told a quantile of each kind."""

        def way(kind: str) -> Play:
            first = float(np.quantile(self.took[kind], quantile)) * times
            return rivals.play(rivals.estimate(first, then), self.seed)

        return figures(self.play(way), MIX)

    def rivals(self) -> dict[str, Figures]:
        """Poll it as every rival does."""
        return {name: self.rival(gap) for name, gap in GAPS.items()} | {
            name: self.told(*estimate) for name, estimate in ESTIMATES.items()
        }


def percent(frontier: list[Figures], rival: Figures, value: str, where: str) -> float | None:
    """Compare our value with a rival's, in per cent, where another value of both is the same."""
    found = read(frontier, value, where=where, equals=getattr(rival, where))
    return None if found is None else 100 * found / float(getattr(rival, value))
