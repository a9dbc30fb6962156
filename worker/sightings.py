"""What the looks at a tracker have shown: when its generation began, and how far it has come."""

from __future__ import annotations

from worker.model import Seen, Tracker, Watched
from worker.schedule import Sighting

# How far before its tracking a generation may have begun, to be believed. One that still queues
# after so long has, more likely, a date in another time zone.
OLDEST_QUEUED_MS = 600_000
OLDEST_RUNNING_MS = 1_800_000

DATE_RESOLUTION_MS = 2_000
"""An HTTP date has whole seconds: a smaller difference between two clocks is none."""


def born(tracker: Tracker, seen: Seen, *, now: int) -> int | None:
    """Tell when a generation began, on our clock; None if the provider does not say it or lies.

    The provider's date is on the provider's clock, which the date of its answer shows: the
    difference of the two is the age, however wrong that clock is. Nothing began after it was
    tracked, and nothing so long before that a wrong time zone is the better explanation.
    """
    if seen.created_at is None:
        return None
    skew = 0 if seen.answered_at is None else seen.answered_at - now
    if abs(skew) <= DATE_RESOLUTION_MS:
        skew = 0
    at = seen.created_at - skew
    oldest = OLDEST_QUEUED_MS if seen.queued else OLDEST_RUNNING_MS
    return None if at < tracker.tracked_at - oldest else min(at, tracker.tracked_at)


def began(tracker: Tracker | Watched) -> int:
    """Tell when the generation began, as far as known; never later than its tracking did."""
    return tracker.tracked_at if tracker.born_at is None else tracker.born_at


def sighting(tracker: Tracker | Watched) -> Sighting | None:
    """Tell what the looks at a tracker have shown of it; None before the first that did.

    Ask it of a tracker as it was before the look that showed the end: that one is no sighting.
    """
    if tracker.entered_at is None or tracker.seen_at is None:
        return None
    since = began(tracker)
    last = max(0.0, (tracker.seen_at - since) / 1000)

    def age(at: int) -> float:
        return min(max(0.0, (at - since) / 1000), last)  # a clock may have gone back in between

    queued = 0.0 if tracker.queued_at is None else age(tracker.queued_at)
    running = None if tracker.running_at is None else max(age(tracker.running_at), queued)
    return Sighting(entry=age(tracker.entered_at), last=last, queued=queued, running=running)
