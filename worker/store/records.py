"""How trackers and deliveries are written down in Redis, and read back.

A tracker is a hash: what scripts decide by stands in fields of its own (state, fence, seq,
tracked_at, deadline_at), what was agreed is `terms`, and all the rest is one JSON `record`.
Defaults are left out: at a hundred thousand trackers every byte of them is a hundred kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pydantic_core import from_json, to_json

from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Endpoint,
    Entry,
    Health,
    HealthReason,
    NewEvent,
    Reason,
    Secret,
    State,
    Terms,
    Tracker,
)

_TRACKER_APART = {
    *("account", "generation_id", "state", "fence", "seq", "tracked_at", "deadline_at"),
    *("terms", "generation"),
}
_DELIVERY_APART = {
    *("id", "state", "reason", "finished_at", "fence", "seq", "event_id", "endpoint"),
    *("account", "generation_id", "created_at", "attempts"),
}
_ENDPOINT_IN_RECORD = ("events", "headers", "refresh_assets")


def _plain_fields(kind: type, apart: set[str]) -> dict[str, Any]:
    """Map each field that belongs into the JSON to its default."""
    return {f.name: f.default for f in fields(kind) if f.name not in apart}


_TRACKER_FIELDS = _plain_fields(Tracker, _TRACKER_APART)
_DELIVERY_FIELDS = _plain_fields(Delivery, _DELIVERY_APART)
_TERMS_DEFAULTS = Terms(deadline_s=0)
_TERMS_FIELDS = tuple(f.name for f in fields(Terms))


def _written(thing: object, defaults: Mapping[str, Any]) -> bytes:
    values = ((name, getattr(thing, name)) for name in defaults)
    return to_json({name: v for name, v in values if v and v != defaults[name]})


def terms_to_json(terms: Terms) -> bytes:
    """Write terms down so that equal terms give equal bytes."""
    values = ((name, getattr(terms, name)) for name in _TERMS_FIELDS)
    kept = {name: v for name, v in values if v != getattr(_TERMS_DEFAULTS, name)}
    for name in ("metadata", "headers"):
        if name in kept:
            kept[name] = _sorted(kept[name])
    return to_json(kept)


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _sorted(value[k]) for k in sorted(value)}
    if isinstance(value, list):
        return [_sorted(v) for v in value]
    return value


def terms_from_json(text: bytes) -> Terms:
    """Read terms back."""
    kept = from_json(text)
    if "events" in kept:
        kept["events"] = tuple(kept["events"])
    return Terms(**{"deadline_s": 0.0, **kept})


def tracker_to_json(tracker: Tracker) -> bytes:
    """Write down a tracker's `record`: all but what the hash keeps apart."""
    return _written(tracker, _TRACKER_FIELDS)


def tracker_from_hash(
    account: str, generation_id: str, row: Mapping[bytes, bytes], generation: bytes | None = None
) -> Tracker:
    """Read a tracker back from its hash (and its generation, where that was fetched)."""
    record = from_json(row[b"record"])
    if "reason" in record:
        record["reason"] = Reason(record["reason"])
    return Tracker(
        account=account,
        generation_id=generation_id,
        state=State(row[b"state"].decode()),
        terms=terms_from_json(row[b"terms"]),
        fence=int(row[b"fence"]),
        seq=int(row[b"seq"]),
        tracked_at=int(row[b"tracked_at"]),
        deadline_at=int(float(row[b"deadline_at"])),
        generation=from_json(generation) if generation else None,
        **record,
    )


def delivery_to_json(delivery: Delivery) -> bytes:
    """Write down a delivery's `record`."""
    return _written(delivery, _DELIVERY_FIELDS)


