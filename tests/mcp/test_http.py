"""`/mcp` of the API: behind the same keys, for agents and not for pages of other sites."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from worker.embedded import EmbeddedRedis
from worker.simulator import Faults, World

from .conftest import KEY, READ_KEY, House, opened, over_http, refused, told

ONE = {"generation_id": "g-1"}

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def hello(url: str, key: str | None = KEY, **headers: str) -> httpx.Response:
    """Begin a session as an agent's program does."""
    keys = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.post(f"{url}/mcp", json=HELLO, headers={**HEADERS, **keys, **headers})


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_without_a_key_nobody_gets_in(house: House, key: str | None) -> None:
    answer = await hello(house.url, key)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_with_a_key_an_agent_gets_in(house: House) -> None:
    answer = await hello(house.url)
    assert answer.status_code == 200
    line = next(each for each in answer.text.splitlines() if each.startswith("data: {"))
    assert json.loads(line[6:])["result"]["serverInfo"]["name"] == "dreamhook"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_key_that_may_only_read_has_the_tools_that_read(house: House, mode: str) -> None:
    await house.tracked(house.dream("g-1", seconds=600), headers={"X-Team": "video"})
    house.dream("g-2", seconds=600)
    async with over_http(house.url, READ_KEY, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert told(await client.call_tool("get_generation", ONE))["tracked"] is True
        assert told(await client.call_tool("list_generations", {"tracked_only": True}))["items"]
        assert told(await client.call_tool("get_queue_stats", {}))["workers"] == 1
        for tool, arguments in (
            ("get_generation", {"generation_id": "g-2"}),
            ("get_generation", ONE | {"fresh": True}),
            ("list_generations", {}),
        ):
            text = refused(await client.call_tool(tool, arguments))
            assert "may only read" in text
        assert "tracked_only=true" in text
    assert names == {
        *("get_generation", "list_generations", "wait_for_generation"),
        *("list_deliveries", "get_queue_stats"),
    }


async def test_a_key_that_may_only_read_cannot_use_the_session_of_another(house: House) -> None:
    session = (await hello(house.url)).headers["mcp-session-id"]
    call: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "cancel_tracking", "arguments": ONE},
    }
    await house.tracked(house.dream("g-1", seconds=600))
    headers = {**HEADERS, "Authorization": f"Bearer {READ_KEY}", "Mcp-Session-Id": session}
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{house.url}/mcp", json=call, headers=headers)
    assert answer.status_code == 404
    assert (await house.api.get("/v1/trackers/luma/g-1")).json()["state"] == "tracking"


async def test_a_key_may_only_read_the_rest_of_the_api_still(house: House) -> None:
    headers = {"Authorization": f"Bearer {READ_KEY}"}
    for path in ("/v1/trackers", "/mcp/x", "/mcp/"):
        answer = await house.api.post(path, headers=headers)
        assert answer.status_code == 403, path


async def test_without_keys_it_is_open_to_this_machine_and_closed_to_other_sites(
    embedded: EmbeddedRedis, luma: str, world: World, faults: Faults
) -> None:
    async with opened(embedded, luma, world, faults, api_keys=(), read_keys=()) as house:
        async with over_http(house.url, None) as client:
            assert told(await client.call_tool("get_queue_stats", {}))["workers"] == 1
        rebound = await hello(house.url, None, Host="evil.example")
        foreign = await hello(house.url, None, Origin="https://evil.example")
    assert (rebound.status_code, foreign.status_code) == (421, 403)


async def test_a_body_over_a_mebibyte_is_refused(house: House) -> None:
    answer = await house.api.post("/mcp", content=b" " * (1 << 20) + b"{}", headers=HEADERS)
    assert answer.status_code == 413


async def test_a_server_that_stops_does_not_wait_for_its_agents(house: House) -> None:
    await house.tracked(house.dream("g-1", seconds=600))
    session = (await hello(house.url)).headers["mcp-session-id"]
    headers = {**HEADERS, "Authorization": f"Bearer {KEY}", "Mcp-Session-Id": session}
    arguments = {"name": "wait_for_generation", "arguments": ONE, "_meta": {"progressToken": 1}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": arguments}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=20) as http:
        listens = http.stream("GET", f"{house.url}/mcp")
        waits = http.stream("POST", f"{house.url}/mcp", json=call)
        async with listens, waits as waiting:
            lines = waiting.aiter_lines()
            while "notifications/progress" not in await anext(lines):
                pass
            async with asyncio.timeout(4):  # less than it waits for answers that do not end
                await house.stop()
