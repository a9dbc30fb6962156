"""What several cells answer, as one answer: pages merged, figures added up. No effects."""

from __future__ import annotations

import base64
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worker.errors import InvalidInputError
from worker.model import JsonObject

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CellPage:
    """A page of one cell's list: where it began, its items, where to go on after each, and at all.

    `start` None is the newest; `next_cursor` None: there is no more.
    """

    start: str | None
    items: Sequence[JsonObject]
    cursors: Sequence[str]
    next_cursor: str | None


def merged(pages: Mapping[str, CellPage], by: str, limit: int) -> JsonObject:
    """Merge pages into one, newest first.

    It ends early where a cell has more of which nothing was read: that may be newer than what is
    left of the others.

    Args:
        pages: of each cell that is not at its end.
        by: the field that holds the time.
        limit: how many items make a page, from 1.
    """
    rows = ([(item[by], name, item) for item in page.items] for name, page in pages.items())
    taken, items = dict.fromkeys(pages, 0), list[JsonObject]()

    def is_read_out(name: str) -> bool:
        return taken[name] == len(pages[name].items) and pages[name].next_cursor is not None

    if not any(is_read_out(name) for name in pages):
        for _, name, item in heapq.merge(*rows, key=lambda row: str(row[0]), reverse=True):
            items.append(item)
            taken[name] += 1
            if len(items) == limit or is_read_out(name):
                break
    after = {name: _after(page, taken[name]) for name, page in pages.items()}
    more = {
        name: place
        for name, place in after.items()
        if taken[name] < len(pages[name].items) or place is not None
    }
    return {"items": items, "next_cursor": cursor_of(more) if more else None}


def _after(page: CellPage, taken: int) -> str | None:
    if taken == len(page.items):
        return page.next_cursor
    return page.cursors[taken - 1] if taken else page.start


def cursor_of(places: Mapping[str, str | None]) -> str:
    """Write the cursor that goes on at these places, one for each cell that has more."""
    return base64.urlsafe_b64encode(json.dumps(places).encode()).decode().rstrip("=")


def places_of(cursor: str) -> dict[str, str | None]:
    """Read what `cursor_of` wrote.

    Raises:
        InvalidInputError: it did not write this.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        places = {str(name): None if each is None else str(each) for name, each in found.items()}
    except (ValueError, AttributeError):  # or it is JSON, but of another make
        raise InvalidInputError(
            "cursor", "use next_cursor of the page before, as it is, or leave it out"
        ) from None
    return places


def stats(told: Mapping[str, JsonObject]) -> JsonObject:
    """Add up the figures of cells; what cannot be added is the worst of them."""
    all_ = list(told.values())
    troubled = [each["endpoints_in_trouble"] for each in all_]
    endpoints = sorted((item for each in troubled for item in each["items"]), key=_since)
    return {
        **all_[0],
        **{
            name: _sums([each[name] for each in all_]) for name in ("trackers", "deliveries", "due")
        },
        "lag_s": max(each["lag_s"] for each in all_),
        "workers": sum(each["workers"] for each in all_),
        "troubles": [
            f"cell {name}: {why}" for name, each in told.items() for why in each["troubles"]
        ],
        "accounts_in_trouble": [a for each in all_ for a in each["accounts_in_trouble"]],
        "endpoints_in_trouble": {
            "total": sum(each["total"] for each in troubled),
            "items": endpoints[:_SHOWN],
        },
        "last_hour": [
            _minute(same) for same in zip(*(each["last_hour"] for each in all_), strict=True)
        ],
        "redis": {
            name: _sum_if_all([each["redis"][name] for each in all_])
            for name in ("used_bytes", "max_bytes")
        },
    }


def _since(item: JsonObject) -> str:
    return str(item["since"])


def _sums(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def _sum_if_all(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) if len(known) == len(values) else None


def _minute(same: Sequence[JsonObject]) -> JsonObject:
    """Add up a minute; its latencies are those of the slowest cell."""
    made: JsonObject = {"at": same[0]["at"]}
    for name in (each for each in same[0] if each != "at"):
        values: list[Any] = [each[name] for each in same if each[name] is not None]
        is_latency = name.startswith("latency")
        made[name] = max(values, default=None) if is_latency else sum(values)
    return made


def accounts(told: Sequence[Sequence[JsonObject]]) -> list[JsonObject]:
    """Show each account once, as the cells that have it tell.

    Args:
        told: what each cell tells of the accounts that it has.
    """
    found: dict[str, JsonObject] = {}
    for each in (account for some in told for account in some):
        known = found.get(each["name"])
        found[each["name"]] = each if known is None else _both(known, each)
    return list(found.values())


def _both(one: JsonObject, other: JsonObject) -> JsonObject:
    """Put together what two cells tell of a divided account; the one in trouble speaks for it."""
    ill = one if one["health"] and not one["health"]["ok"] else other
    added = ("tracking", "polls_per_second", "polls_per_second_now", "polls_per_second_used")
    return {
        **one,
        "health": ill["health"],
        "held": ill["held"],
        **{name: _sum_if_all([one[name], other[name]]) for name in added},
    }


def readiness(told: Mapping[str, JsonObject]) -> JsonObject:
    """Say whether any cell is ready: else one that is away would take the others with it."""
    problems = [f"cell {name}: {why}" for name, each in told.items() for why in each["problems"]]
    warnings = [f"cell {name}: {why}" for name, each in told.items() for why in each["warnings"]]
    if any(each["ok"] for each in told.values()):
        return {"ok": True, "problems": [], "warnings": problems + warnings}
    return {"ok": False, "problems": problems, "warnings": warnings}
