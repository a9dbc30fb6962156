"""What the body of an answer says: pure functions from a provider's JSON to our words.

Whatever arrives is bounded here, before it is kept anywhere, and nothing that is missing, null or
of the wrong type is an error unless the state itself cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import jmespath
import orjson

from worker.model import JsonObject, Progress, Seen, Trouble
from worker.providers.spec import Provider

# Sizes are UTF-8 bytes. A generation is 1.5 KB as a rule.
MAX_WORD_BYTES = 100
MAX_FAILURE_REASON_BYTES = 2 * 1024
MAX_ASSETS = 50
MAX_ASSET_URL_BYTES = 4 * 1024
MAX_GENERATION_BYTES = 64 * 1024
MAX_GENERATION_DEPTH = 64

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BYTE_ORDER_MARK = "\ufeff"


def parse_json(content: bytes) -> Any:
    """Parse JSON into values that every JSON writer can write again.

    A strict parser comes first. What it refuses although the rest can be read (half an emoji
    where a prompt was cut, NaN, a byte order mark) is read by a lenient one and mended, since
    one such character would otherwise hide a generation's end for good.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        text = content.decode("utf-8", "replace").removeprefix(_BYTE_ORDER_MARK)
    try:
        lenient = json.loads(text, parse_constant=lambda _: None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))


def read_generation(provider: Provider, body: Any) -> Seen | Trouble:
    """Read one generation from the provider's object, parsed by `parse_json`.

    A state that is not among the provider's final words means that it is running. The object is
    kept verbatim, unless it is larger than 64 KiB or nested deeper than 64 levels: then a note
    takes its place, because half an object would look like a whole one, and all that Dreamhook
    itself needs of it has been read.
    """
    if not isinstance(body, dict):
        return Trouble("the answer is JSON, but not an object")
    word = _find(provider.read.state, body)
    if not isinstance(word, str) or not word:
        return Trouble("the answer has no state")
    return Seen(
        progress=_progress(provider, word),
        provider_state=_cut(word, MAX_WORD_BYTES),
        model=_text(_find(provider.read.model, body), MAX_WORD_BYTES),
        type=_text(_find(provider.read.type, body), MAX_WORD_BYTES),
        assets=_assets(_find(provider.read.assets, body)),
        failure_reason=_text(_find(provider.read.failure_reason, body), MAX_FAILURE_REASON_BYTES),
        created_at=_instant(_find(provider.read.created_at, body)),
        generation=_kept(body),
    )


def read_rows(provider: Provider, body: Any) -> list[tuple[str, Seen]] | Trouble:
    """Read a page of the list call: generation IDs and what was seen of them, in page order.

    A row that cannot be read is left out: absence from a list means nothing anyway.
    """
    rows = _find(provider.list_generations.rows, body)
    if not isinstance(rows, list):
        return Trouble("the answer has no list of generations")
    read = ((read_id(provider, row), read_generation(provider, row)) for row in rows)
    return [(found, seen) for found, seen in read if found and isinstance(seen, Seen)]


def read_id(provider: Provider, body: Any) -> str | None:
    """Read the generation's own ID, if it says one."""
    found = _find(provider.read.id, body)
    return found if isinstance(found, str) and found else None


def read_error(provider: Provider, body: Any) -> str | None:
    """Read what an error answer says is wrong: a sentence, or several joined."""
    for expression in provider.error_details:
        found = _find(expression, body)
        sentences = found if isinstance(found, list) else [found]
        words = [sentence for sentence in sentences if isinstance(sentence, str) and sentence]
        if words:
            return "; ".join(words)
    return None


def _find(expression: str, body: Any) -> Any:
    return jmespath.search(expression, body)  # compiled once: jmespath caches by expression


def _progress(provider: Provider, word: str) -> Progress:
    if word in provider.states.completed:
        return Progress.COMPLETED
    if word in provider.states.failed:
        return Progress.FAILED
    return Progress.RUNNING


def _text(value: Any, limit: int) -> str | None:
    return _cut(value, limit) if isinstance(value, str) and value else None


def _cut(text: str, limit: int) -> str:
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def _assets(value: Any) -> Mapping[str, str]:
    """Keep the members that are URLs; one that is too long is left out, since half is useless."""
    if not isinstance(value, dict):
        return {}
    usable = (
        (name, url)
        for name, url in value.items()
        if isinstance(url, str)
        and 0 < len(url.encode("utf-8", "replace")) <= MAX_ASSET_URL_BYTES
        and len(name.encode("utf-8", "replace")) <= MAX_WORD_BYTES
    )
    return dict(islice(usable, MAX_ASSETS))


def _instant(value: Any) -> int | None:
    """Read an ISO 8601 date-time as ms since the epoch; without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # Normalised to UTC, a moment at the calendar's edges overflows here and not later.
        since = moment.astimezone(UTC) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return max(0, round(since.total_seconds() * 1000))


def _kept(body: JsonObject) -> JsonObject:
    try:
        size = len(orjson.dumps(body))
    except orjson.JSONEncodeError:
        return {"omitted": "the provider's object is nested too deeply to be kept"}
    if size > MAX_GENERATION_BYTES:
        return {"omitted": f"the provider's object has {size} bytes, too many to be kept"}
    if _deeper_than(MAX_GENERATION_DEPTH, body):
        return {"omitted": "the provider's object is nested too deeply to be kept"}
    return body


def _deeper_than(levels: int, value: Any) -> bool:
    match value:
        case dict():
            children = list(value.values())
        case list():
            children = value
        case _:
            return False
    return levels == 0 or any(_deeper_than(levels - 1, child) for child in children)