def delivery_from_hash(
    delivery_id: str, row: Mapping[bytes, bytes], attempts: Iterable[bytes] = ()
) -> Delivery:
    """Read a delivery back from its hash (and its attempts, where they were fetched)."""
    reason, finished_at = row.get(b"reason"), row.get(b"finished_at")
    return Delivery(
        id=delivery_id,
        event_id=row[b"event_id"].decode(),
        endpoint=row[b"endpoint"].decode(),
        account=row[b"account"].decode(),
        generation_id=row[b"generation_id"].decode(),
        state=DeliveryState(row[b"state"].decode()),
        reason=DeliveryReason(reason.decode()) if reason else None,
        finished_at=int(finished_at) if finished_at else None,
        fence=int(row[b"fence"]),
        seq=int(row[b"seq"]),
        created_at=int(row[b"created_at"]),
        attempts=tuple(Attempt(**from_json(each)) for each in attempts),
        **from_json(row[b"record"]),
    )


def endpoint_to_json(endpoint: Endpoint) -> bytes:
    """Write down an endpoint's `record`."""
    values = ((name, getattr(endpoint, name)) for name in _ENDPOINT_IN_RECORD)
    return to_json({name: value for name, value in values if value})


def endpoint_from_hash(name: str, row: Mapping[bytes, bytes]) -> Endpoint:
    """Read an endpoint back from its hash."""
    record = from_json(row[b"record"])
    failing_since, why = row.get(b"failing_since"), row.get(b"disabled_reason")
    return Endpoint(
        name=name,
        url=row[b"url"].decode(),
        events=tuple(record.pop("events", ())),
        concurrency=int(row.get(b"concurrency", 8)),
        enabled=row[b"enabled"] == b"1",
        disabled_reason=why.decode() if why else None,
        failing_since=int(failing_since) if failing_since else None,
        secrets=secrets_from_json(row[b"secrets"]),
        seq=int(row[b"seq"]),
        **record,
    )


def secrets_to_json(secrets: Iterable[Secret]) -> bytes:
    """Write signing secrets down, as `[[text, until], …]`."""
    return to_json([[each.text, each.until] for each in secrets])


def secrets_from_json(text: bytes) -> tuple[Secret, ...]:
    """Read signing secrets back."""
    return tuple(Secret(*each) for each in from_json(text))


def health_from_row(row: Sequence[bytes | None]) -> Health:
    """Read a health as scripts return it: reason, streak, held_until, detail, version."""
    reason, streak, held_until, detail, version = ((each or b"").decode() for each in row)
    return Health(
        reason=HealthReason(reason) if reason else None,
        streak=int(streak or 0),
        held_until=int(held_until or 0),
        detail=detail or None,
        version=int(version or 0),
    )


def health_args(health: Health | None) -> list[Any]:
    """Give a script an account's or a receiver's health; None: it is as it was."""
    if health is None:
        return ["", "", 0, 0, ""]
    reason, detail = health.reason or "", health.detail or ""
    return [health.version, str(reason), health.streak, health.held_until, detail]


def delivery_args(owed: Delivery, lane: str) -> list[str | bytes]:
    """Give a script what it needs to owe a delivery."""
    return [owed.id, owed.endpoint, owed.url, lane, delivery_to_json(owed)]


def event_args(event: NewEvent | None) -> list[Any]:
    """Give a script an event to bear, and what is owed for it."""
    if event is None:
        return []
    owed = event.delivery
    return [event.id, event.type, event.body, *(delivery_args(owed, event.lane) if owed else [])]


def attempt_to_json(attempt: Attempt) -> bytes:
    """Write down one attempt."""
    values = ((f.name, getattr(attempt, f.name)) for f in fields(attempt))
    return to_json({name: v for name, v in values if v is not None})


def entry_to_json(entry: Entry) -> bytes:
    """Write down a timeline entry: `[at, kind]` or `[at, kind, details]`."""
    details = {name: v for name, v in entry.details.items() if v is not None}
    return to_json([entry.at, entry.kind, details] if details else [entry.at, entry.kind])


def entry_from_json(text: bytes) -> Entry:
    """Read a timeline entry back."""
    return Entry(*from_json(text))
