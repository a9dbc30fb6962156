"""A simulated Luma without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from worker.simulator.app import create_app
from worker.simulator.faults import Faults
from worker.simulator.world import Generation, Outcome, Script, World

API = "/dream-machine/v1"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_742_472_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world() -> World:
    return World(failure_rate=0, stuck_rate=0)


@pytest.fixture
async def luma(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world) as opened:
        yield opened


def client(world: World, *, key: str = "k", accepted: tuple[str, ...] = ()) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(world, faults=Faults(), keys=accepted)),
        base_url="http://luma.test",
        headers={"Authorization": f"Bearer {key}"},
    )


def start(world: World, outcome: Outcome = Outcome.STUCK, name: str = "g-1") -> Generation:
    script = Script(id=name, queued_s=0, dreaming_s=0, outcome=outcome)
    return world.create(generation_type="video", model="ray-2", request={}, script=script)
