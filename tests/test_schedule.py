"""When to look: properties of the shape, whatever the age and the jitter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.schedule import next_look

NOW = 1_800_000_000_000
jitters = st.floats(0, 1, exclude_max=True)
ages = st.integers(0, 30 * 86_400_000)


def gap(age: int, jitter: float) -> int:
    return next_look(now=NOW, since=NOW - age, jitter=jitter) - NOW


@given(ages, jitters)
def test_the_gap_is_a_share_of_the_age_within_bounds_and_jitter(age: int, jitter: float) -> None:
    plain = min(max(0.15 * age, 2_000), 30_000)
    assert 0.9 * plain - 1 <= gap(age, jitter) <= 1.1 * plain + 1


@given(ages, ages, jitters)
def test_an_older_generation_is_never_looked_at_more_often(a: int, b: int, jitter: float) -> None:
    assert gap(min(a, b), jitter) <= gap(max(a, b), jitter)


@given(st.integers(1, 86_400_000), jitters)
def test_a_generation_that_seems_to_begin_in_the_future_counts_as_new(
    ahead: int, jitter: float
) -> None:
    assert gap(-ahead, jitter) == gap(0, jitter)


@given(st.integers(0, 3_600_000), st.lists(jitters, min_size=1, max_size=20))
def test_the_end_is_detected_at_most_a_sixth_of_the_duration_late(
    duration: int, jitter_cycle: list[float]
) -> None:
    at, looks = NOW, 0
    while at < NOW + duration:
        at = next_look(now=at, since=NOW, jitter=jitter_cycle[looks % len(jitter_cycle)])
        looks += 1
    assert at - (NOW + duration) <= max(2_200, 0.165 * duration) + 1


def test_ninety_seconds_cost_about_twenty_looks() -> None:
    at, looks = NOW, 1
    while at < NOW + 90_000:
        at = next_look(now=at, since=NOW, jitter=0.5)
        looks += 1
    assert 18 <= looks <= 24
