"""The play: a deployment, its callers and receivers, what is done to them, and what is left."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chaos import mischief, skewed
from chaos.callers import Callers, Errand, Listener, errands
from chaos.cast import DREAMHOOK, Actor, Cast, free_port
from chaos.evidence import Deed, Kind, Receipt
from chaos.provider import Provider
from chaos.receivers import WELL, Receiver, receiving
from worker import signing
from worker.simulator import BASE_PATH

PREFIX = "chaos"
SECRET = signing.new_secret(b"mischief" * 4)
RETRIES = ", ".join(["0.5", "1", "2", "3", *["5"] * 40])
NAMED = 3
"""Of the receivers so many are endpoints with secrets of their own, the others callback URLs."""

POLLS_PER_SECOND = 300


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything there is in a run."""

    seconds: float = 60.0
    trackers: int = 2000
    workers: int = 3
    apis: int = 2
    receivers: int = 6
    settle_s: float = 240.0
    astray: bool = True
    """Whether the last worker's clock can be put."""

    @property
    def with_unknown(self) -> bool:
        """Whether there is time for IDs that the provider does not know: 404 takes a minute."""
        return self.seconds > 45


@dataclass
class Stage:
    """Everything that plays, once it is up."""

    cast: Cast
    provider: Provider
    receivers: dict[str, Receiver]
    callers: Callers
    listener: Listener
    redis_url: str
    receipts: list[Receipt]
    deeds: list[Deed] = field(default_factory=list)
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    def workers(self) -> list[Actor]:
        """Give the workers."""
        return [each for name, each in self.cast.actors.items() if name.startswith("worker")]

    def apis(self) -> list[Actor]:
        """Give the APIs."""
        return [each for name, each in self.cast.actors.items() if name.startswith("api")]

    async def stats(self) -> Any:
        """Ask an API for the figures."""
        return await self.callers.ask("GET", "/v1/stats")

    async def is_over(self) -> bool:
        """Tell whether nothing is tracked and nothing owed any more."""
        found = await self.stats()
        return not found["trackers"]["tracking"] and not found["deliveries"]["pending"]

    async def settled(self, within_s: float) -> bool:
        """Wait until it is over."""
        until = time.monotonic() + within_s
        while not (is_over := await self.is_over()) and time.monotonic() < until:
            await asyncio.sleep(0.5)
        return is_over

    def terms(self, receiver: Receiver) -> dict[str, Any]:
        """Tell with which terms webhooks come to a receiver."""
        is_named = receiver.secret != SECRET
        return {"endpoint": receiver.name} if is_named else {"callback_url": receiver.url}


@asynccontextmanager
async def staged(
    folder: Path,
    size: Size,
    seed: int,
    *,
    cwd: Path | None = None,
    prelude: Sequence[str] = DREAMHOOK,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """Bring everything up, and down at the end.

    Args:
        folder: where logs and data go.
        size: how much of everything.
        seed: for the provider and the callers.
        cwd: the directory of the code to run, if it is not this one.
        prelude: what follows `python` and comes before Dreamhook's own arguments.
        settings: of the deployment, besides those that a play needs.
    """
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    cast, receipts = Cast(folder, clock), list[Receipt]()
    redis_port, luma_port = free_port(), free_port()
    cast.add_redis(redis_port)
    simulate = ("simulate", "--port", str(luma_port), "--seed", str(seed))
    cast.add("luma", [*DREAMHOOK, *simulate], {}, luma_port)
    redis_url = f"redis://127.0.0.1:{redis_port}"
    env = {**_settings(redis_url, luma_port), **(settings or {})}
    apis = _add_deployment(cast, size, env, prelude)
    if cwd is not None:
        for actor in cast.actors.values():
            actor.cwd = cwd if actor.name not in {"redis", "luma"} else actor.cwd
    async with AsyncExitStack() as stack:
        stack.enter_context(cast.playing())
        for name in ("redis", "luma"):
            cast.actors[name].start()
            await cast.actors[name].ready()
        for actor in cast.actors.values():
            if not actor.is_wanted:
                actor.start()
        names = [f"receiver-{n}" for n in range(1, size.receivers + 1)]
        receivers = await stack.enter_async_context(receiving(names, receipts, clock))
        provider = await stack.enter_async_context(Provider(luma_port))
        callers = Callers(apis, provider, clock, seed)
        stack.push_async_callback(callers.close)
        stage = Stage(cast, provider, receivers, callers, Listener(apis[0]), redis_url, receipts)
        await _open(stage, size)
        tending = asyncio.create_task(cast.tend())
        try:
            yield stage
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)


def _settings(redis_url: str, luma_port: int) -> dict[str, str]:
    account = {
        "provider": "luma",
        "api_key": "k",
        "base_url": f"http://127.0.0.1:{luma_port}{BASE_PATH}",
        "polls_per_second": POLLS_PER_SECOND,
    }
    return {
        "DREAMHOOK_REDIS_URL": redis_url,
        "DREAMHOOK_PREFIX": PREFIX,
        "DREAMHOOK_ACCOUNTS": json.dumps({"luma": account}),
        "DREAMHOOK_WEBHOOK_SECRET": SECRET,
        "DREAMHOOK_RETRY_SCHEDULE": RETRIES,
        "DREAMHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
        "DREAMHOOK_LOG_LEVEL": "warning",
    }


