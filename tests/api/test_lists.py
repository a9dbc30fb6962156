"""The list of trackers: newest first, page by page, filtered."""

from __future__ import annotations

import httpx
import pytest

from worker.api import schemas

from .conftest import COMPLETED, House, assert_problem


async def names(client: httpx.AsyncClient, query: str) -> list[str]:
    answer = await client.get(f"/v1/trackers?{query}")
    assert answer.status_code == 200, answer.text
    return [item["generation_id"] for item in answer.json()["items"]]


async def test_a_list_begins_with_the_newest(client: httpx.AsyncClient) -> None:
    for name in ("g-1", "g-2", "g-3"):
        await client.put(f"/v1/trackers/luma/{name}")
    answer = await client.get("/v1/trackers")
    page = schemas.TrackerPage.model_validate_json(answer.content)
    assert [each.generation_id for each in page.items] == ["g-3", "g-2", "g-1"]
    assert page.next_cursor is None


async def test_an_empty_list_is_a_list(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/trackers")
    assert answer.json() == {"items": [], "next_cursor": None}


async def test_the_pages_make_up_the_list(client: httpx.AsyncClient) -> None:
    for n in range(5):
        await client.put(f"/v1/trackers/{'luma' if n % 2 else 'other'}/g-{n}")
    seen, params = [], {"limit": "2"}
    while True:
        page = (await client.get("/v1/trackers", params=params)).json()
        assert len(page["items"]) <= 2
        seen += [each["generation_id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == ["g-4", "g-3", "g-2", "g-1", "g-0"]


async def test_a_list_can_be_filtered(client: httpx.AsyncClient, house: House) -> None:
    for name in ("g-1", "g-2"):
        await client.put(f"/v1/trackers/luma/{name}")
    await client.put("/v1/trackers/other/g-3")
    await house.look("g-1", COMPLETED)
    assert await names(client, "state=completed") == ["g-1"]
    assert await names(client, "account=other") == ["g-3"]
    assert await names(client, "model=ray-2") == ["g-1"]
    assert await names(client, "account=luma&state=tracking&model=ray-2") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=done", "state"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=", "cursor"),
        ("staet=failed", "staet"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    assert_problem(await client.get(f"/v1/trackers?{query}"), 422, field)


async def test_all_bad_parameters_are_named_at_once(client: httpx.AsyncClient) -> None:
    problem = (await client.get("/v1/trackers?limit=0&state=done")).json()
    assert {each["field"] for each in problem["errors"]} == {"limit", "state"}


async def test_a_list_of_an_unknown_account_is_refused(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/v1/trackers?account=nobody"), 404, "account")
