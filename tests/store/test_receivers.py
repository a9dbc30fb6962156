"""Receivers: what their health and their endpoints' concurrency let a claim take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Endpoint,
    Entry,
    Health,
    HealthReason,
    NewEvent,
)
from worker.store import LEASE_S, ClaimedDeliveries, ClaimedDelivery, Store

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
URL = "https://hooks.example.com/x"
LANE = "post:https://hooks.example.com:443"
OPEN = Health(
    reason=HealthReason.UNREACHABLE, streak=3, held_until=T + 5000, detail="cannot connect"
)
AFTER = OPEN.held_until


async def owe(store: Store, name: str, *, endpoint: str = "url_1", now: int = T) -> None:
    delivery = Delivery(
        id=f"dlv_{name}",
        event_id=f"evt_{name}",
        type="endpoint.test",
        account="",
        generation_id="",
        endpoint=endpoint,
        url=URL,
        state=DeliveryState.PENDING,
        created_at=now,
    )
    event = NewEvent(
        id=f"evt_{name}", type="endpoint.test", body=b"{}", delivery=delivery, lane=LANE
    )
    await store.deliveries.announce(event, now=now)


async def owe_many(store: Store, count: int, *, endpoint: str = "url_1") -> None:
    for number in range(count):
        await owe(store, f"{number:03}", endpoint=endpoint)


async def claim(store: Store, *, now: int = T, limit: int = 50) -> ClaimedDeliveries:
    return await store.deliveries.claim(LANE, limit=limit, now=now)


async def answered(
    store: Store, it: ClaimedDelivery, *, now: int = T, health: Health | None = None
) -> None:
    """Settle an attempt: delivered, unless the receiver is held."""
    state = DeliveryState.PENDING if health and health.reason else DeliveryState.DELIVERED
    after = replace(it.delivery, state=state, next_attempt_at=now + 1)
    made = Attempt(at=now, duration_ms=5)
    await store.deliveries.settle(after, made, entry=Entry(now, "attempt"), health=health, now=now)


async def hold(store: Store) -> None:
    """Open the breaker with the first of what is due."""
    (it,) = (await claim(store, limit=1)).deliveries
    await answered(store, it, health=OPEN)


def names(claimed: ClaimedDeliveries) -> list[str]:
    return [each.delivery.id.removeprefix("dlv_") for each in claimed.deliveries]


# --- concurrency ----------------------------------------------------------------------------------


async def test_no_more_is_under_way_than_the_endpoint_allows_over_all_workers(
    store: Store, redis: Redis
) -> None:
    other = Store(redis, prefix="test", retention_s=600)
    await owe_many(store, 12)

    mine = await claim(store, limit=5)
    yours = await claim(other)

    assert (len(mine.deliveries), len(yours.deliveries)) == (5, 3)
    assert names(mine) + names(yours) == [f"{n:03}" for n in range(8)]
    assert names(await claim(other)) == []


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_an_endpoint_may_allow_another_number(store: Store, concurrency: int) -> None:
    orders = Endpoint(name="orders", url=URL, concurrency=concurrency)
    await store.endpoints.put(orders, enabled=None, secret="s1")
    await owe_many(store, 12, endpoint="orders")

    claimed = await claim(store)

    assert len(claimed.deliveries) == concurrency
    assert claimed.deliveries[0].endpoint.concurrency == concurrency


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.DELIVERED])
async def test_for_each_attempt_that_ends_another_may_begin(
    store: Store, state: DeliveryState
) -> None:
    await owe_many(store, 12)
    first = await claim(store)
    after = replace(first.deliveries[0].delivery, state=state, next_attempt_at=T + 9000)
    made = Attempt(at=T, duration_ms=5)
    await store.deliveries.settle(after, made, entry=Entry(T, "attempt"), now=T)

    assert names(await claim(store)) == ["008"]


async def test_a_full_lane_is_looked_at_again_soon_and_its_drain_may_not_leave(
    store: Store,
) -> None:
    """What is under way may be in the hands of another worker, who rings nobody."""
    await owe_many(store, 9)
    await claim(store)

    full = await claim(store)

    assert full.wake_at == T + 1000
    assert not await store.lanes.leave(LANE, now=T)


async def test_what_a_crashed_worker_had_in_hand_is_under_way_until_its_lease_ends(
    store: Store,
) -> None:
    await owe_many(store, 12)
    await claim(store)

    assert names(await claim(store, now=T + LEASE_MS - 1)) == []
    again = await claim(store, now=T + LEASE_MS)

    assert names(again) == [f"{n:03}" for n in (8, 9, 10, 11, 0, 1, 2, 3)]


async def test_a_late_settle_gives_no_room_that_is_taken(store: Store) -> None:
    await owe_many(store, 8)
    first = await claim(store)
    await claim(store, now=T + LEASE_MS)
    await owe(store, "new", now=T + LEASE_MS)

    await answered(store, first.deliveries[0], now=T + LEASE_MS)

    assert names(await claim(store, now=T + LEASE_MS)) == []


# --- the breaker ----------------------------------------------------------------------------------


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
    assert (await store.counts([]))[1]["pending"] == 3


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
    delivery = replace((await store.deliveries.get_many(["dlv_1"]))[0], id="dlv_2", event_id="e2")
    lane = "post:https://hooks.example.com:8443"
    event = NewEvent(id="e2", type="endpoint.test", body=b"{}", delivery=delivery, lane=lane)
    await store.deliveries.announce(event, now=T)

    assert len((await store.deliveries.claim(lane, limit=5, now=T)).deliveries) == 1


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
