"""How trackers and deliveries are written down in Redis, and read back.

A tracker is a hash: what scripts decide by stands in fields of its own (state, fence, seq,
tracked_at, deadline_at), what was agreed is `terms`, and all the rest is one JSON `record`.
Defaults are left out: at a hundred thousand trackers every byte of them is a hundred kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from pydantic_core import from_json, to_json

from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Entry,
    Reason,
    State,
    Terms,
    Tracker,
)

_TRACKER_APART = {
    *("account", "generation_id", "state", "fence", "seq", "tracked_at", "deadline_at"),
    *("terms", "generation"),
}
_DELIVERY_APART = {"id", "state", "fence", "seq", "event_id", "created_at", "attempts"}


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
    record = from_json(row[b"record"])
    if "reason" in record:
        record["reason"] = DeliveryReason(record["reason"])
    return Delivery(
        id=delivery_id,
        event_id=row[b"event_id"].decode(),
        state=DeliveryState(row[b"state"].decode()),
        fence=int(row[b"fence"]),
        seq=int(row[b"seq"]),
        created_at=int(row[b"created_at"]),
        attempts=tuple(Attempt(**from_json(each)) for each in attempts),
        **record,
    )


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
