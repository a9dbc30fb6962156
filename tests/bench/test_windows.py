"""The page that the benchmark asks for is the best there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.polling.windows import Row, best_page


@st.composite
def lists(draw: st.DrawFn) -> tuple[list[Row], int]:
    ranks = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=20)))
    rows = [Row(rank, draw(st.integers(0, 100))) for rank in ranks]
    return rows, draw(st.integers(0, len(rows) - 1))


@given(lists(), st.integers(1, 40))
def test_the_best_page_is_the_best_of_all_that_show_the_leader(
    case: tuple[list[Row], int], limit: int
) -> None:
    rows, leader = case
    top = rows[leader].rank
    worths = [
        sum(row.delay for row in rows if first <= row.rank < first + limit)
        for first in range(top - limit + 1, top + 1)
    ]
    left, right, worth = best_page(rows, leader, limit)
    assert left <= leader <= right
    assert rows[right].rank - rows[left].rank < limit
    assert worth == max(worths) == sum(row.delay for row in rows[left : right + 1])
