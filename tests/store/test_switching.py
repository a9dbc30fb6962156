"""Endpoints that are switched off or deleted: what they are owed, and who is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    DisabledReason,
    Endpoint,
    Entry,
    NewEvent,
)
from worker.store import LEASE_S, Store, SwitchOff

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
URL = "https://hooks.example.com/x"
LANE = "post:https://hooks.example.com:443"
ORDERS = Endpoint(name="orders", url=URL, concurrency=50)
NOTICE = NewEvent(id="evt_off", type="endpoint.disabled", body=b'{"off":1}')
GONE = SwitchOff(DisabledReason.GONE, NOTICE)


@pytest.fixture(autouse=True)
async def orders(store: Store) -> None:
    """An endpoint."""
    await store.endpoints.put(ORDERS, enabled=None, secret="s1")


async def put(store: Store, *, enabled: bool | None) -> None:
    await store.endpoints.put(ORDERS, enabled=enabled, secret="s2")


def owed(name: str, *, endpoint: str = "orders") -> Delivery:
    return Delivery(
        id=f"dlv_{name}",
        event_id=f"evt_{name}",
        type="endpoint.test",
        account="",
        generation_id="",
        endpoint=endpoint,
        url=URL,
        state=DeliveryState.PENDING,
        created_at=T,
        next_attempt_at=T,
    )


async def owe(store: Store, name: str, *, endpoint: str = "orders", now: int = T) -> str:
    delivery = owed(name, endpoint=endpoint)
    event = NewEvent(
        id=delivery.event_id, type=delivery.type, body=b"{}", delivery=delivery, lane=LANE
    )
    return await store.deliveries.announce(event, now=now)


async def claim(store: Store, *, now: int = T, limit: int = 50) -> list[Delivery]:
    claimed = await store.deliveries.claim(LANE, limit=limit, now=now)
    return [each.delivery for each in claimed.deliveries]


async def settle(
    store: Store, it: Delivery, state: DeliveryState, *, now: int = T, off: SwitchOff | None = None
) -> tuple[bool, bool]:
    reason = None
    if state is DeliveryState.EXHAUSTED:
        reason = DeliveryReason.ENDPOINT_DISABLED if off else DeliveryReason.ATTEMPTS
    after = replace(it, state=state, reason=reason, next_attempt_at=now + 9000, tries=it.tries + 1)
    made = Attempt(at=now, duration_ms=5)
    return await store.deliveries.settle(after, made, entry=Entry(now, "attempt"), off=off, now=now)


async def get(store: Store, name: str) -> Delivery:
    (found,) = await store.deliveries.get_many([f"dlv_{name}"])
    return found


async def endpoint(store: Store) -> Endpoint:
    found = await store.endpoints.get("orders")
    assert found is not None
    return found


async def counted(store: Store) -> dict[str, int]:
    return {state: n for state, n in (await store.counts([]))[1].items() if n}


# --- what is owed to an endpoint that is off ------------------------------------------------------


async def test_what_is_due_for_an_endpoint_that_is_off_is_exhausted_when_it_is_claimed(
    store: Store, redis: Redis
) -> None:
    await owe(store, "1")
    await put(store, enabled=False)

    claimed = await store.deliveries.claim(LANE, limit=5, now=T)

    assert (claimed.deliveries, claimed.wake_at) == ([], None)
    found = await get(store, "1")
    assert (found.state, found.reason) == (
        DeliveryState.EXHAUSTED,
        DeliveryReason.ENDPOINT_DISABLED,
    )
    assert await store.endpoints.failed("orders", since=T) == ["dlv_1"]
    assert not await redis.exists("test:owed:orders", f"test:busy:{LANE}", "test:lanes")


async def test_what_is_due_for_a_deleted_endpoint_is_discarded_when_it_is_claimed(
    store: Store,
) -> None:
    await owe(store, "1")
    await store.endpoints.drop("orders")

    assert await claim(store) == []

    found = await get(store, "1")
    assert (found.state, found.reason, found.finished_at) == (DeliveryState.DISCARDED, None, T)
    assert await store.endpoints.failed("orders", since=0) == []


async def test_an_endpoint_that_is_off_holds_up_no_other_of_its_receiver(store: Store) -> None:
    await owe(store, "1")
    await put(store, enabled=False)
    await owe(store, "2", endpoint="url_2")

    assert [each.id for each in await claim(store)] == ["dlv_2"]


@pytest.mark.parametrize(("how", "ended"), [("off", "exhausted"), ("deleted", "discarded")])
async def test_all_that_is_owed_is_released_step_by_step(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch, how: str, ended: str
) -> None:
    monkeypatch.setattr("worker.store.endpoints.RELEASED_PER_STEP", 5)
    for number in range(12):
        await owe(store, f"{number}")
    leased = await claim(store, limit=2)
    await settle(store, leased[0], DeliveryState.PENDING)  # due later
    await owe(store, "other", endpoint="url_2")
    await (put(store, enabled=False) if how == "off" else store.endpoints.drop("orders"))

    await store.endpoints.release("orders")

    assert await counted(store) == {"pending": 1, ended: 12}
    assert await redis.zrange(f"test:due:{LANE}", 0, -1) == [b"dlv_other"]
    assert not await redis.exists("test:owed:orders", f"test:busy:{LANE}")
    assert await settle(store, leased[1], DeliveryState.DELIVERED) == (False, False)


async def test_nothing_is_released_from_an_endpoint_that_is_on_again(store: Store) -> None:
    await owe(store, "1")
    await put(store, enabled=False)
    await put(store, enabled=True)

    await store.endpoints.release("orders")

    assert len(await claim(store)) == 1


async def test_what_is_born_for_an_endpoint_that_is_off_is_kept_for_recovery(
    store: Store, redis: Redis
) -> None:
    await put(store, enabled=False)

    assert await owe(store, "1") == ""

    found = await get(store, "1")
    assert (found.state, found.reason) == (
        DeliveryState.EXHAUSTED,
        DeliveryReason.ENDPOINT_DISABLED,
    )
    assert await store.endpoints.failed("orders", since=T) == ["dlv_1"]
    assert await redis.xlen("test:events") == 1
    assert await redis.pttl("test:event:evt_1") > 0
    assert not await redis.exists(f"test:due:{LANE}", "test:lanes", f"test:drain:{LANE}")


@pytest.mark.parametrize(("how", "ended"), [("off", "exhausted"), ("deleted", "discarded")])
async def test_what_was_under_way_then_and_failed_is_not_tried_again(
    store: Store, redis: Redis, how: str, ended: str
) -> None:
    """It would be listed as pending until its next attempt: for as long as twenty hours."""
    await owe(store, "1")
    (it,) = await claim(store)
    await (put(store, enabled=False) if how == "off" else store.endpoints.drop("orders"))

    assert await settle(store, it, DeliveryState.PENDING) == (True, False)

    assert await counted(store) == {ended: 1}
    assert len((await get(store, "1")).attempts) == 1
    assert not await redis.exists("test:owed:orders", f"test:due:{LANE}", f"test:busy:{LANE}")


# --- switched off by an attempt -------------------------------------------------------------------


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.EXHAUSTED])
async def test_an_attempt_that_switches_its_endpoint_off_says_so_in_an_event(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    await owe(store, "1")
    (it,) = await claim(store)

    assert await settle(store, it, state, off=GONE) == (True, True)

    off = await endpoint(store)
    assert (off.enabled, off.disabled_reason) == (False, DisabledReason.GONE)
    assert await store.endpoints.switched_off() == {"orders": "evt_off"}
    ((_, said),) = await redis.xrevrange("test:events", count=1)
    assert (said[b"event_id"], said[b"type"]) == (b"evt_off", b"endpoint.disabled")
    assert await redis.hget("test:event:evt_off", "body") == b'{"off":1}'  # type: ignore[misc]
    assert await redis.pttl("test:event:evt_off") > 0


async def test_of_many_attempts_that_switch_an_endpoint_off_one_does(
    store: Store, redis: Redis
) -> None:
    for number in range(8):
        await owe(store, f"{number}")

    def off(number: int) -> SwitchOff:
        return SwitchOff(DisabledReason.GONE, replace(NOTICE, id=f"evt_off{number}"))

    done = await asyncio.gather(
        *(
            settle(store, it, DeliveryState.EXHAUSTED, off=off(number))
            for number, it in enumerate(await claim(store))
        )
    )

    assert [applied for applied, _ in done] == [True] * 8
    (won,) = [number for number, (_, switched_off) in enumerate(done) if switched_off]
    assert await store.endpoints.switched_off() == {"orders": f"evt_off{won}"}
    assert await redis.xlen("test:events") == 8 + 1


async def test_a_stale_attempt_switches_nothing_off(store: Store) -> None:
    await owe(store, "1")
    (stale,) = await claim(store)
    await claim(store, now=T + LEASE_MS)

    assert await settle(store, stale, DeliveryState.EXHAUSTED, off=GONE) == (False, False)
    assert (await endpoint(store)).enabled


async def test_an_endpoint_that_was_deleted_is_not_switched_off(store: Store, redis: Redis) -> None:
    await owe(store, "1")
    (it,) = await claim(store)
    await store.endpoints.drop("orders")

    assert await settle(store, it, DeliveryState.EXHAUSTED, off=GONE) == (True, False)
    assert not await redis.exists("test:endpoint:orders")


@pytest.mark.parametrize("between", [[], ["ok"], ["ok", "failed"]])
async def test_an_endpoint_that_had_a_success_meanwhile_is_not_failing(
    store: Store, between: list[str]
) -> None:
    for name in ("first", "last", *(f"{n}" for n in range(len(between)))):
        await owe(store, name)
    first, last, *others = await claim(store)
    await settle(store, first, DeliveryState.PENDING)
    off = SwitchOff(DisabledReason.FAILING, NOTICE, failing_since=T)
    for it, outcome in zip(others, between, strict=True):
        state = DeliveryState.DELIVERED if outcome == "ok" else DeliveryState.PENDING
        await settle(store, it, state, now=T + 5)

    assert await settle(store, last, DeliveryState.PENDING, now=T + 9, off=off) == (
        True,
        not between,
    )
    assert (await endpoint(store)).enabled is bool(between)


async def test_the_first_failure_is_remembered_until_a_success(store: Store) -> None:
    async def attempt(state: DeliveryState, *, now: int) -> int | None:
        await owe(store, f"{now}", now=now)
        await settle(store, (await claim(store, now=now))[-1], state, now=now)
        return (await endpoint(store)).failing_since

    assert await attempt(DeliveryState.DELIVERED, now=T) is None
    assert await attempt(DeliveryState.PENDING, now=T + 1) == T + 1
    assert await attempt(DeliveryState.EXHAUSTED, now=T + 2) == T + 1
    assert await attempt(DeliveryState.DELIVERED, now=T + 3) is None
    assert await attempt(DeliveryState.PENDING, now=T + 4) == T + 4


async def test_an_endpoint_that_is_owed_nothing_more_is_not_failing(store: Store) -> None:
    """A quiet month after one exhausted delivery is not a month of failures."""
    await owe(store, "1", now=T)
    await settle(store, (await claim(store, now=T))[0], DeliveryState.EXHAUSTED, now=T)
    assert (await endpoint(store)).failing_since is None


# --- who is told ----------------------------------------------------------------------------------


async def test_an_event_on_record_is_owed_to_each_of_those_who_asked(store: Store) -> None:
    await owe(store, "1")
    await settle(store, (await claim(store))[0], DeliveryState.EXHAUSTED, off=GONE)
    assert await store.lanes.leave(LANE, now=T)

    for name in ("url_a", "url_b"):
        told = replace(owed(name, endpoint=name), event_id="evt_off", type="endpoint.disabled")
        assert await store.endpoints.owe(told, LANE) == (LANE if name == "url_a" else "")

    now = await store.now()
    claimed = await store.deliveries.claim(LANE, limit=5, now=now)
    assert [each.delivery.endpoint for each in claimed.deliveries] == ["url_a", "url_b"]
    assert {each.body for each in claimed.deliveries} == {b'{"off":1}'}


async def test_an_event_that_others_are_told_of_stays_until_all_have_it(
    store: Store, redis: Redis
) -> None:
    await owe(store, "1")
    await settle(store, (await claim(store))[0], DeliveryState.EXHAUSTED, off=GONE)
    await store.endpoints.owe(replace(owed("2", endpoint="url_a"), event_id="evt_off"), LANE)
    assert await redis.pttl("test:event:evt_off") == -1

    now = await store.now()
    await settle(store, (await claim(store, now=now))[0], DeliveryState.DELIVERED, now=now)

    assert await redis.pttl("test:event:evt_off") > 0


@pytest.mark.parametrize("delivered", [False, True])
async def test_an_event_is_owed_to_an_endpoint_once(
    store: Store, redis: Redis, *, delivered: bool
) -> None:
    await owe(store, "1")
    if delivered:
        await settle(store, (await claim(store))[0], DeliveryState.DELIVERED)
    before: Any = await redis.hgetall("test:delivery:dlv_1")  # type: ignore[misc]

    assert await owe(store, "1") == ""
    assert await store.endpoints.owe(owed("1"), LANE) == ""

    assert await redis.hgetall("test:delivery:dlv_1") == before  # type: ignore[misc]
    assert await redis.hget("test:event:evt_1", "pending") == (  # type: ignore[misc]
        b"0" if delivered else b"1"
    )
    assert await redis.xlen("test:events") == 1


async def test_an_event_that_is_not_kept_is_owed_to_nobody(store: Store, redis: Redis) -> None:
    assert await store.endpoints.owe(owed("1"), LANE) == ""
    assert not await redis.exists("test:delivery:dlv_1", "test:event:evt_1")
