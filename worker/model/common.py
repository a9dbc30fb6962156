"""What all the words are made of: JSON objects and instants."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))


class Changeable:
    """A frozen dataclass of many fields, without slots, that is often wanted with some changed."""

    def but(self, **changes: Any) -> Self:
        """Return it with these fields changed: `dataclasses.replace` in a seventh of the time.

        With so many fields that was a quarter of what a look costs.
        """
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__, **changes)
        return changed


@lru_cache(maxsize=1024)  # what begins together shows the same few instants a thousand times
def rfc3339(at: int | None) -> str | None:
    """Write an instant as RFC 3339 in UTC with milliseconds; None stays None."""
    if at is None:
        return None
    moment = datetime.fromtimestamp(at / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(seconds: float) -> str:
    """Say how long ago something was, in one unit.

    >>> [age(seconds) for seconds in (0.4, 100, 150, 90_000, 200_000)]
    ['0 s', '100 s', '2 min', '25 h', '2 d']
    """
    whole = max(int(seconds), 0)
    for unit_s, unit in _AGES:
        if whole >= 2 * unit_s:
            return f"{whole // unit_s} {unit}"
    return f"{whole} s"
