"""When to look at a generation again: when looking has become worth its price.

After a look that showed a generation running, the chance that it has ended unseen grows from 0.
The integral of that chance is the expected undetected delay so far, in seconds. The next look is
due when it reaches the price of a look, the one knob: the seconds of delay that one request is
worth. Where the durations are known this costs a few per cent more than the best schedule there
is, without any planning; and the same integral says which look goes first when there are too many,
and when one page of a list is worth as much as the looks that it replaces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from worker.durations import EDGES, Curve, Lifetime

SHORTEST_GAP_S = 0.25
LONGEST_GAP_S = 60.0
JITTER = 0.05

PATIENCE_S = 3.0
"""A delay of D counts as D + D**2 / (2 * PATIENCE_S): one long delay is worse than many short.

Without it the cheapest schedule looks very late at the few generations that fail early.
"""

GUESSES = 3
"""So many guesses stand for the age at which a generation began to run, seen between two looks."""

HASTE = 0.05
"""How far a market moves to what one request says."""
SLACK = 0.8
"""The part of what requests are worth that is planned with: a short budget is never left unused."""
BELIEVED = 3.0
"""One request is worth at most so many times what was planned: after a hold everything is late."""

OUTLIVED = 0.02
"""A generation outlives its kind when no more than this share lasts as long."""


# --- what is known of one generation ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """What to expect of one kind of generation: how long it queues, and how long it then runs.

    `queue` is None where the provider does not tell the one from the other.
    """

    queue: Curve | None
    run: Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What looks have shown of a generation that was not over, as ages in seconds.

    Attributes:
        entry: at the first look that showed it; later where what is still to be learned begins.
        last: at the last one.
        queued: at the last one that showed it queued; 0 if none did.
        running: at the first one that showed it running; None if none did.
    """

    entry: float
    last: float
    queued: float = 0.0
    running: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no looks can have shown, NaN included."""
        running = self.last if self.running is None else self.running
        if not (
            0 <= self.entry <= self.last < math.inf and 0 <= self.queued <= running <= self.last
        ):
            raise ValueError(f"Not a sighting: {self}")

    @classmethod
    def first(cls, age: float, *, queued: bool) -> Self:
        """Return what the first look showed."""
        age = max(age, 0.0)
        if queued:
            return cls(entry=age, last=age, queued=age)
        return cls(entry=age, last=age, running=age)

    def then(self, age: float, *, queued: bool) -> Sighting:
        """Return what is known after the next look; an age that goes back stands still.

        A generation that is back in the queue begins to run anew.
        """
        age = max(age, self.last)
        if queued:
            return replace(self, last=age, queued=age, running=None)
        return replace(self, last=age, running=age if self.running is None else self.running)

    def outlives(self, kind: Kind) -> bool:
        """Say whether it has lasted longer than nearly all of its kind.

        Then `learned` is to be asked at once, and to go on from `counted`: those that hang would
        be learned of only when they are given up, and each be looked at as if about to end.
        """
        if self.last < 2 * self.entry:
            return False
        if self.running is None and kind.queue is not None:
            return kind.queue.at(self.last)[0] <= OUTLIVED
        if kind.run.at(self.last - self.queued)[0] > OUTLIVED:
            return False  # more are alive still of those that began later
        starts = self.starts(kind.queue)
        alive = sum(kind.run.at(self.last - start)[0] for start in starts)
        return alive <= OUTLIVED * len(starts)

    def counted(self) -> Sighting:
        """Return it as it is once what it has shown was learned: nothing counts twice."""
        return replace(self, entry=self.last)

    def starts(self, queue: Curve | None, by: float = math.inf) -> tuple[float, ...]:
        """Guess at which ages it began to run, or will: equally likely ones.

        Args:
            queue: how long its kind queues; None if that is unknown, or no state tells.
            by: the age by which it began, if no look showed it running.
        """
        if queue is None:
            return (0.0,)
        by = by if self.running is None else self.running
        most = queue.at(self.queued)[0]
        least = queue.at(by)[0] if by < math.inf else 0.0
        step = (most - least) / GUESSES
        ages = (queue.age_when(most - step * (guess + 0.5)) for guess in range(GUESSES))
        return tuple(min(max(age, self.queued), by) for age in ages)


# --- the rule -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of one generation from the look that last showed it.

    It was not over at `age`, and it runs by `curve` from one of `starts`: ages of which each was
    as likely as the others before that look.
    """

    curve: Curve
    starts: tuple[float, ...]
    age: float

    @classmethod
    def of(cls, sighting: Sighting, kind: Kind) -> Self:
        """Return what to expect of a generation of this kind, seen like this."""
        return cls(kind.run, sighting.starts(kind.queue), sighting.last)

    def delay(self, gap: float) -> float:
        """Return the expected undetected delay a gap after the look, long ones counted more."""
        return self._cost(gap, self._sums(0.0))[0]

    def next_gap(self, price: float, jitter: float = 0.5) -> float:
        """Return the seconds from that look to the next: its delay has reached the price then.

        Args:
            price: what a look costs, in seconds of delay.
            jitter: uniform in [0, 1); the gap is 0.95 to 1.05 times what it should be, so that
                generations that began together drift apart.

        Returns:
            Seconds: the gap that should be is at least 0.25 and at most 60.

        Raises:
            ValueError: the price is not above 0.
        """
        if not price > 0:
            raise ValueError(f"Not a price: {price}")
        began = self._sums(0.0)
        least, most = 0.0, LONGEST_GAP_S
        gap, step = most, math.inf
        # The cost grows about as the square of the gap, so its root about evenly: Newton's steps on
        # that are few, and one that leads out of what is possible is replaced by halving it. What
        # remains after a step of a thirtieth is some tenths of a per cent.
        while most > max(least, SHORTEST_GAP_S) and abs(step) > gap / 30:
            cost, slope = self._cost(gap, began)
            least, most = (gap, most) if cost < price else (least, gap)
            step = 2 * (math.sqrt(cost * price) - cost) / slope if slope > 0 else math.inf
            if not least < gap + step < most:
                step = (least + most) / 2 - gap
            gap += step
        return max(gap, SHORTEST_GAP_S) * (1 + JITTER * (2 * jitter - 1))

    def _sums(self, gap: float) -> tuple[float, float, float]:
        """Sum the curve and its two integrals over the starts, a gap after the look."""
        alive = area = moment = 0.0
        # Where the curve is level one age is like another, but for what the sums can resolve.
        age = min(self.age, self.starts[-1] + EDGES[-1]) + gap
        for start in self.starts:
            a, b, c = self.curve.at(age - start)
            alive, area, moment = alive + a, area + b, moment + c
        return alive, area, moment

    def _cost(self, gap: float, began: tuple[float, float, float]) -> tuple[float, float]:
        """Return the delay a gap after the look, and how fast it grows by then."""
        alive0, area0, moment0 = began
        alive, area, moment = self._sums(gap)
        # Where nothing is expected the differences of large numbers may come out below 0.
        chance = max(1 - alive / alive0, 0.0)
        late = max(gap - (area - area0) / alive0, 0.0)
        later = max(gap * gap / 2 - (moment - moment0 - gap * area0) / alive0, 0.0)
        return late + later / PATIENCE_S, chance + late / PATIENCE_S


