"""What each part of the scheduler is worth: the same figures with it taken out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from bench.polling import beginnings, ours, states
from bench.polling.figures import figures
from bench.polling.mixed import GAPS, Study, percent
from bench.polling.workload import MIX
from worker import durations, schedule

WITHOUT: dict[str, dict[tuple[ModuleType, str], float | durations.Curve]] = {
    "all of it": {},
    "no load filter": {(durations, "DRIFT"): 0.0, (durations, "LEAP"): 0.0},
    "no failures expected": {(ours, "ANYTHING"): durations.lognormal(30.0, 1.2)},
    "no smoothing": {(durations, "SMOOTHINGS"): 0},
    "no tail guard": {(schedule, "PATIENCE_S"): 1e9},
    "hanging ones learned late": {(schedule, "OUTLIVED"): 0.0},
    "prior kept at 2 %": {(durations, "PRIOR_SHARE"): 0.02},
    "memory of 300": {(durations, "KEEP"): 1 - 1 / 300},
    "jitter of 20 %": {(schedule, "JITTER"): 0.2},
}


@contextmanager
def changed(values: Mapping[tuple[ModuleType, str], float | durations.Curve]) -> Iterator[None]:
    """Change constants for a while."""
    before = {where: getattr(*where) for where in values}
    for (module, name), value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name), value in before.items():
            setattr(module, name, value)


def run(count: int, seed: int) -> None:
    """Print the tables."""
    steady, congested = Study(count, seed), Study(count, seed + 1, "congestion")
    threes = steady.rival(GAPS["fixed 3 s"]), congested.rival(GAPS["fixed 3 s"])
    print("polls in % of fixed 3 s at equal mean: steady, congestion; p99 in % at equal polls;")
    print("generations until settled after a step to half")
    for name, values in WITHOUT.items():
        with changed(values):
            line = [figures(steady.us(c, tuple(MIX)), MIX) for c in (0.033, 0.055, 0.25, 0.4)]
            drift = [figures(congested.us(c, tuple(MIX)), MIX) for c in (0.2, 0.45)]
            settled = max(beginnings.step(15, seed).values())
        figures_ = (
            percent(line[2:], threes[0], "polls", "mean"),
            percent(drift, threes[1], "polls", "mean"),
            percent(line[:2], threes[0], "p99", "polls"),
        )
        print(
            f"  {name:<28}"
            + "".join(f"{v:8.1f}" if v else f"{'-':>8}" for v in figures_)
            + f"{settled:6d}"
        )
    print("cost relative to knowing only the age, by guesses at the start of a run; queue 60 s")
    for guesses in (1, 2, 3, 5, 9):
        with changed({(schedule, "GUESSES"): guesses, (states, "QUEUE_S"): 60.0}):
            blind = states.cost(0.3, count // 2, aware=False, seed=seed)
            aware = states.cost(0.3, count // 2, aware=True, seed=seed)
        print(f"  {guesses} guesses {aware / blind:8.3f}")
