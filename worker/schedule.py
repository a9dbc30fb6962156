"""When to look at a generation again: one pure function of its age.

The gap between two looks is a fixed share of the generation's age. That is the shape to choose
when nothing is known of how long a generation takes: whatever its duration, the end is detected
late by at most the same share of it, and the number of looks grows with the logarithm of the
duration only.
"""

from __future__ import annotations

SHARE_OF_AGE = 0.15
SHORTEST_GAP_S = 2.0
LONGEST_GAP_S = 30.0
JITTER = 0.1


def next_look(*, now: int, since: int, jitter: float) -> int:
    """Say when to look next at a generation that was just seen running.

    The gap is 15 % of the age, at least 2 s and at most 30 s, times 0.9 to 1.1. A generation of
    duration d is therefore seen to have ended at most max(2.2 s, 0.165 d) late, never more than
    33 s, and on average half of that (looks that fail come on top). A generation of 90 s costs
    about 20 looks, one of an hour about 140.

    Args:
        now: the instant of the look that saw it running, in ms.
        since: the instant it began, in ms; one in the future counts as now.
        jitter: uniform in [0, 1), so that generations that began together drift apart.

    Returns:
        An instant in ms, always later than `now`.
    """
    age_s = (now - since) / 1000
    gap_s = min(max(SHARE_OF_AGE * age_s, SHORTEST_GAP_S), LONGEST_GAP_S)
    return now + round(gap_s * (1 - JITTER + 2 * JITTER * jitter) * 1000)
