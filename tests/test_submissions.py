"""Which row of a provider's list came of an unanswered call: never a guess."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import submissions
from worker.errors import InvalidInputError
from worker.model import JsonObject, Terms
from worker.submissions import (
    CALL_S,
    Ambiguous,
    Found,
    Intent,
    NotShown,
    Row,
    digest,
    search,
)

T = 1_700_000_000_000
TOKEN = "t" * 43
FOX: JsonObject = {"model": "ray-2", "prompt": "a fox", "loop": False}
ECHO: JsonObject = {
    **FOX,
    "generation_type": "video",
    "aspect_ratio": "16:9",
    "keyframes": None,
    "concepts": [],
    "callback_url": None,
}
INTENT = Intent(request=FOX, begun_at=T, callback="callback_url")
WITH_TOKEN = replace(INTENT, token=digest(TOKEN))
ROW = Row(generation_id="g-1", created_at=T + 500, skew_s=5, asked=ECHO)


def with_callback(row: Row, url: Any) -> Row:
    return replace(row, asked={**(row.asked or {}), "callback_url": url})


OURS = with_callback(ROW, submissions.hint_url("https://d.example/x/", "luma", TOKEN))


def test_the_only_row_that_fits_is_it() -> None:
    other = replace(ROW, generation_id="g-2", asked={**ECHO, "prompt": "a dog"})
    assert search(INTENT, [other, ROW, ROW], tracked=()) == Found("g-1", is_certain=False)


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, created_at=None),
        replace(ROW, created_at=T - 5_001),
        replace(ROW, created_at=T + round(CALL_S * 1000) + 5_001),
        replace(ROW, asked=None),
        replace(ROW, asked={**ECHO, "loop": True}),
        replace(ROW, asked={**ECHO, "loop": 0}),
        replace(ROW, asked={name: each for name, each in ECHO.items() if name != "prompt"}),
        replace(ROW, asked={**ECHO, "keyframes": {"frame0": {"type": "image"}}}),
        with_callback(ROW, "https://somebody.else/x"),
    ],
)
def test_a_row_that_does_not_fit_is_not_it(row: Row) -> None:
    assert search(INTENT, [row], tracked=()) == NotShown()


@pytest.mark.parametrize("created_at", [T - 5_000, T, T + round(CALL_S * 1000) + 5_000])
def test_times_may_be_off_a_little(created_at: int) -> None:
    row = replace(ROW, created_at=created_at)
    assert search(INTENT, [row], tracked=()) == Found("g-1", is_certain=False)


@pytest.mark.parametrize("request_", [{}, {"model": None}])
def test_a_request_that_says_nothing_is_like_any_and_finds_none(request_: JsonObject) -> None:
    assert search(replace(INTENT, request=request_), [ROW], tracked=()) == NotShown()
    assert search(INTENT, [ROW], tracked=(), rivals=[replace(INTENT, request=request_)]) == (
        Ambiguous()
    )


def test_what_is_tracked_is_not_it() -> None:
    assert search(INTENT, [ROW], tracked={"g-1"}) == NotShown()


def test_two_that_fit_are_ambiguous() -> None:
    twin = replace(ROW, generation_id="g-2")
    assert search(INTENT, [ROW, twin], tracked=()) == Ambiguous()
    assert search(INTENT, [ROW, twin], tracked={"g-2"}) == Found("g-1", is_certain=False)


def test_one_that_may_be_anothers_is_ambiguous() -> None:
    rival = replace(INTENT, begun_at=T - 1000, request={**FOX, "aspect_ratio": None})
    assert search(INTENT, [ROW], tracked=(), rivals=[rival]) == Ambiguous()
    elsewhen = replace(rival, begun_at=T - 10 * round(CALL_S * 1000))
    otherwise = replace(rival, request={**FOX, "prompt": "a dog"})
    found = search(INTENT, [ROW], tracked=(), rivals=[elsewhen, otherwise])
    assert found == Found("g-1", is_certain=False)


def test_with_a_token_only_its_own_row_is_it_whatever_else_is_said() -> None:
    odd = replace(OURS, created_at=None)
    found = search(WITH_TOKEN, [ROW, odd], tracked={"g-1"}, rivals=[INTENT])
    assert found == Found("g-1", is_certain=True)
    for row in (ROW, with_callback(ROW, 7), with_callback(ROW, f"https://x/{'u' * 43}")):
        assert search(WITH_TOKEN, [row], tracked=()) == NotShown()


def test_without_a_token_a_row_with_one_is_not_it() -> None:
    assert search(INTENT, [OURS], tracked=()) == NotShown()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
requests = st.dictionaries(st.sampled_from(["model", "prompt", "keyframes", "loop"]), values)
rows = st.builds(
    Row,
    generation_id=st.sampled_from(["g-1", "g-2", "g-3"]),
    created_at=st.none() | st.integers(T - 200_000, T + 200_000),
    skew_s=st.sampled_from([5.0, 60.0]),
    asked=st.none() | requests,
)
intents = st.builds(
    Intent,
    request=requests,
    begun_at=st.integers(T - 100_000, T + 100_000),
    callback=st.sampled_from([None, "callback_url"]),
)


@given(
    requests.filter(lambda each: any(value is not None for value in each.values())),
    st.sampled_from([5.0, 60.0]),
    st.floats(-5, CALL_S + 5),
)
def test_the_echo_of_a_request_is_always_found(
    request: JsonObject, skew_s: float, since_s: float
) -> None:
    intent = Intent(request=request, begun_at=T, callback="callback_url")
    echo = {**json.loads(json.dumps(request)), "aspect_ratio": "16:9", "callback_url": None}
    row = Row(generation_id="g", created_at=T + round(since_s * 1000), skew_s=skew_s, asked=echo)
    assert search(intent, [row], tracked=()) == Found("g", is_certain=False)


@given(intents, st.lists(rows, max_size=5), st.sets(st.sampled_from(["g-1", "g-2"])))
def test_what_is_found_is_shown_by_one_and_tracked_by_nobody(
    intent: Intent, shown: list[Row], tracked: set[str]
) -> None:
    match search(intent, shown, tracked=tracked):
        case Found(generation_id=name, is_certain=is_certain):
            assert not is_certain
            assert name not in tracked
            assert name in {row.generation_id for row in shown}
            others = [row for row in shown if row.generation_id != name]
            assert search(intent, others, tracked=tracked) == NotShown()
            assert search(intent, shown, tracked={*tracked, name}) == NotShown()
            assert search(intent, shown, tracked=tracked, rivals=[intent]) == Ambiguous()


@given(intents, intents, st.lists(rows, max_size=5))
def test_of_two_that_wait_none_gets_what_the_other_might(
    one: Intent, other: Intent, shown: list[Row]
) -> None:
    mine = search(one, shown, tracked=(), rivals=[other])
    theirs = search(other, shown, tracked=(), rivals=[one])
    if isinstance(mine, Found) and isinstance(theirs, Found):
        assert mine.generation_id != theirs.generation_id


@given(st.lists(rows, max_size=5))
def test_with_a_token_nothing_is_found_by_its_looks(shown: list[Row]) -> None:
    assert search(WITH_TOKEN, shown, tracked=()) == NotShown()


def test_it_is_searched_for_as_often_and_for_as_long_as_was_planned() -> None:
    planned_s = math.fsum(submissions.LOOK_AFTER_S)
    since_s, searches = submissions.LOOK_AFTER_S[0], 1
    while (again_s := submissions.next_search_s(searches, since_s)) is not None:
        since_s, searches = since_s + again_s, searches + 1
    assert (searches, since_s) == (len(submissions.LOOK_AFTER_S), planned_s)


@given(st.integers(1, 40), st.floats(0, 2000))
def test_it_is_not_given_up_before_its_time_however_often_it_was_searched_for(
    searches: int, since_s: float
) -> None:
    planned_s = math.fsum(submissions.LOOK_AFTER_S)
    again_s = submissions.next_search_s(searches, since_s)
    if again_s is None:
        assert searches >= len(submissions.LOOK_AFTER_S)
        assert since_s >= planned_s
    else:
        assert 0 < again_s <= max(submissions.LOOK_AFTER_S)


# --- keys and digests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "key"),
    [(None, None), ("k", "k"), ('"k"', "k"), (' "a b" ', "a b"), ("x" * 255, "x" * 255)],
)
def test_a_key_comes_in_quotes_or_not(header: str | None, key: str | None) -> None:
    assert submissions.idempotency_key(header) == key


@pytest.mark.parametrize("header", ["", '""', '"', "a b", 'a"b', "x" * 256, "é", "\n"])
def test_what_is_no_key_is_refused(header: str) -> None:
    with pytest.raises(InvalidInputError, match="Idempotency-Key"):
        submissions.idempotency_key(header)


def test_the_marks_of_a_request_tell_which_fields_are_others_and_are_bounded() -> None:
    one, other = (
        submissions.marks({"x": 1, "y": [2], "z": None}),
        submissions.marks({"y": [3], "x": 1}),
    )
    assert one["x"] == other["x"]
    assert one["y"] != other["y"]
    assert set(one) == {"x", "y", "z"}
    for unusual in ({str(n): n for n in range(1000)}, {"x" * 1000: 1}):
        assert submissions.marks(unusual) == {}


def test_the_same_call_has_the_same_fingerprint_however_it_is_written() -> None:
    terms = Terms(deadline_s=60, metadata={"a": 1, "b": 2})
    same = Terms(deadline_s=60, metadata={"b": 2, "a": 1})
    one = submissions.fingerprint("luma", {"x": 1, "y": [2]}, terms)
    assert one == submissions.fingerprint("luma", {"y": [2], "x": 1}, same)
    assert one != submissions.fingerprint("other", {"x": 1, "y": [2]}, terms)
    assert one != submissions.fingerprint("luma", {"x": 1, "y": [3]}, terms)
    assert one != submissions.fingerprint("luma", {"x": 1, "y": [2]}, replace(terms, deadline_s=61))


def test_it_is_looked_for_more_than_once_over_some_minutes() -> None:
    assert len(submissions.LOOK_AFTER_S) > 3
    assert 240 < math.fsum(submissions.LOOK_AFTER_S) < 900
    assert submissions.LEASE_S > submissions.CALL_S
