"""Many IDs in one call."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from worker import requests, shapes
from worker.api import schemas
from worker.model import Tracker
from worker.service import TRACKED_PER_STEP
from worker.store.trackers import Trackers

from .conftest import COMPLETED, HOOK, House, assert_problem

SEVERAL_STEPS = 2 * TRACKED_PER_STEP + 1


def items(count: int, **settings: Any) -> list[dict[str, Any]]:
    return [{"account": "luma", "generation_id": f"g-{n}", **settings} for n in range(count)]


async def outcomes(client: httpx.AsyncClient, sent: list[Any]) -> list[dict[str, Any]]:
    answer = await client.post("/v1/trackers", json={"trackers": sent})
    assert answer.status_code == 200, answer.text
    schemas.Outcomes.model_validate_json(answer.content)
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


# --- the outcomes -------------------------------------------------------------------------------


async def test_every_item_has_its_own_outcome(client: httpx.AsyncClient) -> None:
    await client.put("/v1/trackers/luma/same")
    await client.put("/v1/trackers/luma/other")
    results = await outcomes(
        client,
        [
            {"account": "luma", "generation_id": "new", "callback_url": HOOK},
            {"account": "luma", "generation_id": "same"},
            {"account": "luma", "generation_id": "other", "deadline_s": 60},
            {"account": "nobody", "generation_id": "g"},
            {"account": "luma", "generation_id": "a b"},
            {"account": "luma", "generation_id": "g", "deadline_s": 0},
            {"account": "other", "generation_id": "new"},
        ],
    )
    assert [each["status"] for each in results] == [202, 200, 409, 404, 422, 422, 202]
    assert [each["generation_id"] for each in results] == [
        *("new", "same", "other", "g", "a b", "g", "new")
    ]
    assert [each["error"]["status"] for each in results[2:6]] == [409, 404, 422, 422]
    assert results[5]["error"]["field"] == "deadline_s"
    assert (await client.get("/v1/trackers/luma/new")).json() == results[0]["tracker"]
    assert_problem(await client.get("/v1/trackers/luma/g"), 404)


@pytest.mark.parametrize("item", [None, 5, "g-1", [], [{}], {}, {"account": 5}, {"account": {}}])
async def test_an_item_of_any_kind_has_an_outcome(client: httpx.AsyncClient, item: Any) -> None:
    good = {"account": "luma", "generation_id": "g-1"}
    bad, tracked = await outcomes(client, [item, good])
    assert (bad["account"], bad["generation_id"], bad["status"]) == (None, None, 422)
    assert tracked["status"] == 202


async def test_the_same_id_twice_in_one_call_is_one_tracker(client: httpx.AsyncClient) -> None:
    item = {"account": "luma", "generation_id": "g-1"}
    results = await outcomes(client, [item, item, {**item, "deadline_s": 60}])
    assert [each["status"] for each in results] == [202, 200, 409]
    assert (await client.get("/v1/stats")).json()["trackers"]["tracking"] == 1


async def test_none_at_all_is_no_mistake(client: httpx.AsyncClient) -> None:
    assert await outcomes(client, []) == []


async def test_a_thousand_can_be_tracked_at_once(client: httpx.AsyncClient) -> None:
    results = await outcomes(client, items(requests.MAX_BATCH))
    assert {each["status"] for each in results} == {202}
    assert (await client.get("/v1/stats")).json()["trackers"]["tracking"] == requests.MAX_BATCH


async def test_more_than_a_thousand_cannot(client: httpx.AsyncClient) -> None:
    sent = {"trackers": items(requests.MAX_BATCH + 1)}
    answer = await client.post("/v1/trackers", json=sent)
    assert "1000" in assert_problem(answer, 422, "trackers")
    assert (await client.get("/v1/stats")).json()["trackers"]["tracking"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"trackers": {}}', "trackers"),
        (b'{"trackers": null}', "trackers"),
        (b'{"trackers": [], "more": 1}', "more"),
        (b"{}", "trackers"),
        (b"[]", "body"),
        (b"", "body"),
        (b"{", "body"),
    ],
)
async def test_a_call_without_a_list_is_refused(
    client: httpx.AsyncClient, body: bytes, field: str
) -> None:
    assert_problem(await client.post("/v1/trackers", content=body), 422, field)


# --- more than the store takes in one atomic step -----------------------------------------------


async def test_outcomes_come_in_the_order_of_their_items(client: httpx.AsyncClient) -> None:
    known = items(SEVERAL_STEPS, deadline_s=60)[::3]
    await outcomes(client, known)
    wanted = items(SEVERAL_STEPS, deadline_s=60)
    wanted[3]["deadline_s"] = 61  # known, with other settings
    wanted[5]["account"] = "other"
    results = await outcomes(client, wanted)
    expected = [200 if n % 3 == 0 else 202 for n in range(SEVERAL_STEPS)]
    expected[3] = 409
    assert [each["status"] for each in results] == expected
    named = [(each["account"], each["generation_id"]) for each in results]
    assert named == [(each["account"], each["generation_id"]) for each in wanted]


async def test_what_comes_later_in_a_call_is_newer(client: httpx.AsyncClient) -> None:
    await outcomes(client, items(SEVERAL_STEPS))
    page = (await client.get("/v1/trackers", params={"limit": 1000})).json()
    names = [each["generation_id"] for each in page["items"]]
    assert names == [f"g-{n}" for n in reversed(range(SEVERAL_STEPS))]


async def test_what_is_tracked_already_is_shown_as_it_stands(
    client: httpx.AsyncClient, house: House
) -> None:
    await outcomes(client, items(3))
    await house.look("g-1", COMPLETED)
    states = [each["tracker"]["state"] for each in await outcomes(client, items(3))]
    assert states == ["tracking", "completed", "tracking"]


async def test_one_that_leaves_meanwhile_harms_no_other(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outcomes(client, items(3))
    read = Trackers.get_many

    async def without_one(self: Trackers, names: list[tuple[str, str]]) -> list[Tracker]:
        return [each for each in await read(self, names) if each.generation_id != "g-1"]

    monkeypatch.setattr(Trackers, "get_many", without_one)
    results = await outcomes(client, items(3))
    assert [each["status"] for each in results] == [200, 404, 200]
    assert "g-1" in results[1]["error"]["detail"]


async def test_a_tracker_is_shown_in_plain_texts(client: httpx.AsyncClient, house: House) -> None:
    """Pydantic takes as long for one enumeration as for all the rest of a new tracker."""
    await outcomes(client, items(1))
    shape = shapes.tracker_shape(await house.service.get("luma", "g-0"))
    texts = [shape["state"], *shape["events"]]
    assert {type(each) for each in texts} == {str}
