"""How the lines of a timeline are written down in Redis, and read back: in few bytes."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from worker.model import Entry, Repeats

# Words of timelines, which hold their place in here instead. Never change it but at the end.
_SHORT = (
    *("look", "change", "event", "attempt", "canceled"),
    *("provider_state", "duration_ms", "error", "type", "event_id", "delivery_id", "status"),
    "delivery_state",
    "request_id",
)
_PLACES = {word: place for place, word in enumerate(_SHORT)}


def entry_to_json(entry: Entry) -> bytes:
    """Write down a timeline entry: `[at, kind]` or `[at, kind, [name, value, …]]`.

    Of a kind or a name that is in `_SHORT` its place there is written.
    """
    details: list[Any] = []
    for name, value in entry.details.items():
        if value is not None:
            details += (_PLACES.get(name, name), value)
    kind = _PLACES.get(entry.kind, entry.kind)
    return to_json([entry.at, kind, details] if details else [entry.at, kind])


def entry_from_json(text: bytes) -> Entry:
    """Read a timeline entry back; scripts, and versions before, write words and `{name: value}`."""
    at, kind, *rest = from_json(text)
    details = rest[0] if rest else {}
    if isinstance(details, list):
        each = iter(details)
        details = {_word(name): value for name, value in zip(each, each, strict=True)}
    return Entry(at, _word(kind), details)


def _word(written: int | str) -> str:
    if isinstance(written, int) and written < len(_SHORT):
        return _SHORT[written]
    return str(written)


def of_repeats(repeats: Repeats) -> Entry:
    """Make one line of looks that showed the same."""
    run = {"looks": repeats.looks, "until": repeats.until} if repeats.looks > 1 else {}
    said = {"provider_state": repeats.provider_state, "duration_ms": repeats.duration_ms}
    return Entry(repeats.since, "look", {**said, "request_id": repeats.request_id, **run})
