"""How many attempts a process has under way, and how many more each lane may begin.

Each attempt is an open connection, and one to a receiver that hangs holds its place for as long as
an attempt may take. So that a thousand that hang, or dawdle, cannot have all places, whoever has not
answered soon may hold a share of what is free, and never the last places: the more of them there
are the less each has, and there is always some left for the next.
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
        self._paces: OrderedDict[str, Pace] = OrderedDict()

    def take(self, lane: str, wanted: int) -> int:
        """Take up to `wanted` places for a lane; returns how many it got."""
        pace = self._paces.get(lane, Pace.STRANGER)
        held = 0 if pace is Pace.QUICK else self._held[lane]
        taken = max(0, min(wanted, share(self._free, pace) - held))
        self._move(lane, taken)
        return taken

    def give_back(self, lane: str, places: int) -> None:
        """Let others have so many of a lane's places."""
        self._move(lane, -places)

    def answered(self, lane: str, duration_ms: int) -> None:
        """Note that the receiver of a lane has answered, and how long that took."""
        self._paces[lane] = Pace.QUICK if duration_ms < QUICK_MS else Pace.SLOW
        self._paces.move_to_end(lane)
        if len(self._paces) > REMEMBERED:
            self._paces.popitem(last=False)

    def hung(self, lane: str) -> None:
        """Note that it has not."""
        self._paces.pop(lane, None)

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
