"""Which generation came of a create call that was not answered: rules for the provider's list.

A wrong guess would track somebody else's generation and lose the one that was paid for, so there is
none: either the list shows exactly one that can only be it, or its outcome stays unknown.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from worker.errors import InvalidInputError
from worker.model import JsonObject, Terms

LOOK_AFTER_S = (2.0, 8.0, 20.0, 60.0, 120.0, 240.0)
"""The list is searched so long after the one before; the last time 7.5 minutes after the first."""

AWAY_S = 30.0
GIVE_UP_S = 3600.0
"""If the list cannot be read it is asked for again so much later, and for so long in all."""

CALL_S = 60.0
"""What a create call may take: Luma's `sync` answers after a minute at most."""

LEASE_S = CALL_S + 15.0
"""Who has not written down by then what came of his create call has died."""

SKEW_S = 5.0
UNSYNCED_SKEW_S = 60.0
"""How far off a provider's times may be: compared with ours by its `Date`, and without one."""

HINT_GAP_S = 1.0
MOST_HINTS = 30
"""So many looks pushes may bring forward for a tracker: a known token must not use up a budget."""

MOST_RIVALS = 100
"""Among more submissions than that nobody can say whose a row is."""

MAX_KEY_LENGTH = 255

MOST_MARKS = 40
MARKED = 60
"""A request with more fields, or with longer names, is not marked."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_KEY = re.compile(r'[\x21\x23-\x7e]+|"[\x20\x21\x23-\x7e]+"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A generation as the provider's list shows it, with what was asked of it, if it says.

    `created_at` is in ms by our clock, give or take `skew_s`.
    """

    generation_id: str
    created_at: int | None = None
    skew_s: float = UNSYNCED_SKEW_S
    asked: JsonObject | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is searched for: the request, with the digest of the token in its callback, if any.

    `callback` is the member of a request that takes a callback, if the provider has one.
    """

    request: JsonObject
    begun_at: int
    token: str | None = None
    callback: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """It is this one; `is_certain` if the token says so."""

    generation_id: str
    is_certain: bool


@dataclass(frozen=True, slots=True)
class NotShown:
    """The list does not show it: that means nothing yet."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several may be it, or it may be one of several submissions'."""


Search: TypeAlias = Found | NotShown | Ambiguous


def search(
    intent: Intent,
    rows: Sequence[Row],
    *,
    tracked: Collection[str],
    rivals: Sequence[Intent] = (),
) -> Search:
    """Find the generation that came of an unanswered create call.

    With a token the row that has it is the one, and no other can be. Without one it must be the
    only row that asks for the same, was created while the call was under way, and is tracked by
    nobody; and no other submission may be waiting for that row.

    Args:
        intent: what was asked for, and when.
        rows: what the provider's list shows; the same generation may come twice.
        tracked: the IDs that are tracked already.
        rivals: other submissions without a token whose outcome is open.
    """
    if intent.token is None and not any(each is not None for each in intent.request.values()):
        return NotShown()  # what says nothing is like anything
    if intent.token is not None:
        ours = {row.generation_id for row in rows if _token_of(row, intent) == intent.token}
        return Found(ours.pop(), is_certain=True) if len(ours) == 1 else NotShown()
    fitting = [row for row in rows if row.generation_id not in tracked and _fits(row, intent)]
    if not fitting:
        return NotShown()
    if len({row.generation_id for row in fitting}) > 1:
        return Ambiguous()
    if any(_fits(row, rival) for row in fitting for rival in rivals):
        return Ambiguous()
    return Found(fitting[0].generation_id, is_certain=False)


def next_search_s(searches: int, since_s: float) -> float | None:
    """Say in how many seconds to search again; None: it has been searched for long enough.

    Hints bring searches forward, and the provider may take its time until its list shows what it
    tells of. So the time has to be up as well.

    Args:
        searches: how many there were.
        since_s: how long ago the submission was begun.
    """
    if searches < len(LOOK_AFTER_S):
        return LOOK_AFTER_S[searches]
    left_s = sum(LOOK_AFTER_S) - since_s
    return min(left_s, LOOK_AFTER_S[-1]) if left_s > 0 else None


def _fits(row: Row, intent: Intent) -> bool:
    return _is_in_time(row, intent) and _is_same(row, intent)


def window_s() -> float:
    """Tell how far apart two submissions must begin not to be mistaken for each other."""
    return CALL_S + 2 * UNSYNCED_SKEW_S


def _is_in_time(row: Row, intent: Intent) -> bool:
    if row.created_at is None:
        return False
    since_s = (row.created_at - intent.begun_at) / 1000
    return -row.skew_s <= since_s <= CALL_S + row.skew_s


def _is_same(row: Row, intent: Intent) -> bool:
    """Tell whether a row's request is ours, but for what a provider fills in of its own accord.

    It may echo defaults: plain values, or nothing, where we said nothing.
    """
    if row.asked is None:
        return False
    if intent.callback and row.asked.get(intent.callback) != intent.request.get(intent.callback):
        return False
    return _echoes(row.asked, intent.request)


def _echoes(echo: Any, sent: Any) -> bool:
    match sent, echo:
        case dict(), dict():
            told = {name: value for name, value in sent.items() if value is not None}
            return all(_echoes(echo.get(name), value) for name, value in told.items()) and all(
                not isinstance(value, dict | list) or not value
                for name, value in echo.items()
                if name not in told
            )
        case list(), list():
            return len(sent) == len(echo) and all(map(_echoes, echo, sent))
        case bool(), _:
            return echo is sent
        case _, bool():
            return False
        case _:
            return bool(echo == sent)


# --- hints --------------------------------------------------------------------------------------


def hint_url(public_url: str, account: str, token: str) -> str:
    """Write the address that a provider is to call; `token` is 43 characters of base64url."""
    return f"{public_url.rstrip('/')}/v1/hints/{account}/{token}"


def is_token(text: str) -> bool:
    """Tell whether this can be one of our tokens."""
    return _TOKEN.fullmatch(text) is not None


def digest(text: str) -> str:
    """Write down a token or a key so that nobody who reads it can use it."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _token_of(row: Row, intent: Intent) -> str | None:
    url = row.asked.get(intent.callback) if row.asked and intent.callback else None
    token = url.rpartition("/")[2] if isinstance(url, str) else ""
    return digest(token) if is_token(token) else None


# --- idempotency --------------------------------------------------------------------------------


def idempotency_key(header: str | None) -> str | None:
    """Read an `Idempotency-Key`: a string in quotes (RFC 9651, section 3.3.3), or bare.

    Raises:
        InvalidInputError: it is empty, too long, or has characters that no such key has.
    """
    if header is None:
        return None
    key = header.strip()
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY_LENGTH:
        raise InvalidInputError(
            "Idempotency-Key",
            f"must be 1 to {MAX_KEY_LENGTH} visible ASCII characters, such as a UUID",
        )
    return key.strip('"')


def marks(request: JsonObject) -> dict[str, str]:
    """Make a short digest of each field of a request, by its name; of an unusual one, none.

    They say later which fields of another request are others, when this one is no longer kept.
    """
    if len(request) > MOST_MARKS or any(len(name) > MARKED for name in request):
        return {}
    return {name: digest(json.dumps(value, sort_keys=True))[:12] for name, value in request.items()}


def fingerprint(account: str, request: JsonObject, terms: Terms) -> str:
    """Make the same digest of the same call of our API, and another one of any other."""
    told = asdict(terms) | {"events": list(terms.events), "headers": dict(terms.headers)}
    return digest(json.dumps([account, request, told], sort_keys=True))
