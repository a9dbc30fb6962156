"""What comes of a look: what it means is decided, written down, and told.

A look that shows nothing new, as most do, needs little of its tracker, changes little of it, and is
written with all others that end in the same moment: one script for all of them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from worker import events, policy, shapes, telemetry
from worker.learner import Learner
from worker.learning import Observation, observed, outlived
from worker.model import (
    Account,
    Answer,
    Endpoint,
    Entry,
    Finish,
    Health,
    Progress,
    Reason,
    Same,
    Seen,
    State,
    Tracker,
    Verdict,
    Wait,
    Watched,
)
from worker.providers.client import ProviderClient
from worker.schedule import Kind, Market, Outlook
from worker.sightings import sighting
from worker.store import LEASE_S, Clock, Store

_FREE = Market()

_NEAR_MS = policy.in_ms(LEASE_S)
"""So near its deadline a tracker is settled in full: a claim has put the deadline off."""

Start = Callable[[str], Awaitable[None]]
"""Starts the drain of a lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look that covered a tracker: as it was before, what was answered, and when.

    `health` is the account's, as it was when the look was claimed; None if it has been dealt with.
    `paged`: a page showed it, with others.
    """

    before: Watched
    answer: Answer
    now: int
    took_ms: int
    late_ms: int | None = None
    health: Health | None = None
    paged: bool = False


@dataclass(slots=True)
class _Batch:
    """Looks that showed nothing new, to be written together."""

    looks: list[Watched]
    written: asyncio.Task[list[bool]]


class Looking:
    """Decides what looks mean and writes it down, with the events they make.

    Args:
        store: where trackers are kept.
        accounts: by name.
        clients: the accounts' provider clients, by name.
        learner: says what to expect of generations.
        start: starts the drain of a lane.
    """

    def __init__(
        self,
        store: Store,
        accounts: Mapping[str, Account],
        clients: Mapping[str, ProviderClient],
        learner: Learner,
        start: Start,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clients = clients
        self._learner = learner
        self._start = start
        self._markets: dict[str, Market] = {}
        self._fair_since: dict[str, int] = {}
        self._batches: dict[str, _Batch] = {}

    # --- when to look next ----------------------------------------------------------------------

    def price(self, account: str, *, paged: bool = False) -> float:
        """Tell what a look costs at present, in seconds of delay; on a page it is a share of it."""
        market, base = self._markets.get(account, _FREE), self._accounts[account].poll_patience
        return market.page(base) if paged else market.look(base)

    async def paid(self, leader: Watched, *, now: int, worth: float | None = None) -> None:
        """Take note of what a request was worth that one tracker was due for: see `Market`.

        Args:
            leader: as it was before; its first look tells nothing.
            now: when the request goes out.
            worth: the expected delays of all that it covers; None: of the leader alone.
        """
        account = leader.account
        # What was due before we looked at all, or before a hold ended, was not late for the budget.
        is_fair = (leader.next_poll_at or 0) >= self._fair_since.setdefault(account, now)
        reached = await self.expected_delay(leader, now) if is_fair else None
        if reached is not None:
            market, base = self._markets.get(account, _FREE), self._accounts[account].poll_patience
            worth = reached if worth is None else worth
            self._markets[account] = market.after(base, reached, worth)

    async def expected_delay(self, tracker: Watched, now: int) -> float | None:
        """Tell the expected undetected delay of a tracker; None if no look has shown it yet."""
        seen = sighting(tracker)
        if seen is None or tracker.seen_at is None:
            return None
        kind = await self.expect(tracker)
        return Outlook.of(seen, kind).delay(max(0.0, (now - tracker.seen_at) / 1000))

    async def expect(self, tracker: Watched | Tracker) -> Kind:
        """Tell what to expect of a tracker's generation."""
        return await self._learner.expect(tracker.account, tracker.kind)

    # --- looking --------------------------------------------------------------------------------

    async def look_on_time(self, tracker: Watched, health: Health, clock: Clock) -> None:
        """Look at a generation in its turn: how late that is tells if the budget suffices."""
        if health.held_until:
            self._fair_since[tracker.account] = clock.now()
        else:
            await self.paid(tracker, now=clock.now())
        await self.look(tracker, health, clock)

    async def look(self, tracker: Watched, health: Health, clock: Clock) -> Answer:
        """Look at a generation, and settle what that showed."""
        started, due_at = time.monotonic(), tracker.next_poll_at
        late_ms = None if due_at is None or due_at > clock.now() else clock.now() - due_at
        answer = await self._clients[tracker.account].get_generation(
            tracker.generation_id, mark=tracker.mark
        )
        took_ms = round((time.monotonic() - started) * 1000)
        telemetry.requested(tracker.account, "get", duration_ms=took_ms)
        await self.conclude(
            Look(
                before=tracker,
                answer=answer,
                now=clock.now(),
                took_ms=took_ms,
                late_ms=late_ms,
                health=health,
            )
        )
        return answer

    # --- what a look means ----------------------------------------------------------------------

    async def conclude(self, *looks: Look) -> None:
        """Decide what looks mean, write it down, and tell of it."""
        batches: list[_Batch] = []
        others: list[Look] = []
        for look in looks:
            batch = self._note(look, await self.expect(look.before))
            if batch is None:
                others.append(look)
            elif batch not in batches:
                batches.append(batch)
        # Shielded: a look that is canceled takes no other with it. Nor does one that fails.
        writing: list[Awaitable[object]] = [asyncio.shield(each.written) for each in batches]
        writing += map(self._settle_look, others)
        for failure in await asyncio.gather(*writing, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    def _note(self, look: Look, expect: Kind) -> _Batch | None:
        """Have a look written that showed nothing new; None if there is more to say of it."""
        it, answer, now = look.before, look.answer, look.now
        if not isinstance(answer, Same) or (look.health is not None and look.health.reason):
            return None
        if it.deadline_at <= now + _NEAR_MS:
            return None
        after = policy.seen_again(
            it, now=now, duration_ms=look.took_ms, request_id=answer.request_id
        )
        seen = sighting(after)
        if seen is None or seen.outlives(expect):
            return None
        price = self.price(it.account, paged=look.paged)
        look_at = policy.next_look(seen, expect, price, now=now, jitter=random.random())
        verdict = Wait(min(look_at, it.deadline_at))
        after = after.but(next_poll_at=verdict.at)
        telemetry.looked(after, answer, verdict, duration_ms=look.took_ms, late_ms=look.late_ms)
        return self._write_soon(after)

    async def _settle_look(self, look: Look) -> None:
        """Decide what a look means for its tracker and its account, and write all of that."""
        before, answer, now, jitter = look.before.whole(), look.answer, look.now, random.random()
        verdict: Verdict
        lesson: Observation | None = None
        after = policy.refresh(before, answer, now=now)
        if before.state is State.TRACKING:
            look_at, lesson = await self._look_at(look, after, jitter)
            verdict = policy.judge(before, answer, look_at=look_at, now=now, jitter=jitter)
            after = policy.decided(after, verdict, now=now)
            if lesson is not None:
                after = after.but(entered_at=after.seen_at)
        else:
            verdict = Finish(before.state, before.reason)
        health = _health_after(look, jitter)
        entry = _look_entry(answer, after.provider_state, now, look.took_ms)
        lesson = lesson or _taught(before, after, now)
        applied = await self._settle(
            before, after, look=entry, health=health, lesson=lesson, now=now
        )
        telemetry.looked(after, answer, verdict, duration_ms=look.took_ms, late_ms=look.late_ms)
        if applied and health and look.health and (health.held_until or look.health.held_until):
            telemetry.held(health, account=before.account)

    async def _look_at(
        self, look: Look, after: Tracker, jitter: float
    ) -> tuple[int, Observation | None]:
        """Tell when to look again at what still runs, and what it teaches by that if anything."""
        seen = sighting(after)
        answer = look.answer
        is_running = isinstance(answer, Seen | Same) and answer.progress is Progress.RUNNING
        if seen is None or not is_running:
            return look.now, None
        expect = await self.expect(after)
        price = self.price(after.account, paged=look.paged)
        look_at = policy.next_look(seen, expect, price, now=look.now, jitter=jitter)
        return look_at, outlived(after, seen, expect)

    async def end_unseen(self, tracker: Tracker, health: Health, clock: Clock) -> None:
        """End a tracker whose deadline has passed while its account cannot be asked."""
        verdict = Finish(State.EXPIRED, Reason.DEADLINE)
        after = policy.apply(tracker, None, verdict, now=clock.now())
        after = after.but(last_error=health.detail or after.last_error)
        lesson = _taught(tracker, after, clock.now())
        await self._settle(tracker, after, lesson=lesson, now=clock.now())

    # --- writing it down ------------------------------------------------------------------------

    def _write_soon(self, after: Watched) -> _Batch:
        """Write a look that showed nothing new, with all that come up before the script is sent."""
        batch = self._batches.get(after.account)
        if batch is None:
            looks: list[Watched] = []
            batch = _Batch(looks, asyncio.create_task(self._write(after.account, looks)))
            self._batches[after.account] = batch
        batch.looks.append(after)
        return batch

    async def _write(self, account: str, looks: list[Watched]) -> list[bool]:
        del self._batches[account]
        return await self._store.trackers.settle_waits(account, looks)

    async def _settle(
        self,
        before: Tracker,
        after: Tracker,
        *,
        look: Entry | None = None,
        health: Health | None = None,
        lesson: Observation | None,
        now: int,
    ) -> bool:
        entries = [look] if look else []
        if after.provider_state != before.provider_state:
            entries.append(Entry(now, "change", {"provider_state": after.provider_state}))
        event = None
        type_ = shapes.event_after(before, after)
        if type_ is not None:
            event = events.about_tracker(after, type_, await self._endpoint(after), now)
            entries.append(Entry(now, "event", {"type": type_, "event_id": event.id}))
        applied, lane = await self._store.trackers.settle(
            after,
            health=health,
            entries=entries,
            event=event,
            observation=lesson.to_bytes() if lesson else None,
        )
        if applied and after.state is not before.state:
            telemetry.ended(after)
        if lane:
            await self._start(lane)
        return applied

    async def _endpoint(self, tracker: Tracker) -> Endpoint | None:
        """Find who is to be told: nobody, if the endpoint has been deleted meanwhile."""
        if tracker.terms.callback_url is not None:
            return events.anonymous(tracker.terms.callback_url)
        if tracker.terms.endpoint is not None:
            return await self._store.endpoints.get(tracker.terms.endpoint)
        return None


def _health_after(look: Look, jitter: float) -> Health | None:
    """Tell the account's health after a look; None if it stays as it was."""
    if look.health is None:
        return None
    name = look.before.generation_id
    after = policy.next_health(
        look.health, look.answer, generation_id=name, now=look.now, jitter=jitter
    )
    return None if after == look.health else after


def _taught(before: Tracker, after: Tracker, now: int) -> Observation | None:
    """Tell what an end teaches: that it came, or that we have stopped looking before it came."""
    if before.state is not State.TRACKING or after.state is State.TRACKING:
        return None
    if after.reason is Reason.NOT_FOUND:
        return None
    return observed(before, now=now, over=after.state is not State.EXPIRED)


def _look_entry(answer: Answer, state: str | None, now: int, took_ms: int) -> Entry:
    error = {} if isinstance(answer, Seen | Same) else {"error": answer.detail}
    shown = {} if error else {"provider_state": state}
    request = {} if answer.request_id is None else {"request_id": answer.request_id}
    return Entry(now, "look", {**shown, **error, "duration_ms": took_ms, **request})
