"""What an answer means: for a tracker and for its account."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model import (
    Answer,
    BackOff,
    Finish,
    Health,
    HealthReason,
    Missing,
    Progress,
    Reason,
    Refused,
    Seen,
    State,
    Terms,
    Throttled,
    Tracker,
    Trouble,
    Wait,
)
from worker.policy import (
    apply,
    judge,
    next_health,
    parse_retry_after,
    refresh,
)

NOW = 1_800_000_000_000
DAY = 86_400_000


def tracker(**changes: Any) -> Tracker:
    fresh = Tracker(
        account="luma",
        generation_id="g1",
        provider="luma",
        state=State.TRACKING,
        terms=Terms(deadline_s=86_400),
        tracked_at=NOW,
        deadline_at=NOW + DAY,
    )
    return replace(fresh, **changes)


def seen(progress: Progress = Progress.RUNNING, **changes: Any) -> Seen:
    return Seen(progress=progress, provider_state=changes.pop("word", "dreaming"), **changes)


def looked(t: Tracker, answer: Answer, now: int, jitter: float = 0.5) -> Tracker:
    return apply(t, answer, judge(t, answer, now=now, jitter=jitter), now=now)


jitters = st.floats(0, 1, exclude_max=True)
retry_afters = st.none() | st.floats(0, 1e12)
answers = st.one_of(
    st.builds(seen, st.sampled_from(Progress), created_at=st.none() | st.integers(0, 2 * NOW)),
    st.just(Missing("404 Not Found")),
    st.just(Refused("401 Unauthorized")),
    st.builds(Throttled, st.just("429 Too Many Requests"), retry_afters),
    st.builds(Trouble, st.just("502 Bad Gateway"), retry_afters),
)
unfinished = answers.filter(lambda a: not isinstance(a, Seen) or a.progress is Progress.RUNNING)
failures = answers.filter(lambda a: not isinstance(a, Seen))
errors = answers.filter(lambda a: isinstance(a, Refused | Throttled | Trouble))


# --- judge: one answer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("progress", "state"),
    [(Progress.COMPLETED, State.COMPLETED), (Progress.FAILED, State.FAILED)],
)
def test_the_providers_final_word_finishes_even_after_the_deadline(
    progress: Progress, state: State
) -> None:
    late = tracker(deadline_at=NOW)
    assert judge(late, seen(progress), now=NOW + 1, jitter=0.5) == Finish(state)


def test_a_running_generation_is_waited_for() -> None:
    assert judge(tracker(), seen(), now=NOW, jitter=0.5) == Wait(NOW + 2_000)


def test_the_wait_grows_with_the_age_since_the_provider_made_the_generation() -> None:
    verdict = judge(tracker(), seen(created_at=NOW - 100_000), now=NOW, jitter=0.5)
    assert verdict == Wait(NOW + 15_000)


def test_an_answer_without_a_creation_date_uses_the_one_known_before() -> None:
    known = tracker(created_at=NOW - 100_000)
    assert judge(known, seen(), now=NOW, jitter=0.5) == Wait(NOW + 15_000)


def test_a_creation_date_in_the_future_is_not_believed() -> None:
    verdict = judge(tracker(), seen(created_at=NOW + DAY), now=NOW + 100_000, jitter=0.5)
    assert verdict == Wait(NOW + 115_000)


@given(unfinished, st.integers(1, DAY), jitters)
def test_the_next_look_is_in_the_future_and_not_beyond_the_deadline(
    answer: Answer, left: int, jitter: float
) -> None:
    due = tracker(deadline_at=NOW + left, tracked_at=NOW - DAY)
    verdict = judge(due, answer, now=NOW, jitter=jitter)
    assert isinstance(verdict, Wait | BackOff)
    assert NOW < verdict.at <= due.deadline_at


@given(unfinished, st.integers(0, DAY), jitters)
def test_no_answer_outlives_the_deadline(answer: Answer, late: int, jitter: float) -> None:
    overdue = tracker(deadline_at=NOW)
    assert judge(overdue, answer, now=NOW + late, jitter=jitter) == Finish(
        State.EXPIRED, Reason.DEADLINE
    )


@given(st.integers(0, 10_000), jitters)
def test_trouble_backs_off_with_full_jitter_doubling_to_a_minute(
    streak: int, jitter: float
) -> None:
    verdict = judge(tracker(error_streak=streak), Trouble("502"), now=NOW, jitter=jitter)
    window = min(60_000, 1_000 * 2 ** min(streak, 10))
    assert isinstance(verdict, BackOff)
    assert verdict.at - NOW == pytest.approx(max(250, jitter * window), abs=1)


@given(st.sampled_from([Throttled("429", 500.0), Refused("401")]), st.integers(0, 50), jitters)
def test_the_accounts_trouble_sets_a_tracker_back_by_a_second_at_most(
    answer: Answer, streak: int, jitter: float
) -> None:
    verdict = judge(tracker(error_streak=streak), answer, now=NOW, jitter=jitter)
    assert isinstance(verdict, BackOff)
    assert verdict.at - NOW <= 1_000


# --- judge: the grace of a 404 ------------------------------------------------------------------


@given(st.lists(jitters, min_size=10, max_size=10))
def test_an_unknown_id_expires_between_60_and_70_seconds_after_its_first_look(
    dice: list[float],
) -> None:
    t, now, looks = tracker(), NOW, 0
    while t.state is State.TRACKING:
        t = looked(t, Missing("404"), now, dice[looks])
        looks += 1
        now = t.next_poll_at or now
    assert (t.state, t.reason) == (State.EXPIRED, Reason.NOT_FOUND)
    assert 60_000 <= now - NOW <= 70_000
    assert looks == 4


def test_two_404s_are_not_believed_however_far_apart() -> None:
    t = looked(tracker(), Missing("404"), NOW)
    assert looked(t, Missing("404"), NOW + 3_600_000).state is State.TRACKING


def test_the_third_404_is_believed_once_a_minute_has_passed() -> None:
    t = looked(tracker(), Missing("404"), NOW)
    t = looked(t, Missing("404"), NOW + 1_000)
    assert looked(t, Missing("404"), NOW + 59_999).state is State.TRACKING
    assert looked(t, Missing("404"), NOW + 60_000).reason is Reason.NOT_FOUND


@given(st.lists(errors, max_size=10))
def test_other_errors_neither_count_as_a_404_nor_reset_the_count(between: list[Answer]) -> None:
    t = looked(tracker(), Missing("404"), NOW)
    for i, answer in enumerate(between):
        t = looked(t, answer, NOW + i)
    t = looked(t, Missing("404"), NOW + 30_000)
    for i, answer in enumerate(between):
        t = looked(t, answer, NOW + 30_000 + i)
    assert t.state is State.TRACKING
    assert looked(t, Missing("404"), NOW + 60_000).reason is Reason.NOT_FOUND


def test_a_generation_that_shows_itself_again_starts_the_grace_anew() -> None:
    t = looked(tracker(), Missing("404"), NOW)
    t = looked(t, Missing("404"), NOW + 30_000)
    t = looked(t, seen(), NOW + 40_000)
    assert looked(t, Missing("404"), NOW + 60_000).state is State.TRACKING


def test_a_generation_that_was_seen_before_can_still_vanish() -> None:
    t = looked(tracker(), seen(), NOW)
    for at in (10_000, 40_000, 70_000):
        t = looked(t, Missing("404"), NOW + at)
    assert (t.state, t.reason) == (State.EXPIRED, Reason.NOT_FOUND)


# --- judge and apply: whole lives ---------------------------------------------------------------


@dataclass
class Grace:
    """An independent count of the 404s that may be believed."""

    looks: int = 0
    since: int = 0

    def note(self, answer: Answer, now: int) -> None:
        if isinstance(answer, Seen):
            self.looks = 0
        elif isinstance(answer, Missing):
            self.since = now if self.looks == 0 else self.since
            self.looks += 1

    def is_over(self, now: int) -> bool:
        return self.looks >= 3 and now - self.since >= 60_000


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(answers, jitters, st.integers(0, 30_000)), min_size=1, max_size=60))
def test_only_a_final_word_a_lasting_404_or_the_deadline_ends_a_tracker(
    life: list[tuple[Answer, float, int]],
) -> None:
    t, now, grace = tracker(deadline_at=NOW + 300_000), NOW, Grace()
    for answer, jitter, lag in life:
        t = looked(t, answer, now, jitter)
        grace.note(answer, now)
        if isinstance(answer, Seen) and answer.progress is not Progress.RUNNING:
            expected: tuple[str, Reason | None] = (answer.progress.value, None)
        elif isinstance(answer, Missing) and grace.is_over(now):
            expected = (State.EXPIRED, Reason.NOT_FOUND)
        elif now >= t.deadline_at:
            expected = (State.EXPIRED, Reason.DEADLINE)
        else:
            expected = (State.TRACKING, None)
        assert (t.state, t.reason) == expected
        if t.state is not State.TRACKING:
            assert (t.next_poll_at, t.finished_at) == (None, now)
            return
        assert t.next_poll_at is not None
        assert now < t.next_poll_at <= t.deadline_at
        now = t.next_poll_at + lag


@given(st.lists(st.tuples(unfinished, jitters), max_size=60))
def test_polls_and_errors_are_counted(life: list[tuple[Answer, float]]) -> None:
    t = tracker(deadline_at=NOW + 1_000 * DAY)
    for answer, jitter in life:
        t = looked(t, answer, NOW, jitter)
    assert t.polls == len(life)
    assert t.poll_errors == sum(not isinstance(answer, Seen) for answer, _ in life)


# --- apply --------------------------------------------------------------------------------------


def test_what_was_seen_is_recorded() -> None:
    answer = seen(
        word="upscaling",
        model="ray-2",
        type="video",
        assets={"progress_video": "https://cdn.example/p.mp4"},
        created_at=NOW - 5,
        generation={"id": "g1"},
    )
    t = apply(tracker(), answer, Wait(NOW + 9), now=NOW)
    assert (t.provider_state, t.model, t.type, t.created_at) == (
        "upscaling",
        "ray-2",
        "video",
        NOW - 5,
    )
    assert (t.assets, t.generation) == (answer.assets, {"id": "g1"})
    assert (t.seen_at, t.looked_at, t.next_poll_at) == (NOW, NOW, NOW + 9)


def test_an_answer_that_is_silent_about_a_known_fact_does_not_erase_it() -> None:
    t = tracker(model="ray-2", type="video", created_at=NOW - 5)
    t = apply(t, seen(), Wait(NOW + 9), now=NOW)
    assert (t.model, t.type, t.created_at) == ("ray-2", "video", NOW - 5)


def test_a_success_ends_the_streaks_and_keeps_the_last_error_as_history() -> None:
    t = looked(looked(tracker(), Missing("404"), NOW), Trouble("502"), NOW)
    t = looked(t, seen(), NOW + 1)
    assert (t.error_streak, t.missing_count, t.missing_since) == (0, 0, None)
    assert (t.last_error, t.poll_errors) == ("502", 2)


def test_only_trouble_with_this_generation_lengthens_its_back_off() -> None:
    t = looked(tracker(), Trouble("502"), NOW)
    t = looked(looked(t, Throttled("429"), NOW), Refused("401"), NOW)
    assert t.error_streak == 1
    assert looked(t, Missing("404"), NOW).error_streak == 0


def test_a_failed_look_leaves_what_was_seen() -> None:
    before = looked(tracker(), seen(model="ray-2", assets={"image": "u"}), NOW)
    after = looked(before, Trouble("502"), NOW + 1)
    assert (after.assets, after.provider_state, after.seen_at) == ({"image": "u"}, "dreaming", NOW)
    assert (after.looked_at, after.last_error) == (NOW + 1, "502")


def test_expiring_without_a_look_counts_no_poll() -> None:
    t = apply(
        tracker(polls=3, last_error="401"), None, Finish(State.EXPIRED, Reason.DEADLINE), now=NOW
    )
    assert (t.state, t.reason, t.finished_at) == (State.EXPIRED, Reason.DEADLINE, NOW)
    assert (t.polls, t.poll_errors, t.last_error, t.looked_at) == (3, 0, "401", None)


@given(answers)
def test_a_look_at_a_finished_tracker_does_not_change_its_end(answer: Answer) -> None:
    over = tracker(state=State.EXPIRED, reason=Reason.DEADLINE, finished_at=NOW - 5)
    after = refresh(over, answer, now=NOW)
    assert (after.state, after.reason, after.finished_at) == (over.state, over.reason, NOW - 5)
    assert (after.next_poll_at, after.looked_at, after.polls) == (None, NOW, 1)


def test_a_look_at_a_finished_tracker_renews_its_assets() -> None:
    over = tracker(state=State.COMPLETED, assets={"video": "old"})
    after = refresh(over, seen(Progress.COMPLETED, assets={"video": "new"}), now=NOW)
    assert after.assets == {"video": "new"}


@given(answers, jitters)
def test_what_was_agreed_and_who_claimed_it_are_never_touched(
    answer: Answer, jitter: float
) -> None:
    before = tracker(seq=7, fence=9)
    after = looked(before, answer, NOW, jitter)
    for name in ("terms", "tracked_at", "deadline_at", "seq", "fence", "account", "generation_id"):
        assert getattr(after, name) == getattr(before, name)


# --- next_health --------------------------------------------------------------------------------


def health_after(*answers: Answer, jitter: float = 0.5) -> Health:
    health = Health(version=4)
    for answer in answers:
        health = next_health(health, answer, now=NOW, jitter=jitter)
    return health


@given(st.lists(failures, max_size=10), st.sampled_from([seen(), Missing("404")]))
def test_an_answer_about_a_generation_makes_the_account_healthy(
    before: list[Answer], answer: Answer
) -> None:
    assert health_after(*before, answer) == Health(version=4)


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
    health = next_health(before, Trouble("502"), now=NOW, jitter=jitter)
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
        after = next_health(health, answer, now=NOW, jitter=jitter)
        assert health.held_until <= after.held_until <= NOW + 600_000
        health = after


# --- Retry-After --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0), ("120", 120), (" 7 ", 7), ("1.5", 1.5), ("007", 7)]
)
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
    ],
)
def test_retry_after_as_each_form_of_http_date(value: str) -> None:
    assert parse_retry_after(value, now=784_111_777_000 - 5_500) == 5.5


def test_a_date_that_has_passed_means_now() -> None:
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now=NOW) == 0


@pytest.mark.parametrize(
    "value",
    [None, "", "-1", "nan", "inf", "1e3", "soon", "5, 5", "٣", "0x10", "9" * 400, "+5", "1 2"],
)
def test_a_retry_after_that_makes_no_sense_is_as_good_as_none(value: str | None) -> None:
    assert parse_retry_after(value, now=NOW) is None


@settings(max_examples=500, deadline=None)
@given(st.text() | st.from_regex(r"[A-Za-z0-9 :,;().+-]{0,40}", fullmatch=True))
def test_no_header_upsets_the_reader(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds < 1e13
