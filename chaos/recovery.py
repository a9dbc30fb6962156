"""One worker is killed, another lives: how soon does the other take over?

What nobody had claimed goes on within 5 s, though it is in lanes that the dead worker was draining;
what he had claimed, when its lease ends, within 30 s. docs/guarantees.md says so; this measures it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaos.play import Size, Stage, staged

UNCLAIMED_S = 5.0
CLAIMED_S = 30.0
COUNT = 8
"""Of each sort: as many attempts as an endpoint has under way at once."""

SOME_S = 1.0
"""So long the victim has had his claims when he is killed; what he asked hangs for longer."""

GIVE_UP_S = 60.0

Times = dict[str, float]


async def trial(folder: Path) -> bool:
    """Kill a worker that has looks and attempts in hand; tells whether all went on in time."""
    size = Size(trackers=0, workers=2, receivers=2)
    async with staged(folder, size, seed=0) as stage:
        times = await _times(stage)
        is_over = await stage.settled(GIVE_UP_S)
    for what, taken_s in times.items():
        limit_s = _limit_s(what)
        word = "within" if taken_s <= limit_s else "NOT within"
        print(f"  {what}: all again after {taken_s:.2f} s, {word} {limit_s:.0f} s", flush=True)
    return is_over and all(taken_s <= _limit_s(what) for what, taken_s in times.items())


def _limit_s(what: str) -> float:
    return UNCLAIMED_S if what.startswith("unclaimed") else CLAIMED_S


async def _times(stage: Stage) -> Times:
    """Have a worker claim what will not be answered, kill it, and time when it is done anew."""
    victim, heir = stage.workers()
    silent, well = stage.receivers.values()
    heir.send(signal.SIGSTOP)  # so that it is the victim who claims
    await stage.provider.fail("list:omission:share=1")  # each is looked at by itself
    await silent.behave("hang")
    await _track(stage, "sent", stage.terms(silent), ends=True)
    await _track(stage, "young", stage.terms(well), ends=False)
    await _until(lambda: _received(stage, silent.name, COUNT))
    await _until(lambda: _looked(stage, _once("young")))
    for name in _names("asked"):
        await stage.provider.fail(f"get:hang:times=1:id={name}")
    await _track(stage, "asked", stage.terms(well), ends=True)
    await _until(lambda: _looked(stage, _once("asked")))

    await asyncio.sleep(SOME_S)
    heir.send(signal.SIGCONT)
    victim.kill()
    killed_at = stage.cast.clock()
    await silent.behave("well")
    looks = await stage.provider.looks()
    for name in _names("young"):
        await stage.callers.ask("POST", f"/v1/trackers/luma/{name}/poll")
    await _track(stage, "new", stage.terms(well), ends=True)

    async def timed(condition: Callable[[], Awaitable[bool]]) -> float:
        with suppress(TimeoutError):
            await _until(condition)
        return stage.cast.clock() - killed_at

    again = {name: looks.get(name, 0) + 1 for name in _names("young")}
    what = {
        "unclaimed looks, new": lambda: _looked(stage, _once("new")),
        "unclaimed looks, due again": lambda: _looked(stage, again),
        "unclaimed webhooks": lambda: _received(stage, well.name, COUNT),
        "claimed looks": lambda: _looked(stage, dict.fromkeys(_names("asked"), 2)),
        "claimed webhooks": lambda: _received(stage, silent.name, 2 * COUNT),
    }
    return dict(zip(what, await asyncio.gather(*map(timed, what.values())), strict=True))


def _names(sort: str) -> list[str]:
    return [f"{sort}-{n}" for n in range(COUNT)]


async def _track(stage: Stage, sort: str, terms: dict[str, Any], *, ends: bool) -> None:
    """Track some generations that end at once, or not for a while."""
    for name in _names(sort):
        life = {"id": name, "queued_s": 0, "dreaming_s": 0 if ends else 20, "outcome": "completed"}
        await stage.provider.begin(life)
        await stage.callers.ask("PUT", f"/v1/trackers/luma/{name}", terms)


def _once(sort: str) -> dict[str, int]:
    return dict.fromkeys(_names(sort), 1)


async def _looked(stage: Stage, times: dict[str, int]) -> bool:
    looks = await stage.provider.looks()
    return all(looks.get(name, 0) >= least for name, least in times.items())


async def _received(stage: Stage, receiver: str, times: int) -> bool:
    return sum(each.receiver == receiver for each in stage.receipts) >= times


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not await condition():
            await asyncio.sleep(0.05)
