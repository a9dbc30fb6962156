"""Endpoints that are switched off or deleted: what they are owed, and why it was."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from tests.store import receiving
from tests.store.receiving import (
    ELSEWHERE,
    LANE,
    LEASE_MS,
    NEW_LANE,
    T,
    attempted,
    born,
    counted,
    failed,
    get,
    known,
    settle,
    taken,
)
from tests.store.switching import EXHAUSTED, GONE, NOTICE, ORDERS, PENDING, owe, put
from worker.model import (
    DeliveryReason,
    DeliveryState,
    DisabledReason,
    Failing,
)
from worker.store import Store, SwitchOff


@pytest.fixture(autouse=True)
async def orders(store: Store) -> None:
    """An endpoint."""
    await put(store, enabled=None)


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
        EXHAUSTED,
        DeliveryReason.ENDPOINT_DISABLED,
    )
    assert await failed(store, since=T) == ["dlv_1"]
    assert not await redis.exists("test:owed:orders", "test:busy:orders", "test:lanes")


async def test_what_is_due_for_a_deleted_endpoint_is_discarded_when_it_is_claimed(
    store: Store,
) -> None:
    await owe(store, "1")
    await store.endpoints.drop("orders")

    assert await taken(store) == []

    found = await get(store, "1")
    assert (found.state, found.reason, found.finished_at) == (DeliveryState.DISCARDED, None, T)
    assert await failed(store, since=0) == []


async def test_an_endpoint_that_is_off_holds_up_no_other_of_its_receiver(store: Store) -> None:
    await owe(store, "1")
    await put(store, enabled=False)
    await owe(store, "2", endpoint="url_2")

    assert [each.id for each in await taken(store)] == ["dlv_2"]


@pytest.mark.parametrize(("how", "ended"), [("off", "exhausted"), ("deleted", "discarded")])
async def test_all_that_is_owed_is_released_step_by_step(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch, how: str, ended: str
) -> None:
    monkeypatch.setattr("worker.store.endpoints.RELEASED_PER_STEP", 5)
    for number in range(12):
        await owe(store, f"{number}")
    leased = await taken(store, limit=2)
    await settle(store, leased[0], PENDING)  # due later
    await owe(store, "other", endpoint="url_2")
    await (put(store, enabled=False) if how == "off" else store.endpoints.drop("orders"))

    await store.endpoints.release("orders")

    assert await counted(store) == {"pending": 1, ended: 12}
    assert await redis.zrange(f"test:queues:{LANE}", 0, -1) == [LANE.encode()]
    assert not await redis.exists("test:owed:orders", "test:busy:orders")
    assert await attempted(store, leased[1], DeliveryState.DELIVERED) == (False, False)


async def test_nothing_is_released_from_an_endpoint_that_is_on_again(store: Store) -> None:
    await owe(store, "1")
    await put(store, enabled=False)
    await put(store, enabled=True)

    await store.endpoints.release("orders")

    assert len(await taken(store)) == 1


async def test_what_is_born_for_an_endpoint_that_is_off_is_kept_for_recovery(
    store: Store, redis: Redis
) -> None:
    await put(store, enabled=False)

    assert await owe(store, "1") == ""

    found = await get(store, "1")
    assert (found.state, found.reason) == (
        EXHAUSTED,
        DeliveryReason.ENDPOINT_DISABLED,
    )
    assert await failed(store, since=T) == ["dlv_1"]
    assert await redis.xlen("test:events") == 1
    assert await redis.pttl("test:event:evt_1") > 0
    assert not await redis.exists(f"test:due:{LANE}", "test:lanes", f"test:drain:{LANE}")


@pytest.mark.parametrize(("how", "ended"), [("off", "exhausted"), ("deleted", "discarded")])
async def test_what_was_under_way_then_and_failed_is_not_tried_again(
    store: Store, redis: Redis, how: str, ended: str
) -> None:
    """It would be listed as pending until its next attempt: for as long as twenty hours."""
    await owe(store, "1")
    (it,) = await taken(store)
    await (put(store, enabled=False) if how == "off" else store.endpoints.drop("orders"))

    assert await attempted(store, it, PENDING) == (True, False)

    assert await counted(store) == {ended: 1}
    assert len((await get(store, "1")).attempts) == 1
    assert not await redis.exists("test:owed:orders", "test:due:orders", "test:busy:orders")


# --- switched off by an attempt -------------------------------------------------------------------


@pytest.mark.parametrize("state", [PENDING, EXHAUSTED])
async def test_an_attempt_that_switches_its_endpoint_off_says_so_in_an_event(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    await owe(store, "1")
    (it,) = await taken(store)

    assert await attempted(store, it, state, off=GONE) == (True, True)

    off = await known(store)
    assert (off.enabled, off.disabled_reason) == (False, DisabledReason.GONE)
    assert await store.endpoints.switched_off() == [("orders", "evt_off")]
    assert (await born(redis))[-1] == (b"evt_off", b"endpoint.disabled")
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
            attempted(store, it, EXHAUSTED, off=off(number))
            for number, it in enumerate(await taken(store))
        )
    )

    assert [applied for applied, _ in done] == [True] * 8
    (won,) = [number for number, (_, switched_off) in enumerate(done) if switched_off]
    assert await store.endpoints.switched_off() == [("orders", f"evt_off{won}")]
    assert len(await born(redis)) == 8 + 1


async def test_a_stale_attempt_switches_nothing_off(store: Store) -> None:
    await owe(store, "1")
    (stale,) = await taken(store)
    await taken(store, now=T + LEASE_MS)

    assert await attempted(store, stale, EXHAUSTED, off=GONE) == (False, False)
    assert (await known(store)).enabled


@pytest.mark.parametrize("how", ["moved", "deleted and made again"])
async def test_what_is_gone_where_an_endpoint_was_does_not_switch_it_off_where_it_is(
    store: Store, how: str
) -> None:
    """That it is gone there may well be why it has moved; what it is owed moves along."""
    await owe(store, "1")
    (it,) = await taken(store)
    if how != "moved":
        await store.endpoints.drop("orders")
    await receiving.put(store, replace(ORDERS, url=ELSEWHERE))

    assert await attempted(store, it, EXHAUSTED, off=GONE) == (True, False)

    assert (await known(store)).enabled
    assert await store.endpoints.switched_off() == ([] if how == "moved" else [("orders", "")])
    assert [each.id for each in await taken(store, lane=NEW_LANE)] == ["dlv_1"]


async def test_an_endpoint_has_not_failed_where_it_has_moved_to(store: Store, redis: Redis) -> None:
    await owe(store, "1")
    await settle(store, (await taken(store))[0], PENDING)
    await receiving.put(store, ORDERS)
    before = await known(store)
    assert (before.failing_since, before.failed_with) == (T, "HTTP 500")

    await receiving.put(store, replace(ORDERS, url=ELSEWHERE))

    found = await known(store)
    assert (found.failing_since, found.failed_at, found.failing_days) == (None, 0, 0)
    assert found.failed_with is None
    assert not await redis.exists("test:troubled")


async def test_an_endpoint_that_is_off_stays_in_trouble_where_it_has_moved_to(
    store: Store, redis: Redis
) -> None:
    await put(store, enabled=False)

    await receiving.put(store, replace(ORDERS, url=ELSEWHERE))

    assert await redis.zrange("test:troubled", 0, -1) == [b"orders"]


async def test_an_endpoint_that_was_deleted_is_not_switched_off(store: Store, redis: Redis) -> None:
    await owe(store, "1")
    (it,) = await taken(store)
    await store.endpoints.drop("orders")

    assert await attempted(store, it, EXHAUSTED, off=GONE) == (True, False)
    assert not await redis.exists("test:endpoint:orders")


@pytest.mark.parametrize("between", [[], ["ok"], ["ok", "failed"]])
async def test_an_endpoint_that_had_a_success_meanwhile_is_not_failing(
    store: Store, between: list[str]
) -> None:
    for name in ("first", "last", *(f"{n}" for n in range(len(between)))):
        await owe(store, name)
    first, last, *others = await taken(store)
    await settle(store, first, PENDING)
    failing = Failing(since=T, days=3, read_since=T)
    off = SwitchOff(DisabledReason.FAILING, NOTICE, rests_on_failing=True)
    for it, outcome in zip(others, between, strict=True):
        state = DeliveryState.DELIVERED if outcome == "ok" else PENDING
        await settle(store, it, state, now=T + 5)

    assert await attempted(store, last, PENDING, now=T + 9, failing=failing, off=off) == (
        True,
        not between,
    )
    assert (await known(store)).enabled is bool(between)


async def test_the_first_failure_is_remembered_until_a_success(store: Store) -> None:
    async def attempt(state: DeliveryState, *, now: int) -> int | None:
        await owe(store, f"{now}", now=now)
        await settle(store, (await taken(store, now=now))[-1], state, now=now)
        return (await known(store)).failing_since

    assert await attempt(DeliveryState.DELIVERED, now=T) is None
    assert await attempt(PENDING, now=T + 1) == T + 1
    assert await attempt(EXHAUSTED, now=T + 2) == T + 1
    assert await attempt(DeliveryState.DELIVERED, now=T + 3) is None
    assert await attempt(PENDING, now=T + 4) == T + 4


async def test_an_endpoint_that_is_owed_nothing_more_goes_on_failing(store: Store) -> None:
    """Or else one that gets an event every other day would never be found out."""
    await owe(store, "1")
    await settle(store, (await taken(store))[0], EXHAUSTED)

    found = await known(store)

    assert (found.failing_since, found.failed_at, found.failing_days) == (T, T, 1)


async def test_what_follows_from_a_failure_is_remembered(store: Store) -> None:
    for name, at in (("1", T), ("2", T + 9)):
        await owe(store, name, now=at)
        failing = Failing(since=T, days=2, read_since=T) if at > T else None
        await settle(store, (await taken(store, now=at))[0], EXHAUSTED, now=at, failing=failing)

    found = await known(store)

    assert (found.failing_since, found.failed_at, found.failing_days) == (T, T + 9, 2)


@pytest.mark.parametrize("between", [[], [PENDING]])
async def test_what_was_concluded_before_a_success_counts_as_the_first_failure_after_it(
    store: Store, between: list[DeliveryState]
) -> None:
    for name in ("first", "good", "late", "more"):
        await owe(store, name)
    first, good, late, more = await taken(store)
    await settle(store, first, PENDING)
    await settle(store, good, now=T + 1)
    for state in between:
        await settle(store, more, state, now=T + 5)

    failing = Failing(since=T, days=2, read_since=T)
    await settle(store, late, PENDING, now=T + 9, failing=failing)

    found = await known(store)
    assert (found.failing_since, found.failing_days) == (T + 5 if between else T + 9, 1)


async def test_nothing_is_remembered_of_an_endpoint_that_was_deleted(
    store: Store, redis: Redis
) -> None:
    await owe(store, "1")
    (it,) = await taken(store)
    await store.endpoints.drop("orders")

    await settle(store, it, PENDING)

    assert not await redis.exists("test:endpoint:orders", "test:troubled")
