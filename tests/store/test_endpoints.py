"""Endpoints: made and changed, switched on and off, rotated, deleted."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from tests.store.receiving import URL, T, known
from worker.model import DisabledReason, Endpoint, Secret
from worker.store import Store

ORDERS = Endpoint(name="orders", url=URL)


async def put(
    store: Store, endpoint: Endpoint = ORDERS, *, enabled: bool | None = None, secret: str = "s1"
) -> tuple[Endpoint, bool]:
    made = await store.endpoints.put(endpoint, enabled=enabled, secret=secret)
    assert made is not None
    return made.endpoint, made.created


async def listed(store: Store) -> list[str]:
    return [name for _, name in await store.endpoints.names(before=None, limit=100)]


# --- made and changed -----------------------------------------------------------------------------


async def test_a_new_endpoint_is_on_and_has_the_secret_that_was_made_for_it(store: Store) -> None:
    wanted = Endpoint(
        name="orders",
        url=URL,
        events=("endpoint.disabled", "generation.completed"),
        headers={"x-tenant": "ö"},
        concurrency=3,
        refresh_assets=True,
    )

    made, created = await put(store, wanted)

    assert created
    assert made == replace(wanted, secrets=(Secret("s1"),), seq=made.seq)
    assert await store.endpoints.get("orders") == made
    assert await listed(store) == ["orders"]


async def test_a_changed_endpoint_keeps_its_secret_and_its_place(store: Store) -> None:
    before, _ = await put(store, replace(ORDERS, headers={"x-a": "1"}, refresh_assets=True))
    await put(store, replace(ORDERS, name="later"))

    changed, created = await put(
        store, replace(ORDERS, url=f"{URL}y", events=("generation.failed",)), secret="s2"
    )

    assert not created
    assert changed == Endpoint(
        name="orders",
        url=f"{URL}y",
        events=("generation.failed",),
        secrets=before.secrets,
        seq=before.seq,
    )
    assert await listed(store) == ["later", "orders"]


async def test_a_change_without_a_url_leaves_that_as_it_is(store: Store) -> None:
    await put(store)

    changed, _ = await put(store, replace(ORDERS, url="", concurrency=2))

    assert (changed.url, changed.concurrency) == (URL, 2)


async def test_there_is_no_endpoint_without_a_url(store: Store, redis: Redis) -> None:
    found = await store.endpoints.put(replace(ORDERS, url=""), enabled=None, secret="s1")

    assert found is None
    assert await redis.keys() == []


@pytest.mark.parametrize("enabled", [None, True])
async def test_what_is_on_stays_on(store: Store, *, enabled: bool | None) -> None:
    await put(store)

    assert (await put(store, enabled=enabled))[0].enabled
    assert await store.endpoints.switched_off() == []


async def test_an_endpoint_that_is_switched_off_says_why_and_stays_off(store: Store) -> None:
    await put(store)

    off, _ = await put(store, enabled=False)
    again, _ = await put(store, enabled=None)

    assert (off.enabled, off.disabled_reason) == (False, DisabledReason.ASKED)
    assert again == off
    assert await store.endpoints.switched_off() == [("orders", "")]


async def test_a_new_endpoint_may_be_off(store: Store) -> None:
    made, created = await put(store, enabled=False)

    assert (made.enabled, created) == (False, True)
    assert made.secrets == (Secret("s1"),)


async def test_why_it_is_off_is_not_overwritten_when_it_is_switched_off_again(
    store: Store, redis: Redis
) -> None:
    await put(store)
    gone = {"enabled": 0, "disabled_reason": DisabledReason.GONE.value}
    await redis.hset("test:endpoint:orders", mapping=gone)  # type: ignore[misc]

    assert (await put(store, enabled=False))[0].disabled_reason == DisabledReason.GONE


async def test_an_endpoint_that_is_switched_on_again_begins_without_a_past(
    store: Store, redis: Redis
) -> None:
    await put(store, enabled=False)
    failing = {"failing_since": T, "failed_at": T, "failing_days": 1}
    await redis.hset("test:endpoint:orders", mapping=failing)  # type: ignore[misc]

    on, _ = await put(store, enabled=True)

    assert (on.enabled, on.disabled_reason, on.failing_since) == (True, None, None)
    assert (on.failed_at, on.failing_days) == (0, 0)


@pytest.mark.parametrize("enabled", [False, True])
async def test_a_switch_leaves_all_else_as_it_is(store: Store, *, enabled: bool) -> None:
    wanted = Endpoint(
        name="orders",
        url=URL,
        events=("endpoint.disabled", "generation.completed"),
        headers={"x-a": "1"},
        concurrency=3,
        refresh_assets=True,
    )
    before, _ = await put(store, wanted)

    switched = await store.endpoints.switch("orders", enabled=enabled)

    assert switched is not None
    reason = None if enabled else DisabledReason.ASKED
    assert switched.endpoint == replace(before, enabled=enabled, disabled_reason=reason)
    assert [each.name for each in await store.endpoints.watchers()] == ["orders"]


async def test_what_is_not_there_cannot_be_switched(store: Store, redis: Redis) -> None:
    assert await store.endpoints.switch("orders", enabled=True) is None
    assert await redis.keys() == []


async def test_an_endpoint_without_a_secret_of_its_own_may_be_made(store: Store) -> None:
    made = await store.endpoints.put(replace(ORDERS, name="url_1"), enabled=None, secret=None)

    assert made is not None
    assert (made.created, made.endpoint.secrets) == (True, ())


async def test_those_that_ask_to_be_told_are_known(store: Store) -> None:
    watching = ("endpoint.disabled",)
    for name, events in (("a", watching), ("b", ()), ("c", watching), ("d", watching)):
        await put(store, Endpoint(name=name, url=URL, events=events))
    await put(store, Endpoint(name="c", url=URL, events=("generation.completed",)))
    await store.endpoints.drop("d")

    assert [each.name for each in await store.endpoints.watchers()] == ["a"]


async def test_endpoints_are_listed_newest_first_page_by_page(store: Store) -> None:
    for name in ("a", "b", "c"):
        await put(store, Endpoint(name=name, url=URL))

    first = await store.endpoints.names(before=None, limit=2)
    second = await store.endpoints.names(before=first[-1][0], limit=2)

    assert [name for _, name in first + second] == ["c", "b", "a"]
    found = await store.endpoints.get_many(["nope", "a"])
    assert [each.name for each in found] == ["a"]
    assert await store.endpoints.get_many([]) == []


# --- rotated --------------------------------------------------------------------------------------


async def test_secrets_are_replaced_if_they_are_as_they_were_read(store: Store) -> None:
    read, _ = await put(store)
    mine = (Secret("mine"), Secret("s1", T))

    assert await store.endpoints.set_secrets(read, mine)
    assert not await store.endpoints.set_secrets(read, (Secret("yours"),))

    assert (await known(store)).secrets == mine


async def test_of_many_who_rotate_at_once_each_secret_is_added_to_the_one_before(
    store: Store,
) -> None:
    await put(store)

    async def rotate(text: str) -> None:
        while True:
            read = await known(store)
            if await store.endpoints.set_secrets(read, (Secret(text), *read.secrets)):
                return

    await asyncio.gather(*(rotate(f"r{n}") for n in range(5)))

    texts = [each.text for each in (await known(store)).secrets]
    assert (texts[-1], sorted(texts[:-1])) == ("s1", [f"r{n}" for n in range(5)])


async def test_the_secrets_of_an_endpoint_that_has_gone_are_not_written(
    store: Store, redis: Redis
) -> None:
    read, _ = await put(store)
    await store.endpoints.drop("orders")

    assert not await store.endpoints.set_secrets(read, (Secret("mine"),))
    assert not await redis.exists("test:endpoint:orders")


# --- deleted --------------------------------------------------------------------------------------


async def test_a_deleted_endpoint_is_gone_and_what_it_is_owed_is_to_be_released(
    store: Store,
) -> None:
    await put(store)

    assert await store.endpoints.drop("orders")
    assert not await store.endpoints.drop("orders")

    assert await store.endpoints.get("orders") is None
    assert await listed(store) == []
    assert await store.endpoints.switched_off() == [("orders", "")]
    await store.endpoints.settled("orders", "")
    assert await store.endpoints.switched_off() == []
