"""How the hold of a receiver's origin, or of an account, is read from the card of its lane."""

from __future__ import annotations

from collections.abc import Sequence

from worker.model import HealthReason, Hold

FIELDS = ["held_until", "probe_until", "held_since", "reason", "streak", "detail"]


def from_row(lane: str, row: Sequence[bytes | None], now: int) -> Hold | None:
    """Read from a card's `FIELDS` how its lane is held; None: it is not, now."""
    until, probe_until, since = (int(each or 0) for each in row[:3])
    reason, streak, detail = ((each or b"").decode() for each in row[3:])
    if until <= now or not reason:
        return None
    is_probing = until == probe_until
    return Hold(
        name=_name_of(lane),
        since=since or now,
        until=now if is_probing else until,
        is_probing=is_probing,
        reason=HealthReason(reason),
        detail=detail or None,
        streak=int(streak or 0),
    )


def last_of_row(row: Sequence[bytes | None], now: int, *, lasts: bool) -> tuple[int, int] | None:
    """Read, of {held_since, freed_at}, the last hold: from when to when, or to now if it `lasts`.

    None: there was none, or nobody knows when it ended. Workers of the version that has no
    `freed_at` do not say, while some are still at work.
    """
    since, freed_at = (int(each or 0) for each in row)
    if since and freed_at >= since:
        return since, freed_at
    return (since, now) if since and lasts else None


def _name_of(lane: str) -> str:
    """Name an account, or an origin as people write it: without a port that goes without saying."""
    kind, _, origin = lane.partition(":")
    if kind == "poll":
        return origin
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")
