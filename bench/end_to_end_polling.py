"""The whole product against polling by hand: requests, delay and CPU for each generation.

A simulated Luma runs as a process of its own, with generations of log-normal(28 s, 0.18) of which
3 % fail early. So many of them are in flight all the time: where one ends the next begins. Three
ways to see the ends: Dreamhook (`dreamhook work` and its Redis), the `lumaai` SDK in asyncio loops
that sleep 3 s, and an arq job for each poll that is deferred by 3 s. Time is real.

    python -m bench.end_to_end_polling [in flight ...] [--seconds 90] [--rivals sdk,arq]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field

import httpx

from bench import rig
from worker.config import Settings
from worker.model import Terms
from worker.store import Store
from worker.wiring import opened

MEDIAN_S, SIGMA, EARLY = 28.0, 0.18, 0.03
DRAIN_S = 60.0
START_S = 5.0
"""After so long whatever watches is up: what CPU it has used by then is not counted."""

SDK = """
import asyncio, sys, time, lumaai
async def main(base_url):
    client = lumaai.AsyncLumaAI(auth_token="k", base_url=base_url, max_retries=0)
    async def watch(name):
        while True:
            try:
                if (await client.generations.get(name)).state in ("completed", "failed"):
                    break
            except lumaai.APIError:
                pass
            await asyncio.sleep(3)
        print(name, time.time(), flush=True)
    tasks = set()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        task = asyncio.create_task(watch(line.decode().strip()))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
asyncio.run(main(sys.argv[1]))
"""

ARQ = """
import asyncio, sys, time, arq, httpx
from arq.connections import RedisSettings
async def poll(ctx, name):
    answer = await ctx["http"].get(f"/generations/{name}")
    if answer.json()["state"] not in ("completed", "failed"):
        raise arq.Retry(defer=3)
    print(name, time.time(), flush=True)
async def startup(ctx):
    ctx["http"] = httpx.AsyncClient(base_url=sys.argv[1], headers={"authorization": "Bearer k"})
async def read(redis):
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await redis.enqueue_job("poll", line.decode().strip())
async def main():
    settings = RedisSettings(unix_socket_path=sys.argv[2])
    redis = await arq.create_pool(settings)
    worker = arq.Worker([arq.func(poll, max_tries=10**6)], on_startup=startup, redis_pool=redis,
        poll_delay=0.05, max_jobs=1000, keep_result=0, handle_signals=False, log_results=False)
    await asyncio.gather(worker.async_run(), read(redis))
