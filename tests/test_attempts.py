"""Receivers that hang cannot have all places, however many they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker import attempts
from worker.attempts import Attempts, share


@given(free=st.integers(0, attempts.PLACES), answers=st.booleans())
def test_nobody_takes_more_than_is_free(*, free: int, answers: bool) -> None:
    assert 0 <= share(free, answers=answers) <= free


@given(free=st.integers(1, attempts.PLACES))
def test_who_answers_may_take_all_that_is_free(free: int) -> None:
    assert share(free, answers=True) == free


def test_a_stranger_begins_with_as_many_as_an_endpoint_has_by_default() -> None:
    assert Attempts().take("post:stranger", 64) == 8


@given(hung=st.integers(0, 20_000))
def test_however_many_hang_there_is_room_for_those_that_answer(hung: int) -> None:
    places = Attempts()
    places.answered("post:healthy")
    for n in range(min(hung, 5_000)):
        places.take(f"post:hung-{n}", 8)
    assert places.take("post:healthy", 64) == 64


def test_a_thousand_that_hang_leave_room_for_strangers_too() -> None:
    places = Attempts()
    for n in range(1_000):
        places.take(f"post:hung-{n}", 8)
    assert places.take("post:new", 8) >= 1


def test_who_no_longer_answers_is_a_stranger_again() -> None:
    places = Attempts()
    places.answered("post:one")
    assert places.take("post:one", 64) == 64
    places.hung("post:one")
    assert places.take("post:one", 64) < 64


def test_places_that_are_given_back_can_be_taken_again() -> None:
    places = Attempts()
    places.answered("post:one")
    assert places.take("post:one", attempts.PLACES) == attempts.PLACES
    assert places.take("post:one", 1) == 0
    places.give_back(1)
    assert places.take("post:one", 2) == 1


def test_only_so_many_lanes_are_remembered() -> None:
    places = Attempts()
    for n in range(attempts.REMEMBERED + 1):
        places.answered(f"post:{n}")
    assert places.take("post:0", 64) < 64
    assert places.take("post:1", 64) == 64
