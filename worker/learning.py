"""What the ends of generations teach about their kinds, and what to expect of the next one.

A kind is a tuple of words, the most telling first: ("ray-2", "video", "720p", "5s"). Each of its
beginnings, down to (), is a kind as well, its parent: what is expected of a kind that is little
known is what is known of its parent.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Self, TypeAlias

from worker.durations import ANYTHING, Curve, Durations, Lifetime, lognormal
from worker.model import JsonObject, Tracker
from worker.schedule import Kind, Sighting, learned
from worker.sightings import began, sighting

Words: TypeAlias = tuple[str, ...]

QUEUE_PRIOR = lognormal(5.0, 1.5)
"""What to expect of a queue of which nothing is known."""

MEMORY = 1000.0
"""The mean number of looks is taken over so many ends, the newest counting most."""

GROWN_UP = 100.0
"""A kind that has seen so many ends teaches its parent no more: it would be all that is heard."""

AT_A_TIME = 10
"""So many ends are judged by one drawing of the curves, which they then change together.

More would all seem to be the provider's load, not the kind's nature.
"""

MOST_KINDS = 256
"""So many kinds an account may have; generations of any further one count as their parent's."""

FORGOTTEN_AFTER_MS = 7 * 86_400_000
"""A kind of which nothing was seen for so long makes room for a new one, if room is needed."""

