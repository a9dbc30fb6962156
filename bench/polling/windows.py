"""The best page of a list where every rank is known: what real pages are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A generation that a page may show: its rank in the list (0 is first) and its delay."""

    rank: int
    delay: float


def best_page(rows: Sequence[Row], leader: int, limit: int) -> tuple[int, int, float]:
    """Choose the page worth most among those that show one generation.

    Args:
        rows: the generations that may be worth a look, by rank, each rank at most once.
        leader: the index in `rows` of the one that the page must show.
        limit: how many ranks a page covers, at least 1.

    Returns:
        The first and the last index in `rows` that it covers, and the sum of their delays.
    """
    left, worth = leader, 0.0
    while left > 0 and rows[left - 1].rank > rows[leader].rank - limit:
        left -= 1
    best = (leader, leader, rows[leader].delay)
    right = left
    for first in range(left, leader + 1):
        while right < len(rows) and rows[right].rank < rows[first].rank + limit:
            worth += rows[right].delay
            right += 1
        if worth > best[2]:
            best = (first, right - 1, worth)
        worth -= rows[first].delay
    return best
