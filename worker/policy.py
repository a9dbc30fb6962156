"""What an answer means: for its tracker, for its account, and for a delivery.

Pure decisions. The clock (`now`, in ms) and the die (`jitter`, uniform in [0, 1)) are arguments;
nothing here waits, stores or sends. The rule behind all of it: only the provider's own word, a
404 that persists, or the deadline ends a tracker. An error never does.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, assert_never

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
    Repeats,
    Same,
    Seen,
    State,
    Throttled,
    Tracker,
    Trouble,
    Verdict,
    Wait,
    Watched,
)
from worker.schedule import Kind, Outlook, Sighting
from worker.sightings import born

# A 404 is believed when so many answers in a row said it, over at least so long.
MISSING_LOOKS = 3
MISSING_GRACE_S = 60.0
MISSING_GAPS_S = (5.0, 15.0)

# The back-off of a tracker whose looks fail: full jitter over 1 s, 2 s, 4 s, … 60 s.
BACKOFF_BASE_S = 1.0
BACKOFF_CAP_S = 60.0
BACKOFF_FLOOR_S = 0.25

# An ID that is refused alone is asked for as rarely as an account whose credentials are: any other
# ID then goes before it, and shows whether the account is refused as well.
FORBIDDEN_GAP_S = 60.0

# The holds of an account.
UNREACHABLE_AFTER = 3
HOLD_FLOOR_S = 0.5
HOLD_CAP_S = 60.0
THROTTLED_BASE_S = 5.0
REFUSED_HOLD_S = 60.0
RETRY_AFTER_BELIEVED_S = 600.0

# A 429 halves an account's rate, which comes back by a tenth of what is configured each minute.
# `rate_at` in common.lua is the same rule where the budget is spent.
SLOWEST_SHARE = 0.05
RECOVERY_S = 600.0

_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]*)?")


# --- trackers -----------------------------------------------------------------------------------


def judge(tracker: Tracker, answer: Answer, *, look_at: int, now: int, jitter: float) -> Verdict:
    """Decide what one look's answer means for the tracker as it was before that look.

    A look at or after the deadline is the last one. Every other verdict looks again after `now`
    and at the deadline at the latest, so that the deadline always gets its last look.

    Args:
        tracker: as it was before the look.
        answer: what the look brought.
        look_at: when to look again if it showed that the generation still runs; see `next_look`.
        now: when the answer came, in ms.
        jitter: uniform in [0, 1).
    """
    match answer:
        case Seen(progress=Progress.COMPLETED):
            return Finish(State.COMPLETED)
        case Seen(progress=Progress.FAILED):
            return Finish(State.FAILED)
        case Missing() if _missing_is_believed(tracker, now):
            return Finish(State.EXPIRED, Reason.NOT_FOUND)
    if now >= tracker.deadline_at:
        return Finish(State.EXPIRED, Reason.DEADLINE)
    match answer:
        case Seen() | Same():
            return Wait(min(max(look_at, now + 1), tracker.deadline_at))
        case Missing():
            at = _next_look_for_missing(tracker, now, jitter)
        case Trouble():
            at = now + in_ms(_backoff_s(tracker.error_streak, jitter))
        case Refused(of_account=False):
            at = now + in_ms(FORBIDDEN_GAP_S * (1 + 0.1 * jitter))
        case Throttled() | Refused():
            # Its account is held, which is what it really waits for.
            at = now + in_ms(_backoff_s(0, jitter))
        case _:
            assert_never(answer)
    return BackOff(min(at, tracker.deadline_at))


def next_look(seen: Sighting, expect: Kind, price: float, *, now: int, jitter: float) -> int:
    """Say when to look again at a generation that was just seen running."""
    return now + in_ms(Outlook.of(seen, expect).next_gap(price, jitter))


def apply(tracker: Tracker, answer: Answer | None, verdict: Verdict, *, now: int) -> Tracker:
    """Return the tracker as it is after the look and its verdict.

    `answer` is None when there was no look, because the deadline passed while the account was
    held: nothing is counted then. What was learned earlier stays when a later answer is silent
    about it, and `last_error` stays after a later success: it is history.
    """
    after = tracker if answer is None else refresh(tracker, answer, now=now)
    return decided(after, verdict, now=now)


def decided(after: Tracker, verdict: Verdict, *, now: int) -> Tracker:
    """Return the tracker with what was decided of it, once it has what the look showed."""
    match verdict:
        case Wait(at=at) | BackOff(at=at):
            return after.but(next_poll_at=at)
        case Finish(state=state, reason=reason):
            return after.but(state=state, reason=reason, finished_at=now, next_poll_at=None)
        case _:
            assert_never(verdict)


def refresh(tracker: Tracker, answer: Answer, *, now: int) -> Tracker:
    """Return the tracker with what a look showed, its state left as it is.

    This alone is what a look at a finished tracker does: the asset URLs may be new, the end is not.
    An answer that contradicts the end that was seen is older than it, and counts as a look only.
    """
    looked = tracker.but(polls=tracker.polls + 1)
    if isinstance(answer, Same):
        return tracker.but(**_seen_again(tracker, now))
    if isinstance(answer, Seen):
        was_seen = tracker.state in {State.COMPLETED, State.FAILED}
        is_older = was_seen and answer.progress.value != tracker.state.value
        return looked if is_older else _with_seen(tracker, answer, now)
    failed = looked.but(poll_errors=tracker.poll_errors + 1, last_error=answer.detail, mark=None)
    match answer:
        case Missing():
            since = now if tracker.missing_since is None else tracker.missing_since
            return failed.but(
                missing_count=tracker.missing_count + 1, missing_since=since, error_streak=0
            )
        case Trouble():
            return failed.but(error_streak=tracker.error_streak + 1)
        case Throttled() | Refused():
            return failed.but(turned_away=True)  # the account's trouble, not this tracker's
        case _:
            assert_never(answer)


def _with_seen(tracker: Tracker, seen: Seen, now: int) -> Tracker:
    is_over = seen.progress is not Progress.RUNNING
    entered_at, queued_at, running_at = tracker.entered_at, tracker.queued_at, tracker.running_at
    if not is_over:
        entered_at = now if entered_at is None else entered_at
        queued_at = now if seen.queued else queued_at
        running_at = None if seen.queued else now if running_at is None else running_at
    return tracker.but(
        polls=tracker.polls + 1,
        seen_at=now,
        provider_state=seen.provider_state,
        model=seen.model or tracker.model,
        type=seen.type or tracker.type,
        assets=seen.assets,
        assets_expire_at=expiry(seen, now),
        failure_reason=seen.failure_reason,
        failure_code=seen.failure_code,
        retryable=seen.retryable,
        fraction=seen.fraction,
        created_at=tracker.created_at if seen.created_at is None else seen.created_at,
        born_at=born(tracker, seen, now=now) if tracker.born_at is None else tracker.born_at,
        entered_at=entered_at,
        queued_at=queued_at,
        running_at=running_at,
        kind=seen.kind or tracker.kind,
        mark=None if is_over else seen.mark,
        generation=seen.generation,
        error_streak=0,
        turned_away=False,
        missing_count=0,
        missing_since=None,
    )


def seen_again(
    watched: Watched, *, now: int, duration_ms: int, request_id: str | None = None
) -> Watched:
    """Return what is known of a tracker after a look that showed it the same; next look apart."""
    before = watched.repeats
    repeats = Repeats(
        since=now if before is None else before.since,
        until=now,
        looks=1 if before is None else before.looks + 1,
        duration_ms=duration_ms,
        provider_state=watched.provider_state,
        request_id=request_id,
    )
    return watched.but(**_seen_again(watched, now), repeats=repeats)


def _seen_again(it: Tracker | Watched, now: int) -> dict[str, Any]:
    queued_at = now if it.running_at is None else it.queued_at
    return {"polls": it.polls + 1, "seen_at": now, "queued_at": queued_at}


def expiry(seen: Seen, now: int) -> int | None:
    """Tell until when the URLs are good: providers make new ones for each look."""
    if not seen.assets or seen.asset_lifetime_s is None:
        return None
    return now + in_ms(seen.asset_lifetime_s)


def _missing_is_believed(tracker: Tracker, now: int) -> bool:
    if tracker.missing_since is None or tracker.missing_count + 1 < MISSING_LOOKS:
        return False
    return now - tracker.missing_since >= in_ms(MISSING_GRACE_S)


def _next_look_for_missing(tracker: Tracker, now: int, jitter: float) -> int:
    """Ask again after 5 s and 15 s, then when the grace ends: by then it has been three looks."""
    if tracker.missing_count < len(MISSING_GAPS_S):
        return now + in_ms(MISSING_GAPS_S[tracker.missing_count] * (0.9 + 0.2 * jitter))
    since = now if tracker.missing_since is None else tracker.missing_since
    return since + in_ms(MISSING_GRACE_S + MISSING_GAPS_S[0] * jitter)


def _backoff_s(streak: int, jitter: float) -> float:
    return max(BACKOFF_FLOOR_S, jitter * doubled(BACKOFF_BASE_S, streak, BACKOFF_CAP_S))


# --- accounts -----------------------------------------------------------------------------------


def next_health(
    health: Health, answer: Answer, *, generation_id: str, now: int, jitter: float
) -> Health:
    """Return the account's health after an answer about a generation; `version` stays as it was.

    While `held_until` lies ahead nothing is looked up. A single failed look holds nothing: from
    the `UNREACHABLE_AFTER`th in a row the account is held. Nor does a refusal that may mean one
    generation alone, until another one is refused with no success in between. No error ever
    shortens a hold, and each 429 halves the rate.
    """
    match answer:
        case Seen() | Same() | Missing():
            return Health(version=health.version, slowed_until=health.slowed_until)
        case Throttled():
            reason = HealthReason.THROTTLED
        case Refused():
            reason = HealthReason.CREDENTIALS
        case Trouble():
            reason = HealthReason.UNREACHABLE
        case _:
            assert_never(answer)
    if isinstance(answer, Refused) and _may_be_this_one_alone(health, answer, generation_id):
        return replace(health, reason=reason, streak=1, detail=answer.detail, suspect=generation_id)
    streak = health.streak + 1 if health.reason is reason else 1
    hold_s = _hold_s(answer, streak, jitter)
    held_until = max(health.held_until, 0 if hold_s is None else now + in_ms(hold_s))
    slowed = isinstance(answer, Throttled)
    return replace(
        health,
        reason=reason,
        streak=streak,
        held_until=held_until,
        detail=answer.detail,
        slowed_until=_slowed_until(health, now, held_until) if slowed else health.slowed_until,
        suspect=None,
    )


def rate_share(health: Health, *, now: int) -> float:
    """Tell what share of its configured rate an account may use, from `SLOWEST_SHARE` to 1."""
    left_s = (health.slowed_until - now) / 1000
    return max(SLOWEST_SHARE, min(1.0, 1 - left_s / RECOVERY_S))


def _slowed_until(health: Health, now: int, held_until: int) -> int:
    """Halve the rate, for it to recover from when the hold ends."""
    share = max(SLOWEST_SHARE, rate_share(health, now=now) / 2)
    return held_until + in_ms((1 - share) * RECOVERY_S)


def _may_be_this_one_alone(health: Health, answer: Refused, generation_id: str) -> bool:
    if answer.of_account:
        return False
    return health.reason is not HealthReason.CREDENTIALS or health.suspect == generation_id


def _hold_s(answer: Refused | Throttled | Trouble, streak: int, jitter: float) -> float | None:
    if isinstance(answer, Refused):
        return REFUSED_HOLD_S
    if answer.retry_after_s is not None:
        # The floor keeps a provider that always says "0" from being asked in a tight loop.
        return min(max(answer.retry_after_s, HOLD_FLOOR_S), RETRY_AFTER_BELIEVED_S)
    if isinstance(answer, Throttled):
        return doubled(THROTTLED_BASE_S, streak - 1, HOLD_CAP_S)
    if streak < UNREACHABLE_AFTER:
        return None
    return max(HOLD_FLOOR_S, jitter * doubled(1.0, streak - UNREACHABLE_AFTER, HOLD_CAP_S))


# --- shared -------------------------------------------------------------------------------------


def parse_retry_after(value: str | None, *, now: int) -> float | None:
    """Read a `Retry-After` header (RFC 9110, section 10.2.3): seconds or an HTTP date.

    Decimal seconds are taken too, since some servers send them. Returns seconds from `now`, never
    negative (a date that has passed is 0), or None for whatever cannot be understood. The value
    is not capped: how much of it to believe is the caller's decision.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # asctime dates and "-0000" are UTC by definition
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now / 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def doubled(base: float, times: int, cap: float) -> float:
    """Double `base` so many times, up to `cap`."""
    # ldexp cannot overflow into a huge integer, and 64 doublings exceed every cap here.
    return min(cap, math.ldexp(base, min(times, 64)))


def in_ms(seconds: float) -> int:
    """Turn seconds into whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))
