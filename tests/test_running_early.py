"""Processes that start before their Redis: they wait a while, or until they are told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from tests.redis_servers import Server, dreamhook, free_port, server
from worker import running, signing
from worker.config import Settings
from worker.embedded import EmbeddedRedis
from worker.errors import RedisAwayError
from worker.status import Status


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


@asynccontextmanager
async def mute() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Have a port that takes what comes and never answers; the event tells that something came."""
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1)
            asked.set()
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], asked
    finally:
        listening.close()
        await listening.wait_closed()


async def ends_soon(process: asyncio.Task[None], stop: asyncio.Event, asked: asyncio.Event) -> None:
    """See that what waits for an answer ends when it is told to, and leaves nothing open."""
    await asked.wait()
    assert not process.done()
    stop.set()
    async with asyncio.timeout(3):
        await process
    gc.collect()  # what is not closed warns, which is an error


MUTE_URLS = [
    "redis://127.0.0.1:{port}",
    "rediss://127.0.0.1:{port}",
    "redis+sentinel://127.0.0.1:{port},127.0.0.1:{port}/dream",
]


@pytest.mark.parametrize("url", MUTE_URLS)
async def test_who_is_told_to_stop_while_its_redis_does_not_answer_ends_at_once(url: str) -> None:
    async with mute() as (port, asked):
        stop, settings = asyncio.Event(), Settings(redis_url=url.format(port=port), port=0)
        await ends_soon(asyncio.create_task(running.run(settings, stop)), stop, asked)


async def test_who_is_told_to_stop_while_its_cells_do_not_answer_ends_at_once() -> None:
    async with mute() as (port, asked):
        cells = {name: f"redis://127.0.0.1:{port}/{n}" for n, name in enumerate("ab")}
        settings = Settings(cells=cells, webhook_secret=signing.new_secret(bytes(32)), port=0)
        stop = asyncio.Event()
        serve = asyncio.create_task(running.run(settings, stop, worker=False))
        await ends_soon(serve, stop, asked)


async def test_who_is_told_to_stop_when_its_redis_answers_no_more_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, risks = asyncio.Event(), Status.risks
    with server(tmp_path) as redis:

        async def asked_in_vain(status: Status) -> list[str]:
            redis.stop()
            asked.set()
            return await risks(status)

        monkeypatch.setattr(Status, "risks", asked_in_vain)
        stop, settings = asyncio.Event(), Settings(redis_url=redis.url, port=0)
        await ends_soon(asyncio.create_task(running.run(settings, stop)), stop, asked)


async def test_who_is_told_to_stop_while_the_embedded_redis_does_not_answer_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, start = asyncio.Event(), EmbeddedRedis.start
    with EmbeddedRedis.start(tmp_path) as redis:
        pid, loop = redis.pid, asyncio.get_running_loop()

        def asked_for(*args: Any, **options: Any) -> EmbeddedRedis:
            loop.call_soon_threadsafe(asked.set)
            return start(*args, **options)

        monkeypatch.setattr(EmbeddedRedis, "start", asked_for)
        os.kill(pid, signal.SIGSTOP)
        try:
            stop, settings = asyncio.Event(), Settings(data=tmp_path, port=0)
            await ends_soon(asyncio.create_task(running.run(settings, stop)), stop, asked)
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("command", "how"), [("serve", signal.SIGTERM), ("work", signal.SIGINT), ("up", signal.SIGTERM)]
)
async def test_a_signal_ends_a_process_whose_redis_does_not_answer(
    command: str, how: signal.Signals, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with mute() as (port, asked):
        env = {
            "DREAMHOOK_REDIS_URL": f"redis://127.0.0.1:{port}",
            "DREAMHOOK_PORT": "0",
            "PYTHONWARNINGS": "always",
        }
        async with dreamhook(command, env, log) as process:
            async with asyncio.timeout(30):
                await asked.wait()
            process.send_signal(how)
            async with asyncio.timeout(3):
                assert await process.wait() == 0
    said = log.read_text()
    assert "Traceback" not in said
    assert "Warning" not in said
    assert "never retrieved" not in said
