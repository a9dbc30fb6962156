"""Endpoints over HTTP: made, changed, listed, deleted; secrets, tests, recovery, replay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from worker import addresses, events, signing
from worker.api import schemas
from worker.endpoints import LIVE_SECRETS
from worker.model import Attempt, Delivery, DeliveryReason, DeliveryState, Entry

from .conftest import COMPLETED, HOOK, House, assert_problem

MINE = "/v1/endpoints/mine"
TRACKER = "/v1/trackers/luma/g-1"
ANONYMOUS = f"/v1/endpoints/{addresses.endpoint_name(HOOK)}"
LONG_AGO = {"since": "2020-01-01T00:00:00Z"}


async def make(client: httpx.AsyncClient, **settings: Any) -> dict[str, Any]:
    answer = await client.put(MINE, json={"url": HOOK, **settings})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def owe(client: httpx.AsyncClient, house: House, *names: str, **terms: Any) -> None:
    """Have generations complete for which something is owed."""
    for name in names:
        await client.put(f"/v1/trackers/luma/{name}", json=terms or {"callback_url": HOOK})
        await house.look(name, COMPLETED)


async def attempt(house: House, state: DeliveryState, *, status: int = 500) -> Delivery:
    """Make the attempt that is due at the receiver, and settle what became of it."""
    claimed = await house.store.deliveries.claim(events.lane_of(HOOK), limit=1)
    [found] = claimed.deliveries
    now = claimed.clock.now()
    reason = DeliveryReason.ATTEMPTS if state is DeliveryState.EXHAUSTED else None
    after = replace(found.delivery, state=state, reason=reason, tries=1, finished_at=now)
    made = Attempt(at=now, duration_ms=1, status=status, response="")
    entry = Entry(now, "attempt", {"status": status})
    assert (await house.store.deliveries.settle(after, made, entry=entry))[0]
    return after


async def signatures(house: House, body: bytes = b"{}") -> int:
    """Count the secrets that a webhook to this endpoint would be signed with now."""
    endpoint = await house.store.endpoints.get("mine")
    assert endpoint
    now = await house.store.now()
    live = [each.text for each in endpoint.secrets if each.until is None or each.until > now]
    signed = signing.headers("evt_1", now // 1000, body, live)
    return len(signed["webhook-signature"].split())


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


# --- rotate ---------------------------------------------------------------------------------------


async def test_a_rotation_makes_a_new_secret_and_the_old_one_signs_on(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await make(client)
    answer = await client.post(f"{MINE}/rotate")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    rotated = schemas.EndpointAndSecret.model_validate_json(answer.content)
    assert rotated.secret != made["secret"]
    assert rotated.secrets == 2
    assert await signatures(house) == 2


async def test_a_rotation_without_overlap_ends_the_old_secret(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    answer = await client.post(f"{MINE}/rotate", json={"overlap_s": 0})
    assert answer.json()["secrets"] == 1
    assert await signatures(house) == 1


async def test_only_so_many_secrets_sign(client: httpx.AsyncClient, house: House) -> None:
    await make(client)
    counts = [
        (await client.post(f"{MINE}/rotate")).json()["secrets"] for _ in range(LIVE_SECRETS + 1)
    ]
    assert counts == [2, 3, 4, 5, 5, 5]
    assert await signatures(house) == LIVE_SECRETS


async def test_a_callback_url_has_no_secret_of_its_own_to_rotate(
    client: httpx.AsyncClient, house: House
) -> None:
    await owe(client, house, "g-1")
    assert "deployment's own" in assert_problem(await client.post(f"{ANONYMOUS}/rotate"), 409)


@pytest.mark.parametrize("overlap", [-1, 7 * 86400 + 1, "soon", None])
async def test_an_overlap_that_cannot_be_is_refused(
    client: httpx.AsyncClient, overlap: object
) -> None:
    await make(client)
    answer = await client.post(f"{MINE}/rotate", json={"overlap_s": overlap})
    assert_problem(answer, 422, "overlap_s")
    assert (await client.get(MINE)).json()["secrets"] == 1


# --- test -----------------------------------------------------------------------------------------


async def test_a_test_is_a_delivery_like_any_other(client: httpx.AsyncClient, house: House) -> None:
    await make(client)
    answer = await client.post(f"{MINE}/test")
    assert answer.status_code == 202
    delivery = schemas.Delivery.model_validate_json(answer.content)
    assert (delivery.type, delivery.state, delivery.endpoint) == (
        *("endpoint.test", "pending"),
        "mine",
    )
    assert (delivery.account, delivery.generation_id) == ("", "")
    assert (await client.get(f"/v1/deliveries/{delivery.id}")).json() == answer.json()
    assert house.started == [events.lane_of(HOOK)]
    claimed = await house.store.deliveries.claim(events.lane_of(HOOK), limit=1)
    notice = schemas.Notice.model_validate_json(claimed.deliveries[0].body)
    assert (notice.type, notice.data.endpoint, notice.data.url) == ("endpoint.test", "mine", HOOK)


async def test_one_that_is_off_is_not_tested(client: httpx.AsyncClient) -> None:
    await make(client, enabled=False)
    assert "enabled" in assert_problem(await client.post(f"{MINE}/test"), 409)


# --- recover --------------------------------------------------------------------------------------


async def test_a_recovery_owes_again_what_was_exhausted_and_nothing_else(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    await owe(client, house, "g-1", "g-2", "g-3", endpoint="mine")
    first = await attempt(house, DeliveryState.EXHAUSTED)
    await attempt(house, DeliveryState.DELIVERED, status=200)
    answer = await client.post(f"{MINE}/recover", json=LONG_AGO)
    assert (answer.status_code, answer.json()) == (202, {"recovered": 1})
    shown = (await client.get(f"/v1/deliveries/{first.id}")).json()
    assert (shown["state"], shown["event_id"]) == ("pending", first.event_id)
    assert len(shown["attempts"]) == 1


async def test_a_recovery_begins_when_it_is_told_to(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    await owe(client, house, "g-1", endpoint="mine")
    await attempt(house, DeliveryState.EXHAUSTED)
    answer = await client.post(f"{MINE}/recover", json={"since": "2100-01-01T00:00:00+02:00"})
    assert answer.json() == {"recovered": 0}


async def test_one_that_was_off_is_recovered_when_it_is_on_again(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    await owe(client, house, "g-1", "g-2", endpoint="mine")
    await client.put(MINE, json={"enabled": False})
    assert "enabled" in assert_problem(await client.post(f"{MINE}/recover", json=LONG_AGO), 409)
    await client.put(MINE, json={"enabled": True})
    assert (await client.post(f"{MINE}/recover", json=LONG_AGO)).json() == {"recovered": 2}
    counts = (await client.get("/v1/stats")).json()["deliveries"]
    assert (counts["pending"], counts["exhausted"]) == (2, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{}", "since"),
        (b'{"since": "yesterday"}', "since"),
        (b'{"since": "2026-01-31T12:00:00"}', "since"),
    ],
)
async def test_a_recovery_needs_a_time_with_its_zone(
    client: httpx.AsyncClient, body: bytes, field: str
) -> None:
    await make(client)
    assert_problem(await client.post(f"{MINE}/recover", content=body), 422, field)


# --- replay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED])
async def test_a_finished_delivery_can_be_had_again(
    client: httpx.AsyncClient, house: House, state: DeliveryState
) -> None:
    await owe(client, house, "g-1")
    before = await attempt(house, state)
    house.started.clear()
    answer = await client.post(f"/v1/deliveries/{before.id}/replay")
    assert answer.status_code == 202
    delivery = schemas.Delivery.model_validate_json(answer.content)
    assert (delivery.state, delivery.reason) == ("pending", None)
    assert (delivery.id, delivery.event_id) == (before.id, before.event_id)
    assert len(delivery.attempts) == 1
    again = await house.store.deliveries.claim(events.lane_of(HOOK), limit=1)
    assert [each.delivery.id for each in again.deliveries] == [before.id]
    entries = (await client.get(f"{TRACKER}/timeline")).json()["items"]
    assert entries[-1]["kind"] == "replay"


async def test_a_replay_has_the_whole_schedule_before_it(
    client: httpx.AsyncClient, house: House
) -> None:
    await owe(client, house, "g-1")
    before = await attempt(house, DeliveryState.EXHAUSTED)
    await client.post(f"/v1/deliveries/{before.id}/replay")
    [found] = (await house.store.deliveries.claim(events.lane_of(HOOK), limit=1)).deliveries
    assert found.delivery.tries == 0


async def test_an_unknown_delivery_cannot_be_replayed(client: httpx.AsyncClient) -> None:
    assert "dlv_no" in assert_problem(await client.post("/v1/deliveries/dlv_no/replay"), 404)


async def test_nothing_is_replayed_to_one_that_is_off(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    await owe(client, house, "g-1", endpoint="mine")
    before = await attempt(house, DeliveryState.EXHAUSTED)
    await client.put(MINE, json={"enabled": False})
    answer = await client.post(f"/v1/deliveries/{before.id}/replay")
    assert "mine is off" in assert_problem(answer, 409)


async def test_nothing_is_replayed_to_one_that_was_deleted(
    client: httpx.AsyncClient, house: House
) -> None:
    await make(client)
    await owe(client, house, "g-1", endpoint="mine")
    before = await attempt(house, DeliveryState.EXHAUSTED)
    await client.delete(MINE)
    assert_problem(await client.post(f"/v1/deliveries/{before.id}/replay"), 404)


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
