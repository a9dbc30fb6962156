"""How trackers and deliveries are written down in Redis, and read back.

A tracker is a hash: what scripts decide by stands in fields of its own (state, fence, seq,
tracked_at, deadline_at), what was agreed is `terms`, what most looks need and change is `watched`,
and all the rest, the provider's object included, is one packed `record`. Defaults are left out: at
a hundred thousand trackers every byte of them is a hundred kilobytes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from operator import attrgetter
from typing import Any

from pydantic_core import from_json, to_json

from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Endpoint,
    Failing,
    Health,
    HealthReason,
    NewEvent,
    Reason,
    Repeats,
    Secret,
    State,
    Terms,
    Tracker,
    Watched,
)
from worker.store.packing import packed, packed_body, unpacked

# What every look changes, and what else it needs to know if it shows nothing new, has a field of
# its own, so that the record need not be unpacked for it, nor written, and packed, anew. They are
# told apart by their places: never change them, nor those in `Repeats`, but at the end.
WATCHED = (
    *("provider_state", "polls", "seen_at", "created_at", "born_at"),
    *("entered_at", "queued_at", "running_at", "kind", "mark", "repeats", "next_poll_at"),
)
TRACKER_ROW = ("state", "fence", "seq", "tracked_at", "deadline_at", "terms", "record", "watched")
"""The fields of a tracker's hash, in the order in which scripts return them."""

_TRACKER_APART = {
    *("account", "generation_id", "state", "fence", "seq"),
    *("tracked_at", "deadline_at", "terms"),
    *WATCHED,
}
_DELIVERY_APART = {
    *("id", "state", "reason", "finished_at", "fence", "seq", "event_id", "endpoint"),
    *("account", "generation_id", "created_at", "attempts"),
}
HEALTH_FIELDS = ["reason", "streak", "held_until", "detail", "version", "slowed_until", "suspect"]
_ENDPOINT_IN_RECORD = ("events", "headers", "refresh_assets")


def _plain_fields(kind: type, apart: set[str]) -> dict[str, Any]:
    """Map each field that belongs into the JSON to its default."""
    return {
        f.name: f.default if f.default_factory is MISSING else f.default_factory()
        for f in fields(kind)
        if f.name not in apart
    }


_TRACKER_FIELDS = _plain_fields(Tracker, _TRACKER_APART)
_DELIVERY_FIELDS = _plain_fields(Delivery, _DELIVERY_APART)
_ATTEMPT_FIELDS = _plain_fields(Attempt, set())
_ENDPOINT_FIELDS = _plain_fields(Endpoint, set())
_NO_TERMS = Terms(deadline_s=0)
_UNKNOWN = Tracker(
    account="",
    generation_id="",
    provider="",
    state=State.TRACKING,
    terms=_NO_TERMS,
    tracked_at=0,
    deadline_at=0,
)
_NOBODY = Watched(
    account="",
    generation_id="",
    fence=0,
    tracked_at=0,
    deadline_at=0,
    whole=lambda: _UNKNOWN,
)
# Earlier versions have all of it in the record; where one works beside this, the later look counts.
_TRACKER_READ = {*_TRACKER_FIELDS, *WATCHED}
_watched_values = attrgetter(*WATCHED)
_TERMS_FIELDS = {f.name: getattr(_NO_TERMS, f.name) for f in fields(Terms)}


def _written(thing: object, defaults: Mapping[str, Any]) -> bytes:
    values = ((name, getattr(thing, name)) for name in defaults)
    return to_json({name: v for name, v in values if v != defaults[name]})


def _read(text: bytes, known: Container[str]) -> dict[str, Any]:
    """Read a JSON object, leaving out what only a newer version knows: it may run beside this."""
    return {name: value for name, value in from_json(text).items() if name in known}


def terms_to_json(terms: Terms) -> bytes:
    """Write terms down so that equal terms give equal bytes."""
    return to_json(
        {
            name: _sorted(value)
            for name, default in _TERMS_FIELDS.items()
            if (value := getattr(terms, name)) != default
        }
    )


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _sorted(value[k]) for k in sorted(value)}
    if isinstance(value, list):
        return [_sorted(v) for v in value]
    return value


def terms_from_json(text: bytes) -> Terms:
    """Read terms back."""
    kept = _read(text, _TERMS_FIELDS)
    if "events" in kept:
        kept["events"] = tuple(kept["events"])
    return Terms(**{"deadline_s": 0.0, **kept})


def new_record(provider: str, traceparent: str | None = None) -> bytes:
    """Write down the `record` of a tracker of which nothing else is known."""
    trace = {} if traceparent is None else {"traceparent": traceparent}
    return packed(to_json({"provider": provider, **trace}))


def tracker_to_record(tracker: Tracker) -> bytes:
    """Write down a tracker's `record`: all but what the hash keeps apart."""
    return packed(_written(tracker, _TRACKER_FIELDS))


def watched_to_json(tracker: Tracker | Watched) -> bytes:
    """Write down what most looks need and change."""
    return to_json(_watched_values(tracker))


def _watched_from_json(text: bytes | None) -> dict[str, Any]:
    known = dict(zip(WATCHED, from_json(text), strict=False)) if text else {}
    if "kind" in known:
        known["kind"] = tuple(known["kind"])
    if known.get("repeats"):
        known["repeats"] = Repeats(*known["repeats"][: len(Repeats._fields)])
    return known


def repeats_from_json(watched: bytes | None) -> Repeats | None:
    """Read those of the latest looks that do not stand in the timeline yet."""
    found: Repeats | None = _watched_from_json(watched).get("repeats")
    return found


