"""What several cells answer, put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.api.adding import CellPage, accounts, cursor_of, merged, places_of, readiness
from worker.errors import InvalidInputError
from worker.model import JsonObject

Lists = dict[str, list[int]]

LISTS = st.dictionaries(
    st.sampled_from("abc"),
    st.lists(st.integers(0, 30), max_size=12).map(lambda times: sorted(times, reverse=True)),
).filter(bool)


def read(items: list[JsonObject], start: str | None, limit: int, *, scanned: int) -> CellPage:
    """Read a page as a cell does: up to `limit` items, but it may stop early, after `scanned`."""
    first = int(start or 0)
    found = items[first : first + min(limit, scanned)]
    after = [str(first + n + 1) for n in range(len(found))]
    last = first + len(found)
    return CellPage(start, found, after, str(last) if last < len(items) else None)


def walk(lists: Lists, limit: int, scanned: int) -> list[list[JsonObject]]:
    """Follow the cursors through all pages."""
    of = {
        name: [{"at": f"{at:02}", "id": f"{name}{n}"} for n, at in enumerate(times)]
        for name, times in lists.items()
    }
    pages, places = list[list[JsonObject]](), dict[str, str | None](dict.fromkeys(of))
    while True:
        told = {
            name: read(of[name], place, limit, scanned=scanned) for name, place in places.items()
        }
        page = merged(told, "at", limit)
        pages.append(page["items"])
        if page["next_cursor"] is None:
            return pages
        places = places_of(page["next_cursor"])


@given(LISTS, st.integers(1, 5), st.integers(1, 5))
def test_the_pages_have_everything_once_and_newest_first(
    lists: Lists, limit: int, scanned: int
) -> None:
    pages = walk(lists, limit, scanned)
    items = [item for page in pages for item in page]
    times = [item["at"] for item in items]
    assert times == sorted(times, reverse=True)
    assert len({item["id"] for item in items}) == len(items) == sum(map(len, lists.values()))
    assert all(len(page) <= limit for page in pages)


def test_a_page_waits_for_a_cell_that_has_more_and_has_shown_nothing_yet() -> None:
    pages = {
        "a": CellPage(None, [], [], "7"),
        "b": CellPage(None, [{"at": "2"}], ["1"], None),
    }
    page = merged(pages, "at", 10)
    assert page["items"] == []
    assert places_of(page["next_cursor"]) == {"a": "7", "b": None}


@pytest.mark.parametrize("cursor", ["", "x", "MTc", "bnVsbA", "WzFd", "é"])
def test_a_cursor_of_another_make_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInputError, match="next_cursor"):
        places_of(cursor)


@given(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5)))
def test_a_cursor_is_read_as_it_was_written(places: dict[str, str | None]) -> None:
    assert places_of(cursor_of(places)) == places


def account(**more: object) -> JsonObject:
    rates = ("polls_per_second", "polls_per_second_now", "polls_per_second_used")
    well = {"health": {"ok": True}, "held": None}
    return {"name": "giant", "tracking": 3, **well, **dict.fromkeys(rates, 2.5), **more}


def test_a_divided_account_is_told_of_once_with_its_whole_budget_and_its_trouble() -> None:
    in_trouble = {"ok": False, "reason": "throttled"}
    ill = account(tracking=4, health=in_trouble, held={"reason": "throttled"})
    (found,) = accounts([[account()], [ill], [account()]])
    assert (found["tracking"], found["polls_per_second"]) == (10, 7.5)
    assert (found["health"], found["held"]) == (in_trouble, {"reason": "throttled"})


def ready(*problems: str) -> JsonObject:
    return {"ok": not problems, "problems": list(problems), "warnings": []}


def test_it_is_ready_while_any_cell_is() -> None:
    shape = readiness({"a": ready(), "b": ready("Redis does not answer.")})
    assert shape == {
        "ok": True,
        "problems": [],
        "warnings": ["cell b: Redis does not answer."],
    }
    assert not readiness({"a": ready("no"), "b": ready("no")})["ok"]
