"""Receivers: what their health lets a claim take, and what attempts make of it."""

from __future__ import annotations

from dataclasses import replace

from redis.asyncio import Redis

from tests.store.receiving import LANE, LEASE_MS, T, claim, counted, names, owe, settle
from worker.model import DeliveryState, Health, HealthReason
from worker.store import ClaimedDelivery, Store

OPEN = Health(
    reason=HealthReason.UNREACHABLE, streak=3, held_until=T + 5000, detail="cannot connect"
)
AFTER = OPEN.held_until


async def owe_many(store: Store, count: int) -> None:
    for number in range(count):
        await owe(store, f"{number:03}")


async def answered(
    store: Store, it: ClaimedDelivery, *, now: int = T, health: Health | None = None
) -> None:
    """Settle an attempt: delivered, unless the receiver is held."""
    pending = health is not None and health.reason is not None
    state = DeliveryState.PENDING if pending else DeliveryState.DELIVERED
    await settle(store, it.delivery, state, again_at=now + 1, health=health, now=now)


async def hold(store: Store) -> None:
    """Open the breaker with the first of what is due."""
    (it,) = (await claim(store, limit=1)).deliveries
    await answered(store, it, health=OPEN)


async def test_a_receiver_that_is_held_is_not_called_and_nothing_is_lost(store: Store) -> None:
    await owe_many(store, 3)
    await hold(store)

    claimed = await claim(store, now=AFTER - 1)

    assert (names(claimed), claimed.wake_at) == ([], AFTER)
    assert claimed.health == replace(OPEN, version=1)
    assert await store.lanes.health([LANE, "post:http://other.example:80"]) == [
        claimed.health,
        Health(),
    ]
    assert (await counted(store)) == {"pending": 3}


async def test_a_drain_may_leave_for_as_long_as_its_receiver_is_held(
    store: Store, redis: Redis
) -> None:
    await owe_many(store, 2)
    await hold(store)

    assert await store.lanes.leave(LANE, now=AFTER - 2001)
    await owe(store, "new", now=AFTER - 2000)
    await redis.delete(f"test:drain:{LANE}")
    assert await store.lanes.stage(now=AFTER - 1) == []
    assert await store.lanes.stage(now=AFTER) == [LANE]


async def test_after_a_hold_one_probe_goes_and_the_rest_waits_for_its_answer(
    store: Store,
) -> None:
    await owe_many(store, 3)
    await hold(store)

    probe = await claim(store, now=AFTER)
    waiting = await claim(store, now=AFTER + LEASE_MS - 1)

    assert len(probe.deliveries) == 1
    assert (names(waiting), waiting.wake_at) == ([], AFTER + LEASE_MS)


async def test_a_probe_that_is_lost_is_followed_by_the_next_when_its_lease_ends(
    store: Store,
) -> None:
    await owe_many(store, 3)
    await hold(store)
    await claim(store, now=AFTER)

    assert len((await claim(store, now=AFTER + LEASE_MS)).deliveries) == 1
    assert names(await claim(store, now=AFTER + LEASE_MS + 1)) == []


async def test_a_probe_that_is_answered_closes_the_breaker(store: Store) -> None:
    await owe_many(store, 3)
    await hold(store)
    probe = await claim(store, now=AFTER)

    healthy = Health(version=probe.health.version)
    await answered(store, probe.deliveries[0], health=healthy, now=AFTER + 9)

    rest = await claim(store, now=AFTER + 9)
    assert len(rest.deliveries) == 2
    assert rest.health == Health(version=2)


async def test_a_probe_that_fails_holds_the_receiver_again(store: Store) -> None:
    await owe_many(store, 3)
    await hold(store)
    probe = await claim(store, now=AFTER)
    longer = replace(probe.health, streak=4, held_until=AFTER + 10_000)
    await answered(store, probe.deliveries[0], health=longer, now=AFTER + 9)

    assert names(await claim(store, now=AFTER + 9999)) == []
    assert len((await claim(store, now=AFTER + 10_000)).deliveries) == 1


async def test_failures_before_the_breaker_opens_slow_nobody(store: Store) -> None:
    await owe_many(store, 3)
    (it,) = (await claim(store, limit=1)).deliveries
    await answered(store, it, health=replace(OPEN, streak=2, held_until=0))

    assert len((await claim(store, now=T + 1)).deliveries) == 3


async def test_an_attempt_that_began_before_the_breaker_opened_says_nothing_new(
    store: Store,
) -> None:
    await owe_many(store, 3)
    claimed = await claim(store)
    opening, *rest = claimed.deliveries
    await answered(store, opening, health=OPEN)

    await answered(store, rest[0], health=Health(version=0))
    await answered(store, rest[1], health=replace(OPEN, streak=1, held_until=0))

    assert await store.lanes.health([LANE]) == [replace(OPEN, version=1)]


async def test_an_attempt_tells_about_its_receiver_though_its_claim_was_stale(
    store: Store,
) -> None:
    await owe(store, "1")
    (it,) = (await claim(store)).deliveries
    await claim(store, now=T + LEASE_MS)

    await answered(store, it, health=OPEN)

    assert await store.lanes.health([LANE]) == [replace(OPEN, version=1)]


async def test_a_held_receiver_delays_no_other(store: Store) -> None:
    await owe(store, "1")
    await hold(store)
    lane = "post:https://hooks.example.com:8443"
    await owe(store, "2", endpoint="url_2", lane=lane)

    assert names(await claim(store, lane=lane)) == ["2"]


async def test_the_health_of_a_receiver_is_forgotten_after_a_day(
    store: Store, redis: Redis
) -> None:
    await owe(store, "1")
    await hold(store)

    assert 0 < await redis.pttl(f"test:card:{LANE}") <= 86_400_000


async def test_a_receiver_that_never_failed_has_no_card(store: Store, redis: Redis) -> None:
    await owe(store, "1")
    (it,) = (await claim(store)).deliveries
    await answered(store, it)

    assert not await redis.exists(f"test:card:{LANE}")
