"""One look for many: which page of a provider's list to ask for, and what it tells.

What is known of a list is a few numbers per account and nothing per generation, and all of it may
be lost: then the first page is asked for once more.

Nothing is ever concluded from absence. What a page should have shown and did not is to be looked at
singly before it is hoped for on a page again, and pages that disappoint are chosen less: `trust` is
the share of the hoped-for news that pages did bring, whatever the reason, so a list that is
shuffled, capped, stale or full of holes is used exactly as far as it is worth its request.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, NamedTuple, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from worker.listing_ranks import Instant, Ranks
from worker.model import Progress, Same, Seen

OVERLAP_ROWS = 10
LEARNING_RATE = 0.3
FIRST_TRUST = 0.5
DOUBT_MS = 600_000

_UUID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Listing:
    """What is known of an account's list.

    `trust` is between 0 and 1. `cap` is the most rows that the provider gives, if it gives fewer
    than it is asked for. Since `doubted_at` either of the two is worse than at first.
    """

    ranks: Ranks = field(default_factory=Ranks)
    trust: Annotated[float, Field(ge=0, le=1)] = FIRST_TRUST
    cap: Annotated[int, Field(ge=1)] | None = None
    doubted_at: Instant | None = None


class Wanted(NamedTuple):
    """A generation in flight: `gain` is what a look at it now would be worth, 0 or more.

    `created_at` is the provider's; a guess will do (the instant of tracking), and None hopes for
    the generation only where the list is short or without order.
    """

    generation_id: str
    created_at: Instant | None
    gain: float


@dataclass(frozen=True, slots=True)
class Window:
    """A page worth asking for: what it is expected to show, and the gain to be expected of it."""

    offset: int
    limit: int
    expected: Mapping[str, float]
    worth: float


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that nobody asked for: it tells where it stands in the list, and that is all."""

    created_at: Instant | None


Row: TypeAlias = tuple[str, Seen | Same | Unread]


@dataclass(frozen=True, slots=True)
class Page:
    """What the provider gave for a page: its rows from rank `offset` on, None if unreadable."""

    offset: int
    limit: int
    rows: tuple[Row | None, ...]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a page told.

    `seen` are looks like any other. `absent` are the expected ones that the page did not show, or
    showed as they were before: look at each singly before it is wanted again.
    """

    listing: Listing
    seen: Mapping[str, Seen | Same]
    absent: tuple[str, ...]


_STORED = TypeAdapter(Listing)


def dump(listing: Listing) -> bytes:
    """Write it as JSON, about 500 bytes at most."""
    return _STORED.dump_json(listing)


def load(text: bytes | str | None) -> Listing:
    """Read what `dump` wrote; whatever else this is, nothing is known."""
    try:
        listing = _STORED.validate_json(text or b"{}")
    except ValidationError:
        return Listing()
    return listing if listing.ranks.sound else Listing()


# --- choosing a page ----------------------------------------------------------------------------


def choose(listing: Listing, wanted: Sequence[Wanted], *, now: Instant, page: int) -> Window | None:
    """Find the page whose expected gain is greatest; None if there is nobody to look for.

    It is worth its request if `worth` is at least what a page may cost (c times its price) and at
    least the gain of the best single look (times the same).

    Args:
        listing: what is known of the list.
        wanted: the generations in flight; those of no gain do no harm.
        now: the present, in ms, by the clock that `reconcile` is told of.
        page: the most rows that may be asked for.
    """
    listing = _given_a_chance(listing, now)
    limit = min(page, listing.cap or page)
    if not listing.ranks.known:
        return _window(listing, wanted, 0, limit)
    ranked = _ranked(listing, wanted, now)
    margin = min(OVERLAP_ROWS + math.ceil(2 * math.sqrt(listing.ranks.drift(now))), limit // 4)
    first, end = _richest(ranked, limit - 2 * margin)
    if first == end:
        return None
    offset = max(0, ranked[first][0] - margin)
    needed = ranked[end - 1][0] + 1 + margin - offset
    return _window(listing, [each for _, each in ranked[first:end]], offset, min(needed, limit))


def _window(listing: Listing, hoped: Sequence[Wanted], offset: int, limit: int) -> Window | None:
    expected = {each.generation_id: each.gain for each in hoped}
    worth = listing.trust * math.fsum(expected.values())
    return Window(offset, limit, expected, worth) if expected else None


def _ranked(listing: Listing, wanted: Iterable[Wanted], now: Instant) -> list[tuple[int, Wanted]]:
    """Place those that can be placed, in the list's order."""
    ranks = listing.ranks
    dated = [(w.created_at, w) for w in wanted if w.created_at is not None]
    dated.sort(key=lambda pair: ranks.along(pair[0]))
    places = ranks.of([created_at for created_at, _ in dated], now)
    return [(rank, each) for rank, (_, each) in zip(places, dated, strict=True)]


