"""Endpoints as callers see them: made, changed, moved, switched, deleted."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisAway

from tests.endpoints.conftest import LANE, TO_URL, URL, Desk
from worker import addresses, events
from worker.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from worker.model import (
    DeliveryReason,
    DeliveryState,
    EndpointEvent,
    EventType,
)
from worker.requests import EndpointRequest

# --- making and changing --------------------------------------------------------------------------


async def test_a_new_endpoint_is_shown_with_its_secret_which_is_never_shown_again(
    desk: Desk,
) -> None:
    made, created = await desk.endpoints.put("shop", TO_URL)

    secret = made.pop("secret")
    assert created
    assert secret.startswith("whsec_")
    assert await desk.secrets() == [secret]
    assert made == {
        "name": "shop",
        "url": URL,
        "events": [],
        "headers": {},
        "enabled": True,
        "disabled_reason": None,
        "secrets": 1,
        "concurrency": 8,
        "under_way": 0,
        "due": 0,
        "refresh_assets": False,
        "failing_since": None,
        "failed_with": None,
        "held": None,
    }
    assert await desk.endpoints.get("shop") == made
    assert (await desk.endpoints.list_endpoints()).items == [made]


async def test_a_full_endpoint_shows_what_is_under_way_and_what_waits(desk: Desk) -> None:
    await desk.endpoints.put("shop", EndpointRequest(url=URL, concurrency=2))
    await desk.endpoints.put("idle", TO_URL)
    for _ in range(5):
        await desk.owe()
    await desk.store.deliveries.claim(LANE, limit=100)

    shop = await desk.endpoints.get("shop")

    assert (shop["concurrency"], shop["under_way"], shop["due"]) == (2, 2, 3)
    idle, listed = (await desk.endpoints.list_endpoints()).items
    assert listed == shop
    assert (idle["under_way"], idle["due"]) == (0, 0)


async def test_every_new_endpoint_has_a_secret_of_its_own(desk: Desk) -> None:
    made = [(await desk.endpoints.put(name, TO_URL))[0]["secret"] for name in ("a", "b")]

    assert len(set(made)) == 2


async def test_a_change_keeps_the_secret_and_the_url_and_sets_all_else(desk: Desk) -> None:
    await desk.endpoints.put("shop", EndpointRequest(url=URL, concurrency=3, refresh_assets=True))
    before = await desk.secrets()
    wanted = EndpointRequest(headers={"X-Shop": "1"}, events=frozenset({EventType.FAILED}))

    changed, created = await desk.endpoints.put("shop", wanted)

    assert not created
    assert "secret" not in changed
    assert (changed["url"], changed["headers"]) == (URL, {"x-shop": "1"})
    assert changed["events"] == ["generation.failed"]
    assert (changed["concurrency"], changed["refresh_assets"]) == (8, False)
    assert await desk.secrets() == before


async def test_a_new_endpoint_needs_a_url(desk: Desk) -> None:
    with pytest.raises(InvalidInputError, match="url: a new endpoint needs"):
        await desk.endpoints.put("shop", EndpointRequest())

    assert (await desk.endpoints.list_endpoints()).items == []


@pytest.mark.parametrize(
    ("url", "why"),
    [("http://127.0.0.1/", "not public"), ("ftp://hooks.example.com/", "http")],
)
async def test_an_address_that_we_will_not_call_is_refused(desk: Desk, url: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why) as caught:
        await desk.endpoints.put("shop", EndpointRequest(url=url))

    assert caught.value.field == "url"


async def test_an_address_that_the_deployment_allows_is_taken_in_its_normal_form(
    desk: Desk,
) -> None:
    made, _ = await desk.endpoints.put("shop", EndpointRequest(url="HTTP://10.1.2.3:80"))

    assert made["url"] == "http://10.1.2.3/"


@pytest.mark.parametrize("name", ["", "Shop", "-shop", "a" * 65, "url_shop", "sh/op"])
async def test_a_name_that_cannot_be_one_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await desk.endpoints.put(name, TO_URL)

    assert caught.value.field == "name"


async def test_a_header_of_ours_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInputError):
        await desk.endpoints.put("shop", EndpointRequest(url=URL, headers={"webhook-id": "1"}))


async def test_a_bare_callback_urls_name_stands_for_no_other_url(desk: Desk) -> None:
    name = addresses.endpoint_name(URL)

    with pytest.raises(InvalidInputError, match="stands for another URL"):
        await desk.endpoints.put(name, EndpointRequest(url="https://other.example.com/"))


@pytest.mark.parametrize("owed_before", [False, True])
async def test_a_bare_callback_url_is_signed_with_the_deployments_secret_whoever_has_put_it(
    desk: Desk, *, owed_before: bool
) -> None:
    name = addresses.endpoint_name(URL)
    if owed_before:
        await desk.owe(events.anonymous(URL))

    made, created = await desk.endpoints.put(name, EndpointRequest(url=URL, concurrency=2))

    assert created is not owed_before
    assert "secret" not in made
    assert (made["secrets"], await desk.secrets(name)) == (0, [])


async def test_endpoints_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await desk.endpoints.put(name, TO_URL)

    first = await desk.endpoints.list_endpoints(limit=2)
    rest = await desk.endpoints.list_endpoints(limit=2, cursor=first.next_cursor)

    assert [each["name"] for each in first.items] == ["c", "b"]
    assert [each["name"] for each in rest.items] == ["a"]
    assert rest.next_cursor is None


async def test_an_endpoint_that_is_not_there_cannot_be_asked_for_anything(desk: Desk) -> None:
    endpoints = desk.endpoints
    for asked in (
        endpoints.get("shop"),
        endpoints.delete("shop"),
        endpoints.rotate("shop", overlap_s=0),
        endpoints.test("shop"),
        endpoints.recover("shop", since=0),
    ):
        with pytest.raises(NotFoundError, match="no endpoint 'shop'"):
            await asked


async def test_while_redis_is_away_the_caller_is_told_to_come_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> int:
        raise RedisAway

    monkeypatch.setattr(desk.store, "now", away)

    with pytest.raises(UnavailableError):
        await desk.endpoints.list_endpoints()


# --- switching off and on -------------------------------------------------------------------------


async def test_an_endpoint_that_is_switched_off_gives_up_what_it_is_owed(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()

    shown, _ = await desk.endpoints.put("shop", EndpointRequest(enabled=False))

    delivery = await desk.delivery(owed)
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "it was switched off")
    assert delivery.state is DeliveryState.EXHAUSTED
    assert delivery.reason is DeliveryReason.ENDPOINT_DISABLED
    assert await desk.redis.exists("test:lanes") == 0


async def test_an_endpoint_stays_off_until_it_is_switched_on(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    await desk.endpoints.put("shop", EndpointRequest(enabled=False))

    still, _ = await desk.endpoints.put("shop", EndpointRequest(concurrency=2))
    again, _ = await desk.endpoints.put("shop", EndpointRequest(enabled=True))

    assert (still["enabled"], again["enabled"]) == (False, True)
    assert (again["disabled_reason"], again["failing_since"]) == (None, None)


@pytest.mark.parametrize("enabled", [True, False])
async def test_to_switch_an_endpoint_is_to_change_nothing_else(
    desk: Desk, *, enabled: bool
) -> None:
    """The advice of a 409 is to put {"enabled": true}: whoever follows it loses no setting."""
    watching = frozenset({EndpointEvent.DISABLED, EventType.FAILED})
    wanted = EndpointRequest(
        url=URL, events=watching, headers={"x-a": "1"}, concurrency=3, refresh_assets=True
    )
    await desk.endpoints.put("shop", wanted)
    before = await desk.endpoints.get("shop")

    shown, created = await desk.endpoints.put("shop", EndpointRequest(enabled=enabled))

    reason = None if enabled else "it was switched off"
    assert (shown, created) == (before | {"enabled": enabled, "disabled_reason": reason}, False)
    assert [each.name for each in await desk.store.endpoints.watchers()] == ["shop"]


async def test_there_must_be_an_endpoint_to_switch(desk: Desk) -> None:
    with pytest.raises(InvalidInputError, match="url: a new endpoint needs"):
        await desk.endpoints.put("shop", EndpointRequest(enabled=True))


async def test_an_endpoint_that_moves_has_the_drain_of_its_new_lane_started(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    await desk.owe()

    await desk.endpoints.put("shop", EndpointRequest(url="https://new.example.com/in"))
    await desk.endpoints.put("shop", EndpointRequest(url="https://new.example.com/other"))

    assert desk.started == ["post:https://new.example.com:443"]


async def test_an_endpoint_that_is_off_is_neither_tested_nor_recovered_nor_replayed_to(
    desk: Desk,
) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.endpoints.put("shop", EndpointRequest(enabled=False))

    for asked in (
        desk.endpoints.test("shop"),
        desk.endpoints.recover("shop", since=0),
        desk.endpoints.replay(owed),
    ):
        with pytest.raises(ConflictError, match="shop is off \\(it was switched off\\)"):
            await asked


# --- deleting -------------------------------------------------------------------------------------


async def test_what_a_deleted_endpoint_is_still_owed_is_discarded(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()

    await desk.endpoints.delete("shop")

    assert (await desk.delivery(owed)).state is DeliveryState.DISCARDED
    assert await desk.store.endpoints.get("shop") is None
    assert (await desk.endpoints.list_endpoints()).items == []
    assert await desk.store.endpoints.switched_off() == []
    assert await desk.redis.exists("test:lanes") == 0
    with pytest.raises(NotFoundError):
        await desk.endpoints.delete("shop")


async def test_a_delivery_whose_endpoint_was_deleted_cannot_be_replayed(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.endpoints.delete("shop")

    with pytest.raises(NotFoundError, match="no longer kept"):
        await desk.endpoints.replay(owed)


async def test_an_endpoint_that_was_deleted_watches_no_more(desk: Desk) -> None:
    watching = EndpointRequest(url=URL, events=frozenset({"endpoint.disabled"}))
    await desk.endpoints.put("ops", watching)
    await desk.endpoints.delete("ops")

    assert await desk.store.endpoints.watchers() == []
