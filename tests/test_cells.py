"""Which cell an account lives in, and places on the events of several cells."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cells import cell_of, places_text, read_places

CELLS = st.sets(st.from_regex(r"[a-z0-9][a-z0-9-]{0,7}", fullmatch=True), min_size=1, max_size=8)
TEXTS = st.text(max_size=20)
PLACES = st.tuples(st.integers(0, 10**13), st.integers(0, 9)).map(lambda at: f"{at[0]}-{at[1]}")


@given(CELLS, TEXTS, st.none() | TEXTS, st.randoms())
def test_the_order_in_which_cells_are_named_makes_no_difference(
    cells: set[str], account: str, generation_id: str | None, random: Random
) -> None:
    shuffled = random.sample(sorted(cells), len(cells))
    chosen = cell_of(cells, account, generation_id)
    assert chosen in cells
    assert cell_of(shuffled, account, generation_id) == chosen


@given(CELLS, st.from_regex(r"[a-z]{1,4}", fullmatch=True), TEXTS)
def test_nothing_moves_but_to_a_cell_that_is_added(cells: set[str], new: str, account: str) -> None:
    assert cell_of(cells | {new}, account) in {cell_of(cells, account), new}


def test_a_cell_that_is_added_takes_its_share_of_all() -> None:
    accounts = [f"account-{n}" for n in range(6000)]
    before = {each: cell_of(["a", "b", "c"], each) for each in accounts}
    assert all(1850 < count < 2150 for count in Counter(before.values()).values())
    moved = sum(cell_of(["a", "b", "c", "d"], each) != before[each] for each in accounts)
    assert 1350 < moved < 1650


def test_a_divided_account_is_in_all_cells_evenly() -> None:
    found = Counter(cell_of(["a", "b", "c"], "giant", f"g-{n}") for n in range(6000))
    assert all(1850 < count < 2150 for count in found.values())


def test_where_an_account_lives_is_what_it_was_in_the_first_version() -> None:
    """Another choice would leave everything behind that is tracked."""
    found = [cell_of(["a", "b", "c"], name) for name in ("luma", "luma-agents", "runway", "fal")]
    assert found == ["c", "b", "c", "a"]
    assert cell_of(["a", "b", "c"], "luma", "g-1") == "c"


@given(st.dictionaries(st.sampled_from(["a", "b-1", "c"]), PLACES, min_size=1))
def test_places_are_read_as_they_were_written(places: dict[str, str]) -> None:
    assert read_places(places_text(places)) == places


@pytest.mark.parametrize("text", ["", "1-0", "a:1-0,", "a:1-0,a:2-0", "A:1-0", "a:x"])
def test_what_is_no_place_among_cells_is_not_read(text: str) -> None:
    assert read_places(text) is None
