"""A Redis that is killed: what was acknowledged before is there when it is back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from worker import running
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.embedded import EmbeddedRedis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis.start(tmp_path) as server:
        yield server


@pytest.fixture
async def api(server: EmbeddedRedis) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real API on a real port."""
    settings = Settings(
        redis_url=server.url, accounts={"luma": AccountSettings(provider="luma")}, port=0
    )
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(running.run(settings, stop, worker=False, ready=url.set_result))
    async with httpx.AsyncClient(base_url=await url, timeout=20) as client:
        yield client
    stop.set()
    await serving


async def kept(api: httpx.AsyncClient, name: str) -> bool:
    """Whether a tracker is there, once Redis is back."""
    async with asyncio.timeout(10):
        while (answer := await api.get(f"/v1/trackers/luma/{name}")).status_code == 503:  # noqa: ASYNC110 - another process sets no events
            await asyncio.sleep(0.01)
    return answer.status_code == 200


async def test_a_tracker_that_was_acknowledged_survives_a_redis_killed_right_then(
    api: httpx.AsyncClient, server: EmbeddedRedis
) -> None:
    pid = server.pid
    answer = await api.put("/v1/trackers/luma/g-1")
    os.kill(pid, signal.SIGKILL)

    assert answer.status_code == 202
    assert await kept(api, "g-1")


async def test_all_that_was_acknowledged_amid_many_requests_survives(
    api: httpx.AsyncClient, server: EmbeddedRedis
) -> None:
    pid, acknowledged, many = server.pid, list[str](), asyncio.Event()

    async def track(name: str) -> None:
        if (await api.put(f"/v1/trackers/luma/{name}")).status_code == 202:
            acknowledged.append(name)
        if len(acknowledged) >= 30:
            many.set()

    asked = [asyncio.create_task(track(f"g-{n}")) for n in range(100)]
    await many.wait()
    os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*asked)

    assert [name for name in acknowledged if not await kept(api, name)] == []
