"""A whole deployment, watched: what its worker does is told by its API, and it stops when asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from worker import running, telemetry
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.embedded import EmbeddedRedis
from worker.simulator import Outcome, Script, World, create_app
from worker.simulator import running as simulated


async def test_a_deployment_tells_what_it_does_and_stops_though_somebody_listens(
    tmp_path: Path,
) -> None:
    telemetry.take_counts()  # what other tests have counted in this process
    world, stop, url = World(), asyncio.Event(), asyncio.get_running_loop().create_future()
    script = Script(id="g-1", queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
    name = world.create(generation_type="video", model="ray-2", request={}, script=script).id
    with EmbeddedRedis.start(tmp_path) as server:
        async with simulated(create_app(world)) as luma:
            account = AccountSettings(provider="luma", api_key="key", base_url=luma)
            settings = Settings(redis_url=server.url, accounts={"luma": account}, port=0)
            deployment = asyncio.create_task(running.run(settings, stop, ready=url.set_result))
            async with (
                asyncio.timeout(20),
                httpx.AsyncClient(base_url=await url, trust_env=False) as api,
                api.stream("GET", "/v1/events") as events,
            ):
                lines = events.aiter_lines()
                await api.put(f"/v1/trackers/luma/{name}")
                await _until(lines, "event: generation.completed")
                wanted = 'dreamhook_trackers_ended_total{account="luma",state="completed"} 1.0'
                while wanted not in (await api.get("/metrics")).text:  # noqa: ASYNC110 - it is what is asked
                    await asyncio.sleep(0.05)
                stats = (await api.get("/v1/stats")).json()
                assert (stats["workers"], stats["last_hour"][-1]["at"][-5:]) == (1, ".000Z")
                stop.set()
                await _until(lines, "event: stream.end")
                async with asyncio.timeout(4):  # less than it waits for answers that do not end
                    await deployment


async def _until(lines: AsyncIterator[str], wanted: str) -> None:
    async for line in lines:
        if line == wanted:
            return
    raise AssertionError(wanted)
