"""Deliveries and their endpoint against a model of a page: random lives, and time that passes.

Whatever order things come in: a delivery is in exactly one list, what is pending is due and owed to
its endpoint, nothing else is, and an event counts what is pending for it.
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

from worker.model import Attempt, Delivery, DeliveryState, Endpoint, Entry, NewEvent
from worker.store import Store

T = 1_700_000_000_000
LEASE_MS = 30_000
RETENTION_MS = 100_003  # no sum of the steps below, so that nothing ends in the very same instant
URL = "https://hooks.example.com/x"
LANE = "post:https://hooks.example.com:443"
ORDERS = Endpoint(name="orders", url=URL, concurrency=2)
GIVEN_UP = {"off": "exhausted", "deleted": "discarded"}

pauses = st.sampled_from([0, 1000, 7000, LEASE_MS, 150_000])


@dataclass
class Kept:
    """A delivery, as it has to be. `fence` counts what was written; `busy_until` is its lease's."""

    state: str
    due: int
    fence: int
    busy_until: int | None = None
    ended_at: int | None = None

    def gone(self, now: int) -> bool:
        return self.ended_at is not None and now >= self.ended_at + RETENTION_MS


@dataclass(frozen=True)
class Claim:
    """What somebody took, and may settle at any time later."""

    read: Delivery
    fence: int


class Owing(RuleBasedStateMachine):
    """Random steps, each done to the store and to the model."""

    claims: Bundle[Claim] = Bundle("claims")

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
        self.endpoint = "deleted"  # on, off or deleted
        self.owed: dict[str, Kept] = {}
        self.listed: dict[tuple[str, str], int] = {}  # (list, ID): when it ended
        self.count = 0
        self.switch_on()

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

    def end(self, name: str, state: str) -> None:
        kept = self.owed[name]
        kept.state, kept.busy_until, kept.ended_at = state, None, self.now
        self.listed[f"deliveries:{state}", name] = self.now
        if state == "exhausted":
            self.listed["failed:orders", name] = self.now

    # --- the endpoint -----------------------------------------------------------------------------

    @rule()
    def switch_on(self) -> None:
        self.run(self.store.endpoints.put(ORDERS, enabled=True, secret="s1"))
        self.endpoint = "on"

    @rule()
    def switch_off(self) -> None:
        self.run(self.store.endpoints.put(ORDERS, enabled=False, secret="s1"))
        self.endpoint = "off"

    @rule()
    def delete(self) -> None:
        assert self.run(self.store.endpoints.drop("orders")) is (self.endpoint != "deleted")
        self.endpoint = "deleted"

    @rule()
    def release(self) -> None:
        self.run(self.store.endpoints.release("orders"))
        for name in [n for n, kept in self.owed.items() if kept.state == "pending"]:
            busy_until = self.owed[name].busy_until
            under_way = busy_until is not None and busy_until > self.now
            if self.endpoint != "on" and not under_way:
                self.end(name, GIVEN_UP[self.endpoint])

    # --- deliveries -------------------------------------------------------------------------------

    @rule()
    def announce(self) -> None:
        name = f"dlv_{self.number()}"
        event = NewEvent(id=f"evt_{name}", type="t", body=b"{}", delivery=delivery(name), lane=LANE)
        for _ in range(2):  # again, as after an answer that was lost
            self.run(self.store.deliveries.announce(event))
        self.owed[name] = Kept("pending", self.now, self.number())
        if self.endpoint != "on":
            self.end(name, GIVEN_UP[self.endpoint])

    @rule(target=claims, limit=st.integers(0, 4))
    def claim(self, limit: int) -> Any:
        claimed = self.run(self.store.deliveries.claim(LANE, limit=limit))

        pending = {n: kept for n, kept in self.owed.items() if kept.state == "pending"}
        for kept in pending.values():
            if kept.busy_until is not None and kept.busy_until <= self.now:
                kept.busy_until = None
        room = ORDERS.concurrency - sum(kept.busy_until is not None for kept in pending.values())
        due = sorted((kept.due, n) for n, kept in pending.items() if kept.due <= self.now)
        first = [n for _, n in due[:limit]]
        if self.endpoint != "on":
            for name in first:
                self.end(name, GIVEN_UP[self.endpoint])
            first = []
        taken = [each.delivery for each in claimed.deliveries]
        assert [each.id for each in taken] == first[:room]
        for name in first[:room]:
            kept = pending[name]
            kept.due = kept.busy_until = self.now + LEASE_MS
            kept.fence = self.number()
        return multiple(*(Claim(each, self.owed[each.id].fence) for each in taken))

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
            applied, _ = self.run(self.store.deliveries.settle(after, made, entry=entry))

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

    @rule(pick=st.integers(0, 9))
    def replay(self, pick: int) -> None:
        names = sorted(self.owed)
        name = names[pick % len(names)] if names else "nope"
        before, _ = self.run(self.store.deliveries.replay(delivery(name)))

        kept = self.owed.get(name)
        if kept is None or kept.gone(self.now):
            assert before == ""
        elif self.endpoint != "on":
            assert before == {"off": "disabled", "deleted": "gone"}[self.endpoint]
        else:
            assert before == kept.state
            if kept.state != "pending":
                del self.listed[f"deliveries:{kept.state}", name]
                kept.state, kept.ended_at, kept.fence = "pending", None, self.number()
            if kept.busy_until is None:
                kept.due = self.now

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
        pending = {name: kept for name, kept in self.owed.items() if kept.state == "pending"}
        due = {name: kept.due for name, kept in pending.items()}
        busy = {name: kept.busy_until for name, kept in pending.items() if kept.busy_until}
        assert self.scores(f"due:{LANE}") == due
        assert self.scores(f"busy:{LANE}") == busy
        assert set(self.scores("owed:orders")) == set(pending)
        assert self.scores("lanes") == ({LANE: min(due.values())} if due else {})

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
            event, ends = f"m:event:evt_{name}", kept.state != "pending"
            pending = self.run(self.redis.hget(event, "pending"))
            assert pending == (None if kept.gone(self.now) else b"%d" % (not ends))
            for key in (event, f"m:delivery:{name}"):
                left_ms = self.run(self.redis.pttl(key))
                assert (left_ms == -2) is kept.gone(self.now)
                assert (left_ms == -1) is not ends

    def scores(self, key: str) -> dict[str, float]:
        found = self.run(self.redis.zrange(f"m:{key}", 0, -1, withscores=True))
        return {name.decode(): score for name, score in found}


def delivery(name: str) -> Delivery:
    return Delivery(
        id=name,
        event_id=f"evt_{name}",
        type="t",
        account="",
        generation_id="",
        endpoint="orders",
        url=URL,
        state=DeliveryState.PENDING,
        created_at=T,
    )


TestOwing = Owing.TestCase
TestOwing.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, derandomize=True
)
