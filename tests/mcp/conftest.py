"""Agents in the tests: the official client, over stdio and over HTTP, before a real deployment."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from worker import running
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.embedded import EmbeddedRedis
from worker.simulator import Faults, Outcome, Script, World, create_app
from worker.simulator import running as simulated

KEY, READ_KEY, LUMA_KEY = "all-of-it", "only-look", "luma-key"


@dataclass
class House:
    """A deployment before a simulated Luma."""

    url: str
    luma: str
    world: World
    faults: Faults
    api: httpx.AsyncClient
    stop: Callable[[], Awaitable[None]]

    def dream(self, name: str, *, seconds: float = 0.0, **life: Any) -> str:
        """Start a generation that lasts so long."""
        kind, model = life.pop("kind", "video"), life.pop("model", "ray-2")
        fate = {"queued_s": 0.0, "outcome": Outcome.COMPLETED} | life
        script = Script(id=name, dreaming_s=seconds, **fate)
        return self.world.create(generation_type=kind, model=model, request={}, script=script).id

    async def finish(self, name: str) -> None:
        """End one now, and have Dreamhook look at it if it tracks it."""
        self.world.finish(name, Outcome.COMPLETED)
        await self.api.post(f"/v1/trackers/luma/{name}/poll")

    async def tracked(self, name: str, **terms: Any) -> None:
        """Track one."""
        (await self.api.put(f"/v1/trackers/luma/{name}", json=terms)).raise_for_status()

    async def over(self, name: str) -> dict[str, Any]:
        """Wait until a tracker is over."""
        answer = await self.api.get(f"/v1/trackers/luma/{name}?wait=20")
        tracker: dict[str, Any] = answer.json()
        assert tracker["state"] != "tracking"
        return tracker


@pytest.fixture
def world() -> World:
    return World(seed=1, failure_rate=0.0, stuck_rate=0.0)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def luma(world: World, faults: Faults) -> AsyncIterator[str]:
    async with simulated(create_app(world, faults=faults, keys=[LUMA_KEY])) as url:
        yield url


@pytest.fixture
async def house(
    embedded: EmbeddedRedis, luma: str, world: World, faults: Faults
) -> AsyncIterator[House]:
    async with opened(embedded, luma, world, faults) as house:
        yield house


@asynccontextmanager
async def opened(
    embedded: EmbeddedRedis, luma: str, world: World, faults: Faults, **settings: Any
) -> AsyncIterator[House]:
    """Run a deployment on a Redis that holds nothing else."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    account = AccountSettings(provider="luma", api_key=LUMA_KEY, base_url=luma, polls_per_second=50)
    given = Settings(
        redis_url=embedded.url,
        accounts={"luma": account},
        port=0,
        prefix=f"mcp-{os.urandom(4).hex()}",
        allow_private="127.0.0.0/8",
        retry_schedule="none",
        **({"api_keys": (KEY,), "read_keys": (READ_KEY,)} | settings),
    )
    deployment = asyncio.create_task(running.run(given, stop, ready=url.set_result))
    async with asyncio.timeout(20):
        address = await url
    headers = {"Authorization": f"Bearer {KEY}"}

    async def stopped() -> None:
        stop.set()
        async with asyncio.timeout(20):
            await deployment

    async with httpx.AsyncClient(
        base_url=address, headers=headers, trust_env=False, timeout=30
    ) as api:
        yield House(address, luma, world, faults, api, stopped)
    await stopped()


# --- agents ---------------------------------------------------------------------------------------


def environment(**variables: str) -> dict[str, str]:
    """Nothing configured but these."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())} | variables


def over_stdio(mode: str = "auto", extensions: Any = None, **variables: str) -> Client:
    """Start `dreamhook mcp` as a process of its own, as an agent's program does."""
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "worker.cli", "mcp"], env=environment(**variables)
    )
    return Client(command, mode=mode, extensions=extensions)


@asynccontextmanager
async def over_http(
    url: str, key: str | None = KEY, mode: str = "auto", extensions: Any = None
) -> AsyncIterator[Client]:
    """Connect to `/mcp` of a server."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        Client(
            streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, extensions=extensions
        ) as client,
    ):
        yield client


def agent(house: House, way: str, extensions: Any = None) -> AbstractAsyncContextManager[Client]:
    """Connect an agent: `stdio` or `http`, in the newest or in the older protocol."""
    transport, _, mode = way.partition(" ")
    mode = mode or "auto"
    if transport == "http":
        return over_http(house.url, mode=mode, extensions=extensions)
    return over_stdio(mode, extensions, DREAMHOOK_URL=house.url, DREAMHOOK_API_KEY=KEY)


WAYS = ["stdio", "http", "stdio legacy", "http legacy"]


def text(result: CallToolResult) -> str:
    """Read a result's text."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def refused(result: CallToolResult) -> str:
    """Read the text of a result that is an error."""
    assert result.is_error
    return text(result)


def told(result: CallToolResult) -> dict[str, Any]:
    """Read what a result that is none says, beside its text."""
    assert not result.is_error, text(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content
