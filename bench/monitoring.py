"""What it costs to look at the queue, by how much is tracked: figures, a tracker, a list page.

Each API is a real process on a Redis of its own, filled by the store itself; all are asked in turn.
Goal: the greatest number costs at most twice what the least does.

    python -m bench.monitoring [trackers …]        by default 1000 200000
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from redis.asyncio import Redis

from bench import rig
from worker.model import Terms
from worker.store import Store

REQUESTS = 100
ROUNDS = 9
BATCH = 1000
URL = "https://hooks.example.com/dreamhook/generations?tenant=4711&order=12"
ASKED = {
    "the figures": "/v1/stats",
    "one tracker": "/v1/trackers/luma/g-0000500",
    "a list page of 100": "/v1/trackers?limit=100",
    "a list page by state": "/v1/trackers?state=tracking&limit=100",
    "the metrics": "/metrics",
}


def main() -> None:
    """Measure and print a table."""
    numbers = [int(each) for each in sys.argv[1:]] or [1_000, 200_000]
    with ExitStack() as stack:
        ports = [stack.enter_context(_deployment(number)) for number in numbers]
        found = {name: _medians_ms(ports, path) for name, path in ASKED.items()}
    print(f"{rig.machine()}; ms an answer, one at a time, medians of {ROUNDS} rounds of {REQUESTS}")
    print(f"  {'trackers':22}" + "".join(f"{number:>12,}" for number in numbers))
    for name, each in found.items():
        shown = "".join(f"{median:12.2f}" for median in each)
        print(f"  {name:22}{shown}   {each[-1] / each[0]:.2f} times (goal: 2)")


@contextmanager
def _deployment(trackers: int) -> Iterator[int]:
    """Run an API with so many trackers; yields its port."""
    port = rig.free_port()
    account = {"provider": "luma", "api_key": "k", "base_url": "http://127.0.0.1:1"}
    with rig.redis() as redis:
        asyncio.run(_seed(redis.url, trackers))
        settings = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_PORT": str(port),
            "DREAMHOOK_ACCOUNTS": json.dumps({"luma": account}),
            "DREAMHOOK_LOG_LEVEL": "error",
        }
        with rig.process(*rig.dreamhook("serve"), port=port, **settings):
            yield port


def _medians_ms(ports: Sequence[int], path: str) -> list[float]:
    """Ask all deployments in turn, so that whatever else this machine does meets all of them."""
    requests = [rig.request("GET", path, b"")] * REQUESTS
    took: dict[int, list[float]] = {port: [] for port in ports}
    for _ in range(1 + ROUNDS):
        for port in ports:
            seconds = asyncio.run(rig.load(port, requests, connections=1))
            took[port].append(1000 * seconds / REQUESTS)
    return [statistics.median(took[port][1:]) for port in ports]  # the first one warms up


async def _seed(url: str, trackers: int) -> None:
    redis = Redis.from_url(url)
    store = Store(redis, prefix="dreamhook", retention_s=604800)
    terms = Terms(callback_url=URL, deadline_s=86400)
    for first in range(0, trackers, BATCH):
        ids = [(f"g-{n:07}", terms) for n in range(first, min(first + BATCH, trackers))]
        await store.trackers.track("luma", "luma", ids)
    await redis.aclose()


if __name__ == "__main__":
    main()
