"""Listens to `GET /v1/events`, and goes on where it was when a connection breaks off."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from worker.client.http import ApiError, Http, UnreachableError, is_away
from worker.model import JsonObject

PATH = "/v1/events"
MEDIA_TYPE = "text/event-stream"

PAUSE_S = 1.0
"""Before connecting again."""

MAX_BLOCK_BYTES = 8 * 1024 * 1024
"""The largest event is far smaller; whoever sends a longer line is not Dreamhook."""

_END = "stream.end"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        id: Its place on the stream: what comes after it can be asked for with this. Empty for
            `stream.gap`, which has none.
        type: Such as `generation.completed`; `stream.gap` says that events are no longer kept
            which came after the place that was asked for, so read the lists anew.
        body: `{"event_id", "type", "timestamp", "data"}`; of a gap, `{"after", "first"}`.
    """

    id: str
    type: str
    body: JsonObject


def follow(
    http: Http, wanted: Mapping[str, str], *, after: str | None, patience_s: float
) -> Iterator[Event]:
    """Go through events without end, those that came while nobody was connected included.

    Raises:
        ApiError: The API refuses.
        UnreachableError: Nothing answers: at first, or for `patience_s` later on.
    """
    heard_at: float | None = None
    while True:
        try:
            headers = {"Last-Event-ID": after} if after else {}
            with http.stream(PATH, MEDIA_TYPE, params=wanted, headers=headers) as chunks:
                for block in _blocks(chunks):
                    heard_at, after = time.monotonic(), block.get("id") or after
                    event = _event(block)
                    if event is not None and event.type == _END:
                        break
                    if event is not None:
                        yield event
        except (UnreachableError, ApiError) as error:
            if heard_at is None or not is_away(error):
                raise
            if time.monotonic() - heard_at > patience_s:
                raise
        time.sleep(PAUSE_S)


def _blocks(chunks: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """Read the fields of each block, without those that nobody named or that are comments.

    Split by hand: for the libraries a line also ends at U+2028, which JSON may hold as it is.
    """
    block: dict[str, str] = {}
    for line in _lines(chunks):
        if not line and block:
            yield block
            block = {}
        name, colon, value = line.decode(errors="replace").partition(":")
        if colon and name:
            block[name] = value.removeprefix(" ")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.removesuffix(b"\r") for line in whole)
        if len(rest) > MAX_BLOCK_BYTES:
            raise ApiError(200, "Not Dreamhook", "A line of the event stream does not end.")


def _event(block: Mapping[str, str]) -> Event | None:
    """Read an event; a block without data tells no more than a place."""
    try:
        body = json.loads(block["data"])
    except (KeyError, ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    return Event(block.get("id", ""), block.get("event", "message"), body)
