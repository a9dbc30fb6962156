"""Tells for how long to bear with an API that is away. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from worker.client.http import ApiError, UnreachableError, is_away


@dataclass(slots=True)
class Outage:
    """Whether the API is away just now, and since when.

    Attributes:
        since: When it was first found away, by a monotonic clock, in seconds; None: it is there.
        has_answered: Whether it ever did; until then, nothing may be there at all.
    """

    since: float | None = None
    has_answered: bool = False

    def end(self) -> None:
        """Note that it has answered what it was asked."""
        self.since, self.has_answered = None, True

    def goes_on(self, error: UnreachableError | ApiError, now: float, *, patience_s: float) -> bool:
        """Note that it was asked in vain; tell whether it is worth asking again.

        A 502, 503 or 504 is, from the first on: somebody is there. No answer at all is once there
        has been one, be it such an error.
        """
        self.has_answered = self.has_answered or isinstance(error, ApiError)
        if not is_away(error) or not self.has_answered:
            return False
        self.since = now if self.since is None else self.since
        return now - self.since <= patience_s