_HEAD = struct.Struct("<Bddq")
_VERSION = 1
_SIZE = len(Durations().to_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the looks at one generation saw.

    `over` is its age at the last one, if that showed the end; `looks` is how many there were.
    """

    kind: Words
    sighting: Sighting
    over: float = math.inf
    looks: int = 0

    def to_bytes(self) -> bytes:
        """Write it as JSON, in about 100 bytes."""
        seen, over = self.sighting, self.over if self.over < math.inf else None
        ages = [seen.entry, seen.last, seen.queued, seen.running, over]
        return json.dumps([self.kind, self.looks, *ages], separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Read what `to_bytes` wrote, or None: nothing is learned from anything else."""
        try:
            kind, looks, entry, last, queued, running, over = json.loads(data)
            sighting = Sighting(entry=entry, last=last, queued=queued, running=running)
            over = math.inf if over is None else float(over)
            return cls(kind=tuple(map(str, kind)), sighting=sighting, over=over, looks=int(looks))
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one kind: how long it queues and runs, how many ends and looks that took.

    `ends` and `looks` are counts that fade; `at` is when it was learned from last, in ms.
    """

    queue: Durations = field(default_factory=Durations)
    run: Durations = field(default_factory=Durations)
    ends: float = 0.0
    looks: float = 0.0
    at: int = 0

    def to_bytes(self) -> bytes:
        """Write it in 2.4 KB."""
        head = _HEAD.pack(_VERSION, self.ends, self.looks, self.at)
        return head + self.queue.to_bytes() + self.run.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Self:
        """Read what `to_bytes` wrote; of anything else nothing is known."""
        if data is None or len(data) != _HEAD.size + 2 * _SIZE or data[0] != _VERSION:
            return cls()
        _, ends, looks, at = _HEAD.unpack_from(data)
        if not (0 <= ends < math.inf and 0 <= looks < math.inf):
            return cls()
        queue, run = data[_HEAD.size : -_SIZE], data[-_SIZE:]
        return cls(Durations.from_bytes(queue), Durations.from_bytes(run), ends, looks, at)


_NOTHING = Known()


@dataclass(frozen=True, slots=True)
class Prior:
    """What to expect before anything was seen: by the first word of a kind, where that is known.

    `queue` is None where the provider's states do not tell a queue from the work.
    """

    run: Mapping[str, Curve] = field(default_factory=dict)
    queue: Curve | None = None


def lineage(kind: Words) -> list[Words]:
    """Name a kind and its parents, the eldest, (), first."""
    return [kind[:depth] for depth in range(len(kind) + 1)]


def name_of(kind: Words) -> str:
    """Write a kind in one word."""
    return json.dumps(kind, separators=(",", ":"), ensure_ascii=False)


def kind_of(name: str) -> Words:
    """Read what `name_of` wrote."""
    return tuple(json.loads(name))


class Expectations:
    """What to expect of each kind. A kind's curves are drawn when somebody asks for them.

    Args:
        prior: where nothing was learned.
        known: what was learned, by kind.
    """

    def __init__(self, prior: Prior, known: Mapping[Words, Known]) -> None:
        self._prior = prior
        self._known = known
        self._drawn: dict[Words, Kind] = {}

    def __getitem__(self, kind: Words) -> Kind:
        """Tell what to expect of a kind, known or not."""
        drawn = self._drawn.get(kind)
        if drawn is None:
            before, known = self.before(kind), self._known.get(kind)
            drawn = before if known is None else _drawn(known, before)
            self._drawn[kind] = drawn
        return drawn

    def before(self, kind: Words) -> Kind:
        """Tell what to expect of a kind as if nothing had been seen of itself."""
        if not kind:
            return Kind(queue=self._prior.queue, run=ANYTHING)
        parent = self[kind[:-1]]
        if len(kind) == 1 and kind[0] in self._prior.run:
            return replace(parent, run=self._prior.run[kind[0]])
        return parent


def _drawn(known: Known, before: Kind) -> Kind:
    queue = None if before.queue is None else known.queue.curve(before.queue)
    return Kind(queue=queue, run=known.run.curve(before.run))


# --- learning -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Room:
    """What can be learned from within the bounds, and which kinds are forgotten for it."""

    observations: list[Observation]
    forgotten: list[Words]


def bounded(known: Mapping[Words, Known], observations: Iterable[Observation], *, now: int) -> Room:
    """Keep an account to about `MOST_KINDS`: any further one counts as its parent's kind."""
    seen = list(observations)
    asked = {kind for each in seen for kind in lineage(each.kind)}
    forgotten: list[Words] = []
    if len(asked | known.keys()) > MOST_KINDS:
        idle = (kind for kind in known if kind not in asked)
        forgotten = [kind for kind in idle if known[kind].at < now - FORGOTTEN_AFTER_MS]
    kinds = known.keys() - set(forgotten)
    fitting: list[Observation] = []
    for each in seen:
        full = len(kinds) >= MOST_KINDS
        *_, place = takewhile(lambda k: not full or not k or k in kinds, lineage(each.kind))  # noqa: B023 - used up at once
        kinds.update(lineage(place))
        fitting.append(replace(each, kind=place))
    return Room(fitting, forgotten)


def fold(
    known: Mapping[Words, Known], prior: Prior, observations: Iterable[Observation], *, now: int
) -> dict[Words, Known]:
    """Return what is known of the kinds that these observations are about, parents included.

    Args:
        known: what was known, at least of those kinds.
        prior: where nothing was.
        observations: in the order in which they were made.
        now: the present, in ms.
    """
    after, seen = dict(known), list(observations)
    changed: dict[Words, Known] = {}
    for first in range(0, len(seen), AT_A_TIME):
        lesson = _fold(after, prior, seen[first : first + AT_A_TIME], now)
        after |= lesson
        changed |= lesson
    return changed


def _fold(
    known: Mapping[Words, Known], prior: Prior, observations: Iterable[Observation], now: int
) -> dict[Words, Known]:
    expect = Expectations(prior, known)
    lessons: dict[Words, list[Observation]] = {}
    for each in observations:
        for kind in reversed(lineage(each.kind)):
            lessons.setdefault(kind, []).append(each)
            if known.get(kind, _NOTHING).ends >= GROWN_UP:
                break
    return {
        kind: _taught(known.get(kind, _NOTHING), seen, expect, kind, now)
        for kind, seen in lessons.items()
    }


def _taught(
    known: Known, seen: Iterable[Observation], expect: Expectations, kind: Words, now: int
) -> Known:
    before, expected = expect.before(kind), expect[kind]
    queues: list[tuple[Lifetime, ...]] = []
    runs: list[tuple[Lifetime, ...]] = []
    ends, looks = known.ends, known.looks
    for each in seen:
        queued, ran = learned(each.sighting, expected.queue, each.over)
        queues += filter(None, [queued])
        runs += filter(None, [ran])
        if each.over < math.inf:
            keep = 1 - 1 / MEMORY
            ends, looks = keep * ends + 1, keep * looks + each.looks
    queue = known.queue if before.queue is None else known.queue.observe(queues, before.queue)
    return Known(queue, known.run.observe(runs, before.run), ends, looks, now)


def outlived(tracker: Tracker, seen: Sighting, expect: Kind) -> Observation | None:
    """Tell what a tracker teaches that has lasted longer than nearly all of its kind, if it has.

    After that its `entered_at` is its `seen_at`: nothing counts twice.
    """
    return Observation(kind=tracker.kind, sighting=seen) if seen.outlives(expect) else None


def observed(before: Tracker, *, now: int, over: bool) -> Observation | None:
    """Tell what the end of a tracker teaches; None if it was never seen before it.

    Args:
        before: the tracker as it was before its last look.
        now: when that look was.
        over: whether it showed the end; if not, we have stopped looking.
    """
    seen = sighting(before)
    if seen is None:
        return None
    age = max(seen.last, (now - began(before)) / 1000) if over else math.inf
    return Observation(kind=before.kind, sighting=seen, over=age, looks=before.polls + over)


# --- for people ---------------------------------------------------------------------------------

CURVE_POINTS = 24


def kind_shape(kind: Words, known: Known, expect: Kind) -> JsonObject:
    """Show what was learned of one kind: how many, how long, and its curve in a few points."""
    run, end_s = expect.run, expect.run.age_when(0.01)
    ages = [end_s * point / (CURVE_POINTS - 1) for point in range(CURVE_POINTS)]
    return {
        "kind": list(kind),
        "sample": round(known.ends, 1),
        "looks_per_generation": round(known.looks / known.ends, 2) if known.ends else 0.0,
        "median_s": round(run.age_when(0.5), 2),
        "p90_s": round(run.age_when(0.1), 2),
        "queue_median_s": round(expect.queue.age_when(0.5), 2) if expect.queue else None,
        "curve": [[round(age, 2), round(run.at(age)[0], 4)] for age in ages],
    }


def kinds_shape(known: Mapping[Words, Known], expect: Expectations) -> list[JsonObject]:
    """Show what was learned of all kinds, the most seen one first."""
    seen = sorted(known, key=lambda kind: (-known[kind].ends, kind))
    return [kind_shape(kind, known[kind], expect[kind]) for kind in seen]