asyncio.run(main())
"""


@dataclass
class Run:
    """What one way of polling saw: ends by ID as they were due and as they were noticed."""

    ends: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    cpu_s: float = 0.0

    def row(self, name: str) -> str:
        """Write a line of the table."""
        late = [self.seen[each] - end for each, end in self.ends.items() if each in self.seen]
        count = max(len(late), 1)
        return (
            f"  {name:28} {len(late):6} {self.requests / count:10.2f} {statistics.mean(late):8.2f}"
            f" {rig.percentile(late, 0.5):7.2f} {rig.percentile(late, 0.95):7.2f}"
            f" {1000 * self.cpu_s / count:10.1f}"
        )


async def lives(run: Run, in_flight: int, seconds: float, base: str, begin: object) -> None:
    """Keep so many generations in flight, one beginning where another ends."""
    rng = random.Random(in_flight)
    stop = time.time() + seconds
    control = base.replace("/dream-machine/v1", "") + "/_simulator/generations"
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=30) as http:

        async def slot(wait_s: float) -> None:
            await asyncio.sleep(wait_s)
            while time.time() < stop:
                name, fails = str(uuid.uuid4()), rng.random() < EARLY
                lasts_s = rng.lognormvariate(0, SIGMA) * MEDIAN_S
                lasts_s = rng.uniform(1, lasts_s) if fails else lasts_s
                queued_s = min(0.5, lasts_s / 2)
                life = {
                    "id": name,
                    "model": "ray-flash-2",
                    "queued_s": queued_s,
                    "dreaming_s": lasts_s - queued_s,
                    "outcome": "failed" if fails else "completed",
                }
                (await http.post(control, json=life)).raise_for_status()
                end = time.time() + lasts_s
                await begin(name)  # type: ignore[operator]
                run.ends[name] = end
                await asyncio.sleep(end - time.time())

        await asyncio.gather(*(slot(rng.uniform(0, MEDIAN_S)) for _ in range(in_flight)))


async def requests(base: str) -> int:
    """Ask the simulator how many requests for states came in."""
    url = base.replace("/dream-machine/v1", "") + "/_simulator/stats"
    async with httpx.AsyncClient(trust_env=False) as http:
        calls = (await http.get(url)).json()["calls"]
    return int(calls.get("get", 0)) + int(calls.get("list", 0))


async def ours(in_flight: int, seconds: float, patience: float) -> Run:
    """Watch with Dreamhook: a worker process, its Redis, trackers begun through the use cases."""
    run, port = Run(), rig.free_port()
    base = f"http://127.0.0.1:{port}/dream-machine/v1"
    account = {"provider": "luma", "api_key": "k", "base_url": base, "polls_per_second": 1000}
    simulate = ("-c", f"from worker.simulator import main; main(port={port})")
    with rig.redis() as redis, rig.process(*simulate, port=port):
        env = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_ACCOUNTS": json.dumps({"luma": account}),
            "DREAMHOOK_LOG_LEVEL": "warning",
            "DREAMHOOK_POLL_PATIENCE": str(patience),
        }
        with rig.process(*rig.dreamhook("work"), port=None, **env) as worker:
            async with opened(Settings.load(env)) as deployment:

                async def begin(name: str) -> None:
                    terms = Terms(deadline_s=3600.0)
                    tracked = await deployment.store.trackers.track("luma", "luma", [(name, terms)])
                    if tracked.must_start:
                        await deployment.start("poll:luma")

                await asyncio.sleep(START_S)
                idle_s = rig.cpu_s(worker.pid) + rig.cpu_s(redis.pid)
                await lives(run, in_flight, seconds, base, begin)
                await _all_seen(run, deployment.store)
                run.requests = await requests(base)
                run.cpu_s = rig.cpu_s(worker.pid) + rig.cpu_s(redis.pid) - idle_s
    return run


async def _all_seen(run: Run, store: Store) -> None:
    async with asyncio.timeout(DRAIN_S):
        while len(run.seen) < len(run.ends):
            await asyncio.sleep(0.5)
            names = [("luma", name) for name in run.ends if name not in run.seen]
            for each in await store.trackers.get_many(names):
                if each.finished_at is not None:
                    run.seen[each.generation_id] = each.finished_at / 1000


async def rival(code: str, in_flight: int, seconds: float) -> Run:
    """Watch with a process that reads IDs and prints which has ended when."""
    run, port = Run(), rig.free_port()
    base = f"http://127.0.0.1:{port}/dream-machine/v1"
    simulate = ("-c", f"from worker.simulator import main; main(port={port})")
    with rig.redis() as redis, rig.process(*simulate, port=port):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, base, str(redis.socket_path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        stdin, stdout = child.stdin, child.stdout

        async def begin(name: str) -> None:
            stdin.write(name.encode() + b"\n")
            await stdin.drain()

        async def hear() -> None:
            while line := await stdout.readline():
                name, at = line.split()
                run.seen[name.decode()] = float(at)

        hearing = asyncio.create_task(hear())
        await asyncio.sleep(START_S)
        watchers = [child.pid, redis.pid] if code is ARQ else [child.pid]
        idle_s = sum(map(rig.cpu_s, watchers))
        await lives(run, in_flight, seconds, base, begin)
        async with asyncio.timeout(DRAIN_S):
            while len(run.seen) < len(run.ends):  # noqa: ASYNC110 - counted by what comes in
                await asyncio.sleep(0.2)
        run.requests = await requests(base)
        run.cpu_s = sum(map(rig.cpu_s, watchers)) - idle_s
        child.kill()
        await child.wait()
        await hearing
    return run


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("in_flight", nargs="*", type=int, default=[1, 10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--patience", nargs="*", type=float, default=[0.3, 1.0, 1.5])
    parser.add_argument("--rivals", default="sdk,arq")
    asked = parser.parse_args()
    print(f"{rig.machine()}; generations begin over {asked.seconds:g} s")
    for count in asked.in_flight:
        print(f"{count} in flight")
        print(
            f"  {'':28} {'ends':>6} {'requests/g':>10} {'mean s':>8} {'p50 s':>7} {'p95 s':>7}"
            f" {'CPU ms/g':>10}"
        )
        for patience in asked.patience:
            run = asyncio.run(ours(count, asked.seconds, patience))
            print(run.row(f"dreamhook, patience {patience:g} s"), flush=True)
        if "sdk" in asked.rivals:
            print(asyncio.run(rival(SDK, count, asked.seconds)).row("lumaai, sleep(3)"), flush=True)
        if "arq" in asked.rivals:
            print(
                asyncio.run(rival(ARQ, count, asked.seconds)).row("an arq job per poll"), flush=True
            )


if __name__ == "__main__":
    main()
