"""The control surface of the simulated API: scripts, early ends, faults and figures."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from worker.simulator.world import Outcome, World

from .conftest import API, start


async def test_a_generation_can_be_scripted(luma: httpx.AsyncClient) -> None:
    script = {
        "id": "g-9",
        "model": "ray-9",
        "queued_s": 0,
        "dreaming_s": 0,
        "outcome": "failed",
        "failure_reason": "Frame moderation failed",
    }
    started = await luma.post("/_simulator/generations", json=script)
    shown = (await luma.get(f"{API}/generations/g-9")).json()
    assert started.status_code == 201
    assert started.json() == shown
    assert (shown["state"], shown["model"]) == ("failed", "ray-9")
    assert shown["failure_reason"] == "Frame moderation failed"


async def test_a_scripted_image_is_an_image(luma: httpx.AsyncClient) -> None:
    script = {"generation_type": "image", "queued_s": 0, "dreaming_s": 0, "outcome": "completed"}
    started = (await luma.post("/_simulator/generations", json=script)).json()
    assert (started["model"], list(started["assets"])) == ("photon-1", ["image"])


async def test_an_id_scripted_twice_is_a_409(luma: httpx.AsyncClient) -> None:
    await luma.post("/_simulator/generations", json={"id": "g-9"})
    again = await luma.post("/_simulator/generations", json={"id": "g-9"})
    assert (again.status_code, again.json()["detail"]) == (409, "generation g-9 exists already")


@pytest.mark.parametrize(
    "script", [{"id": "a/b"}, {"dreaming_s": -1}, {"outcome": "lost"}, {"color": "red"}]
)
async def test_a_script_that_makes_no_sense_is_a_422(
    world: World, luma: httpx.AsyncClient, script: dict[str, Any]
) -> None:
    refused = await luma.post("/_simulator/generations", json=script)
    assert (refused.status_code, len(world)) == (422, 0)


@pytest.mark.parametrize(
    ("body", "state", "reason"),
    [
        ({}, "completed", None),
        ({"outcome": "failed", "failure_reason": "Because"}, "failed", "Because"),
    ],
)
async def test_a_generation_can_be_finished_now(
    world: World, luma: httpx.AsyncClient, body: dict[str, str], state: str, reason: str | None
) -> None:
    start(world, Outcome.STUCK)
    ended = await luma.post("/_simulator/generations/g-1/finish", json=body)
    assert ended.status_code == 200
    assert (ended.json()["state"], ended.json()["failure_reason"]) == (state, reason)
    assert ended.json() == (await luma.get(f"{API}/generations/g-1")).json()


async def test_finishing_twice_is_a_409_and_nobody_a_404(
    world: World, luma: httpx.AsyncClient
) -> None:
    start(world, Outcome.COMPLETED)
    again = await luma.post("/_simulator/generations/g-1/finish", json={})
    nobody = await luma.post("/_simulator/generations/nobody/finish", json={})
    assert (again.status_code, nobody.status_code) == (409, 404)


async def test_a_fault_can_be_put_in_force_and_cleared(luma: httpx.AsyncClient) -> None:
    added = await luma.post("/_simulator/faults", json={"call": "ping", "kind": "500"})
    assert added.status_code == 201
    assert (await luma.get(f"{API}/ping")).status_code == 500
    assert (await luma.delete("/_simulator/faults")).status_code == 204
    assert (await luma.get(f"{API}/ping")).status_code == 200


async def test_a_fault_that_makes_no_sense_is_a_422(luma: httpx.AsyncClient) -> None:
    refused = await luma.post("/_simulator/faults", json={"call": "get", "kind": "418"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "kind"]


async def test_stats_count_calls_polls_and_faults(world: World, luma: httpx.AsyncClient) -> None:
    start(world)
    await luma.post("/_simulator/faults", json={"call": "get", "kind": "429", "times": 1})
    for path in ("/generations/g-1", "/generations/g-1", "/generations/nobody", "/generations"):
        await luma.get(f"{API}{path}")
    assert (await luma.get("/_simulator/stats")).json() == {
        "generations": 1,
        "calls": {"get": 3, "list": 1},
        "gets": {"g-1": 2, "nobody": 1},
        "faults": {"429": 1},
        "redirects_followed": 0,
    }
