"""The JSON that users see: trackers, deliveries, timelines, and the bytes of an event."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

from pydantic_core import from_json, to_json

from worker.held import account_hold_shape, held_until, hold_shape
from worker.listing import Page
from worker.model import (
    EVENT_OF_STATE,
    Account,
    Attempt,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointEvent,
    Entry,
    EventType,
    Health,
    Hold,
    JsonObject,
    Queue,
    Seen,
    State,
    Submission,
    Tracker,
    rfc3339,
)
from worker.policy import expiry


def tracker_shape(
    tracker: Tracker, webhook: JsonObject | None = None, hold: Hold | None = None
) -> JsonObject:
    """Show a tracker as `GET /v1/trackers/{account}/{generation_id}` does.

    Args:
        tracker: It.
        webhook: How what was owed for it last stands; None: nothing was, so far.
        hold: That of its account, if that is held; what is over waits for nothing.
    """
    terms = tracker.terms
    # Plain texts, no enumerations: of those, pydantic writes one in the time of a whole tracker.
    return {
        "account": tracker.account,
        "generation_id": tracker.generation_id,
        "provider": tracker.provider,
        "state": tracker.state.value,
        "reason": tracker.reason,
        "provider_state": tracker.provider_state,
        "model": tracker.model,
        "type": tracker.type,
        "progress": tracker.fraction,
        "assets": dict(tracker.assets),
        "assets_expire_at": rfc3339(tracker.assets_expire_at),
        "failure_reason": tracker.failure_reason,
        "failure_code": tracker.failure_code,
        "retryable": tracker.retryable,
        "callback_url": terms.callback_url,
        "endpoint": terms.endpoint,
        "events": list(terms.events),
        "webhook": webhook,
        "metadata": terms.metadata,
        "headers": dict(terms.headers),
        "deadline_s": terms.deadline_s,
        "polls": tracker.polls,
        "poll_errors": tracker.poll_errors,
        "last_error": tracker.last_error,
        "current_error": tracker.last_error if _is_unseen(tracker) else None,
        "tracked_at": rfc3339(tracker.tracked_at),
        "seen_at": rfc3339(tracker.seen_at),
        "finished_at": rfc3339(tracker.finished_at),
        **_look_ahead(tracker, hold),
        "deadline_at": rfc3339(tracker.deadline_at),
        "generation": tracker.generation,
    }


def glance_shape(
    account: Account, generation_id: str, seen: Seen, *, tracked: bool, now: int
) -> JsonObject:
    """Show what a provider says of a generation at this moment, whether it is tracked or not."""
    return {
        "account": account.name,
        "generation_id": generation_id,
        "provider": account.provider,
        "tracked": tracked,
        "state": seen.progress.value,
        "provider_state": seen.provider_state,
        "model": seen.model,
        "type": seen.type,
        "progress": seen.fraction,
        "assets": dict(seen.assets),
        "assets_expire_at": rfc3339(expiry(seen, now)),
        "failure_reason": seen.failure_reason,
        "failure_code": seen.failure_code,
        "retryable": seen.retryable,
        "created_at": rfc3339(seen.created_at),
        "seen_at": rfc3339(now),
        "generation": seen.generation,
    }


def _look_ahead(tracker: Tracker, hold: Hold | None) -> JsonObject:
    """Show when a tracker is looked at next, and the hold of its account if that is held."""
    due = tracker.next_poll_at
    if hold is None or due is None or tracker.state is not State.TRACKING:
        return {"next_poll_at": rfc3339(due), "held": None}
    return {
        "next_poll_at": rfc3339(max(due, hold.until)),
        "held": account_hold_shape(hold),
    }


def _is_unseen(tracker: Tracker) -> bool:
    """Tell whether the last look did not show it."""
    is_missing = tracker.missing_since is not None
    return tracker.error_streak > 0 or tracker.turned_away or is_missing


def glances_shape(account: Account, page: Page, *, tracked: Container[str], now: int) -> JsonObject:
    """Show a page of a provider's list: what can be read of it, and where there may be more."""
    rows = [(name, it) for name, it in filter(None, page.rows) if isinstance(it, Seen)]
    items = [
        glance_shape(account, name, seen, tracked=name in tracked, now=now) for name, seen in rows
    ]
    more = page.offset + len(page.rows) if len(page.rows) >= page.limit else None
    return {"items": items, "next_offset": more}


