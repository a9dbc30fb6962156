"""A process that kills itself: run by the tests beside it, never imported by them.

    TRACK=g-1 DIE_AFTER="provider answered" DREAMHOOK_…=… python child.py

It opens a deployment, prints a line, waits for one, tracks the generations that `TRACK` names, if
any, for `ENDPOINT` or else `CALLBACK_URL`, submits the prompt in `SUBMIT`, if any, replays the
delivery that `REPLAY` names, if any, and then works until it ends: by SIGKILL right after (or
before) the point that `DIE_AFTER` (or `DIE_BEFORE`) names, or by SIGTERM. At the point that
`PAUSE_AFTER` names it says so, and stops until it gets a SIGCONT.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from arq.cron import CronJob, cron

from worker import drain, jobs, reconciling, running, telemetry
from worker import submissions as rules
from worker.config import Settings
from worker.egress import Egress
from worker.errors import UnansweredError
from worker.jobs_starting import Starter
from worker.providers.client import ProviderClient
from worker.requests import SubmitRequest, TrackRequest
from worker.store import deliveries, endpoints, lanes, scripts, submissions, trackers
from worker.wiring import Deployment, opened

# Life in fast motion: what was a second is a tenth of one.
LEASE_S = 0.5
ALIVE_S = 0.3
HEARTBEAT_S = 0.1
IDLE_POLL_S = 0.05

RELEASED_PER_STEP = 1

Point = tuple[type, str, Callable[..., bool]]
"""A method, and what tells of its result and its arguments whether this call counts."""


def always(_result: Any, *_args: Any) -> bool:
    return True


def found(result: Any, *_args: Any) -> bool:
    return bool(result)


POINTS: dict[str, Point] = {
    "tracked": (trackers.Trackers, "track", always),
    "drain queued": (Starter, "__call__", always),
    "lane staged": (lanes.Lanes, "stage", found),
    "look claimed": (trackers.Trackers, "claim", lambda claimed, *_: bool(claimed.looks)),
    "provider answered": (ProviderClient, "get_generation", always),
    "end settled": (trackers.Trackers, "settle", always),
    "lane left": (lanes.Lanes, "leave", found),
    "lane handed over": (lanes.Lanes, "hand_over", always),
    "delivery claimed": (
        *(deliveries.Deliveries, "claim"),
        lambda claimed, *_: bool(claimed.deliveries),
    ),
    "receiver answered": (Egress, "post", always),
    "attempt settled": (deliveries.Deliveries, "settle", always),
    "endpoint switched off": (deliveries.Deliveries, "settle", lambda settled, *_: settled[1]),
    "some released": (
        *(scripts.Scripts, "run"),
        lambda released, _scripts, name, *_: name == "release" and released > 0,
    ),
    "all released": (endpoints.Endpoints, "release", always),
    "watchers read": (endpoints.Endpoints, "watchers", found),
    "watcher owed": (endpoints.Endpoints, "owe", found),
    "watchers told": (endpoints.Endpoints, "settled", always),
    "intent recorded": (submissions.Submissions, "begin", always),
    "provider has created": (ProviderClient, "create_generation", always),
    "created and tracked": (submissions.Submissions, "created", always),
    "doubt recorded": (submissions.Submissions, "settle", always),
    "submissions claimed": (submissions.Submissions, "claim", found),
    "list read": (ProviderClient, "listed", always),
    "replayed": (deliveries.Deliveries, "replay", always),
}


def every_second(job: Callable[..., Any], *, name: str, second: object) -> CronJob:
    """Run a cron job that often, whatever `second` says."""
    return cron(job, name=name, second=set(range(60)))


def die() -> None:
    """End the process like a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def pause() -> None:
    """Stop the process as a machine does that is swapped out or put to sleep."""
    say("paused")
    os.kill(os.getpid(), signal.SIGSTOP)


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the test waits for it


def before(point: str, do: Callable[[], None]) -> None:
    """Do it when the method is called."""
    owner, name, _ = POINTS[point]

    async def interrupted(*_args: Any, **_kwargs: Any) -> None:
        do()

    setattr(owner, name, interrupted)


def after(point: str, do: Callable[[], None]) -> None:
    """Do it once, when the method has returned what counts."""
    owner, name, counts = POINTS[point]
    method = getattr(owner, name)

    @functools.wraps(method)
    async def interrupted(*args: Any, **kwargs: Any) -> Any:
        result = await method(*args, **kwargs)
        if counts(result, *args):
            setattr(owner, name, method)
            do()
        return result

    setattr(owner, name, interrupted)
    if point == "lane handed over":
        drain.BUDGET_S = 0.0


async def asked(deployment: Deployment) -> None:
    """Do what the API would be asked for."""
    endpoint = os.environ.get("ENDPOINT")
    to = {"endpoint": endpoint} if endpoint else {"callback_url": os.environ["CALLBACK_URL"]}
    for name in os.environ.get("TRACK", "").split():
        await deployment.service.track("luma", name, TrackRequest(**to))
    if prompt := os.environ.get("SUBMIT"):
        request = {"model": "ray-2", "prompt": prompt}
        wanted = SubmitRequest(account="luma", request=request, callback_url=to["callback_url"])
        with suppress(UnansweredError):
            await deployment.submitting.submit(wanted, idempotency_key="k-1")
    if delivery_id := os.environ.get("REPLAY"):
        await deployment.endpoints.replay(delivery_id)


async def main() -> None:
    """Track, and work."""
    settings = Settings.load()
    telemetry.configure(settings.log_level)
    for module in (trackers, lanes, deliveries, endpoints, submissions):
        module.ALIVE_S = ALIVE_S
    drain.HEARTBEAT_S = HEARTBEAT_S
    endpoints.RELEASED_PER_STEP = RELEASED_PER_STEP
    jobs.IDLE_POLL_S = IDLE_POLL_S
    jobs.cron = every_second
    rules.LOOK_AFTER_S, rules.LEASE_S, rules.CALL_S = (0.05, 0.05, 0.05), 1.2, 1.0
    reconciling.CLAIM_S = 0.3
    async with opened(settings, lease_s=LEASE_S) as deployment, running._told_to_stop() as stop:
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        faults = {"DIE_BEFORE": (before, die), "DIE_AFTER": (after, die)}
        for variable, (when, do) in (faults | {"PAUSE_AFTER": (after, pause)}).items():
            if point := os.environ.get(variable):
                when(point, do)
        await asked(deployment)
        await running._work(deployment, stop)


if __name__ == "__main__":
    asyncio.run(main())
