"""What callers send, and the terms that it amounts to. All of it is bounded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from math import isfinite
from typing import Any, ClassVar, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, to_json

from worker import addresses
from worker.errors import InvalidInputError
from worker.model import (
    DEFAULT_EVENTS,
    MAX_CONCURRENCY,
    EndpointEvent,
    EventType,
    JsonObject,
    Terms,
)

GENERATION_ID = re.compile(r"(?!\.+$)[A-Za-z0-9._~:@+=-]{1,200}")
ENDPOINT_NAME = re.compile(r"url_[0-9a-f]{20}|(?!url_)[a-z0-9][a-z0-9_-]{0,63}")
MAX_BATCH = 1000
MAX_METADATA_BYTES = 4096
MAX_DEADLINE_S = 30 * 86400
MAX_REQUEST_BYTES = 256 * 1024

MAX_METADATA_DEPTH = 32
"""Objects and lists in one another: JSON parsers of receivers bear 64, the event's own included."""

_QUOTED = re.compile(r"'([^']+)'")
_PLAIN = {
    "missing": "is missing",
    "string": "must be a text",
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "dict": "must be an object",
    "model": "must be an object",
    "list": "must be a list",
    "frozen_set": "must be a list",
    "too_short": "must not be empty",
    "datetime": "must be a time with its zone, such as 2026-01-31T12:00:00Z",
    "timezone": "must be a time with its zone, such as 2026-01-31T12:00:00Z",
}
"""By how the name begins that pydantic has for the error."""

Network = IPv4Network | IPv6Network
Model = TypeVar("Model", bound=BaseModel)


class TrackRequest(BaseModel):
    """What to do when the generation is over. All of it is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    callback_url: str | None = Field(
        default=None, description="Where the webhooks go: http(s), a public address."
    )
    endpoint: str | None = Field(
        default=None, description="The name of an endpoint, instead of callback_url."
    )
    events: frozenset[EventType] | None = Field(
        default=None,
        min_length=1,
        description="Exactly the events to be told of; by default the three terminal ones.",
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Handed back in every webhook; up to 4 KiB of JSON."
    )
    deadline_s: float | None = Field(
        default=None,
        ge=1,
        le=MAX_DEADLINE_S,
        description="Give up after so many seconds; by default what the provider suggests.",
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Headers to send with every webhook."
    )


class SubmitRequest(TrackRequest):
    """A generation to have made and to track."""

    FORM: ClassVar[str] = (
        ". What is for the provider belongs in request: "
        '{"account": "luma", "request": {"model": "ray-2", "prompt": "a fox in the snow"}}'
    )

    account: str = Field(description="Whose provider makes it, with whose key.")
    request: dict[str, Any] = Field(
        description="The body of the provider's own create call: up to 256 KiB of JSON."
    )


class EndpointRequest(BaseModel):
    """What an endpoint shall be; what is left out has its default, and the URL stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = Field(
        default=None, description="Where its webhooks go; needed when it is new."
    )
    events: frozenset[EventType | EndpointEvent] | None = Field(
        default=None,
        min_length=1,
        description="Only these events; by default whatever its trackers ask for.",
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Headers to send with every webhook."
    )
    concurrency: int = Field(
        default=8,
        ge=1,
        le=MAX_CONCURRENCY,
        description="Attempts under way at its origin at a time.",
    )
    refresh_assets: bool = Field(
        default=False, description="Look again before attempts that come later than assets last."
    )
    enabled: bool | None = Field(
        default=None, description="Switches it on or off; left out, that stays as it is."
    )


class RotateRequest(BaseModel):
    """How a secret is to be rotated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap_s: float = Field(
        default=86400, ge=0, le=7 * 86400, description="The old secret signs for so long."
    )


class RecoverRequest(BaseModel):
    """What is to be owed again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: AwareDatetime = Field(description="All that was exhausted since then.")


class TrackItem(TrackRequest):
    """One of many."""

    account: str
    generation_id: str


def parse(model: type[Model], data: object) -> Model:
    """Read what was sent: JSON text or what it says.

    Raises:
        InvalidInputError: names the first field that cannot be used, and why.
    """
    try:
        if isinstance(data, bytes):
            return model.model_validate_json(data)
        return model.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        errors.sort(key=lambda each: each["type"] != "extra_forbidden")  # it may be what is missing
        known = f"; what is known: {', '.join(model.model_fields)}{getattr(model, 'FORM', '')}"
        field, message = next(iter(in_words(errors, known=known)))
        raise InvalidInputError(field, message) from None


def in_words(errors: Sequence[ErrorDetails], *, known: str = "") -> list[tuple[str, str]]:
    """Say for people what pydantic found: (field, message), one for each field.

    Args:
        errors: what it found.
        known: ends the message about a field that there is not.
    """
    found: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        parts = (str(part) for part in error["loc"])
        # Of a union pydantic names the member that it tried, as in `events.0.str-enum[EventType]`.
        field = ".".join(part for part in parts if "[" not in part) or "body"
        found.setdefault(field, []).append(error)
    return [(field, _in_words(some, known)) for field, some in found.items()]


