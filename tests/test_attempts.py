"""Receivers that hang or dawdle cannot have all places, however many they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import attempts
from worker.attempts import Attempts, Pace, share

QUICK_MS, SLOW_MS = attempts.QUICK_MS - 1, attempts.QUICK_MS


@given(free=st.integers(0, attempts.PLACES), pace=st.sampled_from(Pace))
def test_nobody_takes_more_than_is_free(free: int, pace: Pace) -> None:
    assert 0 <= share(free, pace) <= free


@given(free=st.integers(1, attempts.PLACES))
def test_who_answers_soon_may_take_all_that_is_free(free: int) -> None:
    assert share(free, Pace.QUICK) == free


def test_a_stranger_begins_with_as_many_as_an_endpoint_has_by_default() -> None:
    assert Attempts().take("post:stranger", 64) == 8


def test_a_stranger_has_no_more_however_often_it_asks() -> None:
    places = Attempts()
    assert sum(places.take("post:stranger", 8) for _ in range(9)) == 8


def test_who_answers_late_has_what_an_endpoint_may_have_while_others_leave_it() -> None:
    places = Attempts()
    places.answered("post:slow", SLOW_MS, at=1)
    assert places.take("post:slow", 64) == 64


@given(hung=st.integers(0, 20_000))
def test_however_many_hang_there_is_room_for_those_that_answer(hung: int) -> None:
    places = Attempts()
    places.answered("post:healthy", QUICK_MS, at=1)
    for n in range(min(hung, 5_000)):
        places.take(f"post:hung-{n}", 8)
    assert places.take("post:healthy", 64) == 64


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_thousand_that_hang_or_dawdle_leave_room_for_strangers_and_for_the_quick(
    *, is_slow: bool
) -> None:
    places = Attempts()
    places.answered("post:healthy", QUICK_MS, at=1)
    held = dict.fromkeys((f"post:{n}" for n in range(1_000)), 0)
    for lane in [*held] * 9:  # each takes what it can get, and when that has ended does so again
        places.give_back(lane, held[lane])
        if is_slow:
            places.answered(lane, SLOW_MS, at=1)
        held[lane] = places.take(lane, 64)
    assert places.take("post:new", 8) >= 1
    assert places.take("post:healthy", 64) == 64


def test_who_no_longer_answers_is_a_stranger_again() -> None:
    places = Attempts()
    places.answered("post:one", QUICK_MS, at=1)
    assert places.take("post:one", 64) == 64
    places.give_back("post:one", 64)
    places.hung("post:one", since=2)
    assert places.take("post:one", 64) < 64


def test_one_that_hangs_says_nothing_of_a_lane_that_has_answered_meanwhile() -> None:
    """Many endpoints may have one origin, and some of them hang."""
    places = Attempts()
    places.answered("post:one", QUICK_MS, at=2)
    places.hung("post:one", since=1)
    assert places.take("post:one", 64) == 64


@pytest.mark.parametrize("lane", ["post:quick", "post:stranger"])
def test_places_that_are_given_back_can_be_taken_again(lane: str) -> None:
    places = Attempts()
    places.answered("post:quick", QUICK_MS, at=1)
    had = places.take(lane, attempts.PLACES)
    assert places.take(lane, 1) == 0
    places.give_back(lane, 1)
    assert places.take(lane, 2) == 1
    places.give_back(lane, had)
    assert places.take("post:quick", attempts.PLACES) == attempts.PLACES


def test_only_so_many_lanes_are_remembered() -> None:
    places = Attempts()
    for n in range(attempts.REMEMBERED + 1):
        places.answered(f"post:{n}", QUICK_MS, at=1)
    assert places.take("post:0", 64) < 64
    assert places.take("post:1", 64) == 64


def test_nothing_is_kept_of_a_lane_that_has_nothing_under_way() -> None:
    places = Attempts()
    for n in range(9):
        lane = f"post:{n}"
        places.give_back(lane, places.take(lane, 8))
        places.give_back(lane, places.take(lane, 0))
    assert not places._held
