"""Reads the options that say what is wanted of Dreamhook, as the API takes them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import isfinite

from worker.errors import InvalidInputError
from worker.model import EndpointEvent, EventType, JsonObject


def terms_of(
    *,
    callback_url: str | None = None,
    endpoint: str | None = None,
    events: Sequence[str] = (),
    metadata: Sequence[str] = (),
    headers: Sequence[str] = (),
    deadline_s: float | None = None,
) -> JsonObject:
    """Write the options of `track` as the API takes them; what was not given is left out.

    Raises:
        InvalidInputError: An option cannot be read.
    """
    terms = {
        "callback_url": callback_url,
        "endpoint": endpoint,
        "events": events_of(events, tuple(EventType)),
        "metadata": _metadata(metadata) or None,
        "headers": headers_of(headers),
        "deadline_s": seconds_of("--deadline", deadline_s),
    }
    return given(terms)


def given(options: JsonObject) -> JsonObject:
    """Leave out the options that were not given."""
    return {name: value for name, value in options.items() if value is not None}


def seconds_of(option: str, seconds: float | None) -> float | None:
    """Take a number of seconds.

    Raises:
        InvalidInputError: It is one that JSON has no word for.
    """
    if seconds is not None and not isfinite(seconds):
        raise InvalidInputError(option, "must be a number of seconds")
    return seconds


def events_of(texts: Iterable[str], known: Sequence[EventType | EndpointEvent]) -> list[str] | None:
    """Read `completed` or `generation.completed`, each one of those `known`.

    Raises:
        InvalidInputError: There is no such event.
    """
    return sorted({_event(text, [each.value for each in known]) for text in texts}) or None


def _event(text: str, known: Sequence[str]) -> str:
    name = text if "." in text else f"generation.{text}"
    if name in known:
        return name
    names = ", ".join(each.removeprefix("generation.") for each in known)
    raise InvalidInputError("--event", f"{text!r} is none of {names}")


def headers_of(texts: Iterable[str]) -> dict[str, str] | None:
    """Read `Name: value`.

    Raises:
        InvalidInputError: One of them is none.
    """
    headers = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise InvalidInputError("--header", f"{text[:80]!r} is not NAME:VALUE")
        headers[name.strip()] = value.strip()
    return headers or None


def _metadata(texts: Iterable[str]) -> JsonObject:
    """Read `key=value`, where the value is a text, and JSON objects; the later ones win."""
    metadata: JsonObject = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if text.lstrip().startswith("{"):
            metadata |= _json_object(text)
        elif key and equals:
            metadata[key] = value
        else:
            raise InvalidInputError("--metadata", f"{text!r} is not key=value or a JSON object")
    return metadata


def _json_object(text: str) -> JsonObject:
    def refuse(constant: str) -> None:
        raise ValueError(f"it has no {constant}")

    try:
        value: JsonObject = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("--metadata", f"{text[:80]!r} is not JSON: {error}") from None
    return value  # JSON that begins with a brace is an object