# --- many generations, one budget, one list -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Market:
    """What the requests of an account are worth of late.

    Attributes:
        level: a little less than the delay that one ends, in seconds, where the budget is short.
        share: the part of what a page is worth that the generation which was due had in it.
    """

    level: float = 0.0
    share: float = 1.0

    def look(self, base: float) -> float:
        """Return the price to plan with after a single look, given what a request costs."""
        return max(base, self.level)

    def page(self, base: float) -> float:
        """Return the price for what a page is to show: each pays its share, all of them the whole.

        So the next page is due when everything on it together is worth a request.
        """
        return self.look(base) * self.share

    def after(self, base: float, reached: float, worth: float) -> Market:
        """Return the market after a request.

        Where the budget is short requests come late and are worth more than was planned: that is
        what they really cost. Planning with a little less than that keeps the lane just short of
        work, and its order by due time close to the order by expected delay.

        Args:
            base: what a request costs while the budget suffices, in seconds of delay.
            reached: the `Outlook.delay` of the generation that was due, when the request went out.
            worth: the sum of the delays of all that the request covered by then.
        """
        price, share, paid = self.look(base), self.share, reached
        if worth > reached > 0:
            paid = min(worth, reached / share)
            share += HASTE * (reached / worth - share)
        paid = SLACK * min(paid, BELIEVED * price)
        return Market(price + HASTE * (paid - price), share)


# --- what to learn ------------------------------------------------------------------------------


def learned(
    sighting: Sighting, queue: Curve | None, over: float = math.inf
) -> tuple[tuple[Lifetime, ...], tuple[Lifetime, ...]]:
    """Say what one generation teaches about how long its kind queues, and how long it runs.

    A generation that was over at its first look teaches nothing: whether it is looked at before
    its end depends on how long it takes.

    Args:
        sighting: what its looks had shown before it was over.
        queue: how long its kind queues; None if no state tells.
        over: the age at the look that showed it over; infinite if we stopped looking.

    Returns:
        The guesses at how long it queued, and at how long it then ran, for `Durations.observe`;
        empty if there is nothing to learn.
    """
    over = max(over, sighting.last)
    queued: tuple[Lifetime, ...] = ()
    if queue is not None:
        began = over if sighting.running is None else sighting.running
        if sighting.entry <= sighting.queued:
            queued = (Lifetime(sighting.queued, began, sighting.entry),)
        if began == math.inf:
            return queued, ()
    return queued, tuple(
        Lifetime(
            max(sighting.last - start, 0.0),
            max(over - start, 0.0),
            max(sighting.entry - start, 0.0),
        )
        for start in sighting.starts(queue, over)
    )
