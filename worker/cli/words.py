"""Says things in a few words: states, ages, durations, attempts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil, inf
from typing import Any

from worker import model
from worker.errors import InvalidInputError
from worker.model import JsonObject

_DURATIONS = (
    (1, 0.001, "ms", 0),
    (10, 1, "s", 1),
    (120, 1, "s", 0),
    (7_200, 60, "min", 0),
    (inf, 3_600, "h", 0),
)
"""Up to how many seconds; the unit, its name, and how many digits behind the point."""

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400}

LATE_S = 3.0
"""Work that has been due for so long is late: a worker that lives begins it sooner."""


def state_of(tracker: JsonObject, now: datetime | None = None) -> str:
    """Say how a tracker stands, and why, in a few words; with `now` too that its account is held.

    >>> state_of({"state": "tracking", "provider_state": "dreaming"})
    'tracking (dreaming)'
    >>> held = {"until": "2026-01-01T00:00:12.000Z", "reason": "throttled", "detail": "429"}
    >>> it = {"state": "tracking", "provider_state": "dreaming", "held": held}
    >>> state_of(it, datetime(2026, 1, 1, tzinfo=UTC))
    'tracking (account held, probe in 12 s: throttled (429); dreaming)'
    """
    state, progress = str(tracker["state"]), tracker.get("progress")
    running = tracker.get("provider_state")
    if running and progress is not None:
        running = f"{running}, {progress:.0%}"
    pause = pause_of(tracker, now) if now else ""
    if pause:
        trouble = f"account {pause}: {reason_of(tracker['held'])}"
        running = f"{trouble}; {running}" if running else trouble
    elif tracker.get("current_error"):
        error = f"last look: {tracker['current_error']}"
        running = f"{running}, {error}" if running else error
    why = {
        "tracking": running,
        "failed": tracker.get("failure_reason"),
        "expired": tracker.get("reason"),
    }.get(state)
    return f"{state} ({why})" if why else state


def age(at: str | None, now: datetime) -> str:
    """Say how long ago an RFC 3339 time was.

    >>> age("2026-01-01T00:00:00.000Z", datetime(2026, 1, 1, 0, 2, 30, tzinfo=UTC))
    '2 min'
    """
    return "" if at is None else model.age((now - datetime.fromisoformat(at)).total_seconds())


def ahead(at: str | None, now: datetime) -> str:
    """Say in how long an RFC 3339 time will be; nothing of one that is over.

    >>> ahead("2026-01-01T00:00:11.200Z", datetime(2026, 1, 1, tzinfo=UTC))
    'in 12 s'
    """
    left_s = 0.0 if at is None else (datetime.fromisoformat(at) - now).total_seconds()
    return f"in {model.age(ceil(left_s))}" if left_s > 0 else ""


def duration(seconds: float) -> str:
    """Say how long something took.

    >>> [duration(seconds) for seconds in (0.0123, 4.23, 88.4, 3700)]
    ['12 ms', '4.2 s', '88 s', '62 min']
    """
    fits = next(each for each in _DURATIONS if seconds < each[0] or each[0] == inf)
    _, unit_s, unit, digits = fits
    return f"{seconds / unit_s:.{digits}f} {unit}"


def instant_of(option: str, text: str, now: datetime) -> str:
    """Read a time with its zone, or how long ago: `2026-01-31T12:00:00Z`, `90min`, `2h`.

    Returns:
        It as the API takes it (RFC 3339).

    Raises:
        InvalidInputError: It is neither.
    """
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit_s = _UNITS.get(text[len(digits) :].strip())
    try:
        at = now - timedelta(seconds=float(digits) * unit_s) if unit_s else _time(text)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            option,
            "must be a time with its zone, such as 2026-01-31T12:00:00Z, or how long ago:"
            f" 90min, 2h, 3d; this is {text[:80]!r}",
        ) from None
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at


def attempt_in_words(attempt: Mapping[str, Any]) -> tuple[str, str]:
    """Say how an attempt ended, and the word that has its colour.

    >>> attempt_in_words({"status": 500, "duration_ms": 12, "response": "oops"})
    ('HTTP 500 in 12 ms: oops', 'failed')
    >>> attempt_in_words({"status": 204, "duration_ms": 12, "held_ms": 44_000})
    ('HTTP 204 in 12 ms, after it was held for 44 s', 'delivered')
    """
    status = attempt.get("status")
    taken = isinstance(status, int) and 200 <= status < 300  # noqa: PLR2004 - "2xx"
    text = f"HTTP {status}" if status is not None else str(attempt.get("error") or "no answer")
    if attempt.get("duration_ms") is not None:
        text += f" in {duration(attempt['duration_ms'] / 1000)}"
    if attempt.get("held_ms"):
        text += f", after it was held for {duration(attempt['held_ms'] / 1000)}"
    if attempt.get("response"):
        text += f": {str(attempt['response']).strip()}"
    return text, "delivered" if taken else "failed"


def pause_of(lane: JsonObject, now: datetime) -> str:
    """Say of an endpoint or a tracker that its origin or account is held, and when a probe goes.

    >>> pause_of({"held": {"until": "2026-01-01T00:00:12.000Z"}}, datetime(2026, 1, 1, tzinfo=UTC))
    'held, probe in 12 s'
    >>> pause_of({"held": {"until": None}}, datetime(2026, 1, 1, tzinfo=UTC))
    'held, probe under way'
    """
    held = lane.get("held")
    if not held:
        return ""
    when = "under way" if held.get("until") is None else ahead(held["until"], now) or "now"
    return f"held, probe {when}"


def health_of(account: JsonObject) -> str:
    """Say how an account is doing.

    >>> health_of({"configured": False})
    'problem: it is not configured'
    """
    health = account.get("health") or {}
    if not account.get("configured"):
        return "problem: it is not configured"
    if health.get("ok"):
        return "ok"
    return f"problem: {reason_of(health)}"


def reason_of(trouble: Mapping[str, Any]) -> str:
    """Say of a hold, or an account's health, what is the matter.

    >>> reason_of({"reason": "throttled", "detail": "429 Too Many Requests"})
    'throttled (429 Too Many Requests)'
    """
    detail = f" ({trouble['detail']})" if trouble.get("detail") else ""
    return f"{trouble.get('reason')}{detail}"


def lacks_worker(stats: JsonObject) -> bool:
    """Tell whether work is late because nobody is there to do it.

    >>> [lacks_worker({"workers": n, "lag_s": lag}) for n, lag in ((0, 9.0), (0, 1.0), (1, 99.0))]
    [True, False, False]
    """
    return stats.get("workers") == 0 and (stats.get("lag_s") or 0.0) > LATE_S


def seems_late(tracker: JsonObject, now: datetime) -> bool:
    """Tell whether a look or an attempt is overdue, if this machine's clock is right.

    >>> now = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
    >>> [seems_late({"next_poll_at": f"2026-01-01T00:00:{s}.000Z"}, now) for s in (20, 29)]
    [True, False]
    """
    webhook = tracker.get("webhook") or {}
    due = tracker.get("next_poll_at") or webhook.get("next_attempt_at")
    return due is not None and (now - datetime.fromisoformat(due)).total_seconds() > LATE_S


def kind_in_words(kind: Sequence[str]) -> str:
    """Name a kind of generation; what the provider does not say of it is a dash.

    >>> kind_in_words([]), kind_in_words(["ray-2", "video"]), kind_in_words(["ray-2", "", "5s"])
    ('all', 'ray-2 video', 'ray-2 - 5s')
    """
    return " ".join(str(word) or "-" for word in kind) or "all"


def telling(kinds: Iterable[JsonObject]) -> list[JsonObject]:
    """Leave out kinds that say the same as the wider one: all of that had nothing more to tell.

    >>> seen = [(["photon-1"], 3), (["photon-1", ""], 3), (["ray-2"], 4), (["ray-2", ""], 1)]
    >>> [each["kind"] for each in telling({"kind": k, "sample": n} for k, n in seen)]
    [['photon-1'], ['ray-2'], ['ray-2', '']]
    """
    found = list(kinds)
    samples = {tuple(each["kind"]): each.get("sample") for each in found}
    return [
        each
        for each in found
        if not each["kind"]
        or each["kind"][-1] != ""
        or samples.get(tuple(each["kind"][:-1])) != each.get("sample")
    ]


def estimate_of(tracker: JsonObject, accounts: Sequence[JsonObject]) -> tuple[float, float] | None:
    """Tell what was learned of how long such a generation takes, its time in the queue included.

    Returns:
        Seconds in which half of them and nine in ten are over; None if nothing is known.
    """
    known = [
        kind
        for account in accounts
        if account.get("name") == tracker.get("account")
        for kind in account.get("kinds") or ()
        if kind.get("sample")
    ]
    words = [tracker.get("model"), tracker.get("type")]
    fitting = [kind for kind in known if words[: len(kind["kind"])] == kind["kind"]]
    if not fitting:
        return None
    best = max(fitting, key=lambda kind: len(kind["kind"]))
    queue_s = best.get("queue_median_s") or 0.0
    return queue_s + best["median_s"], queue_s + best["p90_s"]
