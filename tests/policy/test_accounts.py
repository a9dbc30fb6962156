"""What an answer means for its account: holds, the rate, and whose fault a refusal is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.conftest import NOW, failures, jitters, next_health, seen
from worker.model import Answer, Health, HealthReason, Missing, Refused, Throttled, Trouble
from worker.policy import rate_share

# --- next_health --------------------------------------------------------------------------------


def health_after(*answers: Answer, jitter: float = 0.5) -> Health:
    health = Health(version=4)
    for answer in answers:
        health = next_health(health, answer, jitter=jitter)
    return health


@given(st.lists(failures, max_size=10), st.sampled_from([seen(), Missing("404")]))
def test_an_answer_about_a_generation_makes_the_account_healthy(
    before: list[Answer], answer: Answer
) -> None:
    after = health_after(*before, answer)
    assert replace(after, slowed_until=0) == Health(version=4)


@pytest.mark.parametrize(
    ("said", "held"), [(7.0, 7_000), (0.0, 500), (600.0, 600_000), (86_400.0, 600_000)]
)
def test_a_throttled_account_is_held_as_long_as_the_provider_said_up_to_ten_minutes(
    said: float, held: int
) -> None:
    health = health_after(Throttled("429", said))
    assert (health.reason, health.held_until) == (HealthReason.THROTTLED, NOW + held)


def test_without_a_retry_after_the_hold_doubles_from_five_seconds_to_a_minute() -> None:
    holds = [health_after(*[Throttled("429")] * n).held_until - NOW for n in (1, 2, 3, 4, 5, 99)]
    assert holds == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]


def test_refused_credentials_hold_the_account_for_a_minute() -> None:
    health = health_after(Refused("401 Unauthorized: Invalid API key"))
    assert health == Health(
        reason=HealthReason.CREDENTIALS,
        streak=1,
        held_until=NOW + 60_000,
        detail="401 Unauthorized: Invalid API key",
        version=4,
    )


def test_a_single_failed_look_holds_nothing() -> None:
    health = health_after(*[Trouble("502")] * 2, jitter=0.99)
    assert (health.reason, health.streak, health.held_until) == (HealthReason.UNREACHABLE, 2, 0)


@given(st.integers(3, 5_000), jitters)
def test_from_the_third_failed_look_in_a_row_the_account_is_held_with_full_jitter(
    streak: int, jitter: float
) -> None:
    before = Health(reason=HealthReason.UNREACHABLE, streak=streak - 1)
    health = next_health(before, Trouble("502"), jitter=jitter)
    window = min(60_000, 1_000 * 2 ** min(streak - 3, 10))
    assert health.held_until - NOW == pytest.approx(max(500, jitter * window), abs=1)


def test_trouble_that_names_a_delay_is_believed_at_once() -> None:
    assert health_after(Trouble("503", 30.0)).held_until == NOW + 30_000


def test_the_streak_begins_anew_when_the_reason_changes() -> None:
    health = health_after(Trouble("502"), Trouble("502"), Throttled("429"))
    assert (health.reason, health.streak) == (HealthReason.THROTTLED, 1)


@given(st.lists(st.tuples(failures.filter(lambda a: not isinstance(a, Missing)), jitters)))
def test_no_error_shortens_a_hold_and_no_hold_exceeds_ten_minutes(
    life: list[tuple[Answer, float]],
) -> None:
    health = Health()
    for answer, jitter in life:
        after = next_health(health, answer, jitter=jitter)
        assert health.held_until <= after.held_until <= NOW + 600_000
        health = after


# --- the rate after a 429 -----------------------------------------------------------------------


def test_a_429_halves_the_rate_from_the_end_of_its_hold() -> None:
    health = health_after(Throttled("429", 20.0))
    assert rate_share(health, now=health.held_until) == pytest.approx(0.5)


@given(st.integers(0, 600_000))
def test_the_rate_recovers_by_a_tenth_of_what_is_configured_each_minute(waited: int) -> None:
    health = health_after(Throttled("429", 20.0), seen())
    now = NOW + 20_000 + waited
    assert rate_share(health, now=now) == pytest.approx(min(1.0, 0.5 + 0.1 * waited / 60_000))


@given(st.integers(1, 100))
def test_the_rate_never_falls_below_a_twentieth(times: int) -> None:
    health = health_after(*[Throttled("429", 0.5)] * times)
    share = rate_share(health, now=health.held_until)
    assert share == pytest.approx(max(0.05, 0.5**times), abs=0.01)


@given(st.lists(failures.filter(lambda a: not isinstance(a, Throttled)), max_size=5))
def test_nothing_but_a_429_slows_an_account(life: list[Answer]) -> None:
    assert health_after(*life).slowed_until == 0


# --- an ID that is refused alone ----------------------------------------------------------------

FORBIDDEN = Refused("403 Forbidden", of_account=False)


def after_refusals(*generation_ids: str) -> Health:
    health = Health()
    for each in generation_ids:
        health = next_health(health, FORBIDDEN, generation_id=each)
    return health


@given(st.integers(1, 20))
def test_one_id_that_is_refused_however_often_holds_nothing(times: int) -> None:
    health = after_refusals(*["a"] * times)
    assert (health.reason, health.held_until) == (HealthReason.CREDENTIALS, 0)


def test_a_second_id_that_is_refused_too_means_the_account() -> None:
    health = after_refusals("a", "b")
    assert (health.reason, health.held_until) == (HealthReason.CREDENTIALS, NOW + 60_000)


def test_a_success_in_between_means_that_it_was_the_first_one_alone() -> None:
    health = next_health(after_refusals("a"), seen(), generation_id="c")
    assert health == Health()
    assert next_health(health, FORBIDDEN, generation_id="b").held_until == 0


def test_an_account_that_is_held_for_its_credentials_stays_so_whoever_is_refused() -> None:
    held = next_health(Health(), Refused("401"), generation_id="a")
    assert next_health(held, FORBIDDEN, generation_id="b").streak == 2


def test_a_refusal_that_may_be_of_one_alone_shortens_no_hold() -> None:
    held = next_health(Health(), Throttled("429", 300.0), generation_id="a")
    assert next_health(held, FORBIDDEN, generation_id="b").held_until == held.held_until
