"""What all the words are made of: JSON objects and instants."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]


@lru_cache(maxsize=1024)  # what begins together shows the same few instants a thousand times
def rfc3339(at: int | None) -> str | None:
    """Write an instant as RFC 3339 in UTC with milliseconds; None stays None."""
    if at is None:
        return None
    moment = datetime.fromtimestamp(at / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
