"""Endpoints over HTTP: made, changed, listed, deleted, and named by trackers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from worker import signing
from worker.api import schemas

from .conftest import COMPLETED, HOOK, House, assert_problem
from .receiving import ANONYMOUS, LONG_AGO, MINE, TRACKER, make, owe

# --- make and change ------------------------------------------------------------------------------


async def test_a_new_endpoint_is_told_where_it_is_and_its_secret(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.put(MINE, json={"url": "HTTPS://Hooks.example.com:443/luma"})
    assert answer.status_code == 201
    assert answer.headers["location"] == MINE
    assert answer.headers["cache-control"] == "no-store"
    made = schemas.EndpointAndSecret.model_validate_json(answer.content)
    assert (made.url, made.events, made.enabled, made.secrets) == (HOOK, [], True, 1)
    assert (made.concurrency, made.refresh_assets, made.headers) == (8, False, {})
    signing.headers("evt_1", 0, b"", [made.secret])


async def test_a_secret_is_shown_only_once(client: httpx.AsyncClient) -> None:
    made = await make(client)
    shown = [
        await client.get(MINE),
        await client.get("/v1/endpoints"),
        await client.put(MINE, json={"url": HOOK}),
    ]
    assert [each.status_code for each in shown] == [200, 200, 200]
    assert not any(made["secret"] in each.text or "whsec_" in each.text for each in shown)
    schemas.Endpoint.model_validate_json(shown[0].content)


async def test_a_change_keeps_the_url_and_takes_defaults_for_the_rest(
    client: httpx.AsyncClient,
) -> None:
    await make(client, concurrency=3, headers={"X-A": "1"})
    answer = await client.put(MINE, json={"refresh_assets": True, "events": ["endpoint.disabled"]})
    assert answer.status_code == 200
    assert "location" not in answer.headers
    changed = schemas.Endpoint.model_validate_json(answer.content)
    assert (changed.url, changed.concurrency, changed.headers) == (HOOK, 8, {})
    assert (changed.refresh_assets, changed.events) == (True, ["endpoint.disabled"])
    assert (await client.get(MINE)).json() == answer.json()


async def test_an_endpoint_can_move(client: httpx.AsyncClient) -> None:
    await make(client)
    answer = await client.put(MINE, json={"url": "https://new.example.com/"})
    assert answer.json()["url"] == "https://new.example.com/"


async def test_an_endpoint_can_be_switched_off_and_on(client: httpx.AsyncClient) -> None:
    await make(client)
    off = (await client.put(MINE, json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "it was switched off")
    changed = (await client.put(MINE, json={"concurrency": 2})).json()
    assert changed["enabled"] is False
    on = (await client.put(MINE, json={"enabled": True})).json()
    assert (on["enabled"], on["disabled_reason"]) == (True, None)


async def test_what_one_that_is_switched_off_is_owed_is_kept_as_exhausted(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    await owe(client, house, "g-1", endpoint="mine")
    await client.put(MINE, json={"enabled": False})
    await owe(client, house, "g-2", endpoint="mine")
    items = (await client.get("/v1/deliveries?endpoint=mine")).json()["items"]
    assert [(each["state"], each["reason"]) for each in items] == [
        ("exhausted", "endpoint_disabled"),
        ("exhausted", "endpoint_disabled"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": HOOK, "events": []}, "events"),
        ({"url": HOOK, "headers": {"Webhook-Id": "x"}}, "headers"),
        ({"url": HOOK, "concurrency": 0}, "concurrency"),
        ({"url": HOOK, "concurrency": 65}, "concurrency"),
        ({"url": HOOK, "refresh_assets": "perhaps"}, "refresh_assets"),
        ({"url": HOOK, "enabled": "perhaps"}, "enabled"),
        ({"url": HOOK, "secret": "whsec_AAAA"}, "secret"),
        ([], "body"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named(
    client: httpx.AsyncClient, body: Any, field: str
) -> None:
    assert field in assert_problem(await client.put(MINE, json=body), 422, field)
    assert_problem(await client.get(MINE), 404)


@pytest.mark.parametrize("name", ["Mine", "a.b", "-a", "x" * 65, "url_mine", "%20", "a%2Fb"])
async def test_a_name_that_cannot_be_one_is_refused(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.put(f"/v1/endpoints/{name}", json={"url": HOOK})
    if "%2F" in name:  # a slash is part of the path: no route has it
        assert_problem(answer, 404)
    else:
        assert_problem(answer, 422, "name")


# --- get, list, delete ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "action"),
    [("GET", ""), ("DELETE", ""), *(("POST", f"/{each}") for each in ("rotate", "test"))],
)
async def test_an_endpoint_that_there_is_not_is_not_found(
    client: httpx.AsyncClient, verb: str, action: str
) -> None:
    assert "mine" in assert_problem(await client.request(verb, MINE + action), 404)


async def test_one_that_there_is_not_cannot_be_recovered(client: httpx.AsyncClient) -> None:
    assert "mine" in assert_problem(await client.post(f"{MINE}/recover", json=LONG_AGO), 404)


async def test_the_list_begins_with_the_newest(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await client.put(f"/v1/endpoints/{name}", json={"url": HOOK})
    first = schemas.EndpointPage.model_validate_json(
        (await client.get("/v1/endpoints?limit=2")).content
    )
    rest = (await client.get(f"/v1/endpoints?limit=2&cursor={first.next_cursor}")).json()
    assert [each.name for each in first.items] == ["c", "b"]
    assert [each["name"] for each in rest["items"]] == ["a"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("cursor=!", "cursor"), ("state=on", "state")]
)
async def test_a_parameter_of_the_list_that_cannot_be_used_is_named(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    assert_problem(await client.get(f"/v1/endpoints?{query}"), 422, field)


async def test_a_deleted_endpoint_is_gone_and_what_it_was_owed_is_discarded(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    await owe(client, house, "g-1", endpoint="mine")
    answer = await client.delete(MINE)
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(await client.get(MINE), 404)
    assert (await client.get("/v1/endpoints")).json()["items"] == []
    [delivery] = (await client.get("/v1/deliveries")).json()["items"]
    assert delivery["state"] == "discarded"
    assert_problem(await client.delete(MINE), 404)


# --- track for an endpoint ------------------------------------------------------------------------


async def test_a_tracker_can_name_an_endpoint(client: httpx.AsyncClient, house: House) -> None:
    await make(client)
    answer = await client.put(TRACKER, json={"endpoint": "mine"})
    assert answer.status_code == 202
    assert (answer.json()["endpoint"], answer.json()["callback_url"]) == ("mine", None)
    assert (await client.put(TRACKER, json={"endpoint": "mine"})).status_code == 200
    await house.look("g-1", COMPLETED)
    [delivery] = (await client.get("/v1/deliveries?endpoint=mine")).json()["items"]
    assert (delivery["url"], delivery["state"]) == (HOOK, "pending")


async def test_an_endpoint_and_a_callback_url_are_one_too_many(client: httpx.AsyncClient) -> None:
    await make(client)
    answer = await client.put(TRACKER, json={"endpoint": "mine", "callback_url": HOOK})
    assert "both" in assert_problem(answer, 422, "endpoint")


async def test_a_tracker_cannot_name_an_endpoint_that_there_is_not(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.put(TRACKER, json={"endpoint": "mine"})
    assert "/v1/endpoints" in assert_problem(answer, 422, "endpoint")
    assert_problem(await client.get(TRACKER), 404)


async def test_of_many_trackers_those_with_a_known_endpoint_are_tracked(
    client: httpx.AsyncClient,
) -> None:
    await make(client)
    items = [
        {"account": "luma", "generation_id": f"g-{n}", "endpoint": name}
        for n, name in enumerate(["mine", "yours"])
    ]
    results = (await client.post("/v1/trackers", json={"trackers": items})).json()["results"]
    assert [each["status"] for each in results] == [202, 422]


async def test_an_endpoint_gets_only_the_events_it_asks_for(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client, events=["generation.failed"])
    await owe(client, house, "g-1", endpoint="mine")
    assert (await client.get("/v1/deliveries")).json()["items"] == []


# --- bare callback URLs ---------------------------------------------------------------------------


async def test_a_callback_url_is_listed_once_something_is_owed_to_it(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put(TRACKER, json={"callback_url": HOOK})
    assert (await client.get("/v1/endpoints")).json()["items"] == []
    await house.look("g-1", COMPLETED)
    [found] = schemas.EndpointPage.model_validate_json(
        (await client.get("/v1/endpoints")).content
    ).items
    assert ANONYMOUS.endswith(found.name)
    assert (found.url, found.enabled, found.secrets) == (HOOK, True, 0)
    assert (await client.get(ANONYMOUS)).status_code == 200


async def test_a_callback_url_can_be_switched_off_and_on(
    client: httpx.AsyncClient, house: House
) -> None:
    await owe(client, house, "g-1")
    off = await client.put(ANONYMOUS, json={"enabled": False})
    assert (off.status_code, off.json()["enabled"]) == (200, False)
    [delivery] = (await client.get("/v1/deliveries")).json()["items"]
    assert (delivery["state"], delivery["reason"]) == ("exhausted", "endpoint_disabled")
    on = await client.put(ANONYMOUS, json={"enabled": True})
    assert (on.status_code, on.json()["enabled"], on.json()["url"]) == (200, True, HOOK)


async def test_the_name_of_a_callback_url_cannot_be_given_another(
    client: httpx.AsyncClient, house: House
) -> None:
    await owe(client, house, "g-1")
    answer = await client.put(ANONYMOUS, json={"url": "https://elsewhere.example.com/"})
    assert "another URL" in assert_problem(answer, 422, "url")
    assert (await client.get(ANONYMOUS)).json()["url"] == HOOK
    assert (await client.put(ANONYMOUS, json={"url": HOOK})).status_code == 200
