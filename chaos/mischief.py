"""The plan of a run: what is done to whom and when. Pure: the same seed makes the same plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from chaos.evidence import Deed, Kind

LEASE_S = 30.0
"""Who stands still for longer has lost what he had claimed."""

PROVIDER_FAULTS = (
    "any:500",
    "any:502",
    "any:503:retry_after=1",
    "any:429",
    "any:429:retry_after=2",
    "any:hang",
    "any:reset",
    "any:garbage",
    "any:truncated",
    "any:unknown_state",
    "any:redirect",
    "get:404",
    "get:404:p=0.3",
    "any:502:p=0.3",
    "list:stale:seconds=3",
    "list:omission:share=0.3",
    "list:shuffled",
    "list:oldest_first",
    "list:capped:rows=20",
)

MANNERS = ("down", "500", "503", "302", "hang", "drip", "mute", "garbage")
"""How a receiver misbehaves: see `chaos.receivers`. None says 410, which would switch it off."""

STEPS_S = (-1800, -300, -45, -2, 2, 45, 300, 1800)
"""How far a clock is put back or forward: below the hour that arq's queue allows for."""


@dataclass(frozen=True, slots=True)
class Company:
    """Whom mischief can be done to, by name."""

    workers: Sequence[str]
    apis: Sequence[str]
    receivers: Sequence[str]


DRAWS = 30
"""A deed for which there is no room is drawn anew, so often at most."""

# For each kind: one in so many seconds, and how long it lasts, from and to.
_RATES: dict[Kind, tuple[float, float, float]] = {
    Kind.KILL: (5, 0.3, 4),
    Kind.STOP: (7, 0.5, 6),
    Kind.CLOCK: (9, 2, 10),
    Kind.REDIS_KILL: (20, 0.2, 3),
    Kind.REDIS_STOP: (30, 0.2, 2),
    Kind.PROVIDER: (8, 1, 6),
    Kind.RECEIVER: (4, 1, 9),
}


def plan(seed: int, seconds: float, company: Company) -> list[Deed]:
    """Plan the mischief of a run, in order of time.

    Every kind occurs at least once if there is room; all is undone by `seconds`; nothing is done
    to anybody to whom something else is done at the time.
    """
    dice = random.Random(seed)
    deeds: list[Deed] = []
    for kind, (every_s, _, _) in _RATES.items():
        for _ in range(max(1, round(seconds / every_s))):
            drawn = (_deed(kind, dice, seconds, company) for _ in range(DRAWS))
            free = (deed for deed in drawn if not any(_collide(deed, each) for each in deeds))
            deeds += islice(free, 1)
    return sorted(deeds, key=lambda each: each.at)


def _deed(kind: Kind, dice: random.Random, seconds: float, company: Company) -> Deed:
    _, shortest_s, longest_s = _RATES[kind]
    whom, how = _target(kind, dice, company)
    lasts_s = min(dice.uniform(shortest_s, longest_s), seconds / 4)
    if kind is Kind.STOP and whom in company.workers and seconds > 1.5 * LEASE_S:
        # Now and then somebody sleeps until others have taken his work over.
        lasts_s = LEASE_S + dice.uniform(1, 5) if dice.random() < 0.2 else lasts_s
    at = dice.uniform(min(1.0, seconds / 10), seconds - lasts_s)
    return Deed(round(at, 2), round(lasts_s, 2), kind, whom, how)


def _target(kind: Kind, dice: random.Random, company: Company) -> tuple[str, str]:
    match kind:
        case Kind.KILL | Kind.STOP:
            return dice.choice([*company.workers, *company.apis]), ""
        case Kind.CLOCK:
            return "clock", str(dice.choice(STEPS_S))
        case Kind.PROVIDER:
            return "provider", dice.choice(PROVIDER_FAULTS)
        case Kind.RECEIVER:
            return dice.choice(company.receivers), dice.choice(MANNERS)
        case _:
            return "redis", ""


def _collide(deed: Deed, other: Deed) -> bool:
    return deed.whom == other.whom and deed.at <= other.until and other.at <= deed.until
