"""Steady load for as long as wanted: does anything grow?

    python -m chaos.soak --minutes 60 --rate 20 --csv soak.csv --svg soak.svg

Generations that last some seconds begin at a steady rate, and what is finished is kept for a minute
only, so that all that can end does end while this runs. Sampled: the memory, open files and asyncio
tasks of each process, Redis's memory and keys, the lag. The exit code is 1 if something grew in the
second half, or a webhook did not come.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from redis.asyncio import Redis

from chaos.callers import errands
from chaos.cast import Actor
from chaos.flatness import trend
from chaos.picture import draw
from chaos.play import Size, Stage, staged

EVERY_S = 5.0
RETENTION_S = 60
SIZE = Size(workers=2, apis=1, receivers=3, astray=False)
WATCHED = ("-m", "chaos.watched")

MEMORY, FILES, TASKS = "memory in MiB", "open files", "asyncio tasks"
REDIS, KEYS, LAG = "Redis: memory in use in MiB", "Redis: keys", "lag in s"
FLOORS = {MEMORY: 1.0, FILES: 4, TASKS: 8, REDIS: 0.5, KEYS: 50, LAG: 0.5}
"""A growth below that is none, in the unit of the figure."""

Sample = dict[tuple[str, str], float]
"""Values by figure and process."""


def main() -> None:
    """Soak, write down, draw, judge."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--rate", type=float, default=20.0, help="generations a second (20)")
    parser.add_argument("--csv", type=Path, help="where to write the samples")
    parser.add_argument("--svg", type=Path, help="where to draw them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dreamhook-soak-") as folder:
        samples, complaints = asyncio.run(_soak(Path(folder), options.minutes, options.rate))
    series = {place: [sample[place] for sample in samples] for place in samples[0]}
    if options.csv:
        _write(options.csv, series)
    if options.svg:
        title = f"{options.minutes:g} minutes at {options.rate:g} generations a second"
        options.svg.write_text(_drawn(title, series))
    complaints += _judged(series)
    print("\n".join(complaints) or "nothing grew, and every webhook came")
    sys.exit(1 if complaints else 0)


async def _soak(folder: Path, minutes: float, rate: float) -> tuple[list[Sample], list[str]]:
    """Run the load and sample; gives the samples, and what is wrong with the webhooks."""
    samples: list[Sample] = []
    settings = {"DREAMHOOK_RETENTION": str(RETENTION_S)}
    async with staged(folder, SIZE, 0, prelude=WATCHED, settings=settings) as stage:
        async with asyncio.TaskGroup() as soaking:
            sampling = soaking.create_task(_keep_sampling(stage, samples))
            await _load(stage, 60 * minutes, rate)
            sampling.cancel()
        await stage.settled(60)
        promised, taken = len(stage.callers.promises), [r for r in stage.receipts if r.is_taken]
        events = {receipt.webhook_id for receipt in taken}
        print(f"{promised} generations, {len(taken)} webhooks taken, {len(stage.receipts)} sent")
        wrong = [f"process ended by itself: {death}" for death in stage.cast.deaths]
    if len(events) != promised or len(taken) != promised:
        wrong.append(f"{promised} generations, but {len(events)} events in {len(taken)} webhooks")
    return samples, wrong


async def _load(stage: Stage, seconds: float, rate: float) -> None:
    to = [(each.name, stage.terms(each)) for each in stage.receivers.values()]
    began, planned = stage.cast.clock(), errands(0, seconds, round(seconds * rate), to)
    underway: set[asyncio.Task[None]] = set()
    for n, errand in enumerate(planned):
        lasts = {"queued_s": 0.5, "dreaming_s": 1 + n % 80 / 10}
        life = {"id": f"g-{n}", **lasts, "outcome": "completed" if n % 10 else "failed"}
        even = replace(errand, at=began + n / rate, generation_id=f"g-{n}", cancels_after_s=None)
        await asyncio.sleep(even.at - stage.cast.clock())
        terms = {name: value for name, value in errand.terms.items() if name != "deadline_s"}
        task = asyncio.create_task(stage.callers.run(replace(even, life=life, terms=terms)))
        underway.add(task)
        task.add_done_callback(underway.discard)
    await asyncio.gather(*underway)


# --- sampling -------------------------------------------------------------------------------------


async def _keep_sampling(stage: Stage, samples: list[Sample]) -> None:
    async with Redis.from_url(stage.redis_url) as redis:
        while True:
            await asyncio.sleep(EVERY_S)
            samples.append(await _sample(stage, redis))


async def _sample(stage: Stage, redis: Redis) -> Sample:
    sample: Sample = {("minute", ""): stage.cast.clock() / 60}
    for name, actor in stage.cast.actors.items():
        if name != "luma":
            sample |= _of_process(actor, stage.cast.folder / f"{name}.tasks")
    memory, keys = await redis.info("memory"), await redis.dbsize()
    stats = await stage.stats()
    return sample | {
        (REDIS, "redis"): memory["used_memory"] / 2**20,
        (KEYS, "redis"): keys,
        (LAG, "deployment"): stats["lag_s"],
    }


def _of_process(actor: Actor, tasks: Path) -> Sample:
    sample = {(MEMORY, actor.name): _memory_mib(actor)}
    files = Path(f"/proc/{actor.pid}/fd")
    if files.exists():  # not on macOS
        sample[FILES, actor.name] = len(list(files.iterdir()))
    if tasks.exists():
        sample[TASKS, actor.name] = int(tasks.read_text() or 0)
    return sample


def _memory_mib(actor: Actor) -> float:
    """Ask for a process's resident memory; `ps` knows it on Linux and on macOS."""
    found = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(actor.pid)], capture_output=True, text=True, check=True
    )
    return int(found.stdout) / 1024


# --- what came of it ------------------------------------------------------------------------------

Series = Mapping[tuple[str, str], list[float]]


def _write(file: Path, series: Series) -> None:
    with file.open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow([" ".join(place).strip() for place in series])
        table.writerows(
            [f"{value:.3f}".rstrip("0").rstrip(".") for value in row]
            for row in zip(*series.values(), strict=True)
        )


def _drawn(title: str, series: Series) -> str:
    panels: dict[str, dict[str, list[float]]] = {}
    for (figure, name), values in series.items():
        if figure in FLOORS:
            panels.setdefault(figure, {})[name] = values
    return draw(title, series["minute", ""], panels)


def _judged(series: Series) -> list[str]:
    """Say of each series how it went; gives the complaints about those that grew."""
    complaints = []
    for (figure, name), values in series.items():
        if figure in FLOORS:
            found = trend(values, floor=FLOORS[figure])
            print(
                f"  {figure:28} {name:12} mean {found.mean:9.2f}, in the second half"
                f" {found.growth:+8.2f}, noise {found.noise:7.2f}"
            )
            if not found.is_flat:
                complaints.append(f"GREW: {figure} of {name} by {found.growth:.2f}")
    return complaints


if __name__ == "__main__":
    main()
