"""Delivers webhooks: what a drain does in a receiver's lane."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from worker import policy, signing, telemetry
from worker.drain import Claimed, Drain
from worker.egress import Egress
from worker.model import (
    Attempt,
    Delivered,
    Delivery,
    DeliveryState,
    DeliveryVerdict,
    Entry,
    Exhausted,
    Replied,
    Reply,
    RetryAt,
    Unanswered,
)
from worker.store import Clock, Store

ATTEMPTS_AT_ONCE = 8
"""How many attempts at one receiver a drain has under way at a time."""


class Courier:
    """Posts what is owed, signed, and writes down what the receiver made of it.

    Args:
        store: where deliveries are kept.
        egress: the way out.
        secrets: live signing secrets, the newest first.
        schedule: seconds from each attempt to the next.
    """

    def __init__(
        self, store: Store, egress: Egress, *, secrets: Sequence[str], schedule: Sequence[float]
    ) -> None:
        self._store = store
        self._egress = egress
        self._secrets = secrets
        self._schedule = schedule

    async def drain(self, lane: str, stopping: asyncio.Event) -> bool:
        """Handle the deliveries due in a receiver's lane; True if a next drain must be started."""
        claim = partial(self._claim, lane)
        drain = Drain(self._store, lane, claim, hands=ATTEMPTS_AT_ONCE, stopping=stopping)
        return await drain.run()

    async def _claim(self, lane: str, room: int) -> Claimed:
        claimed = await self._store.deliveries.claim(lane, limit=room)
        work = [partial(self._attempt, d, body, claimed.clock) for d, body in claimed.deliveries]
        return Claimed(claimed.clock, work, claimed.wake_at)

    async def _attempt(self, delivery: Delivery, body: bytes, clock: Clock) -> None:
        at = clock.now()
        signed = signing.headers(delivery.event_id, at // 1000, body, self._secrets)
        headers = {**delivery.headers, "content-type": "application/json", **signed}
        reply = await self._egress.post(delivery.url, headers, body)
        verdict = policy.delivery_verdict(
            delivery.tries + 1,
            reply,
            now=clock.now(),
            jitter=random.random(),
            schedule=self._schedule,
        )
        after = settled(delivery, verdict, now=clock.now())
        attempt = _attempt_made(at, reply)
        entry = Entry(at, "attempt", _entry_details(after, attempt))
        await self._store.deliveries.settle(after, attempt, entry=entry)
        telemetry.attempted(delivery=after, reply=reply, verdict=verdict)


def settled(delivery: Delivery, verdict: DeliveryVerdict, *, now: int) -> Delivery:
    """Tell what a delivery is after one more attempt with this verdict."""
    once_more = replace(delivery, tries=delivery.tries + 1)
    match verdict:
        case Delivered():
            state, reason = DeliveryState.DELIVERED, None
        case Exhausted(why):
            state, reason = DeliveryState.EXHAUSTED, why
        case RetryAt(at):
            return replace(once_more, next_attempt_at=at)
        case _ as never:
            assert_never(never)
    return replace(once_more, state=state, reason=reason, next_attempt_at=None, finished_at=now)


def _attempt_made(at: int, reply: Reply) -> Attempt:
    match reply:
        case Replied():
            return Attempt(
                at=at,
                duration_ms=reply.duration_ms,
                status=reply.status,
                response=reply.response,
            )
        case Unanswered():
            return Attempt(at=at, duration_ms=reply.duration_ms, error=reply.error)
        case _ as never:
            assert_never(never)


def _entry_details(after: Delivery, attempt: Attempt) -> dict[str, object]:
    return {
        "delivery_id": after.id,
        "attempt": after.tries,
        "status": attempt.status,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "delivery_state": after.state,
    }
