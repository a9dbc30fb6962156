"""The drains that a process runs, and which of their lanes are more than it can carry.

For such a lane it asks for help: another process may drain it as well. What is due is claimed in
Redis, within the same budgets, so any number may; one is enough for nearly all.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

LOOK_EVERY_S = 0.05
LOOKS = 20
"""How the event loop does is judged by so many looks at it, so far apart."""

LATE_S = 0.02
"""An event loop that comes round so much too late, on average, has more to do than it can."""


class Member(Protocol):
    """A drain at work."""

    @property
    def lane(self) -> str:
        """What it drains."""
        ...

    @property
    def in_hand(self) -> int:
        """How many pieces of work it has under way."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether it could not take one more."""
        ...


class Crew:
    """The drains at work in this process."""

    def __init__(self) -> None:
        self._members: set[Member] = set()
        self._lanes: Counter[str] = Counter()
        self.busy = 0.0
        """The share of a processor that this process has used of late: 0 to 1."""

    @contextmanager
    def at_work(self, drain: Member) -> Iterator[None]:
        """Count a drain in while it works."""
        self._members.add(drain)
        self._lanes[drain.lane] += 1
        try:
            yield
        finally:
            self._members.remove(drain)
            self._lanes -= Counter([drain.lane])

    def drains(self, lane: str) -> bool:
        """Tell whether a lane is drained here."""
        return lane in self._lanes

    def overloaded(self, late_s: float) -> set[str]:
        """Name the lanes that are more than this process can carry.

        Args:
            late_s: by how much the event loop came round too late, on average.
        """
        in_hand: Counter[str] = Counter()
        for each in self._members:  # two are of one lane while it is handed over
            in_hand[each.lane] += each.in_hand
        full = {each.lane for each in self._members if each.is_full}
        most = {lane for lane, count in in_hand.items() if 2 * count > in_hand.total()}
        return full | most if late_s > LATE_S else full

    async def watch(self, ask: Callable[[str], Awaitable[None]]) -> None:
        """Ask for help with what has been too much for a second or two; never ends by itself."""
        before: set[str] = set()
        while True:
            late_s, since, used_s = 0.0, time.monotonic(), time.process_time()
            for _ in range(LOOKS):
                began = time.monotonic()
                await asyncio.sleep(LOOK_EVERY_S)
                late_s += (time.monotonic() - began - LOOK_EVERY_S) / LOOKS
            self.busy = min(1.0, (time.process_time() - used_s) / (time.monotonic() - since))
            now = self.overloaded(late_s)
            for lane in sorted(now & before):
                await ask(lane)
            before = now