def _in_words(errors: Sequence[ErrorDetails], known: str) -> str:
    kind, context = errors[0]["type"], errors[0].get("ctx", {})
    plain = (text for start, text in _PLAIN.items() if kind.startswith(start))
    message = next(plain, errors[0]["msg"].replace("Input should", "must"))
    match kind:
        case "extra_forbidden":
            message = f"is not known here{known}"
        case "enum":
            expected = " ".join(str(each.get("ctx", {}).get("expected")) for each in errors)
            message = f"must be one of {', '.join(_QUOTED.findall(expected))}"
        case "greater_than_equal":
            message = f"must be at least {context['ge']:.12g}"
        case "less_than_equal":
            message = f"must be at most {context['le']:.12g}"
        case "json_invalid" if "recursion" in context["error"]:
            message = "is JSON nested too deeply to be read"
        case "json_invalid":
            message = f"is not JSON: {context['error']}"
    return message


@lru_cache(maxsize=4096)
def _checked(url: str, allow_private: tuple[Network, ...]) -> str:
    """Check and normalise a callback URL; most callers send the same few over and over."""
    return addresses.check(url, allow_private)


def check_generation_id(generation_id: str) -> None:
    """Make sure that a generation ID can be one.

    Raises:
        InvalidInputError: it cannot.
    """
    if not GENERATION_ID.fullmatch(generation_id):
        raise InvalidInputError(
            "generation_id",
            "must be 1 to 200 of the characters A-Z a-z 0-9 . _ ~ : @ + = -; "
            f"this is {generation_id[:80]!r}",
        )


def check_endpoint_name(name: str) -> None:
    """Make sure that an endpoint can have this name.

    Raises:
        InvalidInputError: it cannot.
    """
    if not ENDPOINT_NAME.fullmatch(name):
        raise InvalidInputError(
            "name",
            "must be 1 to 64 of the characters a-z 0-9 _ -, begin with a letter or digit, and not "
            "with url_, which stands for the bare callback URLs",
        )


def check_request(request: JsonObject) -> None:
    """Make sure that the body of a create call can be sent and kept.

    Raises:
        InvalidInputError: it cannot.
    """
    size = len(to_json(request))
    if size > MAX_REQUEST_BYTES:
        raise InvalidInputError(
            "request", f"is {size} bytes of JSON; up to {MAX_REQUEST_BYTES} can be submitted"
        )
    if not _is_finite(request):
        raise InvalidInputError("request", "holds a number that JSON cannot: NaN or infinite")


def terms_of(
    request: TrackRequest, *, default_deadline_s: float, allow_private: Sequence[Network]
) -> Terms:
    """Turn a request into terms: checked, normalised, defaults filled in.

    Raises:
        InvalidInputError: a field cannot be used.
    """
    if request.callback_url is not None and request.endpoint is not None:
        raise InvalidInputError("endpoint", "send either callback_url or endpoint, not both")
    url = request.callback_url
    if request.metadata:
        _check_metadata(request.metadata)
    return Terms(
        callback_url=None if url is None else _checked(url, tuple(allow_private)),
        endpoint=request.endpoint,
        events=_events(request.events),
        metadata=request.metadata,
        deadline_s=request.deadline_s or default_deadline_s,
        headers=addresses.check_headers(request.headers) if request.headers else {},
    )


def _events(wanted: frozenset[EventType] | None) -> tuple[str, ...]:
    return DEFAULT_EVENTS if wanted is None else tuple(sorted(each.value for each in wanted))


def _check_metadata(metadata: JsonObject) -> None:
    if is_deeper(metadata, MAX_METADATA_DEPTH):
        raise InvalidInputError(
            "metadata", f"is nested more than {MAX_METADATA_DEPTH} deep; make it flatter"
        )
    written = to_json(metadata)
    if len(written) > MAX_METADATA_BYTES:
        raise InvalidInputError(
            "metadata", f"is {len(written)} bytes of JSON; up to {MAX_METADATA_BYTES} are kept"
        )
    # Python reads NaN and 1e999, and writes what no receiver's parser takes. Only when one of
    # these words is there, perhaps in a text, the slower look tells.
    if (b"NaN" in written or b"Infinity" in written) and not _is_finite(metadata):
        raise InvalidInputError("metadata", "holds a number that JSON cannot: NaN or infinite")


def is_deeper(value: object, levels: int) -> bool:
    """Say whether objects and lists stand in one another for more than so many levels."""
    match value:
        case dict():
            return levels == 0 or any(is_deeper(each, levels - 1) for each in value.values())
        case list():
            return levels == 0 or any(is_deeper(each, levels - 1) for each in value)
        case _:
            return False


def _is_finite(value: object) -> bool:
    match value:
        case float():
            return isfinite(value)
        case dict():
            return all(map(_is_finite, value.values()))
        case list():
            return all(map(_is_finite, value))
        case _:
            return True
