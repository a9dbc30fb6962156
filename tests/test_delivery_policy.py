"""What a receiver's reply means: for its delivery, for its endpoint, for its origin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.delivery_policy import (
    FAILING_DAYS,
    RETRY_SCHEDULE,
    delivery_verdict,
    failing,
    held_for_ms,
    receiver_health,
    switched_off,
)
from worker.model import (
    Delivered,
    DeliveryReason,
    DisabledReason,
    Endpoint,
    Exhausted,
    Failing,
    Health,
    HealthReason,
    Replied,
    Reply,
    RetryAt,
    Unanswered,
)

NOW = 1_800_000_000_000
DAY = 86_400_000
FIVE_DAYS = 5 * DAY
SILENCE = Unanswered(error="cannot connect", duration_ms=5)

jitters = st.floats(0, 1, exclude_max=True)


# --- delivery_verdict ---------------------------------------------------------------------------


def replied(status: int, retry_after: str | None = None) -> Replied:
    return Replied(status=status, duration_ms=5, retry_after=retry_after)


replies = st.builds(replied, st.integers(100, 599)) | st.just(SILENCE)


@given(st.integers(200, 299), st.integers(1, 20))
def test_any_2xx_is_success_at_any_attempt(status: int, tries: int) -> None:
    assert delivery_verdict(tries, replied(status), now=NOW, jitter=0.5) == Delivered()


@given(st.integers(1, 20))
def test_410_switches_the_endpoint_off(tries: int) -> None:
    assert delivery_verdict(tries, replied(410), now=NOW, jitter=0.5) == Exhausted(
        DeliveryReason.ENDPOINT_DISABLED
    )


@given(
    replies.filter(lambda r: not isinstance(r, Replied) or r.status not in {*range(200, 300), 410})
)
def test_everything_else_is_tried_again_until_the_schedule_is_used_up(reply: Replied) -> None:
    last = len(RETRY_SCHEDULE)
    assert isinstance(delivery_verdict(last, reply, now=NOW, jitter=0.5), RetryAt)
    assert delivery_verdict(last + 1, reply, now=NOW, jitter=0.5) == Exhausted(
        DeliveryReason.ATTEMPTS
    )


@given(st.integers(1, len(RETRY_SCHEDULE)), jitters)
def test_the_schedule_is_kept_within_ten_percent(tries: int, jitter: float) -> None:
    verdict = delivery_verdict(tries, replied(500), now=NOW, jitter=jitter)
    assert isinstance(verdict, RetryAt)
    planned = RETRY_SCHEDULE[tries - 1] * 1000
    assert 0.9 * planned - 1 <= verdict.at - NOW <= 1.1 * planned + 1


def test_the_whole_schedule_takes_three_days() -> None:
    assert 71 * 3600 <= sum(RETRY_SCHEDULE) <= 73 * 3600


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "delay"),
    [("1", 5_000), ("60", 60_000), ("99999", 21_600_000), ("soon", 5_000), (None, 5_000)],
)
def test_retry_after_is_a_floor_up_to_six_hours(status: int, said: str | None, delay: int) -> None:
    verdict = delivery_verdict(1, replied(status, said), now=NOW, jitter=0.5)
    assert verdict == RetryAt(NOW + delay)


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.fromtimestamp(NOW / 1000 + 90, UTC), usegmt=True)
    assert delivery_verdict(1, replied(503, date), now=NOW, jitter=0.5) == RetryAt(NOW + 90_000)


def test_retry_after_means_nothing_on_other_statuses() -> None:
    assert delivery_verdict(1, replied(500, "60"), now=NOW, jitter=0.5) == RetryAt(NOW + 5_000)


def test_another_schedule_may_be_given_and_a_zero_in_it_still_moves_on() -> None:
    reply = Unanswered(error="time-out", duration_ms=15_000)
    assert delivery_verdict(1, reply, now=NOW, jitter=0.5, schedule=(0, 8)) == RetryAt(NOW + 1)
    assert delivery_verdict(2, reply, now=NOW, jitter=0.5, schedule=(0, 8)) == RetryAt(NOW + 8_000)
    assert delivery_verdict(1, reply, now=NOW, jitter=0.5, schedule=()) == Exhausted(
        DeliveryReason.ATTEMPTS
    )


@given(replies, st.integers(1, 20), jitters, st.none() | st.text() | st.from_regex(r"[0-9]{1,9}"))
def test_another_attempt_is_never_in_the_past_and_never_more_than_a_day_ahead(
    reply: Reply, tries: int, jitter: float, retry_after: str | None
) -> None:
    if isinstance(reply, Replied):
        reply = replace(reply, retry_after=retry_after)
    verdict = delivery_verdict(tries, reply, now=NOW, jitter=jitter)
    if isinstance(verdict, RetryAt):
        assert NOW < verdict.at <= NOW + DAY


# --- receiver_health ----------------------------------------------------------------------------


silences = st.sampled_from([SILENCE, *(replied(status) for status in (502, 503, 504))])
words = replies.filter(lambda r: isinstance(r, Replied) and r.status not in {502, 503, 504})
healths = st.builds(
    Health,
    reason=st.none() | st.just(HealthReason.UNREACHABLE),
    streak=st.integers(0, 10_000),
    held_until=st.integers(0, 2 * NOW),
    detail=st.none() | st.text(),
    version=st.integers(0, 10_000),
)


@given(healths, words, jitters)
def test_a_receiver_that_answers_is_there_whatever_it_says(
    before: Health, reply: Reply, jitter: float
) -> None:
    after = receiver_health(before, reply, now=NOW, jitter=jitter)
    assert after == Health(version=before.version)


@given(silences, st.integers(0, 1), jitters)
def test_two_silences_in_a_row_hold_nothing(reply: Reply, streak: int, jitter: float) -> None:
    after = receiver_health(Health(streak=streak), reply, now=NOW, jitter=jitter)
    assert (after.reason, after.streak) == (HealthReason.UNREACHABLE, streak + 1)
    assert after.held_until == 0


@given(silences, st.integers(2, 10_000), jitters)
def test_from_the_third_silence_in_a_row_the_breaker_is_open_for_up_to_a_minute(
    reply: Reply, streak: int, jitter: float
) -> None:
    before = Health(reason=HealthReason.UNREACHABLE, streak=streak)
    after = receiver_health(before, reply, now=NOW, jitter=jitter)
    window = min(60_000, 5_000 * 2 ** min(streak - 2, 10))
    assert window / 2 - 1 <= after.held_until - NOW <= window + 1
    assert after.held_until - NOW == pytest.approx(window * (0.5 + jitter / 2), abs=1)


@given(healths, silences, jitters)
def test_one_more_silence_is_counted_and_leaves_the_version(
    before: Health, reply: Reply, jitter: float
) -> None:
    after = receiver_health(before, reply, now=NOW, jitter=jitter)
    assert (after.streak, after.version) == (before.streak + 1, before.version)


@given(st.lists(st.tuples(st.booleans(), jitters), max_size=30))
def test_the_breaker_is_open_if_and_only_if_the_last_three_were_silences(
    life: list[tuple[bool, float]],
) -> None:
    health, now = Health(), NOW
    for answered, jitter in life:
        reply = replied(500) if answered else SILENCE
        health = receiver_health(health, reply, now=now, jitter=jitter)
        now += 1_000
    last = [answered for answered, _ in life[-3:]]
    assert (health.held_until > 0) is (last == [False] * 3)


@pytest.mark.parametrize(
    ("reply", "detail"), [(replied(502), "HTTP 502"), (SILENCE, "cannot connect")]
)
def test_what_is_wrong_with_a_receiver_is_told_in_words(reply: Reply, detail: str) -> None:
    assert receiver_health(Health(), reply, now=NOW, jitter=0.5).detail == detail


# --- failing and switched_off -------------------------------------------------------------------


def endpoint(since: int | None = None, last: int = 0, days: int = 0) -> Endpoint:
    return Endpoint(
        name="orders",
        url="https://hooks.example.com/x",
        failing_since=since,
        failed_at=last,
        failing_days=days,
    )


failing_endpoints = st.builds(
    lambda since, later, days: endpoint(since, min(NOW, since + later), days),
    st.integers(NOW - 4 * FIVE_DAYS, NOW),
    st.integers(0, 4 * FIVE_DAYS),
    st.integers(1, 20),
)
endpoints = st.just(endpoint()) | failing_endpoints
failures = replies.filter(
    lambda r: not isinstance(r, Replied) or r.status not in {*range(200, 300), 410}
)


def off_after(life: list[tuple[int, bool]]) -> DisabledReason | None:
    """Live through attempts (pause before it in ms, whether it failed) as the store keeps them."""
    known, now, off = endpoint(), NOW, None
    for pause_ms, failed in life:
        now += pause_ms
        reply = SILENCE if failed else replied(200)
        off = switched_off(known, reply, now=now)
        if failed:
            run = failing(known, now=now)
            known = endpoint(run.since, now, run.days)
        else:
            known = endpoint()
    return off


@given(endpoints)
def test_410_switches_an_endpoint_off_however_well_it_did_before(before: Endpoint) -> None:
    assert switched_off(before, replied(410), now=NOW) is DisabledReason.GONE


@given(endpoints, st.integers(200, 299))
def test_a_success_never_switches_an_endpoint_off(before: Endpoint, status: int) -> None:
    assert switched_off(before, replied(status), now=NOW) is None


@given(failures)
def test_a_first_failure_switches_nothing_off(reply: Reply) -> None:
    assert switched_off(endpoint(), reply, now=NOW) is None
    assert failing(endpoint(), now=NOW) == Failing(since=NOW, days=1, read_since=None)


@given(endpoints, failures)
def test_failures_switch_an_endpoint_off_after_five_days_of_nothing_else_on_three_days(
    before: Endpoint, reply: Reply
) -> None:
    run = failing(before, now=NOW)
    long_enough = NOW - run.since >= FIVE_DAYS and run.days >= FAILING_DAYS
    off = switched_off(before, reply, now=NOW)
    assert off is (DisabledReason.FAILING if long_enough else None)


@given(failing_endpoints)
def test_failing_goes_on_from_where_it_was_or_begins_anew_after_five_days_without_an_attempt(
    before: Endpoint,
) -> None:
    run = failing(before, now=NOW)
    assert run.read_since == before.failing_since
    if NOW - before.failed_at >= FIVE_DAYS:
        assert (run.since, run.days) == (NOW, 1)
    else:
        assert run.since == before.failing_since
        assert run.days - before.failing_days == (before.failed_at // DAY != NOW // DAY)


@pytest.mark.parametrize(("late", "off"), [(-1, None), (0, DisabledReason.FAILING)])
def test_the_five_days_are_kept_to_the_millisecond(late: int, off: DisabledReason | None) -> None:
    before = endpoint(NOW - FIVE_DAYS - late, NOW - 1, FAILING_DAYS)
    assert switched_off(before, SILENCE, now=NOW) is off


@given(st.lists(st.integers(1, 2 * DAY), min_size=1), st.integers(DAY // 8, 2 * DAY))
def test_an_endpoint_that_fails_for_every_event_over_five_days_is_switched_off(
    pauses: list[int], last: int
) -> None:
    total, life = 0, [(0, True)]
    for pause in [*pauses, *[last] * (FIVE_DAYS // last + 1)]:
        total += pause
        life.append((pause, True))
        if total >= FIVE_DAYS:
            break
    assert off_after(life) is DisabledReason.FAILING


@given(st.integers(1, 100), st.integers(FIVE_DAYS, 20 * FIVE_DAYS))
def test_failures_long_ago_and_one_now_are_no_five_days_of_failure(many: int, pause: int) -> None:
    assert off_after([*[(1000, True)] * many, (pause, True)]) is None


@given(st.lists(st.integers(1, 2 * DAY), max_size=30))
def test_one_success_begins_anew(pauses: list[int]) -> None:
    life = [(pause, True) for pause in pauses]
    assert off_after([*life, (1, False), (1, True), (DAY, True), (DAY, True)]) is None


# --- how long a hold kept something waiting -------------------------------------------------------


@given(due=st.integers(0, 10**6), since=st.integers(0, 10**6), lasted=st.integers(0, 10**6))
def test_a_hold_keeps_waiting_from_when_it_began_and_it_was_due_until_its_end(
    due: int, since: int, lasted: int
) -> None:
    held_ms = held_for_ms(due, (since, since + lasted))
    kept = range(max(due, since), since + lasted)
    assert held_ms == (len(kept) or None)


def test_without_a_hold_nothing_is_kept_waiting() -> None:
    assert held_for_ms(1, None) is None
    assert held_for_ms(None, (0, 5)) is None
