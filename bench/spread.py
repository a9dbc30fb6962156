"""How far two workers do twice the work of one: for one busy account, and for several.

Where workers, Redis and the provider share a few cores they are in each other's way, so each
worker is let run for a share of the time only, as on a core that is so much slower: what one can do
is then little enough for the machine to carry it twice. A look ends its generation here, and is a
request of its own.

    python -m bench.spread
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from contextlib import ExitStack

from bench import rig
from worker.config import Settings
from worker.model import Terms
from worker.store import Store
from worker.wiring import Deployment, opened

GENERATIONS = 20_000
AT_WORK_S = 5.0
"""After so long help has come to who needs it."""

MEASURED_S = 10.0
SHARE = 0.3
ROUNDS = 3
PROVIDER = "luma-agents"
"""It has no list call: each look is a request."""


def main() -> None:
    """Measure and print a line for each number of accounts."""
    print(f"{rig.machine()}; each worker runs {SHARE:.0%} of the time; median of {ROUNDS} rounds")
    port = rig.free_port()
    with rig.process("-m", "bench.capacity", str(port), port=port):
        for accounts in (1, 2, 8):
            one, two = (
                statistics.median(asyncio.run(measure(port, accounts, n)) for _ in range(ROUNDS))
                for n in (1, 2)
            )
            print(
                f"  {accounts} account(s): one worker {one:,.0f} looks/s, two {two:,.0f}:"
                f" {two / one:.2f} times the work",
                flush=True,
            )


async def measure(port: int, accounts: int, workers: int) -> float:
    """Look at what has ended already; gives the looks per second."""
    names = [f"a{n}" for n in range(accounts)]
    with ExitStack() as stack:
        redis = stack.enter_context(rig.redis())
        account = {"provider": PROVIDER, "api_key": "k", "polls_per_second": 1000}
        account["base_url"] = f"http://127.0.0.1:{port}/over"
        env = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_ACCOUNTS": json.dumps(dict.fromkeys(names, account)),
            "DREAMHOOK_LOG_LEVEL": "error",
        }
        work = rig.dreamhook("work")
        pids = [stack.enter_context(rig.process(*work, **env)).pid for _ in range(workers)]
        async with opened(Settings.load(env)) as deployment:
            await rig.at_work(deployment.store, workers)
            with rig.held_to(SHARE, pids):
                await track(deployment, names)
                return await looked(deployment.store, names)


async def track(deployment: Deployment, names: list[str]) -> None:
    """Track them all, evenly over the accounts."""
    for first in range(0, GENERATIONS, 200 * len(names)):
        for account in names:
            some = [(f"g-{n}", Terms(deadline_s=3600.0)) for n in range(first, first + 200)]
            tracked = await deployment.store.trackers.track(account, PROVIDER, some)
            if tracked.must_start:
                await deployment.start(f"poll:{account}")


async def looked(store: Store, names: list[str]) -> float:
    """Count the looks of some seconds; gives them per second."""
    await asyncio.sleep(AT_WORK_S)
    before, began = sum(await store.tracking(names)), time.perf_counter()
    await asyncio.sleep(MEASURED_S)
    left = sum(await store.tracking(names))
    if not left:
        raise SystemExit("all were done before the time was over: track more")
    return (before - left) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
