"""What callers send that cannot be used is refused in words that name the field and the remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from worker.errors import InvalidInputError
from worker.requests import (
    MAX_METADATA_DEPTH,
    EndpointRequest,
    RecoverRequest,
    TrackItem,
    TrackRequest,
    parse,
    terms_of,
)

EVENTS = "generation.completed, generation.failed, generation.expired, generation.updated"


def nested(depth: int) -> dict[str, Any]:
    """Objects and lists by turns, one in another."""
    inner: Any = 1
    for level in range(depth - 1):
        inner = [inner] if level % 2 else {"a": inner}
    return {"a": inner}


def refusal(model: type[BaseModel], data: object) -> tuple[str, str]:
    with pytest.raises(InvalidInputError) as refused:
        parse(model, data)
    return refused.value.field, refused.value.message


@pytest.mark.parametrize(
    ("model", "body", "field", "message"),
    [
        (TrackRequest, b"{", "body", "is not JSON: EOF while parsing an object at line 1 column 1"),
        (TrackRequest, b"[]", "body", "must be an object"),
        (TrackRequest, b'{"callback_url": 3}', "callback_url", "must be a text"),
        (TrackRequest, b'{"metadata": []}', "metadata", "must be an object"),
        (TrackRequest, b'{"headers": {"x": 1}}', "headers.x", "must be a text"),
        (TrackRequest, b'{"events": []}', "events", "must not be empty"),
        (TrackRequest, b'{"events": "all"}', "events", "must be a list"),
        (TrackRequest, b'{"deadline_s": 0}', "deadline_s", "must be at least 1"),
        (TrackRequest, b'{"deadline_s": 1e9}', "deadline_s", "must be at most 2592000"),
        (TrackRequest, b'{"deadline_s": "soon"}', "deadline_s", "must be a number"),
        (EndpointRequest, b'{"enabled": "perhaps"}', "enabled", "must be true or false"),
        (EndpointRequest, b'{"concurrency": 1.5}', "concurrency", "must be a whole number"),
        (TrackItem, {"account": "luma"}, "generation_id", "is missing"),
        (
            *(RecoverRequest, b'{"since": "2026-01-31T12:00:00"}', "since"),
            "must be a time with its zone, such as 2026-01-31T12:00:00Z",
        ),
        (TrackRequest, b'{"events": ["done"]}', "events.0", f"must be one of {EVENTS}"),
        (
            *(EndpointRequest, b'{"events": ["done"]}', "events.0"),
            f"must be one of {EVENTS}, endpoint.disabled, endpoint.test",
        ),
        (
            *(RecoverRequest, b'{"since": "2026-01-31T12:00:00Z", "until": 1}', "until"),
            "is not known here; what is known: since",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_plain_words(
    model: type[BaseModel], body: object, field: str, message: str
) -> None:
    assert refusal(model, body) == (field, message)


def test_metadata_may_be_nested_to_the_limit() -> None:
    metadata = nested(MAX_METADATA_DEPTH)
    request = parse(TrackRequest, json.dumps({"metadata": metadata}).encode())
    assert terms_of(request, default_deadline_s=60, allow_private=()).metadata == metadata


@pytest.mark.parametrize("depth", [MAX_METADATA_DEPTH + 1, 150, 199, 5000])
def test_metadata_that_is_nested_deeper_is_refused(depth: int) -> None:
    body = b'{"metadata": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    with pytest.raises(InvalidInputError, match="nested"):
        terms_of(parse(TrackRequest, body), default_deadline_s=60, allow_private=())


def test_metadata_that_no_json_parser_has_bounded_is_refused_too() -> None:
    request = TrackRequest(metadata=nested(5000))
    with pytest.raises(InvalidInputError, match="metadata: is nested more than 32 deep"):
        terms_of(request, default_deadline_s=60, allow_private=())
