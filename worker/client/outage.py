"""Tells for how long to bear with an API that is away. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from worker.client.http import ApiError, StillAwayError, UnreachableError, is_away


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

    def bear(
        self,
        error: UnreachableError | ApiError,
        now: float,
        *,
        patience_s: float,
        is_time_up: bool = False,
    ) -> bool:
        """Note that it was asked in vain; tell whether that has only begun.

        Raises:
            ApiError, UnreachableError: It is not worth asking again; the error itself.
            StillAwayError: It is, but there is no time left.
        """
        is_new = self.since is None
        if not self.goes_on(error, now, patience_s=patience_s):
            raise error
        if is_time_up:
            raise StillAwayError(f"The time to wait was up while nobody could tell: {error}")
        return is_new
