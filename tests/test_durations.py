"""What is learned of durations: curves, life tables, and the load on top of them."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.durations import ANYTHING, EDGES, KEEP, RATIO, Curve, Durations, Lifetime, lognormal

ages = st.floats(0, 10_000)
any_float = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def lifetimes(draw: st.DrawFn) -> Lifetime:
    entry, low, high = sorted(draw(st.tuples(ages, ages, ages)))
    return Lifetime(low, draw(st.sampled_from([high, math.inf])), entry)


histories = st.lists(st.lists(lifetimes(), min_size=1, max_size=3), max_size=8)
curves = st.builds(lognormal, st.floats(0.2, 500), st.floats(0.05, 2))


def after(*seen: Lifetime, times: int = 1, prior: Curve = ANYTHING) -> Durations:
    known = Durations()
    for _ in range(times):
        known = known.observe([[one] for one in seen], prior)
    return known


@given(curves, ages, ages)
def test_a_curve_never_rises_and_never_reaches_nothing(curve: Curve, a: float, b: float) -> None:
    early, late = sorted((a, b))
    assert 1 >= curve.at(early)[0] >= curve.at(late)[0] > 0


@given(curves, ages)
def test_the_area_and_the_moment_are_the_integrals(curve: Curve, age: float) -> None:
    step = 1e-4 * (1 + age)
    (s, area, moment), (_, next_area, next_moment) = curve.at(age), curve.at(age + step)
    assert next_area - area == pytest.approx(s * step, rel=0.01)
    assert next_moment - moment == pytest.approx((area + s * step / 2) * step, rel=0.01)


@given(curves, st.floats(0.02, 0.99))
def test_the_age_when_a_share_is_left_is_where_the_curve_says_so(
    curve: Curve, share: float
) -> None:
    if share >= curve.alive[-1]:
        assert curve.at(curve.age_when(share))[0] == pytest.approx(share)


def test_ages_outside_a_curve_are_its_ends() -> None:
    assert ANYTHING.age_when(1.0) == 0
    assert ANYTHING.age_when(1e-9) == EDGES[-1]
    assert ANYTHING.at(-2.0) == (1.0, -2.0, 2.0)
    assert ANYTHING.at(1e7)[0] == ANYTHING.alive[-1]


@given(st.integers(-16, 16), st.floats(5, 200))
def test_a_stretched_curve_is_that_of_stretched_durations(bins: int, age: float) -> None:
    curve = lognormal(30, 0.5)
    stretched = Curve.through(curve.stretched(bins))
    assert stretched.at(age * RATIO**bins)[0] == pytest.approx(curve.at(age)[0], abs=2e-3)


@given(curves)
def test_a_kind_of_which_nothing_is_known_is_like_its_parent(prior: Curve) -> None:
    assert Durations().curve(prior).alive == pytest.approx(prior.alive)


@given(histories, curves)
def test_whatever_was_seen_the_curve_is_a_curve(
    history: list[list[Lifetime]], prior: Curve
) -> None:
    known = Durations().observe(history, prior)
    alive = known.curve(prior).alive
    assert alive[0] == pytest.approx(1)
    assert all(a >= b - 1e-12 for a, b in pairwise(alive))
    assert alive[-1] > 0
    assert sum(known.load) == pytest.approx(1)
    assert all(0 <= d <= n + 1e-9 for d, n in zip(known.ended, known.reached, strict=True))


@given(histories)
def test_bytes_keep_what_was_learned(history: list[list[Lifetime]]) -> None:
    known = Durations().observe(history, ANYTHING)
    data = known.to_bytes()
    assert len(data) <= 1300
    again = Durations.from_bytes(data)
    assert again.to_bytes() == data
    assert again.curve(ANYTHING).alive == pytest.approx(known.curve(ANYTHING).alive, rel=1e-4)


@given(st.binary(max_size=1300))
def test_bytes_that_cannot_be_read_are_nothing_known(data: bytes) -> None:
    assert Durations.from_bytes(data) == Durations()


def test_bytes_with_numbers_that_no_table_has_are_nothing_known() -> None:
    data = Durations().to_bytes()
    for bad in (b"\x00\x00\xc0\x7f", b"\x00\x00\x80\xbf", b"\x00\x00\x80\x7f"):  # NaN, -1, inf
        assert Durations.from_bytes(data[:1] + bad + data[5:]) == Durations()
    assert Durations.from_bytes(b"\x07" + data[1:]) == Durations()
    assert Durations.from_bytes(data[:1] + bytes(len(data) - 1)) == Durations()  # no load at all


@given(any_float, any_float, any_float)
def test_a_lifetime_that_is_no_interval_is_refused(low: float, high: float, entry: float) -> None:
    if 0 <= entry <= low <= high and low < math.inf:
        assert Lifetime(low, high, entry).low == low
    else:
        with pytest.raises(ValueError, match="Not a lifetime"):
            Lifetime(low, high, entry)


def test_durations_are_learned_from_intervals() -> None:
    dice, known = random.Random(1), Durations()
    for _ in range(30):
        batch = []
        for _ in range(20):
            took, first = dice.lognormvariate(math.log(40), 0.2), dice.uniform(0, 4)
            low = first + 4 * math.floor((took - first) / 4)
            batch.append([Lifetime(max(low, 0), low + 4)])
        known = known.observe(batch, ANYTHING)
    curve = known.curve(ANYTHING)
    assert curve.age_when(0.5) == pytest.approx(40, rel=0.05)
    assert curve.age_when(0.1) == pytest.approx(40 * math.exp(0.2 * 1.2816), rel=0.1)


def test_one_that_was_given_up_makes_long_ones_likelier() -> None:
    ended = after(Lifetime(20, 25), times=20)
    both = ended.observe([[Lifetime(400)]] * 5, ANYTHING)
    assert both.curve(ANYTHING).at(300)[0] > ended.curve(ANYTHING).at(300)[0] + 0.1


def test_one_that_was_watched_late_says_nothing_of_its_youth() -> None:
    late = after(Lifetime(100, 110, entry=90), times=50)
    assert late.curve(ANYTHING).at(80)[0] == pytest.approx(ANYTHING.at(80)[0], abs=0.02)
    assert late.curve(ANYTHING).at(120)[0] < 0.1


def test_what_was_seen_once_is_forgotten() -> None:
    known = after(Lifetime(20, 25)).observe([[Lifetime(0, 0.1)]] * 1000, ANYTHING)
    old = sum(known.ended[k] for k in range(1, len(known.ended)) if 20 < EDGES[k + 1] < 27)
    assert old == pytest.approx(KEEP**1000, rel=0.35)


def test_each_duration_counts_once_however_many_guesses_there_are() -> None:
    guesses = [Lifetime(10, 20), Lifetime(15, 25), Lifetime(20, 30)]
    known = Durations().observe([guesses], ANYTHING)
    assert sum(known.ended) == pytest.approx(1)


def test_a_provider_that_becomes_twice_as_slow_is_followed_within_a_dozen() -> None:
    known = after(*(Lifetime(28, 32), Lifetime(26, 30), Lifetime(30, 34)) * 10, times=10)
    assert known.curve(ANYTHING).age_when(0.5) == pytest.approx(30, rel=0.1)
    for _ in range(12):
        known = known.observe([[Lifetime(56, 64)]], ANYTHING)
    assert known.curve(ANYTHING).age_when(0.5) > 50


def test_one_odd_end_does_not_move_the_load() -> None:
    known = after(*(Lifetime(28, 32), Lifetime(26, 30), Lifetime(30, 34)) * 10, times=10)
    before = known.curve(ANYTHING).age_when(0.5)
    odd = known.observe([[Lifetime(0.5, 2)]], ANYTHING)
    assert odd.curve(ANYTHING).age_when(0.5) == pytest.approx(before, rel=0.1)
