"""Every tool, by the official client, over stdio and over HTTP, before a real deployment."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat
from typing import Any

import pytest
from mcp import Client

from tests.receivers import receiving
from worker.simulator import Outcome, World

from .conftest import LUMA_KEY, WAYS, House, agent, over_stdio, text, told


class Receiver:
    """Refuses the first webhook, and takes all others."""

    def __init__(self) -> None:
        self.url = ""
        self.may_answer = asyncio.Event()
        self._statuses = chain([500], repeat(204))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        (length,) = (line for line in head.splitlines() if line.startswith("content-length: "))
        await reader.readexactly(int(length.partition(": ")[2]))
        status = next(self._statuses)
        writer.write(f"HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()


every_way = pytest.mark.parametrize("way", WAYS)
both_ways = pytest.mark.parametrize("way", WAYS[:2])


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that goes well."""
    return told(await client.call_tool(tool, arguments))


@every_way
async def test_a_generation_is_created_waited_for_and_shown(house: House, way: str) -> None:
    async with agent(house, way) as client:
        created = await call(
            client, "generate_image", prompt="A paper boat", model="photon-1", metadata={"n": 1}
        )
        assert (created["state"], created["tracked"], created["is_over"]) == (
            "running",
            True,
            False,
        )
        name = created["generation_id"]
        heard: list[tuple[float, float | None, str | None]] = []

        async def hear(*progress: Any) -> None:
            heard.append(progress)

        waiting = asyncio.create_task(
            client.call_tool("wait_for_generation", {"generation_id": name}, progress_callback=hear)
        )
        while not heard:  # noqa: ASYNC110 - it is what is waited for
            await asyncio.sleep(0.01)
        await house.finish(name)
        waited = told(await waiting)
        shown = await call(client, "get_generation", generation_id=name)
    gone_s, total_s, message = heard[0]
    assert (gone_s < 5, total_s) == (True, 50.0)
    assert message
    assert (waited["state"], waited["is_over"], waited["tracked"]) == ("completed", True, False)
    assert waited["image_url"].startswith("http://127.0.0.1")
    assert shown == waited
    tracker = (await house.api.get(f"/v1/trackers/luma/{name}")).json()
    assert tracker["metadata"] == {"n": 1}
    asked = house.world.find(name)
    assert asked is not None
    assert asked.request["prompt"] == "A paper boat"


async def test_a_video_is_asked_for_as_luma_takes_it(house: House) -> None:
    keyframes = {"frame0": {"type": "image", "url": "https://pictures.example/boat.png"}}
    async with agent(house, "http") as client:
        created = await call(
            *(client, "create_generation"),
            prompt="A paper boat at dawn",
            model="ray-flash-2",
            aspect_ratio="9:16",
            resolution="540p",
            duration="9s",
            loop=True,
            keyframes=keyframes,
            concepts=[{"key": "dolly_zoom"}],
        )
    made = house.world.find(created["generation_id"])
    assert made is not None
    assert (made.generation_type, made.model) == ("video", "ray-flash-2")
    asked = {name: value for name, value in made.request.items() if value is not None}
    assert asked == {
        "generation_type": "video",
        "model": "ray-flash-2",
        "prompt": "A paper boat at dawn",
        "aspect_ratio": "9:16",
        "resolution": "540p",
        "duration": "9s",
        "loop": True,
        "keyframes": keyframes,
        "concepts": [{"key": "dolly_zoom"}],
    }


async def test_the_same_key_again_creates_nothing(house: House) -> None:
    wanted = {"prompt": "A paper boat", "idempotency_key": "boat-1"}
    async with agent(house, "http") as client:
        first = await call(client, "create_generation", **wanted)
        second = await call(client, "create_generation", **wanted)
        third = await call(client, "create_generation", prompt="A paper boat")
    assert first["generation_id"] == second["generation_id"] != third["generation_id"]
    assert len(house.world) == 2


@both_ways
async def test_what_nobody_tracks_is_shown_as_the_provider_shows_it(house: House, way: str) -> None:
    house.dream("g-1", seconds=60)
    async with agent(house, way) as client:
        shown = await call(client, "get_generation", generation_id="g-1")
        tracked = await call(client, "track_generation", generation_id="g-1", deadline_s=600)
        again = await call(client, "track_generation", generation_id="g-1", deadline_s=600)
        canceled = await call(client, "cancel_tracking", generation_id="g-1")
    assert (shown["provider_state"], shown["tracked"], shown["next_look_at"]) == (
        *("dreaming", False),
        None,
    )
    assert "track_generation" in shown["next_step"]
    assert (tracked["tracked"], again["tracked_at"]) == (True, tracked["tracked_at"])
    assert (canceled["state"], canceled["is_over"]) == ("canceled", True)


