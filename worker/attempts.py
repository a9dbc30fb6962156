"""How many attempts a process has under way, and how many more each lane may begin.

Each attempt is an open connection, and one to a receiver that hangs holds its place for as long as
an attempt may take. So that a thousand that hang, or dawdle, cannot have all places, whoever does
not answer soon may hold a share of what is free, and never the last places: the more of them there
are the less each has, and some are left for the next.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from enum import Enum, auto
from typing import assert_never

PLACES = 4000
KEPT_FREE = 500
"""So many places are only for who answers soon, and as many more for them and for strangers."""

QUICK_MS = 2000
"""Soon is within this: at what a process can send, those that are quick never need all places."""

SLOW = 8
"""Who answers, but not soon, may hold one in so many of the places left: hundreds, at first."""

STRANGERS = 400
"""Who has not answered lately, one in so many: 8, what an endpoint has by default, at first."""

REMEMBERED = 10_000
"""Of so many lanes it is remembered how they have answered, the latest ones."""


class Pace(Enum):
    """How a receiver has answered lately."""

    QUICK = auto()
    SLOW = auto()
    STRANGER = auto()


class Attempts:
    """The places for attempts in this process, who holds them, and who has answered lately."""

    def __init__(self) -> None:
        self._free = PLACES
        self._held: Counter[str] = Counter()
        self._answers: OrderedDict[str, tuple[Pace, float]] = OrderedDict()

    def take(self, lane: str, wanted: int) -> int:
        """Take up to `wanted` places for a lane; returns how many it got."""
        pace, _ = self._answers.get(lane, (Pace.STRANGER, 0.0))
        held = 0 if pace is Pace.QUICK else self._held[lane]
        taken = max(0, min(wanted, share(self._free, pace) - held))
        self._move(lane, taken)
        return taken

    def give_back(self, lane: str, places: int) -> None:
        """Let others have so many of a lane's places."""
        self._move(lane, -places)

    def answered(self, lane: str, duration_ms: int, *, at: float) -> None:
        """Note that the receiver of a lane has answered, when, and how long that took."""
        self._answers[lane] = Pace.QUICK if duration_ms < QUICK_MS else Pace.SLOW, at
        self._answers.move_to_end(lane)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    def hung(self, lane: str, *, since: float) -> None:
        """Note that it has not, unless it has answered another attempt meanwhile."""
        _, at = self._answers.get(lane, (Pace.STRANGER, 0.0))
        if at < since:
            self._answers.pop(lane, None)

    def _move(self, lane: str, places: int) -> None:
        self._free -= places
        self._held[lane] += places
        if not self._held[lane]:
            del self._held[lane]


def share(free: int, pace: Pace) -> int:
    """Tell how many places a lane may hold, or if it is quick take, while so many are free."""
    match pace:
        case Pace.QUICK:
            return free
        case Pace.STRANGER:
            return _one_in(STRANGERS, free - KEPT_FREE)
        case Pace.SLOW:
            return _one_in(SLOW, free - 2 * KEPT_FREE)
        case _ as never:
            assert_never(never)


def _one_in(parts: int, free: int) -> int:
    return min(max(0, free), max(1, free // parts))
