"""Several cells answer as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families as families

from tests.cells.conftest import IN_A, IN_B, NAMES, SECRET, WIDE, Divided
from tests.redis_servers import eventually
from worker.cells import cell_of
from worker.model import JsonObject

EACH = 4
ITEMS = [(account, f"{account}-{n}") for account in (IN_A, IN_B, WIDE) for n in range(EACH)]


async def track(divided: Divided, api: httpx.AsyncClient, **terms: str) -> None:
    """Track some generations of each account in one call."""
    divided.create(*(name for _, name in ITEMS))
    batch = [{"account": account, "generation_id": name, **terms} for account, name in ITEMS]
    answer = await api.post("/v1/trackers", json={"trackers": batch})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [(each["generation_id"], each["status"]) for each in results] == [
        (name, 202) for _, name in ITEMS
    ]


async def pages(api: httpx.AsyncClient, path: str, **query: str | int) -> list[JsonObject]:
    """Follow the cursors through a list."""
    items, cursor = list[JsonObject](), dict[str, str]()
    while True:
        page = (await api.get(path, params={"limit": 5, **query, **cursor})).raise_for_status()
        shape = page.json()
        assert len(shape["items"]) <= 5
        items += shape["items"]
        if shape["next_cursor"] is None:
            return items
        cursor = {"cursor": shape["next_cursor"]}


async def test_what_is_tracked_in_any_cell_is_found_and_told_of(
    divided: Divided, api: httpx.AsyncClient
) -> None:
    homes = {cell_of(NAMES, WIDE, name) for account, name in ITEMS if account == WIDE}
    assert homes == set(NAMES), "the divided account is in both"
    await track(divided, api, callback_url=divided.receiver.url)
    await divided.heard(*(name for _, name in ITEMS))
    for account, name in ITEMS:
        divided.receiver.verify(name, SECRET)
        answer = await api.get(f"/v1/trackers/{account}/{name}", params={"wait": 10})
        assert answer.json()["state"] == "completed"
    queries: list[dict[str, str]] = [{}, {"state": "completed"}]
    for query in queries:
        trackers = await pages(api, "/v1/trackers", **query)
        assert sorted(each["generation_id"] for each in trackers) == sorted(n for _, n in ITEMS)
        times = [each["tracked_at"] for each in trackers]
        assert times == sorted(times, reverse=True)
    for account in (IN_A, IN_B, WIDE):
        assert len(await pages(api, "/v1/trackers", account=account)) == EACH
    stats = (await api.get("/v1/stats")).json()
    assert stats["trackers"]["completed"] == len(ITEMS)
    accounts = (await api.get("/v1/accounts")).json()["items"]
    assert sorted(each["name"] for each in accounts) == sorted((IN_A, IN_B, WIDE))
    assert {each["polls_per_second"] for each in accounts} == {200}


async def test_deliveries_of_all_cells_are_listed_found_and_replayed(
    divided: Divided, api: httpx.AsyncClient
) -> None:
    await track(divided, api, callback_url=divided.receiver.url)

    async def all_delivered() -> bool:
        return len(await pages(api, "/v1/deliveries", state="delivered")) == len(ITEMS)

    await eventually(all_delivered)
    divided.receiver.heard.clear()
    for each in await pages(api, "/v1/deliveries"):
        found = (await api.get(f"/v1/deliveries/{each['id']}")).raise_for_status().json()
        assert found["generation_id"] == each["generation_id"]
        assert (await api.post(f"/v1/deliveries/{each['id']}/replay")).status_code == 202
    await divided.heard(*(name for _, name in ITEMS))
    assert (await api.get("/v1/deliveries/dlv_none")).status_code == 404


async def test_an_endpoint_signs_with_one_secret_in_all_cells(
    divided: Divided, api: httpx.AsyncClient
) -> None:
    made = await api.put("/v1/endpoints/app", json={"url": divided.receiver.url})
    assert made.status_code == 201, made.text
    await track(divided, api, endpoint="app")
    await divided.heard(*(name for _, name in ITEMS))
    for _, name in ITEMS:
        divided.receiver.verify(name, made.json()["secret"])

    rotated = await api.post("/v1/endpoints/app/rotate", json={"overlap_s": 0})
    divided.receiver.heard.clear()
    since = {"since": "2020-01-01T00:00:00Z"}
    recovered = await api.post("/v1/endpoints/app/recover", json=since)
    assert recovered.json() == {"recovered": 0}
    for each in await pages(api, "/v1/deliveries"):
        await api.post(f"/v1/deliveries/{each['id']}/replay")
    await divided.heard(*(name for _, name in ITEMS))
    for _, name in ITEMS:
        divided.receiver.verify(name, rotated.json()["secret"])

    again = await api.put("/v1/endpoints/app", json={"url": divided.receiver.url})
    assert again.status_code == 200
    assert [e["name"] for e in (await api.get("/v1/endpoints")).json()["items"]] == ["app"]
    assert (await api.delete("/v1/endpoints/app")).status_code == 204
    assert (await api.get("/v1/endpoints/app")).status_code == 404


async def test_who_listens_resumes_after_a_restart_of_the_api_and_misses_nothing(
    divided: Divided,
) -> None:
    heard: list[str] = []
    async with divided.serving() as api:
        await track(divided, api)
        last = ""
        async with aclosing(events(api, since="0")) as told:
            async for place, data in told:
                heard.append(data["data"]["generation_id"])
                last = place
                if len(heard) == len(ITEMS) // 2:
                    break
    async with divided.serving() as api:
        async with aclosing(events(api, {"Last-Event-ID": last})) as told:
            async for _, data in told:
                heard.append(data["data"]["generation_id"])
                if len(heard) == len(ITEMS):
                    break
        assert sorted(heard) == sorted(name for _, name in ITEMS)  # each once
        wrong = await api.get("/v1/events", headers={"Last-Event-ID": "1769860847251-0"})
        assert wrong.status_code == 422


async def events(
    api: httpx.AsyncClient, headers: dict[str, str] | None = None, **query: str
) -> AsyncGenerator[tuple[str, JsonObject]]:
    """Listen; gives the place and the data of each event."""
    async with api.stream("GET", "/v1/events", params=query, headers=headers) as answer:
        assert answer.status_code == 200
        place = ""
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                place = value
            elif name == "data":
                yield place, orjson.loads(value)


async def test_one_scrape_tells_of_all_cells(divided: Divided, api: httpx.AsyncClient) -> None:
    await track(divided, api)

    async def tracked() -> dict[tuple[str, str], float]:
        """Add up the trackers by account and cell."""
        found = Counter[tuple[str, str]]()
        for family in families((await api.get("/metrics")).raise_for_status().text):
            for each in family.samples if family.name == "dreamhook_trackers" else ():
                found[each.labels["account"], each.labels["cell"]] += int(each.value)
        return found

    divided_over = Counter(cell_of(NAMES, WIDE, name) for account, name in ITEMS if account == WIDE)
    assert await tracked() == {
        (IN_A, "a"): EACH,  # and there alone
        (IN_B, "b"): EACH,
        **{(WIDE, cell): count for cell, count in divided_over.items()},
    }
    alone = (await api.get("/metrics", params={"cell": "b"})).raise_for_status().text
    assert f'dreamhook_trackers{{account="{IN_B}",state=' in alone
    assert "cell" not in alone


async def test_what_cannot_be_done_over_cells_is_refused_with_a_reason(
    api: httpx.AsyncClient,
) -> None:
    submitted = await api.post("/v1/generations", json={"account": WIDE, "request": {}})
    assert submitted.status_code == 422
    assert "spread over cells" in submitted.json()["detail"]
    elsewhere = await api.get("/metrics", params={"cell": "c"})
    assert (elsewhere.status_code, elsewhere.json()["field"]) == (422, "cell")
    assert "name one of a, b" in elsewhere.json()["detail"]
    bad = await api.get("/v1/trackers", params={"cursor": "x"})
    assert (bad.status_code, bad.json()["field"]) == (422, "cursor")
    many = await api.post("/v1/trackers", json={"trackers": [{}] * 1001})
    assert many.status_code == 422
    assert (await api.get("/v1/trackers", headers={"Authorization": ""})).status_code == 401
