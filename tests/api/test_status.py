"""Deliveries, figures, accounts, readiness, and what is said of routes that there are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from redis.asyncio import Redis

from worker import addresses
from worker.api import routes, schemas, watching
from worker.api.accounts import Accounts
from worker.embedded import EmbeddedRedis
from worker.model import DeliveryState, Refused, State, Terms
from worker.store import Store

from .conftest import COMPLETED, HOOK, House, assert_problem


async def finish(client: httpx.AsyncClient, house: House, *names: str) -> None:
    """Have generations complete, each with a delivery owed for it."""
    for name in names:
        account, generation_id = name.split("/")
        await client.put(f"/v1/trackers/{name}", json={"callback_url": HOOK})
        await house.look(generation_id, COMPLETED, account)


# --- deliveries ---------------------------------------------------------------------------------


async def test_a_delivery_is_listed_and_shown(client: httpx.AsyncClient, house: House) -> None:
    await finish(client, house, "luma/g-1")
    answer = await client.get("/v1/deliveries")
    [delivery] = schemas.DeliveryPage.model_validate_json(answer.content).items
    assert (delivery.state, delivery.type) == ("pending", "generation.completed")
    assert (delivery.generation_id, delivery.url) == ("g-1", HOOK)
    shown = await client.get(f"/v1/deliveries/{delivery.id}")
    assert shown.status_code == 200
    assert shown.json() == answer.json()["items"][0]


async def test_deliveries_can_be_filtered(client: httpx.AsyncClient, house: House) -> None:
    await finish(client, house, "luma/g-1", "luma/g-2", "other/g-1")

    async def found(query: str) -> list[str]:
        items = (await client.get(f"/v1/deliveries?{query}")).json()["items"]
        return [f"{each['account']}/{each['generation_id']}" for each in items]

    assert await found("") == ["other/g-1", "luma/g-2", "luma/g-1"]
    assert await found("account=luma") == ["luma/g-2", "luma/g-1"]
    assert await found("generation_id=g-1") == ["other/g-1", "luma/g-1"]
    assert await found("account=luma&generation_id=g-1&state=pending") == ["luma/g-1"]
    assert await found("state=delivered") == []
    assert await found(f"endpoint={addresses.endpoint_name(HOOK)}&account=other") == ["other/g-1"]
    assert await found("endpoint=studio") == []


async def test_the_pages_of_deliveries_make_up_the_list(
    client: httpx.AsyncClient, house: House
) -> None:
    await finish(client, house, "luma/g-1", "luma/g-2", "luma/g-3")
    first = (await client.get("/v1/deliveries?limit=2")).json()
    second = (await client.get(f"/v1/deliveries?limit=2&cursor={first['next_cursor']}")).json()
    names = [each["generation_id"] for each in first["items"] + second["items"]]
    assert names == ["g-3", "g-2", "g-1"]
    assert second["next_cursor"] is None


async def test_an_unknown_delivery_is_not_found(client: httpx.AsyncClient) -> None:
    assert "dlv_no" in assert_problem(await client.get("/v1/deliveries/dlv_no"), 404)


@pytest.mark.parametrize(
    ("query", "field"), [("state=done", "state"), ("limit=0", "limit"), ("cursor=~", "cursor")]
)
async def test_a_parameter_of_deliveries_that_cannot_be_used_is_named(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    assert_problem(await client.get(f"/v1/deliveries?{query}"), 422, field)


# --- how it is doing ----------------------------------------------------------------------------


async def test_the_figures_count_by_state(client: httpx.AsyncClient, house: House) -> None:
    await finish(client, house, "luma/g-1")
    await client.put("/v1/trackers/luma/g-2")
    answer = await client.get("/v1/stats")
    stats = watching.Stats.model_validate_json(answer.content)
    assert stats.trackers[State.COMPLETED] == stats.trackers[State.TRACKING] == 1
    assert stats.deliveries[DeliveryState.PENDING] == 1
    assert stats.troubles == []


async def test_accounts_show_their_health(client: httpx.AsyncClient, house: House) -> None:
    await client.put("/v1/trackers/luma/g-1")
    await house.look("g-1", Refused("401 Unauthorized"))
    answer = await client.get("/v1/accounts")
    luma, other = Accounts.model_validate_json(answer.content).items
    assert luma.health is not None
    assert other.health is not None
    assert (luma.name, luma.configured, luma.tracking) == ("luma", True, 1)
    assert (luma.health.ok, luma.health.reason) == (False, "credentials rejected")
    assert luma.held is not None
    assert luma.health.held_until == luma.held.until
    assert luma.held.until is not None
    assert (other.name, other.health.ok, other.health.held_until) == ("other", True, None)
    assert other.held is None
    assert "api_key" not in answer.text


async def test_while_a_probe_is_under_way_no_account_shows_the_end_of_its_lease(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put("/v1/trackers/luma/g-1")
    await house.look("g-1", Refused("401 Unauthorized"))
    lease = {"held_until": 2**42, "probe_until": 2**42}
    await house.redis.hset("test:card:poll:luma", mapping=lease)  # type: ignore[misc]

    luma, _ = Accounts.model_validate_json((await client.get("/v1/accounts")).content).items
    stats = watching.Stats.model_validate_json((await client.get("/v1/stats")).content)

    (trouble,) = stats.accounts_in_trouble
    assert luma.health is not None
    assert luma.health.held_until is trouble.held_until is None
    assert luma.held is not None
    assert luma.held.until is None
    assert "A probe is under way" in luma.held.in_words
    assert trouble.held == luma.held


async def test_an_account_that_is_not_configured_is_shown_with_what_it_tracks(
    client: httpx.AsyncClient, house: House
) -> None:
    await house.store.trackers.track("former", "luma", [("g-1", Terms(deadline_s=3600))])
    await house.poller.drain("former", "poll:former", asyncio.Event())
    answer = await client.get("/v1/accounts")
    former = Accounts.model_validate_json(answer.content).items[-1]
    assert (former.name, former.configured, former.tracking) == ("former", False, 1)
    assert former.health is None


# --- ready --------------------------------------------------------------------------------------


@pytest.fixture
async def real(embedded: EmbeddedRedis) -> AsyncIterator[House]:
    """The same over a real server, for what fakeredis does not know."""
    redis = Redis.from_url(embedded.url)
    await redis.flushall()
    yield House.on(redis)
    await redis.config_set("maxmemory-policy", "noeviction")
    await redis.aclose()


async def readiness(house: House) -> tuple[int, schemas.Readiness]:
    async with house.client() as client:
        answer = await client.get("/readyz")
    return answer.status_code, schemas.Readiness.model_validate_json(answer.content)


async def test_a_redis_that_keeps_everything_is_ready(real: House) -> None:
    assert await readiness(real) == (200, schemas.Readiness(ok=True, problems=[], warnings=[]))


async def test_a_redis_that_evicts_is_not_ready(real: House) -> None:
    await real.redis.config_set("maxmemory-policy", "allkeys-lru")
    status, shown = await readiness(real)
    assert (status, shown.ok) == (503, False)
    assert "noeviction" in shown.problems[0]


async def test_rejected_credentials_are_a_warning(real: House) -> None:
    await real.service.track_many([{"account": "luma", "generation_id": "g-1"}])
    await real.look("g-1", Refused("401 Unauthorized"))
    status, shown = await readiness(real)
    assert (status, shown.ok, shown.problems) == (200, True, [])
    assert "credentials rejected" in shown.warnings[0]


async def test_a_redis_that_is_away_is_not_ready() -> None:
    async with Redis(host="127.0.0.1", port=1) as redis:
        status, shown = await readiness(House.on(redis))
    assert (status, shown.ok) == (503, False)
    assert "Redis" in shown.problems[0]


async def test_a_redis_that_hangs_is_not_ready(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_store: Store) -> None:
        await house.store.bell.listen()

    monkeypatch.setattr(Store, "check", hangs)
    monkeypatch.setattr(routes, "READY_WITHIN_S", 0.01)
    status, shown = await readiness(house)
    assert (status, shown.problems) == (503, ["Redis has not answered within 0.01 s."])


# --- routes that there are not ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v2/trackers", "/v1/trackers/", "/v1/trackers/luma", "//v1/stats"]
)
async def test_an_unknown_route_is_a_problem_too(client: httpx.AsyncClient, path: str) -> None:
    assert "/docs" in assert_problem(await client.get(f"http://localhost{path}"), 404)


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("PATCH", "/v1/trackers/luma/g-1", "DELETE, GET, HEAD, PUT"),
        ("DELETE", "/v1/trackers", "GET, HEAD, POST"),
        ("GET", "/v1/trackers/luma/g-1/poll", "POST"),
        ("POST", "/v1/endpoints/mine", "DELETE, GET, HEAD, PUT"),
        ("GET", "/v1/endpoints/mine/rotate", "POST"),
        ("POST", "/v1/stats", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_route_has_not_is_told_which_it_has(
    client: httpx.AsyncClient, verb: str, path: str, allowed: str
) -> None:
    answer = await client.request(verb, path)
    assert allowed in assert_problem(answer, 405)
    assert answer.headers["allow"] == allowed


async def test_the_index_is_the_dashboard_and_leads_to_the_reference(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="/docs"' in page.text
    assert (await client.get("/docs")).status_code == 200
