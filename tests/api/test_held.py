"""A receiver that refuses connections, in front of a real Dreamhook: what it says, and after."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.web.stage import Receiver, Stage, staged, until
from worker import delivery_policy, listener
from worker.api import schemas, watching


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, retry_schedule=",".join(["0.05"] * 20)) as started:
        yield started


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def owed(stage: Stage, name: str, url: str) -> None:
    """Have a generation complete, of which this URL is to hear."""
    await stage.track(name, to=url)
    await stage.end(name)


async def held(stage: Stage, name: str) -> dict[str, Any]:
    """Wait until what is owed for a generation waits for a probe that is to come."""

    async def found() -> dict[str, Any] | None:
        return next(
            (each for each in await stage.deliveries(name) if (each["held"] or {}).get("until")),
            None,
        )

    delivery: dict[str, Any] = await until(found)
    return delivery


def is_ahead(at: str) -> bool:
    return datetime.fromisoformat(at) > datetime.now(UTC)


async def test_a_receiver_that_refuses_connections_is_held_and_everything_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_policy, "BREAKER_BASE_S", 60.0)
    origin = f"http://127.0.0.1:{free_port()}"
    await owed(stage, "first", f"{origin}/hook?token=secret")
    await held(stage, "first")  # three attempts have failed
    await owed(stage, "second", f"{origin}/other")

    delivery = await held(stage, "second")

    shown = schemas.Delivery.model_validate(delivery)
    assert shown.held is not None
    assert (shown.attempts, shown.next_attempt_at) == ([], shown.held.until)
    assert is_ahead(delivery["next_attempt_at"])
    assert (shown.held.origin, shown.held.reason) == (origin, "unreachable")
    assert shown.held.detail == "the connection was refused"
    assert shown.held.errors_in_a_row >= delivery_policy.BREAKER_AFTER
    assert shown.held.in_words.startswith(f"{origin} is not there: ")
    assert "secret" not in shown.held.model_dump_json()

    tracker = await stage.get("/v1/trackers/luma/second")
    assert schemas.Tracker.model_validate(tracker).webhook
    assert tracker["webhook"]["held"]["origin"] == origin
    [listed] = [each for each in await listed_trackers(stage) if each["generation_id"] == "second"]
    assert listed["webhook"]["held"]["origin"] == origin
    *_, line = (await stage.get("/v1/trackers/luma/second/timeline"))["items"]
    assert (line["kind"], line["delivery_id"]) == ("hold", delivery["id"])
    assert line["at"] >= delivery["created_at"]
    endpoint = await stage.get(f"/v1/endpoints/{delivery['endpoint']}")
    assert schemas.Endpoint.model_validate(endpoint).held
    stats = watching.Stats.model_validate(await stage.get("/v1/stats"))
    troubled = {each.url: each for each in stats.endpoints_in_trouble.items}
    assert troubled[f"{origin}/hook?token=secret"].held
    metrics = (await stage.api.get("/metrics")).raise_for_status().text
    assert "\ndreamhook_receivers_held 1.0\n" in metrics
    again = (await stage.api.post(f"/v1/deliveries/{delivery['id']}/replay")).json()
    assert again["held"]["origin"] == origin


async def listed_trackers(stage: Stage) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await stage.get("/v1/trackers"))["items"]
    return items


async def test_when_the_receiver_is_back_all_is_delivered_and_the_hold_is_gone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_policy, "BREAKER_BASE_S", 1.0)
    port = free_port()
    for name in ("first", "second"):
        await owed(stage, name, f"http://127.0.0.1:{port}/hook")
        delivery = await held(stage, name)

    async with listener.listening(Receiver(), port=port):

        async def is_delivered() -> bool:
            found = [*await stage.deliveries("first"), *await stage.deliveries("second")]
            return {each["state"] for each in found} == {"delivered"}

        await until(is_delivered)

    [after] = await stage.deliveries("second")
    assert any(each["held_ms"] for each in after["attempts"])
    assert (after["held"], after["next_attempt_at"]) == (None, None)
    tracker = await stage.get("/v1/trackers/luma/second")
    assert tracker["webhook"]["held"] is None
    assert (await stage.get(f"/v1/endpoints/{delivery['endpoint']}"))["held"] is None
    timeline = (await stage.get("/v1/trackers/luma/second/timeline"))["items"]
    assert "hold" not in {each["kind"] for each in timeline}
