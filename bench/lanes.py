"""Due looks that are claimed, decided and settled per second through the real store, without HTTP.

Beside them an arq job per poll, in the same run. Then the lag of one worker with 100,000 in flight,
each looked at once a minute, whose provider answers at once.

    python -m bench.lanes [--tracked 1000 100000 1000000] [--lag 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvloop
from redis.asyncio import Redis

from bench import rig
from worker import schedule, telemetry
from worker.learner import Learner
from worker.looking import Look, Looking
from worker.model import Account, Progress, Same, Seen, Terms
from worker.poller import Poller
from worker.store import Store

BATCH = 200
LOOKS = 20_000
ARQ_JOBS = 2_000
LAG_S = 20.0
NEVER = Seen(
    progress=Progress.RUNNING,
    provider_state="dreaming",
    model="ray-2",
    kind=("ray-2", "video", "720p", "5s"),
    generation={"id": "g", "state": "dreaming", "request": {"prompt": "a fox in the snow " * 8}},
    mark="0123456789abcdef",
)
ACCOUNT = Account(
    name="luma", provider="luma", api_key="k", base_url="http://x", polls_per_second=100_000.0
)

ARQ = """
import asyncio, sys, time, arq
from arq.connections import RedisSettings
left = int(sys.argv[2])
async def poll(ctx, name):
    global left
    if ctx["job_try"] == 1:
        raise arq.Retry(defer=0)
    left -= 1
    if not left:
        print(time.time(), flush=True)
async def main():
    redis = await arq.create_pool(RedisSettings(unix_socket_path=sys.argv[1]))
    for n in range(left):
        await redis.enqueue_job("poll", str(n))
    print(time.time(), flush=True)
    worker = arq.Worker([arq.func(poll, max_tries=9)], redis_pool=redis, poll_delay=0.01,
        max_jobs=200, keep_result=0, handle_signals=False, log_results=False, burst=True)
    await worker.async_run()
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Steady:
    """Looks per second of one process, and the CPU of a look: this process's, and Redis's."""

    rate: float
    worker_us: float
    redis_us: float


async def _start(_lane: str) -> None:
    """Nobody else drains."""


@dataclass
class AtOnce:
    """A provider client that answers at once."""

    page: int | None = None
    asset_lifetime_s: float | None = None

    async def get_generation(self, _generation_id: str, *, mark: str | None) -> Seen | Same:
        """Show it running."""
        return NEVER if mark is None else Same()


async def tracked(store: Store, count: int) -> None:
    """Track so many."""
    terms = Terms(deadline_s=86_400.0)
    for first in range(0, count, 1000):
        wanted = [(f"g-{n}", terms) for n in range(first, min(first + 1000, count))]
        await store.trackers.track("luma", "luma", wanted)


async def look(store: Store, looking: Looking, most: int) -> int:
    """Claim, decide and settle what is due, up to so many; returns how many that were."""
    made = 0
    while made < most:
        claimed = await store.trackers.claim("luma", limit=BATCH, rate=ACCOUNT.polls_per_second)
        if not claimed.looks:
            break
        now = claimed.clock.now()
        looks = (
            Look(
                before=each,
                answer=NEVER if each.mark is None else Same(),
                now=now,
                took_ms=1,
                health=claimed.health,
            )
            for each in claimed.looks
        )
        await looking.conclude(*looks)
        made += len(claimed.looks)
    return made


async def lanes(redis: Redis, count: int, pid: int) -> float:
    """Tell how many looks that show nothing new one process settles per second."""
    await redis.flushall()
    store = Store(redis, prefix="bench", retention_s=600)
    looking = Looking(store, {"luma": ACCOUNT}, {}, Learner(store, {}), _start)
    await tracked(store, count)
    some = min(count, LOOKS)
    await look(store, looking, some)  # the first looks, which show something new
    return (await again(redis, store, looking, [f"g-{n}" for n in range(some)], pid)).rate


