"""Processes that are started before their Redis: they wait for it, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from tests.redis_servers import Server, free_port, server
from worker import running
from worker.config import Settings
from worker.errors import RedisAwayError


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@contextmanager
def gone(folder: Path) -> Iterator[Server]:
    """Have a server that is not running, but may be started on its port."""
    with server(folder) as found:
        found.kill()
        yield found


async def told(lines: list[Any], event: str) -> None:
    async with asyncio.timeout(10):
        while event not in [line["event"] for line in lines]:  # noqa: ASYNC110 - a log sets no events
            await asyncio.sleep(0.002)


async def test_a_redis_that_starts_late_is_waited_for_and_that_is_one_line(
    tmp_path: Path, lines: list[Any]
) -> None:
    with gone(tmp_path / "redis") as redis:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        settings = Settings(redis_url=redis.url, port=0)
        up = asyncio.create_task(running.run(settings, stop, ready=url.set_result))
        await told(lines, "waiting for redis")
        assert not url.done()

        await asyncio.to_thread(redis.start_again)

        async with asyncio.timeout(20), httpx.AsyncClient(base_url=await url) as client:
            assert (await client.get("/readyz")).status_code == 200
        stop.set()
        await up
    assert [line["event"] for line in lines].count("waiting for redis") == 1


async def test_who_waits_for_its_redis_can_be_told_to_stop(lines: list[Any]) -> None:
    stop, settings = asyncio.Event(), Settings(redis_url=f"redis://127.0.0.1:{free_port()}")
    worker = asyncio.create_task(running.run(settings, stop, api=False))
    await told(lines, "waiting for redis")
    stop.set()
    async with asyncio.timeout(5):
        await worker


async def test_a_redis_that_does_not_come_is_not_waited_for_without_end(
    lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "REDIS_PATIENCE_S", 0.5)
    monkeypatch.setattr(running, "REDIS_PAUSE_S", 0.01)
    settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(RedisAwayError, match=r"Check DREAMHOOK_REDIS_URL"):
        await running.run(settings, asyncio.Event(), api=False)
    assert [line["event"] for line in lines] == ["waiting for redis"]
