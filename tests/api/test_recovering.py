"""Endpoints over HTTP: secrets rotated, tests sent, and what failed owed again."""

from __future__ import annotations

import httpx
import pytest

from worker import events
from worker.api import bodies, schemas
from worker.endpoints import LIVE_SECRETS
from worker.model import DeliveryState

from .conftest import HOOK, House, assert_problem
from .receiving import ANONYMOUS, LONG_AGO, MINE, TRACKER, attempt, make, owe, signatures

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
    notice = bodies.Notice.model_validate_json(claimed.deliveries[0].body)
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
