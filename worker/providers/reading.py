"""What the body of an answer says: pure functions from a provider's JSON to our words.

Whatever arrives is bounded here, before it is kept anywhere, and nothing that is missing, null or
of the wrong type is an error unless the state itself cannot be read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from itertools import islice
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from worker.listing import Row, Unread, spelled
from worker.model import JsonObject, Missing, Progress, Same, Seen, Trouble
from worker.providers.spec import Provider
from worker.requests import is_deeper

# Sizes are UTF-8 bytes. A generation is 1.5 KB as a rule.
MAX_WORD_BYTES = 100
MAX_KIND_BYTES = 32
MAX_FAILURE_REASON_BYTES = 2 * 1024
MAX_ASSETS = 50
MAX_ASSET_URL_BYTES = 4 * 1024
MAX_GENERATION_BYTES = 64 * 1024
MAX_GENERATION_DEPTH = 64
MAX_ROWS = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS = 100_000_000_000  # as seconds this is the year 5138, as milliseconds 1973
_LAST_MS = 4_000_000_000_000
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


def read_generation(
    provider: Provider, body: Any, *, answered_at: int | None = None
) -> Seen | Missing | Trouble:
    """Read one generation from the provider's object, parsed by `parse_json`.

    `answered_at` is when the answer was given, by the provider's clock.

    A state that is not among the provider's final words means that it is running. The object is
    kept verbatim, unless it is larger than 64 KiB or nested deeper than 64 levels: then a note
    takes its place, because half an object would look like a whole one, and all that Dreamhook
    itself needs of it has been read.
    """
    if not isinstance(body, dict):
        return Trouble("the answer is JSON, but not an object")
    read = provider.read
    word = find(read.state, body)
    if not isinstance(word, str) or not word:
        said = read_error(provider, body)
        return Trouble(f"the answer has no state: {said}" if said else "the answer has no state")
    if word in provider.states.missing:
        return Missing(_cut(word, MAX_WORD_BYTES))
    failure_code = _text(find(read.failure_code, body), MAX_WORD_BYTES)
    return Seen(
        progress=_progress(provider, word),
        provider_state=_cut(word, MAX_WORD_BYTES),
        queued=word in provider.states.queued,
        fraction=_fraction(find(read.progress, body)),
        model=_text(find(read.model, body), MAX_WORD_BYTES),
        type=_text(find(read.type, body), MAX_WORD_BYTES),
        assets=_assets(find(read.assets, body)),
        asset_lifetime_s=provider.asset_lifetime_s,
        failure_reason=_text(find(read.failure_reason, body), MAX_FAILURE_REASON_BYTES),
        failure_code=failure_code,
        retryable=_is_retryable(provider, failure_code),
        created_at=_instant(find(read.created_at, body)),
        answered_at=answered_at,
        kind=_kind(provider, body),
        generation=_kept(body),
        mark=_mark(provider, body),
    )


def read_again(
    provider: Provider, body: Any, mark: str | None, *, answered_at: int | None = None
) -> Seen | Same | Missing | Trouble:
    """Read a generation that may have been seen running before; then `mark` is what it showed.

    Most looks show the same as the one before, and to compare takes a tenth of the time.
    """
    if mark is not None and _mark(provider, body) == mark:
        return Same(created_at=_instant(find(provider.read.created_at, body)))
    return read_generation(provider, body, answered_at=answered_at)


def _mark(provider: Provider, body: Any) -> str | None:
    """Make the mark of a provider's object: 64 bits, which no chance makes equal.

    It depends on how the object is read: whoever has mended that sees anew what has not changed.
    """
    try:
        return blake2b(orjson.dumps(body), digest_size=8, key=provider.reading).hexdigest()
    except orjson.JSONEncodeError:  # it is nested too deeply
        return None


def read_rows(
    provider: Provider,
    rows_at: str,
    body: Any,
    *,
    answered_at: int | None = None,
    marks: Mapping[str, str | None] | None = None,
) -> tuple[Row | None, ...] | Trouble:
    """Read the rows of a page, in page order; `rows_at` is the expression that finds them.

    With `marks`, by ID, those generations alone are read, and of the others when they were created:
    each with its mark if it was seen running. Without, all are.

    A row that cannot be read is None: its place counts, and that it is not there means nothing.
    Rows beyond `MAX_ROWS` are left out.
    """
    rows = find(rows_at, body)
    if not isinstance(rows, list):
        return Trouble("the answer has no list of generations")
    wanted = None if marks is None else _by_spelling(marks)
    return tuple(_row(provider, row, answered_at, wanted) for row in islice(rows, MAX_ROWS))


def _by_spelling(marks: Mapping[str, str | None]) -> Mapping[str, str | None]:
    """Index marks as rows are; what is tracked under two spellings must be the same to both."""
    found: dict[str, str | None] = {}
    for name, mark in marks.items():
        found[spelled(name)] = mark if found.get(spelled(name), mark) == mark else None
    return found


def _row(
    provider: Provider, body: Any, answered_at: int | None, wanted: Mapping[str, str | None] | None
) -> Row | None:
    found = read_id(provider, body)
    if found is None:
        return None
    if wanted is not None and spelled(found) not in wanted:
        return found, Unread(_instant(find(provider.read.created_at, body)))
    mark = None if wanted is None else wanted[spelled(found)]
    seen = read_again(provider, body, mark, answered_at=answered_at)
    return (found, seen) if isinstance(seen, Seen | Same) else None


def read_id(provider: Provider, body: Any) -> str | None:
    """Read the generation's own ID, if it says one."""
    found = find(provider.read.id, body)
    return found if isinstance(found, str) and found else None


