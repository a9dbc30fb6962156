"""When to look: properties of the rule, whatever was learned and whatever was seen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.durations import ANYTHING, Durations, Lifetime, lognormal
from worker.schedule import (
    JITTER,
    LONGEST_GAP_S,
    SHORTEST_GAP_S,
    Kind,
    Market,
    Outlook,
    Sighting,
    learned,
)

jitters = st.floats(0, 1, exclude_max=True)
ages = st.floats(0, 3_000_000)
prices = st.floats(0.001, 1_000)
learned_curves = st.builds(
    lambda ends: (
        Durations().observe([[Lifetime(*sorted(end))] for end in ends], ANYTHING).curve(ANYTHING)
    ),
    st.lists(st.tuples(st.floats(0, 2_000), st.floats(0, 2_000)), max_size=6),
)
curves = st.builds(lognormal, st.floats(0.2, 500), st.floats(0.05, 2)) | learned_curves
kinds = st.builds(Kind, st.none() | curves, curves)


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    seen = Sighting.first(draw(ages), queued=draw(st.booleans()))
    for age in sorted(draw(st.lists(ages, max_size=3))):
        seen = seen.then(age, queued=seen.running is None and draw(st.booleans()))
    return seen


outlooks = st.builds(Outlook.of, sightings(), kinds)


# --- the rule -----------------------------------------------------------------------------------


@given(outlooks, prices, jitters)
def test_the_gap_is_bounded_and_never_in_the_past(
    outlook: Outlook, price: float, jitter: float
) -> None:
    gap = outlook.next_gap(price, jitter)
    assert SHORTEST_GAP_S * (1 - JITTER) <= gap <= LONGEST_GAP_S * (1 + JITTER)


@given(outlooks, prices, prices)
def test_a_dearer_look_comes_no_sooner(outlook: Outlook, a: float, b: float) -> None:
    cheap, dear = sorted((a, b))
    assert outlook.next_gap(cheap) <= outlook.next_gap(dear) * 1.02


@given(outlooks, prices)
def test_the_look_is_due_when_the_delay_has_reached_the_price(
    outlook: Outlook, price: float
) -> None:
    gap = outlook.next_gap(price)
    if gap < LONGEST_GAP_S:
        assert outlook.delay(gap) >= price * 0.97 - 1e-6
    if gap > SHORTEST_GAP_S:
        assert outlook.delay(gap * 0.97) <= price * 1.01 + 1e-6


@given(outlooks, st.floats(0, 100), st.floats(0, 100))
def test_the_expected_delay_grows_and_stays_below_the_gap_itself(
    outlook: Outlook, a: float, b: float
) -> None:
    short, long_ = sorted((a, b))
    assert 0 <= outlook.delay(short) <= outlook.delay(long_) + 1e-6
    assert outlook.delay(long_) <= long_ + long_ * long_ / 6 + 1e-6


@given(outlooks, jitters)
def test_jitter_moves_a_gap_by_five_per_cent_at_most(outlook: Outlook, jitter: float) -> None:
    assert outlook.next_gap(0.3, jitter) == pytest.approx(outlook.next_gap(0.3), rel=JITTER + 1e-9)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan])
def test_a_look_has_a_price(price: float) -> None:
    with pytest.raises(ValueError, match="Not a price"):
        Outlook(ANYTHING, (0.0,), 0.0).next_gap(price)


def test_looks_are_close_where_the_end_is_near_and_far_apart_elsewhere() -> None:
    curve = lognormal(28, 0.1)
    gaps = [Outlook(curve, (0.0,), age).next_gap(0.3) for age in (8.0, 26.0, 60.0)]
    assert gaps[0] > 10
    assert gaps[1] < 3
    assert gaps[2] == LONGEST_GAP_S


def test_thirty_seconds_give_or_take_five_cost_about_six_looks() -> None:
    curve, age, looks = lognormal(30, 0.18), 0.0, 0
    while age < 30:
        age += Outlook(curve, (0.0,), age).next_gap(0.3)
        looks += 1
    assert 4 <= looks <= 8


# --- queued, then running -----------------------------------------------------------------------


def test_nothing_is_expected_to_end_while_it_queues() -> None:
    kind = Kind(lognormal(30, 0.8), lognormal(28, 0.1))
    queued, running = Sighting.first(20, queued=True), Sighting.first(20, queued=False)
    assert Outlook.of(queued, kind).next_gap(0.3) > 20 > Outlook.of(running, kind).next_gap(0.3)


@given(sightings(), kinds)
def test_a_run_began_where_looks_allow(seen: Sighting, kind: Kind) -> None:
    assume(kind.queue is not None)
    starts = seen.starts(kind.queue)
    assert list(starts) == sorted(starts)
    assert starts[0] >= seen.queued
    assert seen.running is None or starts[-1] <= seen.running


def test_without_a_queue_a_run_begins_at_birth() -> None:
    assert Sighting.first(50, queued=False).starts(None) == (0.0,)


def test_one_that_goes_back_to_the_queue_begins_anew() -> None:
    seen = Sighting.first(5, queued=False).then(9, queued=True)
    assert (seen.queued, seen.running) == (9, None)


@given(ages, ages)
def test_an_age_that_goes_back_stands_still(a: float, b: float) -> None:
    assert Sighting.first(a, queued=False).then(b, queued=False).last == max(a, b)


@pytest.mark.parametrize(
    "wrong",
    [{"entry": -1.0}, {"last": math.inf}, {"last": math.nan}, {"queued": 9.0}, {"running": 11.0}],
)
def test_what_no_looks_can_have_shown_is_refused(wrong: dict[str, float]) -> None:
    seen = Sighting(entry=1.0, last=10.0, queued=2.0, running=5.0)
    with pytest.raises(ValueError, match="Not a sighting"):
        replace(seen, **wrong)


# --- what is learned ----------------------------------------------------------------------------


@given(sightings(), kinds, st.floats(0, 1e6) | st.just(math.inf))
def test_whatever_was_seen_can_be_learned_from(seen: Sighting, kind: Kind, later: float) -> None:
    queued, ran = learned(seen, kind.queue, seen.last + later)
    if queued:
        Durations().observe([queued], ANYTHING)
    if ran:
        Durations().observe([ran], ANYTHING)


def test_the_end_of_a_run_lies_between_two_looks() -> None:
    seen = Sighting.first(0.5, queued=False).then(20, queued=False)
    assert learned(seen, None, 25) == ((), (Lifetime(20, 25, 0.5),))
    assert learned(seen, None) == ((), (Lifetime(20, math.inf, 0.5),))


def test_a_queue_ends_between_its_last_look_and_the_first_that_shows_it_running() -> None:
    seen = Sighting.first(1, queued=True).then(8, queued=True).then(12, queued=False)
    queued, ran = learned(seen, ANYTHING, 40)
    assert queued == (Lifetime(8, 12, 1),)
    assert all(0 <= run.low <= 12 - 8 and 40 - 12 <= run.high <= 40 - 8 for run in ran)


def test_one_that_never_began_teaches_nothing_of_runs() -> None:
    assert learned(Sighting.first(3, queued=True), ANYTHING)[1] == ()


def test_one_that_hangs_is_learned_from_before_it_is_given_up_and_counts_once() -> None:
    kind = Kind(None, lognormal(30, 0.2))
    seen = Sighting.first(0, queued=False)
    assert not seen.then(40, queued=False).outlives(kind)
    seen = seen.then(80, queued=False)
    assert seen.outlives(kind)
    assert not seen.counted().then(90, queued=False).outlives(kind)
    assert learned(seen.counted().then(200, queued=False), None)[1] == (Lifetime(200, entry=80),)


def test_one_that_hangs_in_the_queue_is_learned_from_too() -> None:
    kind = Kind(lognormal(5, 0.3), ANYTHING)
    seen = Sighting.first(0, queued=True).then(60, queued=True)
    assert seen.outlives(kind)
    assert learned(seen, kind.queue) == ((Lifetime(60),), ())


# --- the budget ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e6)), max_size=50))
def test_prices_stay_above_nothing_and_shares_below_one(
    requests: list[tuple[float, float]],
) -> None:
    market = Market()
    for reached, others in requests:
        market = market.after(0.3, reached, reached + others)
    assert 0.3 <= market.look(0.3) < math.inf
    assert 0 < market.share <= 1
    assert 0 < market.page(0.3) <= market.look(0.3)


def test_while_looks_are_on_time_they_cost_what_the_knob_says() -> None:
    market = Market()
    for _ in range(100):
        market = market.after(0.3, 0.3, 0.3)
    assert market.look(0.3) == 0.3


def test_looks_that_come_late_become_dearer_and_cheap_again_when_they_do_not() -> None:
    market = Market()
    for _ in range(200):
        market = market.after(0.3, 5.0, 5.0)
    assert 3 < market.look(0.3) < 5
    for _ in range(500):
        price = market.look(0.3)
        market = market.after(0.3, price, price)
    assert market.look(0.3) == 0.3


def test_after_a_hold_one_late_look_changes_little() -> None:
    assert Market().after(0.3, 1e6, 1e6).look(0.3) < 0.4


def test_what_shares_a_page_pays_its_share() -> None:
    market = Market()
    for _ in range(300):
        market = market.after(0.3, market.page(0.3), 10 * market.page(0.3))
    assert market.share == pytest.approx(0.1, rel=0.01)
    assert market.look(0.3) == 0.3


def test_pages_that_come_late_become_dearer_too() -> None:
    market = Market(share=0.1)
    for _ in range(200):
        market = market.after(0.3, 0.5, 5.0)
    assert 3 < market.look(0.3) < 5


@pytest.mark.parametrize("age", [300.0, 1000.0, 1500.0, 1900.0, 86_400.0])
def test_one_that_hangs_in_a_kind_that_is_known_well_is_looked_at_rarely(age: float) -> None:
    curve = ANYTHING
    for _ in ("model", "type", "resolution", "length"):
        curve = Durations().observe([[Lifetime(29.0, 31.0)]] * 500, curve).curve(curve)
    outlook = Outlook(curve, (0.0,), age)

    gaps = [outlook.next_gap(price) for price in (0.01, 0.1, 1.0, 10.0)]

    assert gaps == sorted(gaps)
    assert gaps[0] > 0.5
    assert gaps[-1] <= LONGEST_GAP_S
    delays = [outlook.delay(gap) for gap in (1.0, 5.0, 20.0, 60.0)]
    assert delays == pytest.approx(sorted(delays), abs=0.001)
