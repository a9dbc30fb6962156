"""A worker that is told to stop is not cancelled in the midst of a step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import arq
import pytest

from worker import jobs, running

from .conftest import Fleet


@dataclass
class Step:
    """Stands in for what arq does at a time, holding what arq holds: a connection that watches."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    ended: int = 0

    async def __call__(self, worker: arq.Worker) -> None:
        async with worker.pool.pipeline(transaction=True) as pipe:
            await pipe.watch("a-key")
            self.began.set()
            await self.may_end.wait()
        self.ended += 1


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    step = Step()

    async def taken(worker: arq.Worker) -> None:
        await step(worker)

    monkeypatch.setattr(arq.Worker, "_poll_iteration", taken)
    return step


async def test_a_step_that_was_begun_is_ended_and_no_other_begun(fleet: Fleet, step: Step) -> None:
    stop = asyncio.Event()
    working = asyncio.create_task(running._run_worker(fleet.worker(), stop))
    await asyncio.wait_for(step.began.wait(), 5)
    stop.set()
    await asyncio.wait({working}, timeout=0.1)
    assert not working.done()
    step.may_end.set()
    await asyncio.wait_for(working, 5)
    assert step.ended == 1


async def test_a_step_that_redis_does_not_let_end_holds_nobody_up(
    fleet: Fleet, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "STEP_S", 0.05)
    stop = asyncio.Event()
    working = asyncio.create_task(running._run_worker(fleet.worker(), stop))
    await asyncio.wait_for(step.began.wait(), 5)
    stop.set()
    await asyncio.wait_for(working, 5)
    assert step.ended == 0
