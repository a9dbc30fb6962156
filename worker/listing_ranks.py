"""Where generations stand in a provider's list.

A list that is ordered by creation is a curve from `created_at` to rank. Each page shows a piece of
it, so a few marks of that curve say where any generation stands, ours or not; as new ones are
created the whole curve moves on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median_low
from typing import Annotated, TypeAlias

from pydantic import Field

MARKS_PER_PAGE = 5
MAX_OLDER_MARKS = 10
IN_ORDER = 0.9

Instant: TypeAlias = int
Mark: TypeAlias = tuple[Instant, Annotated[int, Field(ge=0)]]
Curve: TypeAlias = list[tuple[int, int]]


class Order(StrEnum):
    """How the rows of a list follow each other, as far as its pages have shown."""

    NEWEST = "newest first"
    OLDEST = "oldest first"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ranks:
    """What is known of the ranks, which count from 0; none are known without an order.

    `marks` are `(created_at, rank)` along the list, true at the instant `at`.
    """

    order: Order = Order.UNKNOWN
    marks: tuple[Mark, ...] = ()
    at: Instant = 0

    @property
    def known(self) -> bool:
        """Whether anything can be placed."""
        return bool(self.marks)

    @property
    def sound(self) -> bool:
        """Whether the marks rise along the list, as all that pages taught do."""
        curve = self._curve()
        rising = all(x0 < x1 and y0 <= y1 for (x0, y0), (x1, y1) in pairwise(curve))
        return rising and (self.order is not Order.UNKNOWN or not curve)

    def along(self, created_at: Instant) -> int:
        """Turn an instant into a number that rises along the list."""
        return -created_at if self.order is Order.NEWEST else created_at

    def drift(self, now: Instant) -> float:
        """Estimate how many rows were created since `at`: newest first, they push all others on."""
        if self.order is not Order.NEWEST:
            return 0.0
        return _slope(self._curve()[:MARKS_PER_PAGE]) * max(0, now - self.at)

    def of(self, instants: Sequence[Instant], now: Instant) -> list[int]:
        """Say at which rank each generation should be by now.

        Ours are rows too: whoever comes after n of them is at rank n or beyond. That alone places a
        burst of them, however long ago a page was seen.

        Args:
            instants: when they were created, sorted by `along`.
            now: the present, by the clock of `at`.
        """
        drift, curve = self.drift(now), self._curve()
        ranks: list[int] = []
        rank = -1
        for created_at in instants:
            rank = max(rank + 1, round(_rank(curve, self.along(created_at)) + drift))
            ranks.append(rank)
        return ranks

    def after(self, dated: Sequence[Mark], now: Instant) -> Ranks:
        """Learn from a page's rows that have a date: `(created_at, rank)` in page order."""
        order = _order([created_at for created_at, _ in dated]) or self.order
        if order is Order.UNKNOWN:
            return Ranks(at=now)
        fresh = _marks(order, dated)
        kept = self._kept(fresh, now) if order is self.order else ()
        return Ranks(order, tuple(sorted([*kept, *fresh], key=lambda mark: mark[1])), now)

    def ended(self, offset: int, now: Instant) -> Ranks:
        """Learn that the list ends before `offset`: half-way between there and what is known."""
        marks = tuple(mark for mark in self.marks if mark[1] < offset)
        if marks and offset - marks[-1][1] > 1:
            end = 0 if self.order is Order.NEWEST else max(now, marks[-1][0] + 1)
            marks = (*marks, (end, (marks[-1][1] + offset) // 2))
        return Ranks(self.order if marks else Order.UNKNOWN, marks, self.at)

    def _kept(self, fresh: Sequence[Mark], now: Instant) -> Sequence[Mark]:
        """Return the marks that a page does not replace, moved on by as much as it shows."""
        if not fresh:
            return self.marks
        curve = [(self.along(created_at), rank) for created_at, rank in fresh]
        first, last = curve[0], curve[-1]
        old = self._curve()
        shifts = [round(_rank(curve, x)) - rank for x, rank in old if first[0] <= x <= last[0]]
        shift = median_low(shifts) if shifts else round(self.drift(now))
        moved = [(x, rank + shift) for x, rank in old]
        before = [mark for mark in moved if mark[0] < first[0] and 0 <= mark[1] < first[1]]
        after = [mark for mark in moved if mark[0] > last[0] and mark[1] > last[1]]
        kept = [*before, *after]
        thinned = kept[::2] if len(kept) > MAX_OLDER_MARKS else kept
        return [(self.along(x), rank) for x, rank in thinned]  # its own inverse

    def _curve(self) -> Curve:
        return [(self.along(created_at), rank) for created_at, rank in self.marks]


def _rank(curve: Curve, along: int) -> float:
    """Read the curve, which is straight between its marks and beyond them."""
    index = bisect_left(curve, (along,))
    if 0 < index < len(curve):
        (x0, y0), (x1, y1) = curve[index - 1], curve[index]
        return y0 + (along - x0) * (y1 - y0) / (x1 - x0)
    x, y = curve[0] if index == 0 else curve[-1]
    # At its front a list grows as it did lately, at its far end as it did over all.
    return y + (along - x) * _slope(curve[:MARKS_PER_PAGE] if index == 0 else curve)


def _slope(curve: Curve) -> float:
    if len(curve) < 2:  # noqa: PLR2004 - a slope is between two
        return 0.0
    (x0, y0), (x1, y1) = curve[0], curve[-1]
    return (y1 - y0) / (x1 - x0)


def _order(instants: Sequence[Instant]) -> Order | None:
    """Tell the order of a page; None if it has too few rows to tell."""
    steps = [later - earlier for earlier, later in pairwise(instants) if later != earlier]
    if len(steps) < 2:  # noqa: PLR2004 - one step is in some order always
        return None
    share = sum(step > 0 for step in steps) / len(steps)
    if share >= IN_ORDER:
        return Order.OLDEST
    return Order.NEWEST if share <= 1 - IN_ORDER else Order.UNKNOWN


def _marks(order: Order, dated: Sequence[Mark]) -> list[Mark]:
    """Take a few marks, spread over the page. Rows out of place are put into their place."""
    if not dated:
        return []
    places = sorted((created_at for created_at, _ in dated), reverse=order is Order.NEWEST)
    last = len(places) - 1
    picked = sorted({round(last * n / (MARKS_PER_PAGE - 1)) for n in range(MARKS_PER_PAGE)})
    # Of those created at one instant the first counts: it is written last.
    marks = {places[n]: dated[n][1] for n in reversed(picked)}
    return sorted(marks.items(), key=lambda mark: mark[1])
