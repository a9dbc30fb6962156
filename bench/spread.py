"""How far two workers do twice the work of one: for one busy account, and for several.

Measured in processor time, so that it holds on a machine with few cores, where workers, Redis and
the provider are in each other's way. One worker needs so much of it for all looks. Of two, in each
half second the one that used more is what the others wait for: the sum of those is how long it
takes where each has a core. A look ends its generation here, and is a request of its own.

    python -m bench.spread
"""

from __future__ import annotations

import asyncio
import json
import statistics
from contextlib import ExitStack

import httpx

from bench import rig
from worker.config import Settings
from worker.model import Terms
from worker.store import Store
from worker.wiring import Deployment, opened

GENERATIONS = 4000
WINDOW_S = 0.5
ROUNDS = 3
PROVIDER = "luma-agents"
"""It has no list call: each look is a request."""


def main() -> None:
    print(f"{rig.machine()}; {GENERATIONS:,} looks; median of {ROUNDS} rounds")
    for accounts in (1, 2, 8):
        one, two = (
            statistics.median(asyncio.run(measure(accounts, workers)) for _ in range(ROUNDS))
            for workers in (1, 2)
        )
        print(
            f"  {accounts} account(s): one worker {1e3 * one / GENERATIONS:.2f} ms a look, two"
            f" {1e3 * two / GENERATIONS:.2f} ms: {one / two:.2f} times the work",
            flush=True,
        )


async def measure(accounts: int, workers: int) -> float:
    """Look at what has ended already; gives the seconds of CPU of whom the others wait for."""
    port, names = rig.free_port(), [f"a{n}" for n in range(accounts)]
    simulate = rig.dreamhook("simulate", "--provider", PROVIDER, "--port", str(port))
    with ExitStack() as stack:
        redis = stack.enter_context(rig.redis())
        stack.enter_context(rig.process(*simulate, port=port))
        base_url = f"http://127.0.0.1:{port}/v1"
        account = {"provider": PROVIDER, "api_key": "k", "base_url": base_url}
        env = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_ACCOUNTS": json.dumps(
                dict.fromkeys(names, account | {"polls_per_second": 1000})
            ),
            "DREAMHOOK_LOG_LEVEL": "error",
        }
        await begin(port)
        work = rig.dreamhook("work")
        pids = [stack.enter_context(rig.process(*work, **env)).pid for _ in range(workers)]
        async with opened(Settings.load(env)) as deployment:
            await there(deployment.store, workers)
            watching = asyncio.create_task(longest(deployment.store, names, pids))
            await track(deployment, names)
            return await watching


async def there(store: Store, workers: int) -> None:
    """Wait until so many workers work."""
    async with asyncio.timeout(60):
        while len(await store.figures.workers(now=await store.now())) < workers:  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.1)


async def begin(port: int) -> None:
    """Start generations that are over at once."""
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as http:
        for n in range(GENERATIONS):
            life = {"id": f"g-{n}", "queued_s": 0, "dreaming_s": 0, "outcome": "completed"}
            (await http.post("/_simulator/generations", json=life)).raise_for_status()


async def track(deployment: Deployment, names: list[str]) -> None:
    """Track them all, evenly over the accounts."""
    mine = len(names)
    for first in range(0, GENERATIONS, 200 * mine):
        for place, account in enumerate(names):
            ids = range(first + place, min(first + 200 * mine, GENERATIONS), mine)
            some = [(f"g-{n}", Terms(deadline_s=3600.0)) for n in ids]
            tracked = await deployment.store.trackers.track(account, PROVIDER, some)
            if tracked.must_start:
                await deployment.start(f"poll:{account}")


async def longest(store: Store, names: list[str], pids: list[int]) -> float:
    """Add up, until all have ended, the CPU time of the worker that used most in each window."""
    total, used, begun = 0.0, [rig.cpu_s(pid) for pid in pids], False
    async with asyncio.timeout(300):
        while True:
            await asyncio.sleep(WINDOW_S)
            now = [rig.cpu_s(pid) for pid in pids]
            total += max(after - before for before, after in zip(used, now, strict=True))
            used, left = now, sum(await store.tracking(names))
            if begun and not left:
                return total
            begun = begun or left > 0


if __name__ == "__main__":
    main()
