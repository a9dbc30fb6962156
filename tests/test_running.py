"""A worker's life: it survives its Redis, and leaves nothing half done when it is told to stop."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog

from worker import running
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.crew import Crew
from worker.embedded import EmbeddedRedis
from worker.errors import UnavailableError
from worker.jobs_outage import Outage
from worker.model import State, Tracker
from worker.requests import TrackRequest
from worker.service import Service
from worker.simulator import Outcome, Script, World, create_app
from worker.simulator import running as simulated
from worker.wiring import Deployment, opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of one's own, to be killed."""
    with EmbeddedRedis.start(tmp_path) as server:
        yield server


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def deployment(server: EmbeddedRedis, world: World) -> AsyncIterator[Deployment]:
    async with simulated(create_app(world)) as base_url:
        account = AccountSettings(provider="luma", api_key="key", base_url=base_url)
        settings = Settings(
            redis_url=server.url, accounts={"luma": account}, allow_private="127.0.0.0/8"
        )
        async with opened(settings) as deployment:
            yield deployment


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@asynccontextmanager
async def working(deployment: Deployment) -> AsyncIterator[asyncio.Event]:
    """Run `work` for a while; whoever sets the event may look at what it leaves."""
    stop = asyncio.Event()
    task = asyncio.create_task(running._work(deployment, stop))
    yield stop
    stop.set()
    async with asyncio.timeout(5):
        await task


