"""Many IDs in one call: what holds beyond the single atomic step that the store takes at a time."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from worker import shapes
from worker.model import Tracker
from worker.service import TRACKED_PER_STEP
from worker.store.trackers import Trackers

from .conftest import COMPLETED, House

SEVERAL_STEPS = 2 * TRACKED_PER_STEP + 1


def items(count: int, **settings: Any) -> list[dict[str, Any]]:
    return [{"account": "luma", "generation_id": f"g-{n}", **settings} for n in range(count)]


async def track(client: httpx.AsyncClient, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = await client.post("/v1/trackers", json={"trackers": wanted})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def test_outcomes_come_in_the_order_of_their_items(client: httpx.AsyncClient) -> None:
    known = items(SEVERAL_STEPS, deadline_s=60)[::3]
    await track(client, known)
    wanted = items(SEVERAL_STEPS, deadline_s=60)
    wanted[3]["deadline_s"] = 61  # known, with other settings
    wanted[5]["account"] = "other"
    results = await track(client, wanted)
    expected = [200 if n % 3 == 0 else 202 for n in range(SEVERAL_STEPS)]
    expected[3] = 409
    assert [each["status"] for each in results] == expected
    named = [(each["account"], each["generation_id"]) for each in results]
    assert named == [(each["account"], each["generation_id"]) for each in wanted]


async def test_what_comes_later_in_a_call_is_newer(client: httpx.AsyncClient) -> None:
    await track(client, items(SEVERAL_STEPS))
    page = (await client.get("/v1/trackers", params={"limit": 1000})).json()
    names = [each["generation_id"] for each in page["items"]]
    assert names == [f"g-{n}" for n in reversed(range(SEVERAL_STEPS))]


async def test_what_is_tracked_already_is_shown_as_it_stands(
    client: httpx.AsyncClient, house: House
) -> None:
    await track(client, items(3))
    await house.look("g-1", COMPLETED)
    states = [each["tracker"]["state"] for each in await track(client, items(3))]
    assert states == ["tracking", "completed", "tracking"]


async def test_one_that_leaves_meanwhile_harms_no_other(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await track(client, items(3))
    read = Trackers.get_many

    async def without_one(self: Trackers, names: list[tuple[str, str]]) -> list[Tracker]:
        return [each for each in await read(self, names) if each.generation_id != "g-1"]

    monkeypatch.setattr(Trackers, "get_many", without_one)
    results = await track(client, items(3))
    assert [each["status"] for each in results] == [200, 404, 200]
    assert "g-1" in results[1]["error"]["detail"]


async def test_a_tracker_is_shown_in_plain_texts(client: httpx.AsyncClient, house: House) -> None:
    """Pydantic takes as long for one enumeration as for all the rest of a new tracker."""
    await track(client, items(1))
    shape = shapes.tracker_shape(await house.service.get("luma", "g-0"))
    texts = [shape["state"], *shape["events"]]
    assert {type(each) for each in texts} == {str}
