"""Trackers and answers that the tests of the policy share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from worker import policy
from worker.durations import ANYTHING
from worker.model import (
    Answer,
    Health,
    Missing,
    Progress,
    Refused,
    Same,
    Seen,
    State,
    Terms,
    Throttled,
    Tracker,
    Trouble,
    Verdict,
)
from worker.schedule import Kind

NOW = 1_800_000_000_000
DAY = 86_400_000
ANY = Kind(queue=None, run=ANYTHING)
GAP = 7_000


def tracker(**changes: Any) -> Tracker:
    fresh = Tracker(
        account="luma",
        generation_id="g1",
        provider="luma",
        state=State.TRACKING,
        terms=Terms(deadline_s=86_400),
        tracked_at=NOW,
        deadline_at=NOW + DAY,
    )
    return replace(fresh, **changes)


def seen(progress: Progress = Progress.RUNNING, **changes: Any) -> Seen:
    return Seen(progress=progress, provider_state=changes.pop("word", "dreaming"), **changes)


def judge(t: Tracker, answer: Answer, *, now: int, jitter: float = 0.5) -> Verdict:
    return policy.judge(t, answer, look_at=now + GAP, now=now, jitter=jitter)


def next_health(
    health: Health, answer: Answer, *, generation_id: str = "g1", jitter: float = 0.5
) -> Health:
    return policy.next_health(health, answer, generation_id=generation_id, now=NOW, jitter=jitter)


def looked(t: Tracker, answer: Answer, now: int, jitter: float = 0.5) -> Tracker:
    return policy.apply(t, answer, judge(t, answer, now=now, jitter=jitter), now=now)


jitters = st.floats(0, 1, exclude_max=True)
retry_afters = st.none() | st.floats(0, 1e12)
answers = st.one_of(
    st.builds(seen, st.sampled_from(Progress), created_at=st.none() | st.integers(0, 2 * NOW)),
    st.just(Missing("404 Not Found")),
    st.just(Refused("401 Unauthorized")),
    st.builds(Throttled, st.just("429 Too Many Requests"), retry_afters),
    st.builds(Trouble, st.just("502 Bad Gateway"), retry_afters),
)
same = st.builds(Same, st.none() | st.integers(0, 2 * NOW))
unfinished = same | answers.filter(
    lambda a: not isinstance(a, Seen) or a.progress is Progress.RUNNING
)
failures = answers.filter(lambda a: not isinstance(a, Seen))
errors = answers.filter(lambda a: isinstance(a, Refused | Throttled | Trouble))
