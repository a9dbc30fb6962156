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

    def bear(
        self,
        error: UnreachableError | ApiError,
        now: float,
        *,
        patience_s: float,
        is_time_up: bool = False,
    ) -> bool:
        """Note that it was asked in vain, if it is worth asking again; tell whether that is new.

        After a 502, 503 or 504 it is, from the first on: somebody is there. After no answer at all
        it is once there has been one, be it such an error.

        Raises:
            ApiError, UnreachableError: It is not, or has not been for too long: the error itself.
            StillAwayError: It is, but there is no time left.
        """
        self.has_answered = self.has_answered or isinstance(error, ApiError)
        if not is_away(error) or not self.has_answered:
            raise error
        is_new, since = self.since is None, now if self.since is None else self.since
        self.since = since
        if now - since > patience_s:
            raise error
        if is_time_up:
            raise StillAwayError(f"The time to wait was up while nobody could tell: {error}")
        return is_new