def _add_deployment(
    cast: Cast, size: Size, env: dict[str, str], prelude: Sequence[str]
) -> list[str]:
    """Add the APIs, whose URLs come back, and the workers; the last one's clock can be put."""
    urls = []
    skewed.put(clock_file(cast), 0.0)
    astray = ("-m", "chaos.skewed", str(clock_file(cast)))
    for n in range(1, size.apis + 1):
        name, port = f"api-{n}", free_port()
        own = {**env, "DREAMHOOK_PORT": str(port), "CHAOS_TASKS": f"{cast.folder / name}.tasks"}
        cast.add(name, [*prelude, "serve"], own, port)
        urls.append(f"http://127.0.0.1:{port}")
    for n in range(1, size.workers + 1):
        name = f"worker-{n}"
        before = astray if n == size.workers and size.astray else prelude
        own = {**env, "CHAOS_TASKS": f"{cast.folder / name}.tasks"}
        cast.add(name, [*before, "work"], own)
    return urls


def clock_file(cast: Cast) -> Path:
    """Say where the last worker's clock is put."""
    return cast.folder / "clock"


async def _open(stage: Stage, size: Size) -> None:
    """Wait until all are there; make the endpoints, and begin to listen."""
    for actor in stage.cast.actors.values():
        await actor.ready()
    for n, receiver in enumerate(stage.receivers.values()):
        receiver.secret = SECRET
        if n < NAMED:
            path = f"/v1/endpoints/{receiver.name}"
            made = await stage.callers.ask("PUT", path, {"url": receiver.url})
            receiver.secret = made["secret"]
    while (await stage.stats())["workers"] < size.workers:
        await asyncio.sleep(0.1)
    stage.listener.start()


# --- the mischief ---------------------------------------------------------------------------------


async def do(stage: Stage, deed: Deed) -> None:
    """Do one deed in its time, and undo it when its time is over; note when that truly was."""
    clock = stage.cast.clock
    async with stage.locks[deed.whom]:  # on a busy machine the deed before may not be over
        began = clock()
        await _begin(stage, deed)
        try:
            await asyncio.sleep(deed.lasts_s)
        finally:
            await _undo(stage, deed)
            lasted_s = round(clock() - began, 2)
            stage.deeds.append(replace(deed, at=round(began, 2), lasts_s=lasted_s))


async def _begin(stage: Stage, deed: Deed) -> None:
    actors = stage.cast.actors
    match deed.kind:
        case Kind.KILL | Kind.REDIS_KILL:
            actors[deed.whom].kill()
        case Kind.STOP | Kind.REDIS_STOP:
            actors[deed.whom].send(signal.SIGSTOP)
        case Kind.CLOCK:
            skewed.put(clock_file(stage.cast), float(deed.how))
        case Kind.PROVIDER:
            await stage.provider.fail(deed.how)
        case Kind.RECEIVER:
            await stage.receivers[deed.whom].behave(deed.how)
        case _:
            raise ValueError(f"nobody knows how to {deed.kind}")


async def _undo(stage: Stage, deed: Deed) -> None:
    actor = stage.cast.actors.get(deed.whom)
    match deed.kind:
        case Kind.KILL if actor:
            actor.start()
        case Kind.REDIS_KILL if actor:
            actor.start()
            await actor.ready()
        case Kind.STOP | Kind.REDIS_STOP if actor:
            actor.send(signal.SIGCONT)
        case Kind.CLOCK:
            skewed.put(clock_file(stage.cast), 0.0)
        case Kind.PROVIDER:
            await stage.provider.heal()
        case Kind.RECEIVER:
            await stage.receivers[deed.whom].behave(WELL)


async def _mischief(stage: Stage, deeds: Sequence[Deed]) -> None:
    began = stage.cast.clock()

    async def in_time(deed: Deed) -> None:
        await asyncio.sleep(began + deed.at - stage.cast.clock())
        await do(stage, deed)

    async with asyncio.TaskGroup() as doing:
        for deed in deeds:
            doing.create_task(in_time(deed))


# --- the whole ------------------------------------------------------------------------------------


async def play(stage: Stage, size: Size, seed: int) -> None:
    """Run the errands and the mischief side by side, and wait until all is settled."""
    names = mischief.Company(
        workers=[each.name for each in stage.workers()],
        apis=[each.name for each in stage.apis()],
        receivers=list(stage.receivers),
    )
    began = stage.cast.clock()
    async with asyncio.TaskGroup() as playing:
        playing.create_task(_mischief(stage, mischief.plan(seed, size.seconds, names)))
        for errand in _errands(stage, size, seed):
            playing.create_task(stage.callers.run(replace(errand, at=began + errand.at)))
    await stage.settled(size.settle_s)


def _errands(stage: Stage, size: Size, seed: int) -> list[Errand]:
    to = [(each.name, stage.terms(each)) for each in stage.receivers.values()]
    planned = errands(seed, size.seconds, size.trackers, to)
    return [each for each in planned if each.life is not None or size.with_unknown]