def event_body(tracker: Tracker, type_: EventType, at: int) -> bytes:
    """Fix the bytes of an event: what is signed and posted, unchanged, on every attempt."""
    data = {
        "account": tracker.account,
        "provider": tracker.provider,
        "generation_id": tracker.generation_id,
        "state": tracker.state,
        "reason": tracker.reason,
        "provider_state": tracker.provider_state,
        "assets": dict(tracker.assets),
        "assets_expire_at": rfc3339(tracker.assets_expire_at),
        "failure_reason": tracker.failure_reason,
        "failure_code": tracker.failure_code,
        "retryable": tracker.retryable,
        "metadata": tracker.terms.metadata,
        "tracked_at": rfc3339(tracker.tracked_at),
        "seen_at": rfc3339(tracker.seen_at),
        "finished_at": rfc3339(tracker.finished_at),
        "polls": tracker.polls,
        "generation": tracker.generation,
    }
    return to_json({"type": type_, "timestamp": rfc3339(at), "data": data})


def has_expired(body: bytes, lifetime_s: float | None, now: int) -> bool:
    """Tell whether the assets in an event's bytes may have expired by now."""
    if lifetime_s is None:
        return False
    data = from_json(body)["data"]
    seen_at = data.get("seen_at")
    if not seen_at or not data.get("assets"):
        return False
    return now / 1000 >= datetime.fromisoformat(seen_at).timestamp() + lifetime_s


def refreshed(body: bytes, tracker: Tracker) -> bytes:
    """Renew the assets in an event's bytes with what the provider shows now."""
    event = from_json(body)
    event["data"] |= {
        "assets": dict(tracker.assets),
        "assets_expire_at": rfc3339(tracker.assets_expire_at),
        "seen_at": rfc3339(tracker.seen_at),
        "generation": tracker.generation,
    }
    return to_json(event)


def event_after(before: Tracker, after: Tracker) -> EventType | None:
    """Tell which event the step from `before` to `after` makes, if any."""
    if before.state is not State.TRACKING:
        return None
    if after.state is not State.TRACKING:
        return EVENT_OF_STATE.get(after.state)
    if after.provider_state != before.provider_state and EventType.UPDATED in after.terms.events:
        return EventType.UPDATED
    return None


def attempt_shape(attempt: Attempt) -> JsonObject:
    """Show one attempt."""
    return {
        "at": rfc3339(attempt.at),
        "duration_ms": attempt.duration_ms,
        "status": attempt.status,
        "error": attempt.error,
        "response": attempt.response,
        "held_ms": attempt.held_ms,
    }


def submission_shape(submission: Submission, tracker: JsonObject | None = None) -> JsonObject:
    """Show a submission as `GET /v1/generations/{submission_id}` does."""
    refusal = submission.refusal
    return {
        "id": submission.id,
        "account": submission.account,
        "provider": submission.provider,
        "state": submission.state.value,
        "begun_at": rfc3339(submission.begun_at),
        "ended_at": rfc3339(submission.ended_at),
        "searches": submission.looks,
        "detail": submission.detail if refusal is None else refusal.detail,
        "refusal": refusal and {"status": refusal.status, "body": refusal.body},
        "generation_id": submission.generation_id,
        "tracker": tracker,
    }


def endpoint_shape(
    endpoint: Endpoint, now: int, queue: Queue, hold: Hold | None = None
) -> JsonObject:
    """Show an endpoint as `GET /v1/endpoints/{name}` does; never a secret.

    `hold` is that of its origin; what is off waits for nothing.
    """
    live = [each for each in endpoint.secrets if each.until is None or each.until > now]
    return {
        "name": endpoint.name,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "headers": dict(endpoint.headers),
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "secrets": len(live),
        "concurrency": endpoint.concurrency,
        "under_way": queue.under_way,
        "due": queue.due,
        "refresh_assets": endpoint.refresh_assets,
        "failing_since": rfc3339(endpoint.failing_since),
        "failed_with": endpoint.failed_with,
        "held": hold_shape(hold) if hold and endpoint.enabled else None,
    }


