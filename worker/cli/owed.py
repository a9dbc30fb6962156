"""Says in a few words how what is owed stands, and what can be done about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import ceil

from worker import model
from worker.cli.words import ahead, pause_of, reason_of, state_of
from worker.model import MAX_CONCURRENCY, DeliveryState, JsonObject
from worker.off import is_off, off_in_words, was_off

OVERDUE_S = 2.0
"""An attempt may begin up to a second after it is due."""

NOBODY = "nobody asked to be told"


def last_attempt(attempts: Sequence[JsonObject]) -> str:
    """Say how many attempts there were and how the last one ended.

    >>> last_attempt([{"status": None, "error": "no answer"}, {"status": 503, "error": None}])
    '2, HTTP 503'
    """
    if not attempts:
        return "0"
    last = attempts[-1]
    return f"{len(attempts)}, {last.get('error') or 'HTTP ' + str(last.get('status'))}"


def receiver_name(owed: JsonObject) -> str:
    """Name to whom a delivery is owed, as its owner does: by the endpoint's name, or the URL.

    >>> receiver_name({"endpoint": "url_0f", "url": "https://example.com/hook"})
    'https://example.com/hook'
    """
    name, url = str(owed.get("endpoint") or ""), str(owed.get("url") or "")
    return url if name.startswith("url_") and url else name


# --- held -----------------------------------------------------------------------------------------


def wait_of(owed: JsonObject, now: datetime) -> str:
    """Say of a delivery or a webhook that it is held. The probe may be another's, so: at least.

    >>> wait_of({"held": {"until": "2026-01-01T00:00:12.000Z"}}, datetime(2026, 1, 1, tzinfo=UTC))
    'held, 12 s at least'
    >>> wait_of({"held": {"until": None}}, datetime(2026, 1, 1, tzinfo=UTC))
    'held, probe under way'
    """
    held = owed.get("held")
    if not held or held.get("until") is None:
        return pause_of(owed, now)
    left_s = (datetime.fromisoformat(held["until"]) - now).total_seconds()
    return f"held, {model.age(ceil(left_s))} at least" if left_s > 0 else "held, probe now"


def next_of(delivery: JsonObject, now: datetime) -> str:
    """Say what a delivery waits for, or why nothing more comes, beside its state.

    >>> at = {"state": "pending", "next_attempt_at": "2026-01-01T00:02:00.000Z"}
    >>> next_of(at, datetime(2026, 1, 1, tzinfo=UTC))
    'next in 2 min'
    """
    if is_off(delivery):
        return "endpoint off"
    left = ahead(delivery.get("next_attempt_at"), now)
    return wait_of(delivery, now) or (f"next {left}" if left else "")


# --- full -----------------------------------------------------------------------------------------


def is_overdue(owed: JsonObject, now: datetime) -> bool:
    """Tell whether a delivery or a webhook has been due for a while, and nothing holds it."""
    due = owed.get("next_attempt_at")
    if owed.get("state") != DeliveryState.PENDING or owed.get("held") or not due:
        return False
    return (now - datetime.fromisoformat(due)).total_seconds() > OVERDUE_S


def fullness_of(endpoint: JsonObject) -> str:
    """Say that an endpoint has as much under way as it may, and how much waits for that.

    >>> fullness_of({"enabled": True, "concurrency": 8, "under_way": 8, "due": 120})
    '8 of 8 attempts under way, 120 wait'
    >>> fullness_of({"enabled": True, "concurrency": 8, "under_way": 7, "due": 120})
    ''
    """
    most, under_way, due = (endpoint.get(name) or 0 for name in ("concurrency", "under_way", "due"))
    if under_way < most or not due or endpoint.get("held") or not endpoint.get("enabled"):
        return ""
    return f"{under_way} of {most} attempts under way, {due:,} wait{'s' if due == 1 else ''}"


def remedy_of(endpoint: JsonObject) -> str:
    """Say what lets more go at once to an endpoint that has as much under way as it may.

    >>> remedy_of({"name": "studio", "concurrency": 8})
    'a higher concurrency lets more go at once: `dreamhook endpoints put studio --concurrency 16`'
    """
    more = min(2 * endpoint["concurrency"], MAX_CONCURRENCY)
    if more <= endpoint["concurrency"]:
        return f"more than {more} at once cannot go; answers that come sooner let more through"
    put = f"`dreamhook endpoints put {endpoint['name']} --concurrency {more}`"
    return f"a higher concurrency lets more go at once: {put}"


def wait_in_full(owed: JsonObject, endpoint: JsonObject | None, now: datetime) -> str:
    """Say of what has been due for a while that its endpoint is full, if it is, and what helps.

    Args:
        owed: A delivery, or the webhook of a tracker.
        endpoint: As it is now; None: not known.
        now: When that was.
    """
    if endpoint is None or not is_overdue(owed, now):
        return ""
    full = fullness_of(endpoint)
    return f"its endpoint has {full}; {remedy_of(endpoint)}" if full else ""


# --- trackers -------------------------------------------------------------------------------------


def has_receiver(tracker: JsonObject) -> bool:
    """Tell whether anybody is to be told of it."""
    return bool(tracker.get("callback_url") or tracker.get("endpoint"))


def webhook_of(tracker: JsonObject, now: datetime) -> str:
    """Say how a tracker's webhook stands, and why it has not come.

    >>> late = {"state": "pending", "attempts": 3, "status": 503, "error": None}
    >>> webhook_of({"webhook": late}, datetime.now(UTC))
    'pending: HTTP 503 (3 attempts)'
    >>> webhook_of({"webhook": late | {"held": {"until": None}}}, datetime.now(UTC))
    'pending: held, probe under way; HTTP 503 (3 attempts)'
    >>> off = {"state": "exhausted", "reason": "endpoint_disabled"}
    >>> webhook_of({"webhook": late | off}, datetime.now(UTC))
    'exhausted: endpoint was off'
    >>> webhook_of({"webhook": {"state": "delivered", "attempts": 1}}, datetime.now(UTC))
    'delivered'
    """
    webhook = tracker.get("webhook") or {}
    state, count = str(webhook.get("state") or ""), webhook.get("attempts") or 0
    why = [wait_of(webhook, now)]
    if is_off(webhook):
        why.append(was_off(webhook))
    elif count and state != DeliveryState.DELIVERED:
        error = webhook.get("error") or f"HTTP {webhook.get('status')}"
        why.append(f"{error} ({count} attempt{'' if count == 1 else 's'})")
    said = "; ".join(filter(None, why))
    return f"{state}: {said}" if said else state


def webhook_in_full(tracker: JsonObject, endpoint: JsonObject | None, now: datetime) -> str:
    """Say how a tracker's webhook stands where there is a line for it.

    `endpoint` is as in `off_in_words` and `wait_in_full`.
    """
    webhook = tracker.get("webhook") or {}
    if is_off(webhook):
        return f"{webhook['state']}: {off_in_words(webhook, endpoint)}"
    if waits := wait_in_full(webhook, endpoint, now):
        return f"{webhook['state']}: {waits}"
    if not webhook and not has_receiver(tracker):
        return f"none: {NOBODY} (no callback URL, no endpoint)"
    return webhook_of(tracker, now)


def standing_of(tracker: JsonObject, now: datetime) -> str:
    """Say how a tracker stands, and how its webhook does if it is owed one; first, if it is held.

    >>> it = {"state": "completed", "webhook": {"state": "delivered", "attempts": 1}}
    >>> standing_of(it, datetime.now(UTC))
    'completed, webhook delivered'
    >>> it = {"state": "completed", "webhook": {"state": "pending", "held": {"until": None}}}
    >>> standing_of(it, datetime.now(UTC))
    'webhook held, probe under way; completed'
    >>> it = {"state": "tracking", "held": {"until": None, "reason": "throttled"}}
    >>> standing_of(it, datetime.now(UTC))
    'account held, probe under way: throttled; tracking'
    """
    pause = wait_of(tracker.get("webhook") or {}, now)
    if pause:
        return f"webhook {pause}; {state_of(tracker, now)}"
    if tracker.get("held"):
        why = f"account {pause_of(tracker, now)}: {reason_of(tracker['held'])}"
        return f"{why}; {tracker.get('provider_state') or tracker['state']}"
    state, webhook = state_of(tracker), webhook_of(tracker, now)
    return f"{state}, webhook {webhook}" if webhook else state
