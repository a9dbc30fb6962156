"""Looks at generations: what a drain does in an account's lane, and a look out of turn."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

from worker import events, policy, shapes, telemetry
from worker.drain import Claimed, Drain
from worker.errors import NotFoundError, UnavailableError
from worker.model import (
    Account,
    Answer,
    Delivery,
    Endpoint,
    Entry,
    Finish,
    Health,
    Missing,
    Reason,
    Refused,
    Seen,
    State,
    Throttled,
    Tracker,
    Trouble,
    Verdict,
)
from worker.providers.client import MAX_CONNECTIONS, ProviderClient
from worker.store import Clock, Store

LOOKS_AT_ONCE = MAX_CONNECTIONS
"""How many looks of one account a drain has under way at a time.

A claimed look that has to wait for a connection would use up its lease there.
"""

Start = Callable[[str], Awaitable[None]]
"""Starts the drain of a lane."""


class Poller:
    """Looks, decides, and writes down what came of it, with the event that it makes.

    Args:
        store: where trackers are kept.
        accounts: by name.
        clients: the accounts' provider clients, by name.
        start: starts the drain of a lane.
    """

    def __init__(
        self,
        store: Store,
        accounts: Mapping[str, Account],
        clients: Mapping[str, ProviderClient],
        start: Start,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clients = clients
        self._start = start

    async def drain(self, account: str, lane: str, stopping: asyncio.Event) -> bool:
        """Handle the looks due in an account's lane; True if a next drain must be started.

        An account that this deployment no longer configures keeps its trackers, unlooked at.
        """
        if account not in self._accounts:
            telemetry.unknown_account(account)
            return False
        claim = partial(self._claim, account)
        drain = Drain(
            self._store,
            lane,
            claim,
            hands=LOOKS_AT_ONCE,
            stopping=stopping,
            start=self._start,
        )
        return await drain.run()

    async def _claim(self, account: str, room: int) -> Claimed:
        rate = self._accounts[account].polls_per_second
        claimed = await self._store.trackers.claim(account, limit=room, rate=rate)
        looks = [partial(self._look, t, claimed.health, claimed.clock) for t in claimed.looks]
        ends = [partial(self._end_unseen, t, claimed.health, claimed.clock) for t in claimed.blind]
        return Claimed(claimed.clock, [*looks, *ends], claimed.wake_at)

    async def look_now(self, account: str, generation_id: str) -> None:
        """Look at one generation out of turn, finished or not, within the account's budget.

        Raises:
            NotFoundError: it is not tracked.
            UnavailableError: the account is held, or its budget is used up.
        """
        rate = self._accounts[account].polls_per_second
        claimed = await self._store.trackers.claim_one(account, generation_id, rate=rate)
        if claimed is None:
            raise NotFoundError(f"{generation_id} is not tracked in account {account}")
        if isinstance(claimed, float):
            raise UnavailableError(
                f"Account {account} must not be asked for another {claimed:.1f} s; "
                "without fresh=true you get what was seen last.",
                retry_after=claimed,
            )
        await self._look(claimed.tracker, claimed.health, claimed.clock)

    async def _look(self, tracker: Tracker, health: Health, clock: Clock) -> None:
        started = time.monotonic()
        answer = await self._clients[tracker.account].get_generation(tracker.generation_id)
        took_ms = round((time.monotonic() - started) * 1000)
        now, jitter = clock.now(), random.random()
        verdict: Verdict
        if tracker.state is State.TRACKING:
            verdict = policy.judge(tracker, answer, now=now, jitter=jitter)
            after = policy.apply(tracker, answer, verdict, now=now)
        else:
            verdict = Finish(tracker.state, tracker.reason)
            after = policy.refresh(tracker, answer, now=now)
        next_health = policy.next_health(health, answer, now=now, jitter=jitter)
        applied = await self._settle(
            tracker,
            after,
            look=_look_entry(answer, now, took_ms),
            health=None if next_health == health else next_health,
            now=now,
        )
        telemetry.looked(tracker=after, answer=answer, verdict=verdict, duration_ms=took_ms)
        if applied and (next_health.held_until or health.held_until):
            telemetry.held(tracker.account, next_health)

    async def _end_unseen(self, tracker: Tracker, health: Health, clock: Clock) -> None:
        """End a tracker whose deadline has passed while its account is held, saying why it is."""
        verdict = Finish(State.EXPIRED, Reason.DEADLINE)
        after = policy.apply(tracker, None, verdict, now=clock.now())
        after = replace(after, last_error=health.detail or after.last_error)
        await self._settle(tracker, after, look=None, health=None, now=clock.now())

    async def _settle(
        self,
        before: Tracker,
        after: Tracker,
        *,
        look: Entry | None,
        health: Health | None,
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
        )
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

    async def refreshed(self, delivery: Delivery, body: bytes) -> bytes:
        """Renew the assets in an event's bytes, if by now they may have expired.

        If the provider cannot be asked, what was seen last goes out: late news beat none.
        """
        client = self._clients.get(delivery.account)
        lifetime_s = client.asset_lifetime_s if client else None
        if not shapes.has_expired(body, lifetime_s, await self._store.now()):
            return body
        try:
            await self.look_now(delivery.account, delivery.generation_id)
        except (NotFoundError, UnavailableError):
            return body
        known = await self._store.trackers.get(delivery.account, delivery.generation_id)
        return shapes.refreshed(body, known) if known and known.seen_at else body


def _look_entry(answer: Answer, now: int, took_ms: int) -> Entry:
    match answer:
        case Seen():
            details = {"provider_state": answer.provider_state, "duration_ms": took_ms}
        case Missing() | Refused() | Throttled() | Trouble():
            details = {"error": answer.detail, "duration_ms": took_ms}
    return Entry(now, "look", details)
