"""The processes of a deployment: `serve`, `work`, and `up`, which is both in one."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from typing import Any, TypeVar

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from worker.api import create_app
from worker.api.cells import Cell, Cells
from worker.api.gate import Gate
from worker.cancelling import until_ended
from worker.config import Settings
from worker.errors import RedisAwayError, UnavailableError
from worker.hosting import Server, listen_on, url_of
from worker.jobs import Worker
from worker.jobs_outage import Outage, is_away
from worker.mcp_server import is_installed
from worker.merging import MergedStream
from worker.stream import EventStream
from worker.wiring import Deployment, opened, opened_cells

RESTART_S = 1.0
RESTART_CAP_S = 30.0
"""A worker that fails (Redis went away) starts again after so long, doubling up to the cap."""

REDIS_PATIENCE_S = 30.0
REDIS_PAUSE_S = 0.25
REDIS_PAUSE_CAP_S = 2.0
"""A process that starts before its Redis looks for it so long, with pauses that double."""

CANCEL_AGAIN_S = 1.0

WHOLE = ""
"""The name of the one cell of a deployment that is not divided."""

OPEN_FILES = 16_384
"""Every attempt and every listener is an open file; systems allow 256 to 1,024 unless asked."""

_NO_ACCOUNT = (
    "nothing can be tracked yet: set LUMAAI_API_KEY=… (or DREAMHOOK_ACCOUNTS, for several) and"
    " start again; `dreamhook demo` shows how it works without a key"
)

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run the API until the process is told to stop; see `run`."""
    async with _told_to_stop() as stop:
        await run(settings, stop, worker=False)


async def work(settings: Settings) -> None:
    """Run the arq worker until the process is told to stop; see `run`."""
    async with _told_to_stop() as stop:
        await run(settings, stop, api=False)


