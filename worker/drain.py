"""The work of one arq job: handle what is due in one lane, many at a time, for a few seconds.

What is handled, a look or an attempt, is the poller's or the courier's business; this loop claims
no more than it has hands for, sleeps until there is work, and knows when to go.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from worker.crew import Crew
from worker.store import Clock, Store, heard

BUDGET_S = 5.0
BUDGET_JITTER = 0.2
"""A drain claims for so long at most, then hands its lane over: short jobs spread over machines.
Not all do so at once, so that each lane goes to whoever has least to do by then."""

HEARTBEAT_S = 1.0
"""A drain shows that it is alive at least this often."""

OVERLAP_S = 0.5
"""A drain whose time is up goes on for so long beside the next, which takes a while to begin."""

STAY_S = 1.0
"""A drain stays so long after its last work: to be rung for more is cheaper than to begin anew."""

GATHER_S = 0.005
FEW_HANDS = 4
"""With less than a quarter of its hands free a drain waits for more before it claims again: at
thousands of pieces a second a claim for each of them would cost as much as the work."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Work claimed from a lane: what to do now, and when there is more (None: nothing ahead)."""

    clock: Clock
    work: Sequence[Callable[[], Awaitable[None]]]
    wake_at: int | None


class Claim(Protocol):
    """Claims work from a lane."""

    async def __call__(self, room: int, *, assists: bool) -> Claimed:
        """Claim up to so many pieces, for the lane's own drain or for one that assists it."""
        ...


class Drain:
    """Handles what is due in one lane.

    Args:
        store: where lanes are kept.
        lane: its name.
        claim: claims work from it.
        hands: how many pieces are worked on at once.
        stopping: set when the process is about to end: nothing more is claimed.
        start: starts the next drain, anywhere.
        crew: the drains at work in this process.
        assists: whether it works beside the lane's own drain, which alone sees to what follows.
    """

    def __init__(
        self,
        store: Store,
        lane: str,
        claim: Claim,
        *,
        hands: int,
        stopping: asyncio.Event,
        start: Callable[[str], Awaitable[None]],
        crew: Crew,
        assists: bool = False,
    ) -> None:
        self._store = store
        self.lane = lane
        self._claim = claim
        self._hands = hands
        self._stopping = stopping
        self._start = start
        self._crew = crew
        self._assists = assists
        self._busy: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        self._worked_at = -math.inf

    @property
    def in_hand(self) -> int:
        """How many pieces are worked on now."""
        return len(self._busy)

    @property
    def is_full(self) -> bool:
        """Whether all hands are busy."""
        return len(self._busy) >= self._hands

    async def run(self) -> None:
        """Work until nothing is due soon or the time is up; then see to it that another goes on.

        For a moment this one goes on beside it: where hundreds of pieces a second come due, a tenth
        of a second in which nobody claims is felt for seconds.

        A piece of work that fails unexpectedly fails the drain, after all others have ended; its
        claim falls due again when the lease ends.
        """
        try:
            with self._store.bell.expect(self.lane) as bell, self._crew.at_work(self):
                must_go = await self._work(bell, _budget_s())
                if must_go and not self._assists and await self._store.lanes.hand_over(self.lane):
                    self._assists = True
                    self._begin(partial(self._start, self.lane), bell)
                    await self._work(bell, OVERLAP_S)
        except asyncio.CancelledError:
            self._let_go()
            raise
        finally:
            await self._finish()

    async def _work(self, bell: asyncio.Event, for_s: float) -> bool:
        """Work until nothing is due soon, or until the time is up: then returns True."""
        until = time.monotonic() + for_s
        while time.monotonic() < until and not self._stopping.is_set():
            if not await self._round(bell):
                return False
        return True

    async def _round(self, bell: asyncio.Event) -> bool:
        """Claim what there are hands for and wait for something to change; False: time to go."""
        room = max(0, self._hands - len(self._busy))
        claimed = await self._claim(room, assists=self._assists)
        for piece in claimed.work:
            self._begin(piece, bell)
        wait_s = _seconds_until(claimed)
        if self._busy:
            self._worked_at = time.monotonic()
        elif wait_s > 0 and self._has_stayed() and await self._may_leave():
            return False
        if wait_s > 0 or not claimed.work or self.is_full:
            # What is due and was not given out waits for what is under way, here or elsewhere.
            await heard(bell, min(wait_s, HEARTBEAT_S) if wait_s > 0 else HEARTBEAT_S)
            if wait_s <= 0 and self._hands - len(self._busy) < self._hands // FEW_HANDS:
                await asyncio.sleep(GATHER_S)
        self._raise_failure()
        return True

    def _begin(self, piece: Callable[[], Awaitable[None]], bell: asyncio.Event) -> None:
        """Work on a piece; when it is done, hear of it as of new work."""

        def ended(task: asyncio.Task[None]) -> None:
            self._busy.discard(task)
            failure = None if task.cancelled() else task.exception()
            if failure:
                self._failed.append(failure)
            bell.set()

        task = asyncio.ensure_future(piece())
        self._busy.add(task)
        task.add_done_callback(ended)

    async def _may_leave(self) -> bool:
        return self._assists or await self._store.lanes.leave(self.lane)

    def _has_stayed(self) -> bool:
        return time.monotonic() - self._worked_at >= STAY_S

    def _raise_failure(self) -> None:
        if self._failed:
            raise self._failed[0]

    async def _finish(self) -> None:
        """Let the work in hand end; what was cancelled falls due again when its lease ends."""
        try:
            await self._empty_handed()
        except asyncio.CancelledError:
            self._let_go()
            await self._empty_handed()
            raise
        self._raise_failure()

    async def _empty_handed(self) -> None:
        """Wait until all work in hand has ended; the last may have, just as this was canceled."""
        if self._busy:
            await asyncio.wait(self._busy)

    def _let_go(self) -> None:
        for task in self._busy:
            task.cancel()


def _budget_s() -> float:
    return BUDGET_S * random.uniform(1 - BUDGET_JITTER, 1)


def _seconds_until(claimed: Claimed) -> float:
    if claimed.wake_at is None:
        return HEARTBEAT_S
    return (claimed.wake_at - claimed.clock.now()) / 1000
