"""A short run of `make chaos`: real processes, killed and stopped; the judge finds nothing."""

from __future__ import annotations

from pathlib import Path

from chaos.judge import judge
from chaos.play import Size, play, staged
from chaos.report import timeline
from chaos.witness import collect

SIZE = Size(seconds=8.0, trackers=100, settle_s=120.0)
SEED = 1


async def test_under_mischief_every_promise_is_kept(tmp_path: Path) -> None:
    async with staged(tmp_path, SIZE, SEED) as stage:
        await play(stage, SIZE, SEED)
        run = await collect(stage)

    assert judge(run) == [], "\n".join(timeline(run))
    assert len(run.promises) > 90
    assert run.deeds