async def settled(redis: Redis) -> None:
    """Wait until it does not rewrite its file: else that is measured, not the looks."""
    while (await redis.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def again(redis: Redis, store: Store, looking: Looking, names: list[str], pid: int) -> Steady:
    """Look once more at these, over and over, and count what the looks alone cost."""
    await settled(redis)
    made, took, ours, its = 0, 0.0, 0.0, 0.0
    while made < LOOKS:
        await redis.zadd("bench:due:poll:luma", dict.fromkeys(names, 0))
        began, ours, its = time.perf_counter(), ours - time.process_time(), its - rig.cpu_s(pid)
        made += sum(
            await asyncio.gather(*(look(store, looking, len(names) // 2) for _ in range(2)))
        )
        took += time.perf_counter() - began
        ours, its = ours + time.process_time(), its + rig.cpu_s(pid)
    return Steady(made / took, 1e6 * ours / made, 1e6 * its / made)


async def lag(redis: Redis, count: int) -> list[float]:
    """Tell how late looks are, in seconds, with so many in flight on one worker."""
    await redis.flushall()
    store = Store(redis, prefix="bench", retention_s=600)
    client: Any = AtOnce()
    late: list[float] = []
    poller = Poller(store, {"luma": ACCOUNT}, {"luma": client}, _start)
    conclude = poller._looking.conclude  # noqa: SLF001 - what is measured
    await tracked(store, count)
    await look(store, poller._looking, count)  # noqa: SLF001 - the first looks are over
    names = await redis.zrange("bench:due:poll:luma", 0, -1)
    now = await store.now()
    gap_ms = schedule.LONGEST_GAP_S * 1000
    for first in range(0, count, 1000):
        due = {
            name: now + 1000 + gap_ms * (first + n) / count
            for n, name in enumerate(names[first : first + 1000])
        }
        await redis.zadd("bench:due:poll:luma", {name: round(at) for name, at in due.items()})
    planned = {name.decode(): now + 1000 + gap_ms * n / count for n, name in enumerate(names)}

    async def timed(look: Look) -> None:
        due_at = planned.pop(look.before.generation_id, None)
        if due_at is not None:  # else it has been looked at once more
            late.append(max(0.0, look.now - due_at) / 1000)
        await conclude(look)

    poller._looking.conclude = timed  # type: ignore[method-assign]  # noqa: SLF001
    stopping, until = asyncio.Event(), time.monotonic() + LAG_S
    while time.monotonic() < until:
        await poller.drain("luma", "poll:luma", stopping)
    return late


async def arq_jobs(socket_path: str) -> float:
    """Tell how many polls an arq worker does per second, each a job that is deferred once."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ARQ, socket_path, str(ARQ_JOBS)), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    began, ended = map(float, out.split())
    return 2 * ARQ_JOBS / (ended - began)


async def measure(counts: list[int], in_flight: int) -> None:
    """Measure and print."""
    telemetry.configure("warning")
    print(rig.machine())
    with rig.redis() as server:
        rival = await arq_jobs(str(server.socket_path))
        print(f"  an arq job per poll: {rival:9.0f} polls/s")
        redis = Redis.from_url(server.url)
        for count in counts:
            made = await lanes(redis, count, server.pid)
            print(
                f"  {count:9,} tracked:   {made:9.0f} looks/s  ({made / rival:.1f} x)", flush=True
            )
        if in_flight:
            late = await lag(redis, in_flight)
            shares = "  ".join(f"p{p} {rig.percentile(late, p / 100):.3f}" for p in (50, 95, 99))
            rate = len(late) / LAG_S
            print(f"  {in_flight:,} in flight: {rate:.0f} looks/s, late by (s) {shares}")
        await redis.aclose()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tracked", nargs="*", type=int, default=[1000, 100_000, 1_000_000])
    parser.add_argument("--lag", type=int, default=100_000)
    asked = parser.parse_args()
    uvloop.run(measure(asked.tracked, asked.lag))


if __name__ == "__main__":
    main()
