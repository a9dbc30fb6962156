"""Whether a figure stays as it is: its trend over the second half, beside its noise. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

SIGMAS = 3.0
SHARE = 0.03
"""A growth below this share of the mean is none."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure went in the second half of a run.

    Attributes:
        mean: Its mean there.
        growth: How much the line of least squares rises from its begin to its end.
        noise: The standard deviation from that line.
        floor: A growth below this is none, in the figure's own unit.
    """

    mean: float
    growth: float
    noise: float
    floor: float

    @property
    def is_flat(self) -> bool:
        """Whether it does not grow, as far as the noise lets one tell."""
        return self.growth <= max(SIGMAS * self.noise, SHARE * self.mean, self.floor)


def trend(values: Sequence[float], *, floor: float = 0.0) -> Trend:
    """Find the trend of a series that was sampled evenly; needs four values or more."""
    second = values[len(values) // 2 :]
    places = range(len(second))
    slope, start = statistics.linear_regression(places, second)
    left = [value - (start + slope * place) for place, value in zip(places, second, strict=True)]
    return Trend(
        statistics.fmean(second), slope * (len(second) - 1), statistics.pstdev(left), floor
    )
