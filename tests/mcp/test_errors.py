"""What goes wrong comes back as a result that an agent can read and act on."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from mcp import MCPError

from worker.simulator import Faults
from worker.simulator.faults import parse_fault

from .conftest import LUMA_KEY, WAYS, House, agent, over_http, over_stdio, refused, told

every_way = pytest.mark.parametrize("way", WAYS[:2])

ONE = {"generation_id": "g-1"}


@every_way
async def test_what_cannot_be_used_is_named(house: House, way: str) -> None:
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("get_generation", {}, "generation_id: is missing"),
        ("get_generation", {"generation_id": 7}, "generation_id: must be a text"),
        ("get_generation", {"generation_id": "a b"}, "generation_id: must be 1 to 200 of"),
        ("get_generation", {"generation_id": "../stats"}, "must not be empty or contain a slash"),
        ("get_generation", ONE | {"id": "x"}, "id: is not known here; what is known: account,"),
        ("wait_for_generation", ONE | {"timeout_s": 60}, "timeout_s: must be at most 50"),
        ("list_generations", {"limit": 0}, "limit: must be at least 1"),
        ("create_generation", {"aspect_ratio": "2:1"}, "aspect_ratio: must be "),
        ("list_deliveries", {"state": "lost"}, "state: must be "),
        ("track_generation", ONE | {"callback_url": "ftp://x"}, "callback_url: "),
        ("track_generation", ONE | {"endpoint": "none"}, "there is no endpoint 'none'"),
        ("track_generation", ONE | {"deadline_s": 0}, "deadline_s: must be at least 1"),
        ("replay_delivery", {"delivery_id": "dlv_1"}, "There is no delivery 'dlv_1'"),
        ("cancel_tracking", ONE, "g-1 is not tracked in account luma"),
        ("wait_for_generation", ONE, "Call track_generation first."),
        ("get_generation", ONE | {"account": "moon"}, "no account 'moon'. Configured: luma"),
    ]
    async with agent(house, way) as client:
        for tool, arguments, says in asked:
            assert says in refused(await client.call_tool(tool, arguments)), (tool, arguments)


@every_way
async def test_an_unknown_tool_is_an_error_of_the_protocol(house: House, way: str) -> None:
    async with agent(house, way) as client:
        with pytest.raises(MCPError, match="There is no tool 'upscale'; there are: get_gen") as it:
            await client.call_tool("upscale", {})
    assert it.value.code == -32602


@every_way
async def test_an_id_that_the_provider_does_not_know_says_what_to_check(
    house: House, way: str
) -> None:
    async with agent(house, way) as client:
        text = refused(await client.call_tool("get_generation", ONE))
    assert "does not know g-1" in text
    assert "Check the ID and the account" in text


def again_in(text: str) -> int:
    """Read in how many seconds to try again."""
    found = re.search(r" Try again in (\d+) s\.$", text)
    assert found, text
    return int(found[1])


PROVIDER = {
    "get:401": "rejects the credentials of account luma",
    "get:429:retry_after=7": "has asked its provider too often (429 Too Many Requests",
    "get:502": "That says nothing about the generation: ask again.",
}


@pytest.mark.parametrize(("fault", "says"), PROVIDER.items())
async def test_what_the_provider_does_wrong_says_when_to_ask_again(
    house: House, fault: str, says: str
) -> None:
    house.dream("g-1", seconds=60)
    house.faults.add(parse_fault(fault))
    async with agent(house, "http") as client:
        text = refused(await client.call_tool("get_generation", ONE))
    assert says in text
    assert again_in(text) == {"get:401": 60, "get:429:retry_after=7": 7, "get:502": 5}[fault]


async def test_a_fresh_look_that_shows_nothing_says_how_old_what_is_known_is(house: House) -> None:
    await house.tracked(house.dream("g-1"))
    await house.over("g-1")
    house.faults.add(parse_fault("get:502"))
    async with agent(house, "http") as client:
        text = refused(await client.call_tool("get_generation", ONE | {"fresh": True}))
    assert "gave no usable answer (502 Bad Gateway" in text
    assert re.search(r"Without `fresh` you get what was seen \d+ s ago\.", text)


async def test_while_an_account_is_held_an_agent_is_told_for_how_long(house: House) -> None:
    house.dream("g-1", seconds=60)
    house.faults.add(parse_fault("get:429:retry_after=7"))
    async with agent(house, "http") as client:
        await client.call_tool("get_generation", ONE)
        text = refused(await client.call_tool("get_generation", ONE))
    assert "Account luma must not be asked for another" in text
    assert 1 <= again_in(text) <= 7


async def test_what_the_provider_refuses_to_create_is_told_in_its_words(house: House) -> None:
    async with agent(house, "http") as client:
        text = refused(await client.call_tool("create_generation", {"prompt": "x"}))
    assert "Prompt is too short, minimum length is 3 characters" in text
    assert len(house.world) == 0


async def test_an_unanswered_create_is_repeated_with_its_key_and_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.submissions.LOOK_AFTER_S", (0.1, 0.1))
    house.faults.add(parse_fault("create:lost:times=1"))
    wanted = {"prompt": "A paper boat"}
    async with agent(house, "http") as client, asyncio.timeout(20):
        text = refused(await client.call_tool("create_generation", wanted))
        assert "Do not create it anew" in text
        key = text.partition("idempotency_key='")[2].partition("'")[0]
        while True:
            again = await client.call_tool("create_generation", {**wanted, "idempotency_key": key})
            if not again.is_error:
                break
            await asyncio.sleep(0.1)
    (made,) = house.world.all()
    assert told(again)["generation_id"] == made.id


async def test_a_server_that_is_not_there_is_told_with_what_to_start() -> None:
    async with over_stdio(DREAMHOOK_URL="http://127.0.0.1:9") as client:
        for tool in ("get_generation", "wait_for_generation", "cancel_tracking"):
            text = refused(await client.call_tool(tool, ONE | {"account": "luma"}))
            assert "Cannot reach Dreamhook at http://127.0.0.1:9" in text
            assert "dreamhook up" in text
        text = refused(await client.call_tool("create_generation", {"account": "luma"}))
        assert "Cannot reach Dreamhook" in text
        assert "idempotency_key" not in text  # nothing was sent


async def test_a_key_that_the_server_does_not_take_is_told_by_its_setting(house: House) -> None:
    async with over_stdio(DREAMHOOK_URL=house.url, DREAMHOOK_API_KEY="wrong") as client:
        assert "DREAMHOOK_API_KEY" in refused(await client.call_tool("get_queue_stats", {}))


async def test_a_fault_of_ours_says_so_and_no_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("secret")

    monkeypatch.setattr("worker.mcp_server.remote.Remote.stats", broken)
    async with over_http(house.url) as client:
        text = refused(await client.call_tool("get_queue_stats", {}))
    assert text == "This is a fault of Dreamhook. Its log says more."


async def test_an_api_that_is_away_for_a_while_does_not_end_a_wait(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.client import AsyncClient, UnreachableError  # noqa: PLC0415

    whole, away = AsyncClient.get, asyncio.Event()

    async def get(self: AsyncClient, *args: Any, wait: float = 0.0, **more: Any) -> Any:
        if wait and not away.is_set():
            away.set()
            raise UnreachableError("restarting")
        return await whole(self, *args, wait=wait, **more)

    monkeypatch.setattr(AsyncClient, "get", get)
    monkeypatch.setattr("worker.mcp_server.remote.PAUSE_S", 0.01)
    await house.tracked(house.dream("g-1", seconds=0.5, kind="image", model="photon-1"))
    async with over_http(house.url) as client:
        waited = told(await client.call_tool("wait_for_generation", ONE))
    assert (waited["state"], away.is_set()) == ("completed", True)


# --- without a server -----------------------------------------------------------------------------


async def test_without_a_server_the_same_errors_are_told(luma: str, faults: Faults) -> None:
    variables = {"LUMAAI_API_KEY": LUMA_KEY, "LUMAAI_BASE_URL": luma}
    async with over_stdio(**variables) as client:
        asked: list[tuple[str, dict[str, Any], str]] = [
            ("get_generation", ONE, "does not know g-1 (404 Not Found: Generation not found)"),
            ("wait_for_generation", ONE, "does not know g-1"),
            ("get_generation", {"generation_id": "a b"}, "generation_id: must be 1 to 200 of"),
            ("get_generation", ONE | {"account": "moon"}, "Configured: luma"),
            ("get_generation", ONE | {"fresh": True}, "fresh: is not known here"),
            ("create_generation", {"prompt": "x"}, "Prompt is too short"),
        ]
        for tool, arguments, says in asked:
            assert says in refused(await client.call_tool(tool, arguments)), (tool, arguments)
        with pytest.raises(MCPError, match="no tool 'track_generation'"):
            await client.call_tool("track_generation", ONE)
        faults.add(parse_fault("get:429:retry_after=7:times=1"))
        for _ in range(2):  # it is held in this process too
            assert 1 <= again_in(refused(await client.call_tool("get_generation", ONE))) <= 7


async def test_without_a_server_a_rejected_key_is_told(luma: str) -> None:
    async with over_stdio(LUMAAI_API_KEY="wrong", LUMAAI_BASE_URL=luma) as client:
        text = refused(await client.call_tool("list_generations", {}))
    assert "rejects the credentials of account luma (401 Unauthorized" in text
