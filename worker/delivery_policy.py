"""What a receiver's reply means: for its delivery, for its endpoint, and for its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from worker.model import (
    Delivered,
    DeliveryReason,
    DeliveryVerdict,
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
from worker.policy import HOLD_CAP_S, doubled, in_ms, parse_retry_after

# Seconds between the attempts of a delivery, each counted from the attempt before; the first is
# at once and not listed. About three days in all.
RETRY_SCHEDULE = (
    5.0,
    30.0,
    120.0,
    600.0,
    1800.0,
    7200.0,
    18000.0,
    36000.0,
    50400.0,
    72000.0,
    72000.0,
)
RETRY_JITTER = 0.1
DELIVERY_RETRY_AFTER_BELIEVED_S = 6 * 3600.0

BREAKER_AFTER = 3
BREAKER_BASE_S = 5.0
FAILING_S = 5 * 86400.0
"""An endpoint that has done nothing but fail for so long is switched off, …"""

FAILING_DAYS = 3
"""… if it has failed on so many days: few failures a long time apart do not say that it is dead."""

_DAY_MS = 86_400_000

_NOBODY_THERE = (502, 503, 504)
_GONE = 410
_ASKED_TO_WAIT = (429, 503)


def delivery_verdict(
    tries: int,
    reply: Reply,
    *,
    now: int,
    jitter: float,
    schedule: Sequence[float] = RETRY_SCHEDULE,
) -> DeliveryVerdict:
    """Decide what an attempt's reply means for its delivery.

    Args:
        tries: attempts made since birth or replay, this one included; 1 or more.
        reply: what the receiver answered, or why it did not.
        now: the instant the attempt ended, in ms.
        jitter: uniform in [0, 1); spreads the next attempt by ±10 %.
        schedule: seconds before attempt 2, 3, …; when they are used up so is the delivery.
    """
    match reply:
        case Replied(status=status) if 200 <= status < 300:  # noqa: PLR2004 - "2xx" in digits
            return Delivered()
        case Replied(status=status) if status == _GONE:
            return Exhausted(DeliveryReason.ENDPOINT_DISABLED)
    if tries > len(schedule):
        return Exhausted(DeliveryReason.ATTEMPTS)
    delay_s = schedule[tries - 1] * (1 - RETRY_JITTER + 2 * RETRY_JITTER * jitter)
    return RetryAt(now + in_ms(max(delay_s, _asked_delay_s(reply, now))))


def receiver_health(health: Health, reply: Reply, *, now: int, jitter: float) -> Health:
    """Return the health of a receiver's origin after an attempt: its circuit breaker.

    Only what tells of the origin itself counts: no answer, or a gateway that says there is none. A
    receiver that answers, be it with an error, is there. `version` is left as it was.
    """
    match reply:
        case Replied(status=status) if status not in _NOBODY_THERE:
            return Health(version=health.version)
        case Replied(status=status):
            detail = f"HTTP {status}"
        case Unanswered(error=detail):
            pass
        case _:
            assert_never(reply)
    streak = health.streak + 1
    hold_s = 0.0
    if streak >= BREAKER_AFTER:
        hold_s = doubled(BREAKER_BASE_S, streak - BREAKER_AFTER, HOLD_CAP_S) * (0.5 + jitter / 2)
    return replace(
        health,
        reason=HealthReason.UNREACHABLE,
        streak=streak,
        held_until=now + in_ms(hold_s) if hold_s else 0,
        detail=detail,
    )


def held_for_ms(due: int | None, hold: tuple[int, int] | None) -> int | None:
    """Tell for how long a hold has kept a delivery waiting that would have been tried when due.

    Args:
        due: when it was, in ms; None: nobody knows.
        hold: from when to when its origin was held last, if it ever was.
    """
    if due is None or hold is None:
        return None
    since, until = hold
    return max(0, until - max(due, since)) or None


def failing(endpoint: Endpoint, *, now: int) -> Failing:
    """Tell since when, and on how many days, an endpoint has done nothing but fail.

    Args:
        endpoint: as it was before the attempt that has failed now.
        now: the instant the attempt ended, in ms. Days are those of UTC.

    After a pause as long as the time that would switch it off, failing begins anew: a receiver that
    was not called for a week has not failed for a week.
    """
    since, last = endpoint.failing_since, endpoint.failed_at
    if since is None or now - last >= in_ms(FAILING_S):
        return Failing(since=now, days=1, read_since=since)
    is_new_day = now // _DAY_MS > last // _DAY_MS
    return Failing(since=since, days=endpoint.failing_days + is_new_day, read_since=since)


def switched_off(endpoint: Endpoint, reply: Reply, *, now: int) -> DisabledReason | None:
    """Tell whether an attempt switches its endpoint off, and why.

    `endpoint` is as it was before the attempt. Failures switch it off when they came on at least
    three days, over five days or more, with no success and no pause of five days between them.
    """
    match reply:
        case Replied(status=status) if status == _GONE:
            return DisabledReason.GONE
        case Replied(status=status) if 200 <= status < 300:  # noqa: PLR2004 - "2xx" in digits
            return None
    run = failing(endpoint, now=now)
    if now - run.since >= in_ms(FAILING_S) and run.days >= FAILING_DAYS:
        return DisabledReason.FAILING
    return None


def _asked_delay_s(reply: Reply, now: int) -> float:
    match reply:
        case Replied(status=status, retry_after=value) if status in _ASKED_TO_WAIT:
            asked_s = parse_retry_after(value, now=now) or 0.0
            return min(asked_s, DELIVERY_RETRY_AFTER_BELIEVED_S)
        case Replied() | Unanswered():
            return 0.0
        case _:
            assert_never(reply)