async def up(settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Run the API and the worker until the process is told to stop; see `run`."""
    async with _told_to_stop() as stop:
        await run(settings, stop, ready=ready)


async def run(
    settings: Settings,
    stop: asyncio.Event,
    *,
    api: bool = True,
    worker: bool = True,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Run parts of a deployment until `stop` is set.

    Args:
        settings: what they run with.
        stop: ends them.
        api: whether the API is one of them.
        worker: whether the arq worker is one of them.
        ready: told the API's URL when it listens.

    Raises:
        ConfigurationError: they cannot start like this; says what to change.
    """
    allow_open_files()
    async with AsyncExitStack() as stack:
        # The port comes first: a taken one is then one clear line, with nothing else started.
        port = None
        if api:
            port = stack.enter_context(
                listen_on(
                    settings.host,
                    settings.port,
                    port_by="DREAMHOOK_PORT",
                    host_by="DREAMHOOK_HOST",
                )
            )
        cells = await _unless(stop, _opened(stack, settings, worker=worker))
        if cells is None:
            return
        parts = await stack.enter_async_context(asyncio.TaskGroup())
        if worker:
            parts.create_task(_work(cells[WHOLE], stop))
        if port is not None:
            url = url_of(port)
            parts.create_task(_serve(cells, port, stop))
            if ready:
                ready(url)
            log.info("serving", url=url)


def allow_open_files() -> None:
    """Let this process open as many files as the system lets it, up to `OPEN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # then it stays as it is: less at once, no failure
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@asynccontextmanager
async def _told_to_stop() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, stop.set)
    try:
        yield stop
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


async def _unless(stop: asyncio.Event, doing: Coroutine[Any, Any, Result]) -> Result | None:
    """Wait for what is being done; None: told to stop first, and it has been given up."""
    task, stopped = asyncio.create_task(doing), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel(task, stopped)
    return None if stop.is_set() else task.result()


async def _opened(
    stack: AsyncExitStack, settings: Settings, *, worker: bool
) -> Mapping[str, Deployment]:
    """Open what the parts run on, by its cell, and tell what is not safe about it."""
    if settings.is_divided and not worker:
        cells = await stack.enter_async_context(opened_cells(settings))
    else:
        cells = {WHOLE: await _opened_in_time(stack, settings)}
    if not settings.accounts:
        log.warning("no account", remedy=_NO_ACCOUNT)
    await asyncio.gather(*(_tell_risks(each, name) for name, each in cells.items()))
    return cells


async def _opened_in_time(stack: AsyncExitStack, settings: Settings) -> Deployment:
    """Open it; if its Redis is not there, wait for it for a while."""
    until, pause_s = time.monotonic() + REDIS_PATIENCE_S, REDIS_PAUSE_S
    while True:
        try:
            return await stack.enter_async_context(opened(settings))
        except RedisAwayError as error:
            if time.monotonic() + pause_s >= until:
                raise
            if pause_s == REDIS_PAUSE_S:
                log.warning("waiting for redis", error=str(error), for_s=REDIS_PATIENCE_S)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, REDIS_PAUSE_CAP_S)


async def _tell_risks(deployment: Deployment, name: str) -> None:
    try:
        for risk in await deployment.status.risks():
            log.warning("redis is not safe", risk=risk)
    except UnavailableError as error:
        log.warning("redis is away", cell=name, error=str(error))


async def _serve(cells: Mapping[str, Deployment], port: socket.socket, stop: asyncio.Event) -> None:
    stream: EventStream | MergedStream
    app: ASGIApp
    if WHOLE in cells:
        stream = cells[WHOLE].stream
        apps = {WHOLE: _app(cells[WHOLE], stream)}
        app = apps[WHOLE]
    else:
        stream = MergedStream({name: each.stream for name, each in cells.items()})
        apps = {name: _app(each, stream) for name, each in cells.items()}
        app = _in_front(cells, apps, stream)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
    )
    server = Server(config)
    async with _agents(next(iter(apps.values())), app):
        serving = asyncio.create_task(server.serve(sockets=[port]))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stop.set()
        for each in cells.values():  # or else whoever waits or listens would hold the server up
            each.service.close()
        await stream.close()
    await serving


def _app(deployment: Deployment, stream: EventStream | MergedStream) -> FastAPI:
    return create_app(
        deployment.service,
        deployment.endpoints,
        deployment.deliveries,
        deployment.status,
        stream,
        glances=deployment.glances,
        submitting=deployment.submitting,
        **_keys(deployment.settings),
    )


def _in_front(
    cells: Mapping[str, Deployment], apps: Mapping[str, FastAPI], stream: MergedStream
) -> ASGIApp:
    """Put one API before those of the cells."""
    settings = next(iter(cells.values())).settings
    spread = {name for name, account in settings.accounts.items() if account.spread}
    each = {name: Cell(apps[name], cells[name].endpoints, cells[name].status) for name in cells}
    return Gate(Cells(each, stream, spread), **_keys(settings))


def _keys(settings: Settings) -> dict[str, list[str]]:
    return {
        "api_keys": [key.get_secret_value() for key in settings.api_keys],
        "read_keys": [key.get_secret_value() for key in settings.read_keys],
    }


def _agents(app: FastAPI, api: ASGIApp) -> AbstractAsyncContextManager[None]:
    """Serve agents too, at `/mcp`, if what it takes is installed."""
    if not is_installed():
        return nullcontext()
    from worker.mcp_server.mounting import mounted  # noqa: PLC0415 - it is an extra

    return mounted(app, api)


async def _work(deployment: Deployment, stop: asyncio.Event) -> None:
    """Run a worker, and another one whenever it has failed, until told to stop."""
    pause_s, outage = RESTART_S, Outage()
    log.info("working", accounts=sorted(deployment.settings.accounts))
    while not stop.is_set():
        worker, began = deployment.worker(outage), time.monotonic()
        watching = asyncio.create_task(deployment.crew.watch(deployment.start.ask_for_help))
        try:
            failure = await _run_worker(worker, stop)
            if failure is not None:
                if time.monotonic() - began > RESTART_CAP_S:
                    pause_s = RESTART_S
                if is_away(failure):
                    outage.noticed(failure)
                else:
                    log.error("worker failed", error=repr(failure), restart_in_s=pause_s)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause_s)
                pause_s = min(2 * pause_s, RESTART_CAP_S)
        finally:
            # What was in hand has had the pause to end.
            await _cancel(watching, *worker.tasks.values())


async def _run_worker(worker: Worker, stop: asyncio.Event) -> BaseException | None:
    """Run a worker until it fails, which is returned, or was told to stop and has done so."""
    running = asyncio.create_task(worker.async_run())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await worker.wind_down()
    finally:
        await _cancel(running, stopped)
    return None if running.cancelled() else running.exception()


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    await until_ended(*tasks, again_s=CANCEL_AGAIN_S)