async def test_what_was_canceled_is_shown_as_it_is_by_now(house: House) -> None:
    house.dream("g-1", seconds=60)
    await house.tracked("g-1")
    async with agent(house, "http") as client:
        await call(client, "cancel_tracking", generation_id="g-1")
        house.world.finish("g-1", Outcome.COMPLETED)
        shown = await call(client, "get_generation", generation_id="g-1")
    assert (shown["state"], shown["provider_state"]) == ("canceled", "completed")
    assert shown["video_url"]


async def test_a_fresh_look_asks_the_provider(house: House) -> None:
    house.dream("g-1", seconds=60)
    await house.tracked("g-1")
    async with agent(house, "http") as client:
        await first_look(client)
        house.world.finish("g-1", Outcome.COMPLETED)
        shown = await call(client, "get_generation", generation_id="g-1", fresh=True)
    assert shown["state"] == "completed"


async def first_look(client: Client) -> None:
    """Wait until Dreamhook has looked at it once."""
    async with asyncio.timeout(10):
        while (await call(client, "get_generation", generation_id="g-1"))["seen_at"] is None:  # noqa: ASYNC110 - it is what is waited for
            await asyncio.sleep(0.01)


@both_ways
async def test_lists_come_in_parts(house: House, way: str) -> None:
    for n in range(3):
        house.dream(f"g-{n}", seconds=60)
    await house.tracked("g-0")
    await house.tracked("g-1")
    async with agent(house, way) as client:
        first = await call(client, "list_generations", limit=2)
        rest = await call(client, "list_generations", limit=2, offset=first["next_offset"])
        ours = await call(client, "list_generations", tracked_only=True, limit=1)
        older = await call(
            client, "list_generations", tracked_only=True, limit=5, offset=ours["next_offset"]
        )
    names = [[each["generation_id"] for each in page["items"]] for page in (first, rest)]
    assert names == [["g-2", "g-1"], ["g-0"]]
    assert rest["next_offset"] is None
    assert [each["tracked"] for each in first["items"]] == [False, True]
    assert [each["generation_id"] for each in ours["items"] + older["items"]] == ["g-1", "g-0"]
    assert older["next_offset"] is None


@both_ways
async def test_webhooks_are_listed_and_sent_again(house: House, way: str) -> None:
    async with receiving(Receiver()) as receiver, agent(house, way) as client:
        house.dream("g-1")
        await call(client, "track_generation", generation_id="g-1", callback_url=receiver.url)
        await house.over("g-1")
        failed = await delivery(client, state="exhausted")
        assert (failed["reason"], failed["attempts"]) == ("attempts", 1)
        assert failed["last_attempt"]["status"] == 500
        replayed = await call(client, "replay_delivery", delivery_id=failed["id"])
        assert (replayed["id"], replayed["event_id"]) == (failed["id"], failed["event_id"])
        done = await delivery(client, state="delivered", generation_id="g-1", account="luma")
        assert (done["id"], done["last_attempt"]["status"]) == (failed["id"], 204)


async def delivery(client: Client, **wanted: str) -> dict[str, Any]:
    """Wait for the one delivery that fits."""
    async with asyncio.timeout(10):
        while True:
            found = await call(client, "list_deliveries", **wanted)
            if found["items"]:
                assert (len(found["items"]), found["has_more"]) == (1, False)
                only: dict[str, Any] = found["items"][0]
                return only
            await asyncio.sleep(0.02)


@both_ways
async def test_the_queue_is_shown_in_figures(house: House, way: str) -> None:
    await house.tracked(house.dream("g-1", seconds=60))
    async with agent(house, way) as client:
        result = await client.call_tool("get_queue_stats", {})
    assert told(result)["trackers"]["tracking"] == 1
    assert told(result)["workers"] == 1
    assert "Trackers: 1 tracking" in text(result)


# --- without a server -----------------------------------------------------------------------------


async def test_without_a_server_an_agent_creates_waits_and_lists(luma: str, world: World) -> None:
    variables = {"LUMAAI_API_KEY": LUMA_KEY, "LUMAAI_BASE_URL": luma}
    async with over_stdio(**variables) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        created = await call(client, "generate_image", prompt="A paper boat", format="png")
        name = created["generation_id"]
        world.finish(name, Outcome.COMPLETED)
        waited = await call(client, "wait_for_generation", generation_id=name)
        listed = await call(client, "list_generations")
        shown = await client.call_tool("get_generation", {"generation_id": name})
    assert names == {
        *("get_generation", "list_generations", "wait_for_generation"),
        *("create_generation", "generate_image"),
    }
    assert (created["state"], created["tracked"]) == ("running", False)
    assert (waited["state"], waited["is_over"]) == ("completed", True)
    assert [each["generation_id"] for each in listed["items"]] == [name]
    assert f"Image URL: {waited['image_url']}" in text(shown)
