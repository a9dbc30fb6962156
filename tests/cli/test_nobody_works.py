"""A real server beside which no worker lives: what `get`, `wait` and `check` say of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.cli.conftest import COMMAND
from worker import running
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.figures import NO_WORKER

PATIENCE_S = 20.0


@dataclass
class Served:
    """An API without a worker, and the environment of who asks it."""

    environment: dict[str, str]

    async def run(self, *arguments: str) -> str:
        """Run a command, and get all that it said."""
        child = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await child.communicate()
        return said.decode()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    luma = AccountSettings(provider="luma", api_key=SecretStr("key"))
    settings = Settings(data=tmp_path, port=0, accounts={"luma": luma})
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(running.run(settings, stop, worker=False, ready=url.set_result))
    async with asyncio.timeout(PATIENCE_S):
        address = await url
    async with httpx.AsyncClient(base_url=address, trust_env=False) as api:
        (await api.put("/v1/trackers/luma/nw-1")).raise_for_status()
    yield Served(
        {
            "PATH": os.environ["PATH"],
            "DREAMHOOK_URL": address,
            "DREAMHOOK_DATA": str(tmp_path),
            "LUMAAI_API_KEY": "key",
            "COLUMNS": "200",
        }
    )
    stop.set()
    await serving


async def test_whoever_asks_why_nothing_happens_is_told_that_no_worker_lives(
    served: Served,
) -> None:
    async with asyncio.timeout(PATIENCE_S):
        assert f"nw-1: {NO_WORKER}" in await served.run("wait", "nw-1", "--timeout", "5.1")
        assert f"{NO_WORKER}." in await served.run("get", "nw-1")
        assert NO_WORKER in " ".join((await served.run("check")).split())