def notice_body(type_: EndpointEvent, endpoint: Endpoint, reason: str | None, at: int) -> bytes:
    """Fix the bytes of an event about an endpoint: a test, or that it was switched off."""
    data = {"endpoint": endpoint.name, "url": endpoint.url, "reason": reason}
    return to_json({"type": type_, "timestamp": rfc3339(at), "data": data})


def delivery_shape(delivery: Delivery, hold: Hold | None = None) -> JsonObject:
    """Show a delivery as `GET /v1/deliveries/{id}` does; `hold` is that of its origin."""
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "type": delivery.type,
        "account": delivery.account,
        "generation_id": delivery.generation_id,
        "endpoint": delivery.endpoint,
        "url": delivery.url,
        "state": delivery.state,
        "reason": delivery.reason,
        "created_at": rfc3339(delivery.created_at),
        **_ahead(delivery, hold),
        "attempts": [attempt_shape(each) for each in delivery.attempts],
    }


def _ahead(delivery: Delivery, hold: Hold | None) -> JsonObject:
    """Show when a delivery is tried next, and the hold that it waits for if it does."""
    due = delivery.next_attempt_at
    if delivery.state is not DeliveryState.PENDING or due is None:
        return {"next_attempt_at": None, "held": None}
    if hold is None or not holds(hold, delivery):
        return {"next_attempt_at": rfc3339(due), "held": None}
    return {"next_attempt_at": rfc3339(hold.until), "held": hold_shape(hold)}


def holds(hold: Hold, delivery: Delivery) -> bool:
    """Tell whether a delivery would be tried earlier if its origin were not held."""
    due = delivery.next_attempt_at
    return delivery.state is DeliveryState.PENDING and due is not None and due <= hold.until


def hold_entry(hold: Hold, delivery: Delivery) -> JsonObject:
    """Show as a line of a timeline that a delivery waits for a hold, which nobody writes down."""
    at = max(hold.since, delivery.created_at, delivery.next_attempt_at or 0)
    about = {"at": rfc3339(at), "kind": "hold", "delivery_id": delivery.id}
    return about | {name: each for name, each in hold_shape(hold).items() if name != "since"}


def look_hold_entry(hold: Hold, tracker: Tracker) -> JsonObject:
    """Show in the same way that a tracker's next look waits for a hold of its account."""
    at = max(hold.since, tracker.tracked_at, tracker.next_poll_at or 0)
    shape = {name: each for name, each in account_hold_shape(hold).items() if name != "since"}
    return {"at": rfc3339(at), "kind": "hold"} | shape


def webhook_shape(delivery: Delivery, attempts: int, hold: Hold | None = None) -> JsonObject:
    """Show how a delivery stands, as its tracker does: with the last of so many attempts."""
    last = delivery.attempts[-1] if delivery.attempts else None
    return {
        "delivery_id": delivery.id,
        "type": delivery.type,
        "endpoint": delivery.endpoint,
        "url": delivery.url,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempts": attempts,
        "status": last and last.status,
        "error": last and last.error,
        **_ahead(delivery, hold),
    }


def entry_shape(entry: Entry) -> JsonObject:
    """Show one line of a timeline."""
    details = dict(entry.details)
    if "until" in details:
        details["until"] = rfc3339(details["until"])
    return {"at": rfc3339(entry.at), "kind": entry.kind, **details}


def health_shape(health: Health, hold: Hold | None) -> JsonObject:
    """Show how an account is doing: `ok`, or why, and until when its looks are held."""
    return {
        "ok": health.reason is None,
        "reason": health.reason,
        "detail": health.detail,
        "errors_in_a_row": health.streak,
        "held_until": held_until(hold),
    }
