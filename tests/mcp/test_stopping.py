"""A call that is given up ends its work; and many agents at once do not wait for each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from worker.mcp_server.remote import Remote
from worker.simulator import World
from worker.simulator.faults import parse_fault
from worker.standalone import Standalone

from .conftest import LUMA_KEY, WAYS, House, agent, over_http, over_stdio, told

ONE = {"generation_id": "g-1"}


class Slow:
    """Answers with one that goes on for ever; asked to wait, it holds the line until hung up on."""

    def __init__(self) -> None:
        self.url = ""
        self.waited_for = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"wait=" in head:
                    self.waited_for.set()
                    await reader.read(1)  # nothing comes, until the connection is closed
                    self.hung_up.set()
                    return
                body = orjson.dumps({"state": "tracking", "provider_state": None, "progress": None})
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(slow: Slow) -> AsyncIterator[Slow]:
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    slow.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield slow


async def gave_up(call: asyncio.Task[Any]) -> None:
    call.cancel()
    await asyncio.wait({call})
    assert call.cancelled()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_to_give_up_over_stdio_hangs_up_on_the_server(mode: str) -> None:
    async with (
        serving(Slow()) as slow,
        over_stdio(mode, DREAMHOOK_URL=slow.url) as client,
        asyncio.timeout(20),
    ):
        wanted = ONE | {"account": "luma"}
        call = asyncio.create_task(client.call_tool("wait_for_generation", wanted))
        await slow.waited_for.wait()
        await gave_up(call)
        await slow.hung_up.wait()
        assert len((await client.list_tools()).tools) == 10  # and serves on


@pytest.mark.parametrize("way", ["http", "http legacy"])
async def test_to_give_up_over_http_ends_the_wait(
    house: House, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    whole = Remote.wait

    async def wait(self: Remote, *args: Any) -> Any:
        begun.set()
        try:
            return await whole(self, *args)
        except asyncio.CancelledError:
            ended.set()
            raise

    monkeypatch.setattr(Remote, "wait", wait)
    await house.tracked(house.dream("g-1", seconds=600))
    async with agent(house, way) as client, asyncio.timeout(20):
        call = asyncio.create_task(client.call_tool("wait_for_generation", ONE))
        await begun.wait()
        await gave_up(call)
        await ended.wait()
        assert told(await client.call_tool("get_generation", ONE))["tracked"] is True


@pytest.mark.parametrize("way", ["http", "http legacy"])
async def test_what_was_paid_for_is_tracked_though_the_agent_has_given_up(
    house: House, way: str
) -> None:
    """Its answer alone tells the ID, where the provider has no list."""
    house.faults.add(parse_fault("create:slow:seconds=1"))
    house.faults.add(parse_fault("list:500"))
    async with agent(house, way) as client, asyncio.timeout(20):
        call = asyncio.create_task(client.call_tool("create_generation", {"prompt": "a fox"}))
        while not len(house.world):  # noqa: ASYNC110 - the simulator sets no events
            await asyncio.sleep(0.01)
        await gave_up(call)
    (made,) = [each.id for each in house.world.all()]
    async with asyncio.timeout(10):
        while (await house.api.get(f"/v1/trackers/luma/{made}")).status_code != 200:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    (submission,) = (await house.api.get("/v1/generations")).json()["items"]
    assert (submission["state"], submission["generation_id"]) == ("created", made)


async def test_without_a_server_to_give_up_ends_the_looks(luma: str, world: World) -> None:
    world.create(generation_type="video", model="ray-2", request={})
    (it,) = world.all()
    from worker.config import Settings  # noqa: PLC0415

    settings = Settings.load({"LUMAAI_API_KEY": LUMA_KEY, "LUMAAI_BASE_URL": luma})
    alone, told_of = Standalone.of(settings), asyncio.Event()

    async def tell(_seen: object) -> None:
        told_of.set()

    call = asyncio.create_task(alone.wait("luma", it.id, timeout_s=50, tell=tell))
    async with asyncio.timeout(10):
        await told_of.wait()
        await gave_up(call)
        await alone.aclose()


async def test_an_agent_that_hangs_up_ends_its_process(house: House) -> None:
    await house.tracked(house.dream("g-1", seconds=600))
    async with agent(house, "stdio") as client:
        await client.list_tools()
    # The client kills what does not end by itself within two seconds, and would say so.


# --- many at once ---------------------------------------------------------------------------------

AGENTS = 20


async def test_twenty_agents_wait_at_once_over_http(house: House) -> None:
    names = [house.dream(f"g-{n}", seconds=600) for n in range(AGENTS)]
    for name in names:
        await house.tracked(name)
    begun: list[str] = []

    async def one(name: str, mode: str) -> None:
        async with over_http(house.url, mode=mode) as client:

            async def hear(*_: Any) -> None:
                if name not in begun:
                    begun.append(name)

            result = await client.call_tool(
                "wait_for_generation", {"generation_id": name}, progress_callback=hear
            )
            assert told(result)["generation_id"] == name
            assert told(result)["state"] == "completed"

    async with asyncio.timeout(40), asyncio.TaskGroup() as agents:
        for n, name in enumerate(names):
            agents.create_task(one(name, "auto" if n % 2 else "legacy"))
        while len(begun) < AGENTS:  # noqa: ASYNC110 - it is what is waited for
            await asyncio.sleep(0.02)
        for name in names:
            await house.finish(name)


@pytest.mark.parametrize("way", WAYS[:2])
async def test_twenty_calls_of_one_agent_run_side_by_side(house: House, way: str) -> None:
    await house.tracked(house.dream("g-1", seconds=600))
    wanted = ONE | {"timeout_s": 2}
    async with agent(house, way) as client, asyncio.timeout(20):
        await client.list_tools()
        began = time.monotonic()
        calls = [client.call_tool("wait_for_generation", wanted) for _ in range(AGENTS)]
        results = await asyncio.gather(*calls)
        took_s = time.monotonic() - began
    assert [told(each)["is_over"] for each in results] == AGENTS * [False]
    assert took_s < 18  # one after the other it would be forty
