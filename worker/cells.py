"""Which cell an account or a generation lives in, and places on the events of several cells.

A cell is a Redis with its own workers. Nothing in one knows of another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from hashlib import sha256

_PLACE = re.compile(r"([a-z0-9][a-z0-9-]{0,31}):([0-9]{1,15}-[0-9]{1,15})")


def cell_of(names: Collection[str], account: str, generation_id: str | None = None) -> str:
    """Choose the cell of an account, or of one generation of an account that is divided.

    By rendezvous hashing (Thaler and Ravishankar, 1998): whoever knows the names chooses the same,
    and a cell that is added takes its share from all others, among which nothing moves.

    Args:
        names: of all cells, at least one.
        account: its name.
        generation_id: the ID, if the account is divided over the cells.
    """
    what = account if generation_id is None else f"{account}\n{generation_id}"
    return max(names, key=lambda name: sha256(f"{name}\n{what}".encode()).digest())


def places_text(places: Mapping[str, str]) -> str:
    """Write places on the streams of cells as one: `a:1769860847251-0,b:1769860847249-3`."""
    return ",".join(f"{name}:{place}" for name, place in sorted(places.items()))


def read_places(text: str) -> dict[str, str] | None:
    """Read what `places_text` wrote; None if it did not write this."""
    found = [_PLACE.fullmatch(each) for each in text.split(",")]
    places = {each[1]: each[2] for each in found if each}
    return places if len(places) == len(found) else None
