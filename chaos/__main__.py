"""Mischief by seed, judged: `python -m chaos --help`."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path

from chaos import recovery
from chaos.judge import Finding, judge
from chaos.play import Size, Stage, play, staged
from chaos.report import summary, timeline, verdict
from chaos.witness import collect, story

STORIES = 3


def main() -> None:
    """Run one seed after the other; the exit code is 1 if a promise was broken."""
    options = _options()
    size = Size(seconds=options.seconds, trackers=options.trackers, settle_s=options.settle)
    seeds = range(options.seed, options.seed + options.seeds)
    runs = {f"seed {seed}": partial(one, size, seed) for seed in seeds}
    trial = {} if options.no_recovery else {"recovery": recovery.trial}
    failed = [_in_folder(name, run) for name, run in (trial | runs).items()]
    sys.exit(1 if any(failed) else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of mischief (60)")
    parser.add_argument("--trackers", type=int, default=2000, help="in each run (2000)")
    parser.add_argument("--settle", type=float, default=240.0, help="seconds to settle, at most")
    parser.add_argument("--no-recovery", action="store_true", help="leave out the trial of it")
    return parser.parse_args()


def _in_folder(name: str, run: Callable[[Path], Coroutine[None, None, bool]]) -> bool:
    """Run something in a folder of its own, which stays if it fails. Tells whether it has."""
    folder = Path(tempfile.mkdtemp(prefix="dreamhook-chaos-"))
    print(f"{name}:", flush=True)
    try:
        is_well = asyncio.run(run(folder))
    except Exception as error:  # noqa: BLE001 - the next seed may fare better
        (folder / "failure.txt").write_text("".join(traceback.format_exception(error)))
        print(f"  {_first(error)!r}; see failure.txt", flush=True)
        is_well = False
    if is_well:
        shutil.rmtree(folder)
    else:
        print(f"  FAILED; logs and data are kept in {folder}", flush=True)
    return not is_well


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def one(size: Size, seed: int, folder: Path) -> bool:
    """Play one seed in a folder, and judge it; tells whether every promise was kept."""
    async with staged(folder, size, seed) as stage:
        await play(stage, size, seed)
        run = await collect(stage)
        findings = judge(run)
        _say(summary(run, stage.callers.asked))
        if findings:
            _say(verdict(findings))
            _say([f"seed {seed}, what was done:", *timeline(run)])
            await _tell_stories(stage, findings)
    if not findings:
        _say(["  every promise was kept"])
    return not findings


async def _tell_stories(stage: Stage, findings: list[Finding]) -> None:
    offenders = {finding.whom for finding in findings}
    promises = [each for each in stage.callers.promises if each.generation_id in offenders]
    for promise in promises[:STORIES]:
        _say([f"{promise.generation_id}:", *(f"  {line}" for line in await story(stage, promise))])


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
