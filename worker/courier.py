"""Delivers webhooks: what a drain does in a receiver's lane."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from worker import attempts, delivery_policy, events, signing, telemetry
from worker.attempts import Attempts
from worker.crew import Crew
from worker.drain import Claimed, Drain
from worker.egress import Egress
from worker.model import (
    Attempt,
    Delivered,
    Delivery,
    DeliveryState,
    DeliveryVerdict,
    DisabledReason,
    Endpoint,
    EndpointEvent,
    Entry,
    Exhausted,
    Failing,
    Health,
    Replied,
    Reply,
    RetryAt,
    Unanswered,
)
from worker.store import ClaimedDelivery, Clock, Store, SwitchOff

CLAIMED_AT_ONCE = 64
"""How many deliveries are claimed in one step, so that none takes Redis long."""

REFRESH_S = 10.0
"""So long may renewing assets hold an attempt up; with the attempt it must end within a lease."""


@dataclass(frozen=True, slots=True)
class Made:
    """An attempt that was made, and what follows from it."""

    attempt: Attempt
    after: Delivery
    health: Health
    failing: Failing
    off: DisabledReason | None


class Courier:
    """Posts what is owed, signed, and writes down what the receiver made of it.

    Args:
        store: where deliveries are kept.
        egress: the way out.
        secret: the deployment's own, which signs where an endpoint has none.
        schedule: seconds from each attempt to the next.
        refresh: renews the assets in an event's bytes, where they may have expired.
        start: starts the drain of a lane.
        crew: the drains at work in this process.
    """

    def __init__(
        self,
        store: Store,
        egress: Egress,
        *,
        secret: str,
        schedule: Sequence[float],
        refresh: Callable[[Delivery, bytes], Awaitable[bytes]],
        start: Callable[[str], Awaitable[None]],
        crew: Crew | None = None,
    ) -> None:
        self._store = store
        self._egress = egress
        self._secret = secret
        self._schedule = schedule
        self._refresh = refresh
        self._start = start
        self._crew = crew or Crew()
        self._attempts = Attempts()

    async def drain(self, lane: str, stopping: asyncio.Event, *, assists: bool = False) -> None:
        """Handle the deliveries due in a receiver's lane, by itself or to assist another."""
        drain = Drain(
            self._store,
            lane,
            partial(self._claim, lane),
            hands=attempts.PLACES,
            stopping=stopping,
            start=self._start,
            crew=self._crew,
            assists=assists,
        )
        await drain.run()

    async def _claim(self, lane: str, room: int, *, assists: bool) -> Claimed:
        # Places are taken before they are needed: other lanes claim while this one waits for Redis.
        left = self._attempts.take(lane, min(room, CLAIMED_AT_ONCE))
        try:
            claimed = await self._store.deliveries.claim(lane, limit=left, assists=assists)
            left -= len(claimed.deliveries)
        finally:
            self._attempts.give_back(lane, left)
        work = [
            partial(self._placed_attempt, lane, each, claimed.health, claimed.clock)
            for each in claimed.deliveries
        ]
        return Claimed(claimed.clock, work, claimed.wake_at)

    async def _placed_attempt(
        self, lane: str, claimed: ClaimedDelivery, health: Health, clock: Clock
    ) -> None:
        began = time.monotonic()
        try:
            reply = await self._attempt(claimed, health, clock)
            if isinstance(reply, Replied):
                self._attempts.answered(lane, reply.duration_ms, at=time.monotonic())
            else:
                self._attempts.hung(lane, since=began)
        finally:
            self._attempts.give_back(lane, 1)

    async def _attempt(self, claimed: ClaimedDelivery, health: Health, clock: Clock) -> Reply:
        endpoint, body = claimed.endpoint, claimed.body
        delivery = replace(claimed.delivery, url=endpoint.url)  # it may have moved since
        if endpoint.refresh_assets:
            body = await self._refreshed(delivery, body)
        at = clock.now()
        signed = signing.headers(
            delivery.event_id, at // 1000, body, _signing_secrets(endpoint, self._secret, at)
        )
        own = {**endpoint.headers, **delivery.headers, "content-type": "application/json"}
        reply = await self._egress.post(endpoint.url, {**own, **signed}, body)
        now = clock.now()
        verdict = self._verdict(delivery, reply, now)
        made = Made(
            attempt=_attempt_made(at, reply, claimed.held_ms),
            after=settled(delivery, verdict, now=now),
            health=delivery_policy.receiver_health(health, reply, now=now, jitter=random.random()),
            failing=delivery_policy.failing(endpoint, now=now),
            off=delivery_policy.switched_off(endpoint, reply, now=now),
        )
        told = await self._settle(made, endpoint, health, clock)
        telemetry.attempted(
            delivery=made.after, reply=reply, verdict=verdict, held_ms=claimed.held_ms
        )
        if told and bool(made.health.held_until) != bool(health.held_until):
            telemetry.held(made.health, url=endpoint.url)  # once, not for each probe that fails
        return reply

    async def _refreshed(self, delivery: Delivery, body: bytes) -> bytes:
        try:
            async with asyncio.timeout(REFRESH_S):
                return await self._refresh(delivery, body)
        except Exception as error:  # noqa: BLE001 - old assets are better than no webhook
            telemetry.not_refreshed(delivery, error)
            return body

    def _verdict(self, delivery: Delivery, reply: Reply, now: int) -> DeliveryVerdict:
        return delivery_policy.delivery_verdict(
            delivery.tries + 1, reply, now=now, jitter=random.random(), schedule=self._schedule
        )

    async def _settle(self, made: Made, endpoint: Endpoint, before: Health, clock: Clock) -> bool:
        """Write an attempt down and see to what follows; tell if its word of health stands."""
        off = None
        if made.off:
            notice = events.about_endpoint(endpoint, EndpointEvent.DISABLED, made.off, clock.now())
            off = SwitchOff(made.off, notice, made.off is DisabledReason.FAILING)
        settled_ = await self._store.deliveries.settle(
            made.after,
            made.attempt,
            entry=Entry(made.attempt.at, "attempt", _entry_details(made.after, made.attempt)),
            health=None if made.health == before else made.health,
            failing=made.failing,
            off=off,
        )
        if off and settled_.switched_off:
            await self._see_to(endpoint.name, off.event.id)
        return settled_.told_health

    async def settle_switched_off(self) -> None:
        """Release what endpoints are owed that were switched off, and tell those who asked to know.

        The sweep does so for those that switched one off and died before they had done it.
        """
        for name, event_id in await self._store.endpoints.switched_off():
            await self._see_to(name, event_id)

    async def _see_to(self, name: str, event_id: str) -> None:
        await self._store.endpoints.release(name)
        for watcher in await self._store.endpoints.watchers() if event_id else ():
            if watcher.name != name:
                now = await self._store.now()
                owed, lane = events.owed_notice(event_id, EndpointEvent.DISABLED, watcher, now)
                must_start = await self._store.endpoints.owe(owed, lane)
                if must_start:
                    await self._start(must_start)
        await self._store.endpoints.settled(name, event_id)


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


def _signing_secrets(endpoint: Endpoint, default: str, now: int) -> list[str]:
    live = [each.text for each in endpoint.secrets if each.until is None or each.until > now]
    return live or [default]


def _attempt_made(at: int, reply: Reply, held_ms: int | None) -> Attempt:
    match reply:
        case Replied():
            return Attempt(
                at=at,
                duration_ms=reply.duration_ms,
                status=reply.status,
                response=reply.response,
                held_ms=held_ms,
            )
        case Unanswered():
            return Attempt(at=at, duration_ms=reply.duration_ms, error=reply.error, held_ms=held_ms)
        case _ as never:
            assert_never(never)


def _entry_details(after: Delivery, attempt: Attempt) -> dict[str, object]:
    return {
        "delivery_id": after.id,
        "attempt": after.tries,
        "status": attempt.status,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "held_ms": attempt.held_ms,
        "delivery_state": after.state,
    }
