"""Notices: who is told that an endpoint was switched off, and that nobody misses it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.store.receiving import (
    LANE,
    T,
    born,
    owed,
    settle,
    taken,
)
from tests.store.switching import EXHAUSTED, GONE, NOTICE, owe, put
from worker.model import (
    DeliveryState,
    DisabledReason,
)
from worker.store import Store, SwitchOff


@pytest.fixture(autouse=True)
async def orders(store: Store) -> None:
    """An endpoint."""
    await put(store, enabled=None)


async def test_an_event_on_record_is_owed_to_each_of_those_who_asked(store: Store) -> None:
    await owe(store, "1")
    await settle(store, (await taken(store))[0], EXHAUSTED, off=GONE)
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
    await settle(store, (await taken(store))[0], EXHAUSTED, off=GONE)
    await store.endpoints.owe(replace(owed("2", endpoint="url_a"), event_id="evt_off"), LANE)
    assert await redis.pttl("test:event:evt_off") == -1

    now = await store.now()
    await settle(store, (await taken(store, now=now))[0], DeliveryState.DELIVERED, now=now)

    assert await redis.pttl("test:event:evt_off") > 0


@pytest.mark.parametrize("delivered", [False, True])
async def test_an_event_is_owed_to_an_endpoint_once(
    store: Store, redis: Redis, *, delivered: bool
) -> None:
    await owe(store, "1")
    if delivered:
        await settle(store, (await taken(store))[0], DeliveryState.DELIVERED)
    before: Any = await redis.hgetall("test:delivery:dlv_1")  # type: ignore[misc]

    assert await owe(store, "1") == ""
    assert await store.endpoints.owe(owed("1"), LANE) == ""

    assert await redis.hgetall("test:delivery:dlv_1") == before  # type: ignore[misc]
    assert await redis.hget("test:event:evt_1", "pending") == (  # type: ignore[misc]
        b"0" if delivered else b"1"
    )
    assert len(await born(redis)) == 1


async def test_an_event_that_is_not_kept_is_owed_to_nobody(store: Store, redis: Redis) -> None:
    assert await store.endpoints.owe(owed("1"), LANE) == ""
    assert not await redis.exists("test:delivery:dlv_1", "test:event:evt_1")


async def test_a_notice_is_kept_until_it_was_told_whatever_becomes_of_the_endpoint(
    store: Store,
) -> None:
    await owe(store, "1")
    await settle(store, (await taken(store))[0], EXHAUSTED, off=GONE)

    await put(store, enabled=True)
    await put(store, enabled=False)
    await store.endpoints.drop("orders")

    assert await store.endpoints.switched_off() == [("orders", ""), ("orders", "evt_off")]


async def test_both_notices_are_kept_of_an_endpoint_that_was_switched_off_twice(
    store: Store,
) -> None:
    again = SwitchOff(DisabledReason.GONE, replace(NOTICE, id="evt_off2"))
    for name, off in (("1", GONE), ("2", again)):
        await owe(store, name)
        await settle(store, (await taken(store))[0], EXHAUSTED, off=off)
        await put(store, enabled=True)

    assert await store.endpoints.switched_off() == [("orders", "evt_off"), ("orders", "evt_off2")]


async def test_what_was_told_is_no_longer_to_be_told_and_all_else_is(store: Store) -> None:
    await owe(store, "1")
    await settle(store, (await taken(store))[0], EXHAUSTED, off=GONE)
    await store.endpoints.drop("orders")

    await store.endpoints.settled("orders", "")

    assert await store.endpoints.switched_off() == [("orders", "evt_off")]
