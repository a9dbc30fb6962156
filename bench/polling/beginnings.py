"""A new kind of which nothing is known, and a provider that becomes twice as fast overnight."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.polling import ours, rivals
from bench.polling.figures import Play
from bench.polling.workload import KINDS, NEVER_S, Floats, durations

PRICE = 0.5
BLOCK = 5


def _cost(play: Play, took: Floats) -> Floats:
    polls, late = play(took)
    cost = PRICE * polls + late
    return np.where(took < NEVER_S, cost, np.nan)


def cold_start(repeats: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return the cost of generations 0 to 30, and 100 to 300, as multiples of the clairvoyant's."""
    found = {}
    for n, kind in enumerate(KINDS):
        mine, best = np.empty((repeats, 300)), np.empty((repeats, 300))
        for r in range(repeats):
            took = durations(kind, 300, np.random.default_rng([seed, n, r]))
            learner = ours.Learner(every=1)
            mine[r] = _cost(partial(ours.play, price=PRICE, seed=r, learner=learner), took)
            best[r] = _cost(rivals.clairvoyant(kind, PRICE, np.ones(300)), took)
        ratio = [
            float(np.nanmean(mine[:, part]) / np.nanmean(best[:, part]))
            for part in (slice(0, 30), slice(100, 300))
        ]
        found[kind] = (ratio[0], ratio[1])
    return found


def step(repeats: int, seed: int, factor: float = 0.5) -> dict[str, int]:
    """Return after how many generations the mean delay stays under 1.5 times what it was."""
    before, after, found = 300, 60, {}
    for n, kind in enumerate(("image", "fast", "slow")):
        late = np.empty((repeats, before + after))
        for r in range(repeats):
            took = durations(kind, before + after, np.random.default_rng([seed, n, r]))
            took[before:] *= factor
            late[r] = ours.play(took, PRICE, seed=r, learner=ours.Learner(every=1))[1]
        steady = float(np.nanmean(late[:, before // 2 : before]))
        blocks = np.nanmean(late[:, before:].reshape(repeats, -1, BLOCK), axis=(0, 2)) / steady
        slow = np.flatnonzero(blocks >= 1.5)
        found[kind] = 0 if not len(slow) else int(slow[-1] + 1) * BLOCK
    return found
