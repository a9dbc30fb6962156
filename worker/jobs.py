"""The arq side: starts, spreads and times out drains over all worker machines.

An arq job is only ever a hint that a lane has work. What is due, who has claimed it and what came
of it stand in the store, so a lost job, a killed worker or a flushed queue costs a second or two:
`stage` finds the lanes that have work and no drain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

import arq
import structlog
from arq.connections import ArqRedis
from arq.cron import cron
from redis.exceptions import OutOfMemoryError

from worker.crew import Crew
from worker.jobs_outage import Outage
from worker.jobs_starting import Starter, deserialize, queue_name, serialize, this_process
from worker.store import JOBS, Store, heard

IDLE_POLL_S = 0.5
"""How often the queue is read when the bell is silent."""

MAX_DRAINS = 1000
"""Drains that one worker runs at once; most of their time they wait for a provider or receiver."""

JOB_TIMEOUT_S = 35.0
"""A drain's budget, plus the longest attempt it may have in hand at its end, plus some slack."""

GRACE_S = 20.0
"""How long a worker that was asked to stop waits for the looks and attempts it has in hand."""

STEP_S = 5.0
"""How long it waits, after that, for Redis to answer what it is being asked."""

BEAT_S = 5.0
"""How often a worker shows that it lives."""

STAGE_EVERY_S = 1.0

LATE_CRON = timedelta(seconds=5)
"""A cron job that is overdue by more is not made up for: its worker stood still, or its clock did
not go on but jump."""

GIVE_WAY_S = 0.004
MOST_JOBS = 10
"""So much later for each job that it runs, up to so many, a busy worker takes another."""

RECONCILES_HERE = "here:reconcile"


log = structlog.get_logger(__name__)


class Drains(Protocol):
    """Runs the drain of a lane."""

    async def __call__(self, lane: str, stopping: asyncio.Event, *, assists: bool = False) -> None:
        """Run it, or one that assists it."""
        ...


async def drain(ctx: Mapping[str, Any], *lanes: str) -> None:
    """Handle what is due in some lanes, each for itself: none waits for another."""
    async with asyncio.TaskGroup() as drains:
        for lane in lanes:
            drains.create_task(_drain(ctx, lane))


async def assist(ctx: Mapping[str, Any], lane: str) -> None:
    """Handle what is due in a lane too, unless it is this process that has asked for help."""
    if not ctx["crew"].drains(lane):
        await _drain(ctx, lane, assists=True)


async def _drain(ctx: Mapping[str, Any], lane: str, *, assists: bool = False) -> None:
    try:
        with ctx["outage"].borne():
            await ctx["drains"](lane, ctx["stopping"], assists=assists)
    except Exception:
        # What it had claimed falls due again, and a lane that was not started is staged.
        log.exception("drain failed", lane=lane)


async def stage(ctx: Mapping[str, Any]) -> None:
    """Start the drain of every lane that has work due before the next stage, and none."""
    with ctx["outage"].borne():
        lanes = await ctx["store"].lanes.stage(ahead_s=STAGE_EVERY_S)
        await asyncio.gather(*map(ctx["start"], lanes))


async def sweep(ctx: Mapping[str, Any]) -> None:
    """Take out of the lists what is no longer kept, and finish what somebody died over."""
    with ctx["outage"].borne():
        await ctx["store"].lanes.sweep()
        await ctx["settle_switched_off"]()


async def reconcile(ctx: Mapping[str, Any]) -> None:
    """Look for generations whose create call was not answered."""
    with ctx["outage"].borne():
        await ctx["reconcile"]()


async def _reconcile(ctx: Mapping[str, Any]) -> None:
    try:
        await reconcile(ctx)
    except Exception:
        log.exception("reconcile failed")  # what it had claimed falls due again


