"""When a generation began, and what its looks have shown of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.policy.conftest import NOW, looked, seen, tracker
from worker.model import Progress
from worker.sightings import began, born, sighting

MINUTE = 60_000
dates = st.integers(0, 3 * NOW)


def birth(**shown: Any) -> int | None:
    return born(tracker(), seen(**shown), now=NOW + 50)


def test_a_generation_began_when_its_provider_says() -> None:
    assert birth(created_at=NOW - 40_000, answered_at=NOW) == NOW - 40_000


def test_without_a_date_it_began_when_it_was_tracked() -> None:
    assert birth() is None
    assert began(tracker()) == NOW


@given(st.integers(-12 * 60 * MINUTE, 12 * 60 * MINUTE), st.integers(0, 20 * MINUTE))
def test_a_provider_whose_clock_is_wrong_still_tells_the_age(skew: int, age: int) -> None:
    at = birth(created_at=NOW + 50 - age + skew, answered_at=NOW + 50 + skew)
    assert at is not None
    assert abs(at - min(NOW + 50 - age, NOW)) <= 2_000


@given(st.integers(-3 * MINUTE, 3 * MINUTE))
def test_without_its_clock_a_date_minutes_off_is_off_by_no_more(skew: int) -> None:
    at = birth(created_at=NOW - 30_000 + skew)
    assert at is not None
    assert abs(at - (NOW - 30_000)) <= abs(skew)
    assert at <= NOW


def test_nothing_began_after_it_was_tracked() -> None:
    assert birth(created_at=NOW + 5 * MINUTE) == NOW


def test_what_has_queued_for_hours_has_a_date_of_another_zone() -> None:
    assert birth(created_at=NOW - 420 * MINUTE, queued=True) is None
    assert birth(created_at=NOW - 420 * MINUTE) is None
    assert birth(created_at=NOW - 9 * MINUTE, queued=True) == NOW - 9 * MINUTE


@given(st.none() | dates, st.none() | dates, st.booleans())
def test_whatever_a_provider_says_the_age_is_sane(
    created_at: int | None,
    answered_at: int | None,
    queued: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    at = birth(created_at=created_at, answered_at=answered_at, queued=queued)
    assert at is None or NOW - 30 * MINUTE <= at <= NOW


@given(
    st.lists(st.tuples(st.integers(-5_000, 60_000), st.booleans(), st.none() | dates), max_size=12)
)
def test_whatever_looks_show_it_is_a_sighting(life: list[tuple[int, bool, int | None]]) -> None:
    t, now = tracker(deadline_at=NOW * 2), NOW
    for gap, queued, created_at in life:
        now += gap  # a clock may go back
        t = looked(t, seen(queued=queued, created_at=created_at), now)
    found = sighting(t)  # raises for what no looks can have shown
    assert (found is None) == (not life)


def test_what_was_over_at_its_first_look_was_never_seen_running() -> None:
    assert sighting(looked(tracker(), seen(Progress.COMPLETED), NOW)) is None
