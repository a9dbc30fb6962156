"""Restarts under load, one process after the other: nothing is lost, nothing is even late.

    python -m chaos.rolling                    the workers, then the APIs
    python -m chaos.rolling --old 2e04339      from that version of the code to this one

Each is told to stop with SIGTERM, has to end within its grace period, and is started again. The
judge is that of `python -m chaos`, and stricter: no webhook may come twice, no request that an API
has taken on may go unanswered, those that wait (`?wait`) among them.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from chaos.callers import errands
from chaos.cast import HOUSE, Actor
from chaos.evidence import Deed, Kind
from chaos.judge import duplicates, judge
from chaos.play import Size, Stage, staged
from chaos.report import summary, timeline
from chaos.witness import collect

GRACE_S = 25.0
"""The 20 s that a worker waits for what it has in hand, and some to end."""

BETWEEN_S = 3.0
WAITERS = 10
WAIT_S = 20.0


def main() -> None:
    """Roll; the exit code is 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m chaos.rolling", description=__doc__)
    parser.add_argument("--old", metavar="REF", help="begin with this version (a Git reference)")
    parser.add_argument("--rate", type=float, default=15.0, help="generations a second (15)")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="dreamhook-rolling-") as folder,
        _old(options.old) as old,
    ):
        complaints = asyncio.run(roll(Path(folder), old, options.rate))
    print("\n".join(complaints) or "  nothing was lost, cut or sent twice")
    sys.exit(1 if complaints else 0)


@contextmanager
def _old(ref: str | None) -> Iterator[Path | None]:
    """Take an old version's code out of Git, for as long as the block lasts."""
    if ref is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="dreamhook-old-") as name:
        packed = Path(name, "old.tar")
        command = ["git", "archive", "-o", str(packed), ref, "worker"]
        subprocess.run(command, cwd=HOUSE, check=True)
        with tarfile.open(packed) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)


async def roll(folder: Path, old: Path | None, rate: float) -> list[str]:
    """Restart everything once under load; gives what is wrong.

    Args:
        folder: for logs and data.
        old: where the code is with which all begin, if it is not this.
        rate: generations that begin in a second.
    """
    size = Size(workers=3, apis=2, receivers=3, astray=False)
    async with staged(folder, size, 0, cwd=old) as stage:
        loading = asyncio.create_task(_load(stage, rate))
        waiting = [asyncio.create_task(_wait(stage)) for _ in range(WAITERS)]
        complaints: list[str] = []
        await asyncio.sleep(BETWEEN_S)
        for actor in [*stage.workers(), *stage.apis()]:
            complaints += await _restart(stage, actor)
            await asyncio.sleep(BETWEEN_S)
        for task in (loading, *waiting):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(loading, *waiting)
        await stage.settled(90)
        run = await collect(stage)
        asked, cut = stage.callers.asked, stage.callers.cut
    print("\n".join([*summary(run, asked), *timeline(run)]))
    complaints += [f"BROKEN {finding}" for finding in judge(run)]
    complaints += [f"BROKEN twice: {each.receipt.webhook_id}" for each in duplicates(run)]
    if old is not None:
        del cut["503"]  # the version before 0.1.0 said so to those who waited when it was stopped
    return complaints + [f"BROKEN not done: {count} x {name}" for name, count in cut.items()]


async def _restart(stage: Stage, actor: Actor) -> list[str]:
    """Tell one to stop, and start the version of now in its place; gives what is wrong."""
    began = stage.cast.clock()
    actor.is_wanted = False
    actor.send(signal.SIGTERM)
    wrong = []
    try:
        code = await actor.ended(GRACE_S)
    except TimeoutError:
        actor.kill()
        wrong.append(f"BROKEN {actor.name} does not end within {GRACE_S:.0f} s")
    else:
        if code:
            wrong.append(f"BROKEN {actor.name} ended with {code}")
    lasted_s = round(stage.cast.clock() - began, 2)
    stage.deeds.append(Deed(round(began, 2), lasted_s, Kind.RESTART, actor.name))
    actor.cwd = HOUSE
    actor.start()
    await actor.ready()
    return wrong


async def _load(stage: Stage, rate: float) -> None:
    """Track generations at a rate until cancelled; what has begun is finished."""
    to = [(each.name, stage.terms(each)) for each in stage.receivers.values()]
    began, underway = stage.cast.clock(), set[asyncio.Task[None]]()
    try:
        planned = [each for each in errands(0, 1, 20_000, to) if each.life is not None]
        for n, errand in enumerate(planned):
            await asyncio.sleep(began + n / rate - stage.cast.clock())
            now = replace(errand, at=stage.cast.clock())
            task = asyncio.create_task(stage.callers.run(now))
            underway.add(task)
            task.add_done_callback(underway.discard)
    finally:
        await asyncio.gather(*underway)


async def _wait(stage: Stage) -> None:
    """Wait for one end after the other with `?wait`, until cancelled between two."""
    while True:
        promises = stage.callers.promises
        if promises:
            path = f"/v1/trackers/luma/{promises[-1].generation_id}?wait={WAIT_S:.0f}"
            await asyncio.shield(stage.callers.ask("GET", path, timeout_s=WAIT_S + 10))
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    main()