class Worker(arq.Worker):
    """An arq worker that reads its queue when the bell rings, rather than twice a second.

    While Redis is full arq can queue and start nothing. Then the worker stages lanes itself and
    drains them without arq: our scripts go on, and what they end makes room.
    """

    _next_beat = 0.0
    _is_full = False
    _drained_here = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._step = asyncio.Lock()

    async def _poll_iteration(self) -> None:
        with self.ctx["store"].bell.expect(JOBS) as bell:
            async with self._step:
                await super()._poll_iteration()
            self.ctx["outage"].over()
            await heard(bell, IDLE_POLL_S)

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start the jobs that nobody runs; of several workers the one with most to do comes last.

        arq asks Redis three times about each job, so skip ours.
        """
        running = {name for name, task in self.tasks.items() if not task.done()}
        others = [each for each in job_ids if each.decode() not in running]
        if others:
            load = self.ctx["crew"].busy * min(len(running), MOST_JOBS)
            await asyncio.sleep(GIVE_WAY_S * load)
        if self.allow_pick_jobs:  # it may have been told to stop meanwhile
            await super().start_jobs(others)

    async def run_job(self, job_id: str, score: int) -> None:
        """Run a job that has been started; if Redis is full by then its lanes are staged again."""
        with suppress(OutOfMemoryError):
            await super().run_job(job_id, score)
            self._is_full = False

    def drain_here(self, lanes: Sequence[str]) -> None:
        """Drain lanes without arq."""
        for lane in lanes:
            self._drained_here += 1
            draining = asyncio.create_task(_drain(self.ctx, lane))
            self.tasks[f"here:{self._drained_here}"] = draining

    async def record_health(self) -> None:
        """Show that this worker lives, under its own name: arq's sign is one for all of them."""
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + BEAT_S
            await self.ctx["store"].figures.beat(this_process())

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Queue the cron jobs that are due at `n`; after a jump of the clock, go by the new time.

        arq waits for the instant that it has noted. A clock that was put back by an hour would
        stage nothing for an hour; one put forward would make up for each second.
        """
        for job in self.cron_jobs:
            planned = job.next_run
            job.calculate_next(n + timedelta(seconds=delay * num_windows))
            latest, job.next_run = job.next_run, None
            if planned and latest and n - LATE_CRON <= planned <= latest:
                job.next_run = planned
        try:
            await super().run_cron(n, delay, num_windows)
        except OutOfMemoryError:
            await self._do_without_arq()

    async def _do_without_arq(self) -> None:
        """Do what cannot be queued now, since Redis is full."""
        if not self._is_full:
            log.warning("Redis is full: nothing new is taken in, what is tracked goes on")
        self._is_full = True
        if self.allow_pick_jobs:
            for job in (stage, sweep):
                await job(self.ctx)
            if RECONCILES_HERE not in self.tasks:  # a list may take its time
                self.tasks[RECONCILES_HERE] = asyncio.create_task(_reconcile(self.ctx))

    async def wind_down(self) -> None:
        """Take no more jobs, and wait for those in hand to end what they have begun.

        After that it may be cancelled: it does not begin another step, and is in the midst of one
        only if Redis does not answer. In one arq has a connection that watches a key, and gives it
        back with a last question; cancelled then, it leaves it open.
        """
        self.allow_pick_jobs = False
        self.ctx["stopping"].set()
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=GRACE_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._step.acquire(), STEP_S)


def create_worker(
    arq_redis: ArqRedis,
    store: Store,
    drains: Drains,
    start: Starter,
    settle_switched_off: Callable[[], Awaitable[None]],
    *,
    crew: Crew,
    reconcile_all: Callable[[], Awaitable[None]],
    prefix: str,
    outage: Outage,
) -> Worker:
    """Make the arq worker of this process; run it with `work`.

    `outage` is what the process knows of its Redis, over all the workers that it makes.
    """
    worker = Worker(
        functions=[arq.func(drain, max_tries=1_000_000), assist],
        cron_jobs=[
            # By name and instant they run once, on whichever worker: once for each deployment.
            cron(stage, name=f"{prefix}:stage", second=set(range(60))),
            cron(sweep, name=f"{prefix}:sweep", second=30),
            cron(reconcile, name=f"{prefix}:reconcile", second=set(range(60))),
        ],
        redis_pool=arq_redis,
        queue_name=queue_name(prefix),
        ctx={
            "store": store,
            "drains": drains,
            "start": start,
            "crew": crew,
            "settle_switched_off": settle_switched_off,
            "reconcile": reconcile_all,
            "stopping": asyncio.Event(),
            "outage": outage,
        },
        handle_signals=False,
        max_jobs=MAX_DRAINS,
        queue_read_limit=10 * MAX_DRAINS,
        job_timeout=JOB_TIMEOUT_S,
        keep_result=0,
        poll_delay=0,
        job_serializer=serialize,
        job_deserializer=deserialize,
        log_results=False,
    )
    start.when_full = worker.drain_here
    return worker
