"""How many attempts a process has under way, and how many more each lane may begin.

Each attempt is an open connection, and one to a receiver that hangs holds its place for as long as
an attempt may take. So that a thousand that hang cannot have all places, whoever has not answered
lately gets a small share of what is free, and never the last places.
"""

from __future__ import annotations

from collections import OrderedDict

PLACES = 4000
KEPT_FREE = 500
"""So many places are only for receivers that have answered lately."""

STRANGERS = 400
"""Who has not answered lately gets one in so many of the places left: 8 while nearly all are."""

REMEMBERED = 10_000
"""So many lanes are remembered to have answered, the latest ones."""


class Attempts:
    """The places for attempts in this process, and which receivers have answered lately."""

    def __init__(self) -> None:
        self._taken = 0
        self._answered: OrderedDict[str, None] = OrderedDict()

    def take(self, lane: str, wanted: int) -> int:
        """Take up to `wanted` places for a lane; returns how many it got."""
        taken = min(wanted, share(PLACES - self._taken, answers=lane in self._answered))
        self._taken += taken
        return taken

    def give_back(self, places: int) -> None:
        """Let others have so many places again."""
        self._taken -= places

    def answered(self, lane: str) -> None:
        """Note that the receiver of a lane has answered."""
        self._answered[lane] = None
        self._answered.move_to_end(lane)
        if len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)

    def hung(self, lane: str) -> None:
        """Note that it has not."""
        self._answered.pop(lane, None)


def share(free: int, *, answers: bool) -> int:
    """Tell how many of the free places a lane may take, by whether its receiver answers."""
    if answers:
        return free
    for_strangers = max(0, free - KEPT_FREE)
    return min(for_strangers, max(1, for_strangers // STRANGERS))
