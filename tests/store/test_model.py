"""The store against a model of a page: random lives, stale and repeated settles, time that passes.

What is promised is asserted after every step: a tracker that was acknowledged is tracked until it
is over, one that has ended made exactly one event, whatever is owed stays due until it is finished,
and every list agrees with what it lists.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Entry,
    NewEvent,
    State,
    Terms,
    Tracker,
)
from worker.store import ClaimedTracker, Store

T = 1_700_000_000_000
LEASE_MS = 30_000
RETENTION_MS = 100_003  # no sum of the steps below, so that nothing ends in the very same instant
POLL, POST = "poll:luma", "post:https://hooks.example.com:443"

names = st.sampled_from(["a", "b:c", "b"])
deadlines = st.sampled_from([20.0, 400.0])
ends = st.sampled_from([State.COMPLETED, State.FAILED, State.EXPIRED])
pauses = st.sampled_from([0, 1000, 7000, LEASE_MS, 150_000])


@dataclass
class Kept:
    """A tracker or a delivery, as it has to be. `version` counts what was written to it."""

    state: str
    version: int
    due: int
    deadline: int = 0
    deadline_s: float = 0.0
    tracked_at: int = 0
    ended_at: int | None = None

    def end(self, state: str, now: int) -> None:
        self.state, self.ended_at = state, now

    def gone(self, now: int) -> bool:
        return self.ended_at is not None and now >= self.ended_at + RETENTION_MS


@dataclass(frozen=True)
class Claim:
    """What somebody read, and may settle at any time later."""

    read: Any
    version: int


class Keeping(RuleBasedStateMachine):
    """Random steps, each done to the store and to the model."""

    looks: Bundle[Claim] = Bundle("looks")
    attempts: Bundle[Claim] = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.now = T
        self.clock = mock.patch("time.time", self.seconds)  # fakeredis looks there
        self.clock.start()
        self.runner = asyncio.Runner()
        self.redis: Redis = FakeAsyncRedis(server=FakeServer())
        self.store = Store(
            self.redis, prefix="m", retention_s=RETENTION_MS / 1000, lease_s=LEASE_MS / 1000
        )
        self.trackers: dict[str, Kept] = {}
        self.owed: dict[str, Kept] = {}
        self.events: list[str] = []
        self.unswept: dict[tuple[str, str], int] = {}  # (list, name): when it ended
        self.count = 0

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()
        self.clock.stop()

    def run(self, step: Any) -> Any:
        return self.runner.get_loop().run_until_complete(step)

    def seconds(self) -> float:
        return self.now / 1000

    def number(self) -> int:
        self.count += 1
        return self.count

    def kept(self, name: str) -> Kept | None:
        found = self.trackers.get(name)
        return None if found is None or found.gone(self.now) else found

    # --- what callers do --------------------------------------------------------------------------

    @rule(name=names, deadline_s=deadlines)
    def track(self, name: str, deadline_s: float) -> None:
        wanted = [(name, Terms(deadline_s=deadline_s))]
        tracked = self.run(self.store.trackers.track("luma", "luma", wanted))

        kept = self.kept(name)
        if kept is None or kept.state in {State.EXPIRED, State.CANCELED}:
            assert tracked.outcomes == ["new"]
            if kept:
                self.unswept.pop((f"trackers:luma:{kept.state}", name))
            deadline = self.now + round(deadline_s * 1000)
            self.trackers[name] = Kept(
                State.TRACKING, self.number(), self.now, deadline, deadline_s, self.now
            )
        else:
            same = kept.deadline_s == deadline_s
            assert tracked.outcomes == ["same" if same else "conflict"]

    @rule(name=names)
    def cancel(self, name: str) -> None:
        claimed = self.run(self.store.trackers.claim_one("luma", name, rate=None))
        kept = self.kept(name)
        assert (claimed is not None) is (kept is not None)
        if kept and kept.state == State.TRACKING:
            self.lease(kept)
            assert isinstance(claimed, ClaimedTracker)
            self.settle_look(Claim(claimed.tracker, kept.version), State.CANCELED)

    @rule(name=names)
    def hurry(self, name: str) -> None:
        state, _ = self.run(self.store.trackers.hurry("luma", name))
        kept = self.kept(name)
        assert state == (kept.state if kept else None)
        if kept and kept.state == State.TRACKING:
            kept.due = min(kept.due, self.now)

    # --- looks ------------------------------------------------------------------------------------

    def lease(self, kept: Kept) -> None:
        kept.due = self.now + LEASE_MS
        kept.deadline = max(kept.deadline, kept.due)

    @rule(target=looks, limit=st.integers(0, 3))
    def claim(self, limit: int) -> Any:
        claimed = self.run(self.store.trackers.claim("luma", limit=limit, rate=1000))

        tracked = {n: k for n, k in self.trackers.items() if k.state == State.TRACKING}
        overdue = sorted((k.deadline, n) for n, k in tracked.items() if k.deadline <= self.now)
        first = [name for _, name in overdue]
        due = sorted((k.due, n) for n, k in tracked.items() if k.due <= self.now and n not in first)
        expected = [name for _, name in overdue + due][:limit]
        assert [each.generation_id for each in claimed.looks] == expected
        for name in expected:
            self.lease(tracked[name])
        return multiple(*(self.claimed(each) for each in claimed.looks))

    @rule(target=looks, name=names)
    def claim_out_of_turn(self, name: str) -> Any:
        claimed = self.run(self.store.trackers.claim_one("luma", name, rate=1000))
        kept = self.kept(name)
        if kept is None:
            assert claimed is None
            return multiple()
        if kept.state == State.TRACKING:
            self.lease(kept)
        assert isinstance(claimed, ClaimedTracker)
        return self.claimed(claimed.tracker)

    def claimed(self, tracker: Tracker) -> Claim:
        kept = self.trackers[tracker.generation_id]
        assert (tracker.state, tracker.tracked_at) == (kept.state, kept.tracked_at)
        return Claim(tracker, kept.version)

    @rule(look=looks, pause_ms=pauses)
    def look_again_later(self, look: Claim, pause_ms: int) -> None:
        if look.read.state is State.TRACKING:
            self.settle_look(look, State.TRACKING, self.now + pause_ms)

    @rule(look=looks, state=ends, times=st.integers(1, 3))
    def see_the_end(self, look: Claim, state: State, times: int) -> None:
        event_id = f"evt_{self.number()}"
        for _ in range(times):  # the same settle again, as after an answer that was lost
            self.settle_look(look, state, event_id=event_id)

    @rule(look=looks)
    def refresh_what_is_over(self, look: Claim) -> None:
        if look.read.state is not State.TRACKING:
            self.settle_look(look, look.read.state)

    def settle_look(
        self, look: Claim, state: State, next_at: int | None = None, event_id: str = ""
    ) -> None:
        name = look.read.generation_id
        after = replace(look.read, state=state, next_poll_at=next_at, polls=look.read.polls + 1)
        event = event_of(event_id, name) if event_id else None
        applied, _ = self.run(self.store.trackers.settle(after, event=event))

        kept = self.kept(name)
        legal = kept and kept.state in {State.TRACKING, state}
        assert applied is bool(legal and kept and look.version == kept.version)
        if not applied or not kept:
            return
        kept.version = self.number()
        if next_at is not None:
            kept.due, kept.deadline = next_at, look.read.deadline_at
        elif kept.state == State.TRACKING:
            kept.end(state, self.now)
            self.unswept[f"trackers:luma:{state}", name] = self.now
            if event_id:
                self.events.append(event_id)
                self.owed[f"dlv_{event_id}"] = Kept("pending", self.number(), self.now)

    # --- attempts ---------------------------------------------------------------------------------

    @rule(target=attempts, limit=st.integers(0, 3))
    def claim_deliveries(self, limit: int) -> Any:
        claimed = self.run(self.store.deliveries.claim(POST, limit=limit))

        due = sorted(
            (k.due, n) for n, k in self.owed.items() if k.state == "pending" and k.due <= self.now
        )
        assert [each.id for each, _ in claimed.deliveries] == [n for _, n in due[:limit]]
        for _, name in due[:limit]:
            self.owed[name].due = self.now + LEASE_MS
            self.owed[name].version = self.number()
        return multiple(*(Claim(d, self.owed[d.id].version) for d, _ in claimed.deliveries))

    @rule(
        claim=attempts,
        state=st.sampled_from(DeliveryState),
        pause_ms=pauses,
        times=st.integers(1, 2),
    )
    def settle_attempt(self, claim: Claim, state: DeliveryState, pause_ms: int, times: int) -> None:
        next_at = self.now + pause_ms if state is DeliveryState.PENDING else None
        after = replace(claim.read, state=state, next_attempt_at=next_at)
        attempt = Attempt(at=self.now, duration_ms=1, status=500)
        for _ in range(times):
            entry = Entry(self.now, "attempt")
            applied = self.run(self.store.deliveries.settle(after, attempt, entry=entry))

            kept = self.owed[claim.read.id]
            assert applied is (kept.version == claim.version and not kept.gone(self.now))
            if applied:
                kept.version = self.number()
                kept.due = next_at or 0
                if next_at is None:
                    kept.end(state, self.now)
                    self.unswept[f"deliveries:{state}", claim.read.id] = self.now

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

    @invariant()
    def every_tracker_is_there_until_its_retention_ends(self) -> None:
        for name, kept in self.trackers.items():
            found = self.run(self.store.trackers.get("luma", name))
            if kept.gone(self.now):
                assert found is None
            else:
                assert found is not None
                assert found.state == kept.state
                left_ms = self.run(self.redis.pttl(f"m:tracker:luma:{name}"))
                assert (left_ms == -1) is (kept.state == State.TRACKING)

    @invariant()
    def every_end_has_made_one_event(self) -> None:
        stream = self.run(self.redis.xrange("m:events"))
        assert [entry[b"event_id"].decode() for _, entry in stream] == self.events

    @invariant()
    def what_is_owed_is_due_until_it_is_finished(self) -> None:
        pending = {name: kept for name, kept in self.owed.items() if kept.state == "pending"}
        assert self.scores(f"due:{POST}") == {name: kept.due for name, kept in pending.items()}
        for name in pending:
            event_id = name.removeprefix("dlv_")
            for key in (f"delivery:{name}", f"event:{event_id}"):
                assert self.run(self.redis.pttl(f"m:{key}")) == -1

    @invariant()
    def what_is_tracked_is_due_and_has_a_deadline(self) -> None:
        tracked = {n: k for n, k in self.trackers.items() if k.state == State.TRACKING}
        assert self.scores(f"due:{POLL}") == {n: k.due for n, k in tracked.items()}
        assert self.scores("deadlines:luma") == {n: k.deadline for n, k in tracked.items()}

    @invariant()
    def lanes_are_due_when_their_first_work_is(self) -> None:
        dues = [*self.scores(f"due:{POLL}").values(), *self.scores("deadlines:luma").values()]
        lanes = {
            POLL: min(dues, default=0),
            POST: min(self.scores(f"due:{POST}").values(), default=0),
        }
        assert self.scores("lanes") == {lane: at for lane, at in lanes.items() if at}

    @invariant()
    def the_lists_agree_with_what_they_list(self) -> None:
        lists: dict[str, set[str]] = {f"trackers:luma:{state}": set() for state in State}
        lists |= {f"deliveries:{state}": set() for state in DeliveryState}
        for index, name in self.unswept:
            lists[index].add(name)
        for kind, kept in (("trackers:luma", self.trackers), ("deliveries", self.owed)):
            for name in [n for n, k in kept.items() if k.ended_at is None]:
                lists[f"{kind}:{kept[name].state}"].add(name)
        for index, members in lists.items():
            assert set(self.scores(index)) == members

    def scores(self, key: str) -> dict[str, float]:
        found = self.run(self.redis.zrange(f"m:{key}", 0, -1, withscores=True))
        return {name.decode(): score for name, score in found}


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


TestKeeping = Keeping.TestCase
TestKeeping.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, derandomize=True
)
