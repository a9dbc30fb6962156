"""Lists that are read page by page, newest first, whatever is filtered out on the way."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from worker.errors import InvalidInputError
from worker.model import JsonObject

SCANNED_PER_PAGE = 5000
"""A filtered list reads about so many entries for a page at most, then says where to go on."""


class Numbered(Protocol):
    """Something that a list holds in the order of its `seq`."""

    @property
    def seq(self) -> int:
        """Its place: what came later has a greater one."""
        ...


Item = TypeVar("Item", bound=Numbered)


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, newest first. `next_cursor` leads to what is older; None: that was all.

    `cursors` lead to what is older than each item.
    """

    items: list[JsonObject]
    next_cursor: str | None
    cursors: Sequence[str] = ()


async def page_of(
    read: Callable[[int | None, int], Awaitable[tuple[int | None, Sequence[Item]]]],
    *,
    fits: Callable[[Item], bool],
    limit: int,
    cursor: str | None,
) -> tuple[list[Item], str | None]:
    """Read a page of up to `limit` items, and where the next begins (None: that was all).

    Args:
        read: given a seq and a limit, reads that many entries older than it; answers the seq of
            the last (None: there are no more) and those items that still exist.
        fits: whether an item belongs into this list.
        limit: how many items make a page, from 1.
        cursor: where the page before ended.

    Raises:
        InvalidInputError: the cursor is not one of ours.
    """
    before, scanned = _read_cursor(cursor), 0
    items: list[Item] = []
    while scanned < SCANNED_PER_PAGE:
        last, found = await read(before, limit)
        for item in found:
            if fits(item):
                items.append(item)
            if len(items) == limit:
                return items, _cursor_after(item.seq)
        if last is None:
            return items, None
        before = last
        scanned += limit
    return items, _cursor_after(before or 0)


def cursors_after(items: Sequence[Numbered]) -> list[str]:
    """Write the cursors that lead to what is older than each of these."""
    return [_cursor_after(each.seq) for each in items]


def _cursor_after(seq: int) -> str:
    return base64.urlsafe_b64encode(b"%d" % seq).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return int(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError:
        raise InvalidInputError(
            "cursor", "use next_cursor of the page before, as it is, or leave it out"
        ) from None
