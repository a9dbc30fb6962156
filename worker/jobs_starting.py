"""Queues drains as arq jobs, and asks for help with lanes that are too much for one process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix
from arq.utils import timestamp_ms
from redis.exceptions import OutOfMemoryError, RedisError

from worker.safety import BEHIND_S
from worker.store import JOBS, Store

QUEUE = "queue"
LANES_A_JOB = 50

HELP_S = 5.0
"""Who goes on asking for help is given more: what came before may have died, or wait for the last
of what it has in hand."""

STAND_INS = 9
"""How many jobs of one lane there may be beside the first: of drains that have handed over and wait
for the last look or attempt they have in hand, as many as begin within a job's time-out; and of
workers that died holding theirs."""

MOST_WAITING = 2
"""How many jobs of one lane may be queued and not have begun: behind a long queue each more would
be one more drain in the end. Not one alone: while Redis is full a job cannot begin, and who queues
another learns that."""

CLOCK_SLACK_S = BEHIND_S
"""Jobs are dated back by this much: arq compares the clocks of two machines to see what is due."""


def serialize(job: dict[str, Any]) -> bytes:
    """Write an arq job as JSON: pickle would let whoever can write to Redis run code here."""
    return json.dumps(job, default=str).encode()


def deserialize(job: bytes) -> dict[str, Any]:
    """Read an arq job."""
    found: dict[str, Any] = json.loads(job)
    return found


class Starter:
    """Queues drains as arq jobs.

    Args:
        arq_redis: the connection arq uses.
        store: whose bell tells the workers.
        prefix: the deployment's key prefix.
    """

    def __init__(self, arq_redis: ArqRedis, store: Store, prefix: str) -> None:
        self._arq = arq_redis
        self._store = store
        self._queue = queue_name(prefix)
        self._prefix = prefix
        self._waiting: list[str] = []
        self._queueing = asyncio.Lock()
        self.when_full: Callable[[Sequence[str]], None] | None = None
        """What a worker does with lanes that cannot be queued, since Redis is full."""

    async def __call__(self, lane: str) -> None:
        """Start the drain of a lane: the caller has been told that it has none.

        What comes while a job is being queued goes along with the next, so that ten thousand
        receivers that are owed something at once are not ten thousand jobs.
        """
        self._waiting.append(lane)
        async with self._queueing:
            lanes, self._waiting = self._waiting[:LANES_A_JOB], self._waiting[LANES_A_JOB:]
            if lanes:
                try:
                    await self._queue_drain(lanes)
                except OutOfMemoryError:
                    # Elsewhere there is no worker, and a lane waits to be staged.
                    if self.when_full is not None:
                        self.when_full(lanes)

    async def _queue_drain(self, lanes: list[str]) -> None:
        """Queue one job for these lanes.

        A job of that name may still be there, locked by a worker that was killed; arq would give
        it out again only after its time-out, so a stand-in is queued under a name of its own.
        """
        others = f"+{len(lanes) - 1}" if len(lanes) > 1 else ""
        job_id = f"{self._prefix}:drain:{lanes[0]}{others}"
        waiting = 0
        for name in (job_id, *(f"{job_id}:{n}" for n in range(1, STAND_INS + 1))):
            queued = await self._arq.enqueue_job(
                "drain", *lanes, _job_id=name, _queue_name=self._queue, _defer_by=-CLOCK_SLACK_S
            )
            waiting += not queued and await self._waits(name)
            if queued or waiting == MOST_WAITING:
                break
        await self._store.ring(JOBS)

    async def _waits(self, job_id: str) -> bool:
        """Tell whether a job is still to begin."""
        async with self._arq.pipeline(transaction=True) as pipe:
            pipe.zscore(self._queue, job_id)
            pipe.exists(in_progress_key_prefix + job_id)
            at, has_begun = await pipe.execute()
        return at is not None and at <= timestamp_ms() and not has_begun

    async def ask_for_help(self, lane: str) -> None:
        """Have another process drain a lane too, one more for each that asks and each `HELP_S`."""
        turn = int(time.monotonic() / HELP_S)
        job_id = f"{self._prefix}:assist:{lane}:{this_process()}:{turn}"
        with suppress(RedisError, OSError):  # then it stays slow, and asks again
            await self._arq.enqueue_job(
                "assist", lane, _job_id=job_id, _queue_name=self._queue, _defer_by=-CLOCK_SLACK_S
            )
            await self._store.ring(JOBS)


def queue_name(prefix: str) -> str:
    """Name the arq queue of a deployment."""
    return f"{prefix}:{QUEUE}"


def this_process() -> str:
    """Name this process among all that share a Redis."""
    return f"{socket.gethostname()}:{os.getpid()}"
