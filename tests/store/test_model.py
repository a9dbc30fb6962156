"""The store against a model of trackers: random lives, repeated and late settles, time that passes.

What is promised is asserted after every step: a tracker that was acknowledged is tracked until it
is over, one that has ended made exactly one event with exactly one delivery, and every list, due
time and deadline agrees with what it stands for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.store.machine import LEASE_MS, LIVES, RETENTION_MS, StoreMachine, T
from worker.model import Delivery, DeliveryState, NewEvent, State, Terms, Tracker, Watched
from worker.store import ClaimedTracker

POLL, POST = "poll:luma", "post:https://hooks.example.com:443"

names = st.sampled_from(["a", "b:c"])
deadlines = st.sampled_from([20.0, 400.0])
pauses = st.sampled_from([0, 1000, LEASE_MS, 60_000])
outcomes = st.sampled_from(
    [State.TRACKING, State.TRACKING, State.COMPLETED, State.FAILED, State.EXPIRED]
)
picks = st.sampled_from([0, 0, 0, 1, 2, 5])  # among what was done before: mostly the newest


@dataclass
class Kept:
    """A tracker as it has to be. `version` is new whenever its fence has to be."""

    version: int
    tracked_at: int
    deadline_s: float
    due: float
    deadline: int
    state: State = State.TRACKING
    ended_at: int | None = None

    def lease(self, until: int) -> None:
        self.due, self.deadline = until - 0.5, max(self.deadline, until)


@dataclass(frozen=True)
class Claim:
    """What somebody has read, and may settle at any time later."""

    read: Tracker
    version: int


@dataclass(frozen=True)
class Sent:
    """A settle, as it may be sent once more when its answer was lost."""

    claim: Claim
    state: State
    next_at: int | None = None
    event_id: str = ""


class Tracking(StoreMachine):
    """Random steps, each done to the store and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.trackers: dict[str, Kept] = {}
        self.events: list[str] = []
        self.owed: dict[str, int] = {}  # deliveries, by when they are due
        self.unswept: dict[tuple[str, str], int] = {}  # (list, name): when it ended
        self.claims: list[Claim] = []
        self.sent: list[Sent] = []

    def kept(self, name: str) -> Kept | None:
        """What has to be there: nothing more once the retention has passed."""
        found = self.trackers.get(name)
        if found and found.ended_at is not None and self.now >= found.ended_at + RETENTION_MS:
            return None
        return found

    # --- what callers do --------------------------------------------------------------------------

    @rule(name=names, deadline_s=deadlines)
    def track(self, name: str, deadline_s: float) -> None:
        wanted = [(name, Terms(deadline_s=deadline_s))]
        tracked = self.run(self.store.trackers.track("luma", "luma", wanted))

        kept = self.kept(name)
        if kept is None or kept.state in {State.EXPIRED, State.CANCELED}:
            assert tracked.outcomes == ["new"]
            if kept:
                del self.unswept[f"trackers:luma:{kept.state}", name]
            deadline = self.now + round(deadline_s * 1000)
            self.trackers[name] = Kept(self.number(), self.now, deadline_s, self.now, deadline)
        else:
            same = kept.deadline_s == deadline_s
            assert tracked.outcomes == ["same" if same else "conflict"]

    @rule(name=names)
    def cancel(self, name: str) -> None:
        claim = self.claimed_out_of_turn(name, rate=None)
        if claim and claim.read.state is State.TRACKING:
            self.settle(Sent(claim, State.CANCELED))

    @rule(name=names)
    def hurry(self, name: str) -> None:
        state, _ = self.run(self.store.trackers.hurry("luma", name))
        kept = self.kept(name)
        assert state == (kept.state if kept else None)
        if kept and kept.state is State.TRACKING:
            kept.due = min(kept.due, self.now)

    # --- looks ------------------------------------------------------------------------------------

    @rule(limit=st.integers(0, 3))
    def claim(self, limit: int) -> None:
        claimed = self.run(self.store.trackers.claim("luma", limit=limit, rate=1000))

        tracked = self.tracked()
        overdue = sorted((k.deadline, n) for n, k in tracked.items() if k.deadline <= self.now)
        first = [name for _, name in overdue]
        due = sorted((k.due, n) for n, k in tracked.items() if k.due <= self.now and n not in first)
        expected = [name for _, name in overdue + due][:limit]
        assert [each.generation_id for each in claimed.looks] == expected
        for each in (it.whole() for it in claimed.looks):
            kept = tracked[each.generation_id]
            kept.lease(self.now + LEASE_MS)
            self.claims.append(Claim(each, kept.version))

    @rule(name=names)
    def claim_out_of_turn(self, name: str) -> None:
        claim = self.claimed_out_of_turn(name, rate=1000)
        self.claims += [claim] if claim else []

    def claimed_out_of_turn(self, name: str, *, rate: float | None) -> Claim | None:
        claimed = self.run(self.store.trackers.claim_one("luma", name, rate=rate))
        kept = self.kept(name)
        if kept is None:
            assert claimed is None
            return None
        assert isinstance(claimed, ClaimedTracker)
        assert (claimed.tracker.state, claimed.tracker.tracked_at) == (kept.state, kept.tracked_at)
        if kept.state is State.TRACKING:
            kept.lease(self.now + LEASE_MS)
        return Claim(claimed.tracker, kept.version)

    @rule(pick=picks, outcome=outcomes, pause_ms=pauses)
    def settle_a_claim(self, pick: int, outcome: State, pause_ms: int) -> None:
        if self.claims:
            self.settle_as(self.claims[-1 - pick % len(self.claims)], outcome, pause_ms)

    @rule(name=names, outcome=outcomes, pause_ms=pauses)
    def look(self, name: str, outcome: State, pause_ms: int) -> None:
        claim = self.claimed_out_of_turn(name, rate=1000)
        if claim:
            self.settle_as(claim, outcome, pause_ms)

    def settle_as(self, claim: Claim, outcome: State, pause_ms: int) -> None:
        state = outcome if claim.read.state is State.TRACKING else claim.read.state
        if state is State.TRACKING:
            self.sent.append(Sent(claim, state, next_at=self.now + pause_ms))
        else:  # with an event even if it was over before: the store knows better
            self.sent.append(Sent(claim, state, event_id=f"evt_{self.number()}"))
        self.settle(self.sent[-1])

    @rule(pick=picks, pause_ms=pauses)
    def settle_a_look_that_showed_the_same(self, pick: int, pause_ms: int) -> None:
        if not self.claims:
            return
        claim = self.claims[-1 - pick % len(self.claims)]
        name, near = claim.read.generation_id, self.now + LEASE_MS
        if claim.read.state is not State.TRACKING or claim.read.deadline_at <= near:
            return  # such a look is settled in full
        after = Watched.of(claim.read).but(next_poll_at=self.now + pause_ms)

        applied = self.run(self.store.trackers.settle_waits("luma", [after]))

        kept = self.kept(name)
        assert applied == [kept is not None and claim.version == kept.version]
        if applied[0] and kept:
            kept.version, kept.due = self.number(), self.now + pause_ms

    @rule(pick=picks)
    def send_a_settle_again(self, pick: int) -> None:
        if self.sent:
            self.settle(self.sent[-1 - pick % len(self.sent)])

    def settle(self, sent: Sent) -> None:
        read, name = sent.claim.read, sent.claim.read.generation_id
        after = replace(read, state=sent.state, next_poll_at=sent.next_at)
        event = event_of(sent.event_id, name) if sent.event_id else None
        applied, _ = self.run(self.store.trackers.settle(after, event=event))

        kept = self.kept(name)
        assert applied is (kept is not None and sent.claim.version == kept.version)
        if not applied or not kept:
            return
        kept.version = self.number()
        if sent.next_at is not None:
            kept.due, kept.deadline = sent.next_at, read.deadline_at
        elif kept.state is State.TRACKING:
            kept.state, kept.ended_at = sent.state, self.now
            self.unswept[f"trackers:luma:{sent.state}", name] = self.now
            if event:
                self.events.append(sent.event_id)
                self.owed[f"dlv_{sent.event_id}"] = self.now

    # --- time -------------------------------------------------------------------------------------

    @rule(pause_ms=pauses)
    def time_passes(self, pause_ms: int) -> None:
        self.now += pause_ms

    @rule()
    def sweep(self) -> None:
        swept = self.run(self.store.lanes.sweep())

        over = [it for it, at in self.unswept.items() if at + RETENTION_MS <= self.now]
        assert swept == len(over)
        for it in over:
            del self.unswept[it]

    # --- what holds at any time -------------------------------------------------------------------

    def tracked(self) -> dict[str, Kept]:
        return {n: k for n, k in self.trackers.items() if k.state is State.TRACKING}

    @invariant()
    def every_tracker_is_there_until_its_retention_ends(self) -> None:
        for name in self.trackers:
            kept, found = self.kept(name), self.run(self.store.trackers.get("luma", name))
            assert (found and found.state) == (kept and kept.state)
            left_ms = self.run(self.redis.pttl(f"m:tracker:luma:{name}"))
            assert (left_ms == -1) is (kept is not None and kept.state is State.TRACKING)

    @invariant()
    def every_end_has_made_one_event_and_one_delivery(self) -> None:
        stream = self.run(self.redis.xrange("m:events"))
        assert [entry[b"event_id"].decode() for _, entry in stream] == self.events
        assert self.scores(f"due:{POST}") == self.owed
        assert set(self.scores("deliveries:pending")) == set(self.owed)

    @invariant()
    def what_is_tracked_is_due_and_has_a_deadline(self) -> None:
        tracked = self.tracked()
        assert self.scores(f"due:{POLL}") == {n: k.due for n, k in tracked.items()}
        assert self.scores("deadlines:luma") == {n: k.deadline for n, k in tracked.items()}
        looks = [math.ceil(min(k.due, k.deadline)) for k in tracked.values()]
        first = {POLL: looks, POST: self.owed.values()}
        assert self.scores("lanes") == {lane: min(at) for lane, at in first.items() if at}

    @invariant()
    def the_lists_agree_with_what_they_list(self) -> None:
        for state in State:
            index = f"trackers:luma:{state}"
            ended = {name for listed, name in self.unswept if listed == index}
            tracked = self.tracked() if state is State.TRACKING else {}
            assert set(self.scores(index)) == ended | set(tracked)


def event_of(event_id: str, name: str) -> NewEvent:
    delivery = Delivery(
        id=f"dlv_{event_id}",
        event_id=event_id,
        type="generation.completed",
        account="luma",
        generation_id=name,
        endpoint="url_1",
        url="https://hooks.example.com/x",
        state=DeliveryState.PENDING,
        created_at=T,
    )
    return NewEvent(id=event_id, type=delivery.type, body=b"{}", delivery=delivery, lane=POST)


TestTracking = Tracking.TestCase
TestTracking.settings = settings(LIVES, max_examples=40)
