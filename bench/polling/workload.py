"""Generations: how long each takes, by kind, under steady or changing load.

No real trace is public, so these are invented: the durations of a fast image model, a fast and a
slow video model, and a kind that mixes two clip lengths. 3 % fail within five seconds, 0.5 % never
end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIX = {"image": 0.40, "fast": 0.35, "slow": 0.25}
"""The mixed workload: shares by number of generations."""
KINDS = (*MIX, "bimodal")
GIVE_UP_S = 1800.0
NEVER_S = 1e9

LOADS = ("steady", "congestion", "wandering", "bursts")


def durations(kind: str, count: int, rng: np.random.Generator) -> Floats:
    """Draw durations in seconds; `NEVER_S` for what never ends."""
    z = rng.standard_normal(count)
    if kind == "image":
        took = 4 + 4.5 * np.exp(0.4 * z)
    elif kind == "fast":
        took = 28 * np.exp(0.18 * z)
    elif kind == "slow":
        took = np.where(rng.random(count) < 0.06, 150 * np.exp(0.6 * z), 100 * np.exp(0.3 * z))
    else:
        took = np.where(rng.random(count) < 0.4, 95, 45) * np.exp(0.12 * z)
    fate = rng.random(count)
    took = np.where(fate < 0.03, rng.uniform(0.5, 5.0, count), took)
    return np.where(fate > 0.995, NEVER_S, took)


def load(regime: str, count: int, rng: np.random.Generator) -> Floats:
    """Return the factor by which each generation in turn takes longer."""
    at = np.arange(count)
    if regime == "congestion":
        part = at / count
        return np.where((part >= 0.3) & (part < 0.5), 2.0, 1.0) * np.where(
            (part >= 0.7) & (part < 0.85), 1.5, 1.0
        )
    if regime == "bursts":
        return np.where(at % 3000 >= 2700, 2.5, 1.0)
    if regime == "wandering":  # AR(1) of the logarithm, standard deviation 0.3
        keep, logs = 0.99, np.empty(count)
        noise = rng.standard_normal(count) * 0.3
        logs[0] = noise[0]
        for i in range(1, count):
            logs[i] = keep * logs[i - 1] + np.sqrt(1 - keep**2) * noise[i]
        return np.asarray(np.exp(logs))
    return np.ones(count)
