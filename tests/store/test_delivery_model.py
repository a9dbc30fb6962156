"""Deliveries and their endpoint against a model of a page: random lives, and time that passes.

Whatever order things come in: a delivery is in exactly one list, what is pending waits in its
endpoint's queue, which is in the lane where the endpoint is, nothing else does, and an event counts
what is pending for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, multiple, rule

from tests.store.machine import LEASE_MS, LIVES, RETENTION_MS, StoreMachine
from tests.store.receiving import ELSEWHERE, LANE, NEW_LANE, URL, event_of, owed
from worker.model import Attempt, Delivery, DeliveryState, Endpoint, Entry
from worker.store.deliveries import BARE_CONCURRENCY

ORDERS = Endpoint(name="orders", url=URL, concurrency=2)
URL_OF = {LANE: URL, NEW_LANE: ELSEWHERE}
GIVEN_UP = {"off": "exhausted", "deleted": "discarded"}
AGAIN_MS = 1000
"""When a queue that is full is looked at again."""

pauses = st.sampled_from([0, 1000, 7000, LEASE_MS, 150_000])
lanes = st.sampled_from([LANE, LANE, NEW_LANE])


@dataclass
class Kept:
    """A delivery, as it has to be. `fence` counts what was written; `busy_until` is its lease's.

    `lane` is where it was born, or last claimed.
    """

    state: str
    due: int
    fence: int
    lane: str
    busy_until: int | None = None
    ended_at: int | None = None

    def gone(self, now: int) -> bool:
        return self.ended_at is not None and now >= self.ended_at + RETENTION_MS


@dataclass(frozen=True)
class Claim:
    """What somebody took, and may settle at any time later."""

    read: Delivery
    fence: int


class Owing(StoreMachine):
    """Random steps, each done to the store and to the model."""

    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = "deleted"  # on, off or deleted
        self.lane: str | None = None  # where it is
        self.ready: dict[str, int] = {}  # lanes that its queue is in, and when it has work there
        self.owed: dict[str, Kept] = {}
        self.listed: dict[tuple[str, str], int] = {}  # (list, ID): when it ended
        self.switch_on(LANE)

    def end(self, name: str, state: str) -> None:
        kept = self.owed[name]
        kept.state, kept.busy_until, kept.ended_at = state, None, self.now
        self.listed[f"deliveries:{state}", name] = self.now
        if state == "exhausted":
            self.listed["failed:orders", name] = self.now

    def pending(self) -> dict[str, Kept]:
        return {name: kept for name, kept in self.owed.items() if kept.state == "pending"}

    def index(self, lane: str, not_before: int = 0) -> None:
        self.ready.pop(lane, None)
        if pending := self.pending():
            self.ready[lane] = max(not_before, min(kept.due for kept in pending.values()))

    def hurry(self, lane: str) -> None:
        self.ready[lane] = min(self.ready.get(lane, self.now), self.now)

    # --- the endpoint -----------------------------------------------------------------------------

    @rule(lane=lanes)
    def switch_on(self, lane: str) -> None:
        self.put(lane, enabled=True)
        self.endpoint = "on"

    @rule()
    def switch_off(self) -> None:
        self.put(self.lane or LANE, enabled=False)
        self.endpoint = "off"

    def put(self, lane: str, *, enabled: bool) -> None:
        there = replace(ORDERS, url=URL_OF[lane])
        self.run(self.store.endpoints.put(there, enabled=enabled, secret="s1"))
        if lane != self.lane:
            self.ready.pop(self.lane or "", None)
            self.lane = lane
            self.index(lane)

    @rule()
    def delete(self) -> None:
        assert self.run(self.store.endpoints.drop("orders")) is (self.endpoint != "deleted")
        self.endpoint, self.lane = "deleted", None

    @rule()
    def release(self) -> None:
        self.run(self.store.endpoints.release("orders"))
        idle = [n for n, kept in self.pending().items() if (kept.busy_until or 0) <= self.now]
        if self.endpoint != "on" and idle:
            for name in idle:
                self.end(name, GIVEN_UP[self.endpoint])
            self.index(self.lane or self.owed[idle[-1]].lane)

    # --- deliveries -------------------------------------------------------------------------------

    @rule()
    def announce(self) -> None:
        name = f"dlv_{self.number()}"
        for _ in range(2):  # again, as after an answer that was lost
            self.run(self.store.deliveries.announce(event_of(delivery(name))))
        lane = self.lane or LANE
        self.owed[name] = Kept("pending", self.now, self.number(), lane)
        if self.endpoint == "on":
            self.hurry(lane)
        else:
            self.end(name, GIVEN_UP[self.endpoint])

    @rule(target=claims, lane=lanes, limit=st.integers(0, 4))
    def claim(self, lane: str, limit: int) -> Any:
        claimed = self.run(self.store.deliveries.claim(lane, limit=limit))

        taken = [each.delivery for each in claimed.deliveries]
        expected = self.to_claim(lane, limit)
        assert [each.id for each in taken] == expected
        for name in expected:
            kept = self.owed[name]
            kept.due = kept.busy_until = self.now + LEASE_MS
            kept.fence, kept.lane = self.number(), lane
        if expected:
            self.index(lane, self.now + AGAIN_MS if self.room() == 0 else 0)
        return multiple(*(Claim(each, self.owed[each.id].fence) for each in taken))

    def room(self) -> int:
        busy = sum((kept.busy_until or 0) > self.now for kept in self.pending().values())
        allowed = BARE_CONCURRENCY if self.endpoint == "deleted" else ORDERS.concurrency
        return max(0, allowed - busy)

    def to_claim(self, lane: str, limit: int) -> list[str]:
        """What a claim has to take; what it finds and must not take has its end, as it sees it."""
        if self.ready.get(lane, self.now + 1) > self.now or limit == 0:
            return []
        if self.lane not in {None, lane}:  # it was deleted, and made anew elsewhere
            del self.ready[lane]
            return []
        room = self.room()
        due = sorted((kept.due, n) for n, kept in self.pending().items() if kept.due <= self.now)
        first = [n for _, n in due[: min(room, limit)]]
        if self.endpoint == "on" and first:
            return first
        for name in first:
            self.end(name, GIVEN_UP[self.endpoint])
        self.index(lane, self.now + AGAIN_MS if room == 0 else 0)
        return []

    @rule(
        claim=claims,
        state=st.sampled_from([each for each in DeliveryState if each != "discarded"]),
        pause_ms=pauses,
        times=st.integers(1, 2),
    )
    def settle(self, claim: Claim, state: DeliveryState, pause_ms: int, times: int) -> None:
        name, kept = claim.read.id, self.owed[claim.read.id]
        after = replace(claim.read, state=state, next_attempt_at=self.now + pause_ms)
        made, entry = Attempt(at=self.now, duration_ms=1), Entry(self.now, "attempt")
        for _ in range(times):
            applied, *_ = self.run(self.store.deliveries.settle(after, made, entry=entry))

            assert applied is (kept.state == "pending" and kept.fence == claim.fence)
            if not applied:
                continue
            kept.fence, kept.busy_until = self.number(), None
            if state != "pending":
                self.end(name, state)
            elif self.endpoint != "on":
                self.end(name, GIVEN_UP[self.endpoint])
            else:
                kept.due = self.now + pause_ms
            self.index(self.lane or kept.lane, self.now)

    @rule(pick=st.integers(0, 9), is_stale=st.booleans())
    def replay(self, pick: int, *, is_stale: bool) -> None:
        names = sorted(self.owed)
        name = names[pick % len(names)] if names else "nope"
        read = [] if is_stale else self.run(self.store.deliveries.get_many([name]))
        before, _ = self.run(self.store.deliveries.replay(*read or [delivery(name)]))

        kept = self.owed.get(name)
        if kept is None or kept.gone(self.now):
            assert before == ""
        elif self.endpoint != "on":
            assert before == {"off": "disabled", "deleted": "gone"}[self.endpoint]
        elif is_stale and kept.state != "pending":
            assert before == "changed"
        else:
            assert before == kept.state
            if kept.state != "pending":
                del self.listed[f"deliveries:{kept.state}", name]
                kept.state, kept.ended_at, kept.fence = "pending", None, self.number()
            if (kept.busy_until or 0) <= self.now:
                kept.due = self.now
                self.hurry(self.lane or kept.lane)

    # --- time -------------------------------------------------------------------------------------

    @rule(pause_ms=pauses)
    def time_passes(self, pause_ms: int) -> None:
        self.now += pause_ms

    @rule()
    def sweep(self) -> None:
        over = [it for it, at in self.listed.items() if at + RETENTION_MS <= self.now]
        assert self.run(self.store.lanes.sweep()) == len(over)
        for it in over:
            del self.listed[it]

    # --- what holds at any time -------------------------------------------------------------------

    @invariant()
    def what_is_pending_is_due_and_owed_and_nothing_else_is(self) -> None:
        pending = self.pending()
        busy = {n: k.busy_until for n, k in pending.items() if (k.busy_until or 0) > self.now}
        assert self.scores("due:orders") == {name: kept.due for name, kept in pending.items()}
        under_way = self.scores("busy:orders")
        assert {name: until for name, until in under_way.items() if until > self.now} == busy
        assert set(under_way) <= set(pending)
        assert set(self.scores("owed:orders")) == set(pending)

    @invariant()
    def the_queue_is_in_the_lane_where_the_endpoint_is(self) -> None:
        for lane in URL_OF:
            ready = {"orders": self.ready[lane]} if lane in self.ready else {}
            assert self.scores(f"queues:{lane}") == ready
        assert self.scores("lanes") == self.ready
        assert not self.pending() or self.endpoint == "deleted" or self.lane in self.ready

    @invariant()
    def a_delivery_is_in_one_list(self) -> None:
        lists: dict[str, set[str]] = {f"deliveries:{state}": set() for state in DeliveryState}
        for name, kept in self.owed.items():
            index = f"deliveries:{kept.state}"
            if kept.state == "pending" or (index, name) in self.listed:
                lists[index].add(name)
        exhausted = lists["deliveries:exhausted"]
        lists["failed:orders"] = {n for n in exhausted if ("failed:orders", n) in self.listed}
        for index, members in lists.items():
            assert set(self.scores(index)) == members

    @invariant()
    def an_event_counts_what_is_pending_for_it_and_ends_after_that(self) -> None:
        for name, kept in self.owed.items():
            event, ends = f"m:event:{delivery(name).event_id}", kept.state != "pending"
            pending = self.run(self.redis.hget(event, "pending"))
            assert pending == (None if kept.gone(self.now) else b"%d" % (not ends))
            for key in (event, f"m:delivery:{name}"):
                left_ms = self.run(self.redis.pttl(key))
                assert (left_ms == -2) is kept.gone(self.now)
                assert (left_ms == -1) is not ends


def delivery(name: str) -> Delivery:
    return owed(name.removeprefix("dlv_"), endpoint="orders")


TestOwing = Owing.TestCase
TestOwing.settings = settings(LIVES, max_examples=60)