def _richest(ranked: Sequence[tuple[int, Wanted]], room: int) -> tuple[int, int]:
    """Find the slice with the greatest summed gain that spans at most `room` rows."""
    best, found, total, first = -1.0, (0, 0), 0.0, 0
    for end, (rank, each) in enumerate(ranked, 1):
        total += each.gain
        while rank - ranked[first][0] >= max(room, 1):
            total -= ranked[first][1].gain
            first += 1
        if total > best:
            best, found = total, (first, end)
    return found


# --- what a page told ---------------------------------------------------------------------------


def reconcile(
    listing: Listing,
    window: Window,
    page: Page,
    *,
    known: Mapping[str, bool],
    now: Instant,
) -> Reconciled:
    """Take from a page what it shows of the generations in flight, and learn where they stand.

    An end that a row shows is an end: it is the provider's word, and ends do not pass. A row that
    shows a generation queued although it has been seen at work is older than what is known, and
    so may be the whole page: then none of its rows counts as a look but those that show an end.

    Args:
        listing: what was known of the list.
        window: what was asked for.
        page: what came.
        known: generations in flight, and whether each has been seen at work (running and not
            queued): any that the page may show, and at least those that were expected.
        now: the instant of the answer, in ms.
    """
    rows = _by_spelling(page)
    found = {each: rows[spelled(each)] for each in known if spelled(each) in rows}
    stale = any(isinstance(it, Seen) and it.queued and known[each] for each, it in found.items())
    seen = {
        each: row
        for each, row in found.items()
        if not stale or row.progress is not Progress.RUNNING
    }
    absent = tuple(each for each in window.expected if each not in seen)
    learned = replace(_given_a_chance(listing, now), ranks=_learned(listing.ranks, page, now))
    # Further down a short page is the end of the list; a provider with a cap has it here as well.
    is_short = page.offset == 0 and 0 < len(page.rows) < page.limit
    if is_short and not found.keys() >= window.expected.keys():
        learned = replace(learned, cap=len(page.rows))
    return Reconciled(_judged(learned, window, seen, now), seen, absent)


def failed(listing: Listing, window: Window, *, now: Instant) -> Listing:
    """Return what is known after a page could not be had at all; perhaps it was too large.

    All that was expected is absent then. A call that the provider throttled or refused was not the
    list's failure.
    """
    judged = _judged(_given_a_chance(listing, now), window, {}, now)
    if judged.trust >= FIRST_TRUST:
        return judged
    return replace(judged, cap=max(OVERLAP_ROWS, window.limit // 2))


def _by_spelling(page: Page) -> dict[str, Seen | Same]:
    """Index a page's rows. Of an ID that comes twice an end counts, else what comes first."""
    rows: dict[str, Seen | Same] = {}
    for generation_id, seen in filter(None, page.rows):
        if isinstance(seen, Unread):
            continue
        name = spelled(generation_id)
        if name not in rows or rows[name].progress is Progress.RUNNING is not seen.progress:
            rows[name] = seen
    return rows


def spelled(generation_id: str) -> str:
    """Spell UUIDs in one way, since providers do not care how they are written."""
    digits = generation_id.replace("-", "")
    return digits.casefold() if len(digits) == _UUID_DIGITS else generation_id


def _judged(
    listing: Listing, window: Window, seen: Mapping[str, Seen | Same], now: Instant
) -> Listing:
    """Learn how far pages can be trusted, by what this one was worth of what was hoped for."""
    trust, hoped = listing.trust, math.fsum(window.expected.values())
    if hoped > 0:
        brought = math.fsum(gain for each, gain in window.expected.items() if each in seen)
        trust += LEARNING_RATE * (min(1.0, brought / hoped) - trust)
    doubted = trust < FIRST_TRUST or listing.cap is not None
    since = now if listing.doubted_at is None else listing.doubted_at
    return replace(listing, trust=trust, doubted_at=since if doubted else None)


def _given_a_chance(listing: Listing, now: Instant) -> Listing:
    """Forget a doubt after ten minutes: providers change too."""
    if listing.doubted_at is None or 0 <= now - listing.doubted_at < DOUBT_MS:
        return listing
    return replace(listing, trust=max(listing.trust, FIRST_TRUST), cap=None, doubted_at=None)


def _learned(ranks: Ranks, page: Page, now: Instant) -> Ranks:
    if not page.rows:
        return ranks.ended(page.offset, now)
    dated = [
        (row[1].created_at, rank)
        for rank, row in enumerate(page.rows, page.offset)
        if row is not None and row[1].created_at is not None
    ]
    return ranks.after(dated, now)
