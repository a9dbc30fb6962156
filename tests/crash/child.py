"""A process that kills itself: run by the tests beside it, never imported by them.

    TRACK=g-1 DIE_AFTER="provider answered" DREAMHOOK_…=… python child.py

It opens a deployment, prints a line, waits for one, tracks the generation that `TRACK` names, if
any, and then works until it ends: by SIGKILL right after the point that `DIE_AFTER` names, or by
SIGTERM. At the point that `PAUSE_AFTER` names it says so, and stops until it gets a SIGCONT.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from worker import drain, jobs, running, telemetry
from worker.config import Settings
from worker.egress import Egress
from worker.jobs import Starter
from worker.providers.client import ProviderClient
from worker.requests import TrackRequest
from worker.store import deliveries, endpoints, lanes, trackers
from worker.wiring import opened

# Life in fast motion: what was a second is a tenth of one.
LEASE_S = 0.5
ALIVE_S = 0.3
HEARTBEAT_S = 0.1
IDLE_POLL_S = 0.05

Point = tuple[type, str, Callable[[Any], bool]]


def always(_result: Any) -> bool:
    return True


POINTS: dict[str, Point] = {
    "tracked": (trackers.Trackers, "track", always),
    "drain queued": (Starter, "__call__", always),
    "lane staged": (lanes.Lanes, "stage", bool),
    "look claimed": (trackers.Trackers, "claim", lambda claimed: bool(claimed.looks)),
    "provider answered": (ProviderClient, "get_generation", always),
    "end settled": (trackers.Trackers, "settle", always),
    "lane left": (lanes.Lanes, "leave", bool),
    "lane handed over": (lanes.Lanes, "hand_over", always),
    "delivery claimed": (deliveries.Deliveries, "claim", lambda claimed: bool(claimed.deliveries)),
    "receiver answered": (Egress, "post", always),
    "attempt settled": (deliveries.Deliveries, "settle", always),
}


def die() -> None:
    """End the process like a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def pause() -> None:
    """Stop the process as a machine does that is swapped out or put to sleep."""
    say("paused")
    os.kill(os.getpid(), signal.SIGSTOP)


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the test waits for it


def at(point: str, do: Callable[[], None]) -> None:
    """Do it once, when the method has returned what counts."""
    owner, name, counts = POINTS[point]
    method = getattr(owner, name)

    @functools.wraps(method)
    async def interrupted(*args: Any, **kwargs: Any) -> Any:
        result = await method(*args, **kwargs)
        if counts(result):
            setattr(owner, name, method)
            do()
        return result

    setattr(owner, name, interrupted)
    if point == "lane handed over":
        drain.BUDGET_S = 0.0


async def main() -> None:
    """Track, and work."""
    settings = Settings.load()
    telemetry.configure(settings.log_level)
    for module in (trackers, lanes, deliveries, endpoints):
        module.ALIVE_S = ALIVE_S
    drain.HEARTBEAT_S = HEARTBEAT_S
    jobs.IDLE_POLL_S = IDLE_POLL_S
    async with opened(settings, lease_s=LEASE_S) as deployment, running._told_to_stop() as stop:
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        for variable, do in (("DIE_AFTER", die), ("PAUSE_AFTER", pause)):
            if point := os.environ.get(variable):
                at(point, do)
        if name := os.environ.get("TRACK"):
            wanted = TrackRequest(callback_url=os.environ["CALLBACK_URL"])
            await deployment.service.track("luma", name, wanted)
        await running._work(deployment, stop)


if __name__ == "__main__":
    asyncio.run(main())