def read_error(provider: Provider, body: Any) -> str | None:
    """Read what an error answer says is wrong: a sentence, or several joined."""
    for expression in provider.error_details:
        found = find(expression, body)
        sentences = found if isinstance(found, list) else [found]
        words = [sentence for sentence in sentences if isinstance(sentence, str) and sentence]
        if words:
            return "; ".join(words)
    return None


def find(expression: str | None, body: Any) -> Any:
    """Find what an expression says; nothing if there is none, or it does not fit what is there."""
    try:
        return None if expression is None else _finder(expression)(body)
    except JMESPathError:  # a function of it was given what it cannot take
        return None


@cache
def _finder(expression: str) -> Callable[[Any], Any]:
    """Make a function that finds what a JMESPath expression says.

    Most are paths and alternatives of paths. Those need no interpreter, which took most of the
    time of reading a row.
    """
    paths = [path.strip().split(".") for path in expression.split("||")]
    if not all(name.isidentifier() for path in paths for name in path):
        search: Callable[[Any], Any] = jmespath.compile(expression).search
        return search

    def find(body: Any) -> Any:
        found = None
        for path in paths:
            found = body
            for name in path:
                found = found.get(name) if isinstance(found, dict) else None
            if found or (found == 0 and found is not False):  # what JMESPath takes for true
                return found
        return found

    return find


def _progress(provider: Provider, word: str) -> Progress:
    if word in provider.states.completed:
        return Progress.COMPLETED
    if word in provider.states.failed:
        return Progress.FAILED
    return Progress.RUNNING


def _kind(provider: Provider, body: Any) -> tuple[str, ...]:
    """Tell what its duration depends on; a value that is missing or strange is an empty word."""
    read = provider.read
    words = (find(each, body) for each in read.kind or (read.model, read.type))
    return tuple(_cut(str(w), MAX_KIND_BYTES) if isinstance(w, str | int) else "" for w in words)


def _text(value: Any, limit: int) -> str | None:
    return _cut(value, limit) if isinstance(value, str) and value else None


def _cut(text: str, limit: int) -> str:
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def _is_retryable(provider: Provider, code: str | None) -> bool | None:
    """Tell whether the same request may well succeed; None if the provider does not say."""
    parts = [] if code is None else code.split(".")
    names = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    if names & provider.failures.final:
        return False
    return True if names & provider.failures.retryable else None


def _fraction(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 1 else None


def _assets(value: Any) -> Mapping[str, str]:
    """Keep the members that are URLs; one that is too long is left out, since half is useless."""
    usable = (
        (name, url)
        for name, url in _named(value)
        if isinstance(url, str)
        and 0 < len(url.encode("utf-8", "replace")) <= MAX_ASSET_URL_BYTES
        and len(name.encode("utf-8", "replace")) <= MAX_WORD_BYTES
    )
    return dict(islice(usable, MAX_ASSETS))


def _named(value: Any) -> Iterable[tuple[Any, Any]]:
    """Give every asset a name: its own, or its type's (`output` if it has none), and its number.

    Strings of a list are taken for URLs only if they look like it: it may be any model's output.
    """
    if isinstance(value, dict):
        return value.items()
    named: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for each in islice(value if isinstance(value, list) else [value], MAX_ASSETS):
        url, kind = (each.get("url"), each.get("type")) if isinstance(each, dict) else (each, None)
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            continue
        stem = kind if isinstance(kind, str) and kind else "output"
        counts[stem] += 1
        named[stem if counts[stem] == 1 else f"{stem}_{counts[stem]}"] = url
    return named.items()


def _instant(value: Any) -> int | None:
    """Read a date as ms since the epoch: ISO 8601 (without a zone it is UTC) or a Unix time."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        in_ms = value if abs(value) >= _FIRST_MS else value * 1000
        return round(in_ms) if 0 < in_ms < _LAST_MS else None
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
    if is_deeper(body, MAX_GENERATION_DEPTH):
        return {"omitted": "the provider's object is nested too deeply to be kept"}
    return body
