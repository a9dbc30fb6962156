"""What an answer means for its tracker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.conftest import (
    ANY,
    DAY,
    GAP,
    NOW,
    answers,
    errors,
    jitters,
    judge,
    looked,
    seen,
    tracker,
    unfinished,
)
from worker import policy
from worker.durations import lognormal
from worker.model import (
    Answer,
    BackOff,
    Finish,
    Missing,
    Progress,
    Reason,
    Refused,
    Repeats,
    Same,
    Seen,
    State,
    Throttled,
    Tracker,
    Trouble,
    Wait,
    Watched,
)
from worker.policy import apply, next_look, refresh, seen_again
from worker.schedule import Kind
from worker.shapes import tracker_shape
from worker.sightings import sighting

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


def test_a_running_generation_is_waited_for_until_its_next_look() -> None:
    assert judge(tracker(), seen(), now=NOW) == Wait(NOW + GAP)


def test_a_next_look_is_never_in_the_past_nor_beyond_the_deadline() -> None:
    late = policy.judge(tracker(), seen(), look_at=NOW - 5, now=NOW, jitter=0.5)
    assert late == Wait(NOW + 1)
    assert judge(tracker(deadline_at=NOW + 9), seen(), now=NOW) == Wait(NOW + 9)


# --- when to look next --------------------------------------------------------------------------


def gap(t: Tracker, kind: Kind = ANY, price: float = 0.3) -> int:
    shown = sighting(refresh(t, seen(), now=NOW))
    assert shown is not None
    return next_look(shown, kind, price, now=NOW, jitter=0.5) - NOW


def test_the_more_a_look_costs_the_later_it_is() -> None:
    assert 0 < gap(tracker(), price=0.1) < gap(tracker(), price=3.0)


def test_the_next_look_is_that_of_its_kind_at_its_age() -> None:
    narrow = Kind(queue=None, run=lognormal(100.0, 0.05))
    assert gap(tracker(), narrow) > 3 * gap(tracker(born_at=NOW - 95_000), narrow)


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


@given(jitters)
def test_an_id_that_is_refused_lets_all_others_go_first(jitter: float) -> None:
    verdict = judge(tracker(), Refused("403", of_account=False), now=NOW, jitter=jitter)
    assert isinstance(verdict, BackOff)
    assert verdict.at >= NOW + 60_000


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
    assert t.poll_errors == sum(not isinstance(answer, Seen | Same) for answer, _ in life)


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
    assert (t.seen_at, t.next_poll_at) == (NOW, NOW + 9)


def test_an_answer_that_is_silent_about_a_known_fact_does_not_erase_it() -> None:
    t = tracker(model="ray-2", type="video", created_at=NOW - 5)
    t = apply(t, seen(), Wait(NOW + 9), now=NOW)
    assert (t.model, t.type, t.created_at) == ("ray-2", "video", NOW - 5)


def test_looks_note_when_it_was_first_seen_last_queued_and_first_running() -> None:
    t = tracker()
    for at, queued in ((5, True), (20, True), (30, False), (45, False)):
        t = looked(t, seen(queued=queued), NOW + at)
    assert (t.entered_at, t.queued_at, t.running_at, t.seen_at) == (
        *(NOW + 5, NOW + 20),
        *(NOW + 30, NOW + 45),
    )


@pytest.mark.parametrize("queued", [True, False])
def test_what_is_shown_the_same_is_seen_again_as_it_was(*, queued: bool) -> None:
    before = looked(tracker(), seen(queued=queued, mark="m", model="ray-2"), NOW)
    after = looked(before, Same(), NOW + 5)
    assert (after.polls, after.seen_at, after.running_at) == (2, NOW + 5, before.running_at)
    assert after.queued_at == (NOW + 5 if queued else None)
    assert (after.mark, after.model, after.provider_state) == ("m", "ray-2", before.provider_state)


def test_looks_that_show_the_same_are_counted_for_one_line_of_the_timeline() -> None:
    it = Watched.of(looked(tracker(), seen(mark="m"), NOW))
    for at in (NOW + 5, NOW + 9):
        it = seen_again(it, now=at, duration_ms=at - NOW, request_id="r")
    assert it.repeats == Repeats(NOW + 5, NOW + 9, 2, 9, "dreaming", "r")
    assert (it.polls, it.seen_at) == (3, NOW + 9)


@given(errors | st.just(Missing("404")) | st.just(seen(Progress.COMPLETED, mark="m")))
def test_only_what_was_seen_running_can_be_shown_the_same(answer: Answer) -> None:
    before = looked(tracker(), seen(mark="m"), NOW)
    assert before.mark == "m"
    assert looked(before, answer, NOW + 5).mark is None


def test_what_is_back_in_the_queue_has_yet_to_begin() -> None:
    t = looked(looked(tracker(), seen(), NOW), seen(queued=True), NOW + 9)
    assert (t.queued_at, t.running_at) == (NOW + 9, None)


def test_the_end_is_no_sighting_of_what_runs() -> None:
    t = looked(tracker(), seen(Progress.COMPLETED), NOW)
    assert (t.entered_at, t.queued_at, t.running_at) == (None, None, None)


@given(errors | st.just(Missing("404")))
def test_a_look_that_fails_leaves_what_is_known_of_its_course(answer: Answer) -> None:
    before = looked(tracker(), seen(queued=True, kind=("ray-2",)), NOW)
    after = looked(before, answer, NOW + 5)
    for name in ("entered_at", "queued_at", "running_at", "seen_at", "kind", "born_at"):
        assert getattr(after, name) == getattr(before, name)


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


@given(errors | st.just(Missing("404")))
def test_what_the_last_look_said_is_the_current_error_until_one_shows_it(answer: Answer) -> None:
    never_seen = looked(tracker(), answer, NOW)
    lost = looked(looked(tracker(), seen(), NOW), answer, NOW + 1)
    for unseen in (never_seen, lost, looked(lost, answer, NOW + 2)):
        assert tracker_shape(unseen)["current_error"] == unseen.last_error
    again = looked(lost, seen(), NOW + 3)
    assert tracker_shape(again)["current_error"] is None


def test_a_failed_look_leaves_what_was_seen() -> None:
    before = looked(tracker(), seen(model="ray-2", assets={"image": "u"}), NOW)
    after = looked(before, Trouble("502"), NOW + 1)
    assert (after.assets, after.provider_state, after.seen_at) == ({"image": "u"}, "dreaming", NOW)
    assert (after.mark, after.last_error) == (None, "502")


def test_expiring_without_a_look_counts_no_poll() -> None:
    t = apply(
        tracker(polls=3, last_error="401"), None, Finish(State.EXPIRED, Reason.DEADLINE), now=NOW
    )
    assert (t.state, t.reason, t.finished_at) == (State.EXPIRED, Reason.DEADLINE, NOW)
    assert (t.polls, t.poll_errors, t.last_error) == (3, 0, "401")


@given(answers)
def test_a_look_at_a_finished_tracker_does_not_change_its_end(answer: Answer) -> None:
    over = tracker(state=State.EXPIRED, reason=Reason.DEADLINE, finished_at=NOW - 5)
    after = refresh(over, answer, now=NOW)
    assert (after.state, after.reason, after.finished_at) == (over.state, over.reason, NOW - 5)
    assert (after.next_poll_at, after.polls) == (None, 1)


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


def test_urls_are_good_for_as_long_as_the_provider_promises_from_the_look_on() -> None:
    promised = seen(Progress.COMPLETED, assets={"video": "u"}, asset_lifetime_s=3600.0)
    assert policy.refresh(tracker(), promised, now=NOW).assets_expire_at == NOW + 3_600_000
    again = policy.refresh(tracker(assets_expire_at=NOW), promised, now=NOW + 5)
    assert again.assets_expire_at == NOW + 5 + 3_600_000


@pytest.mark.parametrize("changes", [{"assets": {"video": "u"}}, {"asset_lifetime_s": 3600.0}])
def test_without_a_promise_or_without_urls_nothing_expires(changes: Any) -> None:
    assert policy.refresh(tracker(), seen(**changes), now=NOW).assets_expire_at is None


def test_the_code_of_a_failure_and_the_progress_are_kept() -> None:
    shown = seen(Progress.FAILED, failure_code="c", retryable=False, fraction=0.5)
    after = policy.refresh(tracker(), shown, now=NOW)
    assert (after.failure_code, after.retryable, after.fraction) == ("c", False, 0.5)