def finished(world: World, name: str) -> str:
    script = Script(id=name, queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
    return world.create(generation_type="video", model="ray-2", request={}, script=script).id


async def track_until_acknowledged(deployment: Deployment, name: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await deployment.service.track("luma", name, TrackRequest())
            except UnavailableError:
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_worker_survives_the_death_of_its_redis(
    deployment: Deployment,
    server: EmbeddedRedis,
    world: World,
    lines: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "RESTART_S", 0.05)
    async with working(deployment):
        await deployment.service.track("luma", finished(world, "g-1"), TrackRequest())
        assert (await deployment.service.wait("luma", "g-1", 5)).state is State.COMPLETED

        os.kill(server.pid, signal.SIGKILL)

        await track_until_acknowledged(deployment, finished(world, "g-2"))
        assert (await deployment.service.wait("luma", "g-2", 10)).state is State.COMPLETED
    assert (await deployment.service.get("luma", "g-1")).state is State.COMPLETED
    said = [line["event"] for line in lines if line["event"] != "look"]
    assert said.count("redis is away") == said.count("redis is back") > 0
    assert set(said) <= {"working", "redis is away", "redis is back"}
    assert said.count("working") == 1


async def test_a_redis_that_takes_no_writes_for_a_while_is_one_outage(
    deployment: Deployment,
    world: World,
    lines: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a primary does that is cut off from its replicas: it goes on answering questions."""
    noticed, often, notice = 0, asyncio.Event(), Outage.noticed

    def counted(outage: Outage, error: BaseException) -> None:
        nonlocal noticed
        notice(outage, error)
        noticed += 1
        if noticed >= 4:
            often.set()

    monkeypatch.setattr(Outage, "noticed", counted)
    monkeypatch.setattr(running, "RESTART_S", 0.05)
    async with working(deployment):
        await deployment.redis.config_set("min-replicas-to-write", 1)
        async with asyncio.timeout(20):
            await often.wait()
        await deployment.redis.config_set("min-replicas-to-write", 0)
        await deployment.service.track("luma", finished(world, "g-1"), TrackRequest())
        assert (await deployment.service.wait("luma", "g-1", 20)).state is State.COMPLETED
        async with asyncio.timeout(20):
            while "redis is back" not in [line["event"] for line in lines]:  # noqa: ASYNC110 - a log sets no events
                await asyncio.sleep(0.01)
    said = [line["event"] for line in lines if line["event"] != "look"]
    assert said == ["working", "redis is away", "redis is back"]


class Receiver:
    """Takes webhooks, but answers only when it may."""

    def __init__(self) -> None:
        self.came = asyncio.Semaphore(0)
        self.may_answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.came.release()
        await self.may_answer.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()


async def test_an_attempt_in_hand_ends_before_a_worker_that_is_to_stop_does(
    deployment: Deployment, world: World
) -> None:
    receiver = Receiver()
    listening = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with working(deployment) as stop:
        wanted = TrackRequest(callback_url=url)
        await deployment.service.track("luma", finished(world, "g-1"), wanted)
        await receiver.came.acquire()
        stop.set()
        await deployment.service.track("luma", finished(world, "g-2"), TrackRequest())
        receiver.may_answer.set()
    listening.close()
    await listening.wait_closed()

    deliveries = await deployment.deliveries.list_deliveries()
    assert [each["state"] for each in deliveries.items] == ["delivered"]
    assert (await deployment.service.get("luma", "g-2")).polls == 0


async def test_a_worker_can_stop_while_redis_is_away(
    deployment: Deployment, server: EmbeddedRedis
) -> None:
    async with working(deployment) as stop:
        await deployment.service.track("luma", "g-1", TrackRequest())
        os.kill(server.pid, signal.SIGKILL)
        stop.set()


class DeafWorker:
    """Does not hear the first time that it is cancelled, as `asyncio.wait_for` in Python 3.11."""

    def __init__(self) -> None:
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def wind_down(self) -> None:
        pass

    async def async_run(self) -> None:
        self.began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_a_worker_that_does_not_hear_at_first_stops_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "CANCEL_AGAIN_S", 0.01)
    worker, stop = DeafWorker(), asyncio.Event()
    running_it = asyncio.create_task(running._run_worker(worker, stop))  # type: ignore[arg-type]
    await worker.began.wait()

    stop.set()
    async with asyncio.timeout(5):
        await running_it

    assert worker.ended.is_set()


class FailingWorker:
    """Fails after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._seconds = seconds

    async def wind_down(self) -> None:
        pass

    async def async_run(self) -> None:
        await asyncio.sleep(self._seconds)
        raise RuntimeError("a bug")


async def test_a_worker_that_fails_again_and_again_waits_longer_and_longer_until_it_has_lasted(
    monkeypatch: pytest.MonkeyPatch, lines: list[Any]
) -> None:
    monkeypatch.setattr(running, "RESTART_S", 0.01)
    monkeypatch.setattr(running, "RESTART_CAP_S", 0.04)
    stop = asyncio.Event()
    lives = iter([0.0, 0.0, 0.0, 0.0, 0.08, 0.0])

    class Fleet:
        settings = Settings()
        crew = Crew()
        start = SimpleNamespace(ask_for_help=None)

        def worker(self, _outage: Outage) -> FailingWorker:
            seconds = next(lives, None)
            if seconds is None:
                stop.set()
            return FailingWorker(seconds or 0.0)

    await running._work(Fleet(), stop)  # type: ignore[arg-type]

    pauses = [line["restart_in_s"] for line in lines if line["event"] == "worker failed"]
    assert pauses[:6] == [0.01, 0.02, 0.04, 0.04, 0.01, 0.02]


@pytest.mark.parametrize(("hard", "allowed"), [(2_000, 2_000), (1_000_000, running.OPEN_FILES)])
def test_a_process_opens_as_many_files_as_it_may(hard: int, allowed: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip(f"this machine does not allow {hard} open files")
    script = (
        "import resource; from worker.running import allow_open_files\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))\n"
        "allow_open_files(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(allowed), str(hard)]


async def test_an_api_that_is_told_to_stop_answers_those_who_wait_and_ends(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, wait = asyncio.Event(), Service.wait

    async def noted(*args: Any) -> Tracker:
        asked.set()
        return await wait(*args)

    monkeypatch.setattr(Service, "wait", noted)
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = deployment.settings.model_copy(update={"port": 0})
    serving = asyncio.create_task(running.run(settings, stop, worker=False, ready=url.set_result))
    async with httpx.AsyncClient(base_url=await url, timeout=20) as client:
        await client.put("/v1/trackers/luma/g-1")
        waiting = asyncio.create_task(client.get("/v1/trackers/luma/g-1?wait=60"))
        await asked.wait()

        stop.set()

        async with asyncio.timeout(3):
            answer = await waiting
            await serving
    assert (answer.status_code, answer.json()["state"]) == (200, "tracking")


class Hung:
    """A provider that takes requests and never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.release()
        await reader.read()
        writer.close()


async def test_two_workers_look_for_an_account_that_is_too_much_for_one(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lane has one drain; while that has no hand free another worker assists."""
    monkeypatch.setattr("worker.poller.LOOKS_AT_ONCE", 2)
    monkeypatch.setattr("worker.crew.LOOK_EVERY_S", 0.001)
    hung = Hung()
    listening = await asyncio.start_server(hung.serve, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    account = AccountSettings(provider="luma-agents", api_key="key", base_url=base_url)
    settings = Settings(redis_url=server.url, accounts={"luma": account})
    async with opened(settings) as one, opened(settings) as other:
        workers = [
            asyncio.create_task(running._work(each, asyncio.Event())) for each in (one, other)
        ]
        for n in range(4):
            await one.service.track(
                "luma", f"00000000-0000-0000-0000-00000000000{n}", TrackRequest()
            )
        async with asyncio.timeout(20):
            for _ in range(4):
                await hung.asked.acquire()
        await running._cancel(*workers)
    listening.close()