def watched_from_row(account: str, generation_id: str, row: Sequence[bytes | None]) -> Watched:
    """Read what a look must know of a tracker, from its `TRACKER_ROW`."""
    known = _watched_from_json(row[-1])
    if known.get("next_poll_at") is None:  # before its first look it is due at once
        known["next_poll_at"] = int(row[3] or 0)
    return _NOBODY.but(
        account=account,
        generation_id=generation_id,
        fence=int(row[1] or 0),
        tracked_at=int(row[3] or 0),
        deadline_at=int(row[4] or 0),
        whole=partial(tracker_from_row, account, generation_id, row),
        **known,
    )


def tracker_from_row(account: str, generation_id: str, row: Sequence[bytes | None]) -> Tracker:
    """Read a tracker back from its `TRACKER_ROW`."""
    known = zip(TRACKER_ROW, row, strict=True)
    kept = {name.encode(): each for name, each in known if each is not None}
    return tracker_from_hash(account, generation_id, kept)


def tracker_from_hash(account: str, generation_id: str, row: Mapping[bytes, bytes]) -> Tracker:
    """Read a tracker back from its hash."""
    record = _read(unpacked(row[b"record"]), _TRACKER_READ)
    if "reason" in record:
        record["reason"] = Reason(record["reason"])
    if "kind" in record:
        record["kind"] = tuple(record["kind"])
    watched = _watched_from_json(row.get(b"watched"))
    if (watched.get("seen_at") or 0) >= (record.get("seen_at") or 0):
        record |= watched
    state, tracked_at = State(row[b"state"].decode()), int(row[b"tracked_at"])
    if state is State.TRACKING:  # before its first look it is due at once
        record["next_poll_at"] = record.get("next_poll_at") or tracked_at
    return _UNKNOWN.but(
        account=account,
        generation_id=generation_id,
        state=state,
        terms=terms_from_json(row[b"terms"]),
        fence=int(row[b"fence"]),
        seq=int(row[b"seq"]),
        tracked_at=tracked_at,
        deadline_at=int(row[b"deadline_at"]),
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
        attempts=tuple(Attempt(**_read(each, _ATTEMPT_FIELDS)) for each in attempts),
        **_read(row[b"record"], _DELIVERY_FIELDS),
    )


def endpoint_to_json(endpoint: Endpoint) -> bytes:
    """Write down an endpoint's `record`."""
    values = ((name, getattr(endpoint, name)) for name in _ENDPOINT_IN_RECORD)
    return to_json({name: value for name, value in values if value})


def endpoint_from_hash(name: str, row: Mapping[bytes, bytes]) -> Endpoint:
    """Read an endpoint back from its hash."""
    record = _read(row[b"record"], _ENDPOINT_FIELDS)
    failing_since, why = row.get(b"failing_since"), row.get(b"disabled_reason")
    failed_with = row.get(b"failed_with")
    return Endpoint(
        name=name,
        url=row[b"url"].decode(),
        events=tuple(record.pop("events", ())),
        concurrency=int(row.get(b"concurrency", 8)),
        enabled=row[b"enabled"] == b"1",
        disabled_reason=why.decode() if why else None,
        failing_since=int(failing_since) if failing_since else None,
        failed_at=int(row.get(b"failed_at", 0)),
        failed_with=failed_with.decode() if failed_with else None,
        failing_days=int(row.get(b"failing_days", 0)),
        secrets=secrets_from_json(row[b"secrets"]),
        seq=int(row[b"seq"]),
        **record,
    )


def secrets_to_json(secrets: Iterable[Secret]) -> bytes:
    """Write signing secrets down, as `[[text, until], …]`."""
    return to_json([[each.text, each.until] for each in secrets])


def secrets_from_json(text: bytes) -> tuple[Secret, ...]:
    """Read signing secrets back."""
    return tuple(Secret(secret, until) for secret, until, *_ in from_json(text))


def health_from_row(row: Sequence[bytes | None]) -> Health:
    """Read a health as scripts return it, by `HEALTH_FIELDS`."""
    reason, streak, held_until, detail, version, slowed_until, suspect = (
        (each or b"").decode() for each in row
    )
    return Health(
        reason=HealthReason(reason) if reason else None,
        streak=int(streak or 0),
        held_until=int(held_until or 0),
        detail=detail or None,
        version=int(version or 0),
        slowed_until=int(slowed_until or 0),
        suspect=suspect or None,
    )


def health_args(health: Health | None) -> list[Any]:
    """Give a script an account's or a receiver's health; None: it is as it was."""
    if health is None:
        return ["", "", 0, 0, ""]
    reason, detail = health.reason or "", health.detail or ""
    return [health.version, str(reason), health.streak, health.held_until, detail]


def account_health_args(health: Health | None) -> list[Any]:
    """Give a script an account's health, with what only accounts have."""
    more = ["", ""] if health is None else [health.slowed_until, health.suspect or ""]
    return health_args(health) + more


def failing_args(failing: Failing | None) -> list[str | int]:
    """Give a script what a failure makes of its endpoint's failures; None: it is the first."""
    if failing is None:
        return ["", "", ""]
    return [failing.read_since or "", failing.since, failing.days]


def delivery_args(owed: Delivery, lane: str) -> list[str | bytes]:
    """Give a script what it needs to owe a delivery."""
    return [owed.id, owed.endpoint, owed.url, lane, delivery_to_json(owed)]


def event_args(event: NewEvent | None) -> list[Any]:
    """Give a script an event to bear, and what is owed for it."""
    if event is None:
        return []
    owed = event.delivery
    body = packed_body(event.body)
    return [event.id, event.type, body, *(delivery_args(owed, event.lane) if owed else [])]


def attempt_to_json(attempt: Attempt) -> bytes:
    """Write down one attempt."""
    values = ((f.name, getattr(attempt, f.name)) for f in fields(attempt))
    return to_json({name: v for name, v in values if v is not None})
