"""Looks, lists, creates and waits without a server: within the same budget, holds and schedule."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from worker import standalone
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.errors import DreamhookError, InvalidInputError, NotFoundError, UnavailableError
from worker.model import Seen
from worker.simulator import Faults, Outcome, Script, World, create_app
from worker.simulator import running as simulated
from worker.simulator.faults import parse_fault
from worker.standalone import Standalone

KEY = "luma-key"
BOAT = {"generation_type": "image", "model": "photon-1", "prompt": "A paper boat"}


@pytest.fixture
def world() -> World:
    return World(failure_rate=0.0, stuck_rate=0.0)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def luma(world: World, faults: Faults) -> AsyncIterator[str]:
    async with simulated(create_app(world, faults=faults, keys=[KEY])) as url:
        yield url


@pytest.fixture
async def alone(luma: str) -> AsyncIterator[Standalone]:
    alone = Standalone.of(settings(luma))
    yield alone
    await alone.aclose()


def settings(luma: str, *, key: str = KEY, rate: float = 50.0) -> Settings:
    account = AccountSettings(provider="luma", api_key=key, base_url=luma, polls_per_second=rate)
    agents = AccountSettings(provider="luma-agents", api_key=key, base_url=luma)
    return Settings(accounts={"luma": account, "agents": agents})


def dream(world: World, name: str = "g-1", *, seconds: float) -> str:
    script = Script(id=name, queued_s=0, dreaming_s=seconds, outcome=Outcome.COMPLETED)
    return world.create(generation_type="image", model="photon-1", request={}, script=script).id


async def quiet(_seen: Seen | None) -> None:
    """Hear nothing."""


# --- waiting ------------------------------------------------------------------------------------


async def test_a_wait_ends_with_the_generation(alone: Standalone, world: World) -> None:
    dream(world, seconds=0.5)
    heard: list[str | None] = []

    async def hear(seen: Seen | None) -> None:
        heard.append(seen and seen.provider_state)

    async with asyncio.timeout(20):
        shown = await alone.wait("luma", "g-1", timeout_s=20, tell=hear)
    assert (shown["state"], heard[0]) == ("completed", "dreaming")


async def test_a_wait_is_over_in_time_and_shows_what_was_seen(
    alone: Standalone, world: World
) -> None:
    dream(world, seconds=600)
    began = time.monotonic()
    shown = await alone.wait("luma", "g-1", timeout_s=0.3, tell=quiet)
    assert (shown["state"], shown["provider_state"]) == ("running", "dreaming")
    assert 0.3 <= time.monotonic() - began < 10


@pytest.mark.parametrize(
    "fault", ["get:502:times=2", "get:garbage:times=2", "get:429:retry_after=1:times=1"]
)
async def test_trouble_does_not_end_a_wait(
    alone: Standalone, world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(standalone, "TROUBLE_PAUSE_S", 0.01)
    dream(world, seconds=0)
    faults.add(parse_fault(fault))
    async with asyncio.timeout(20):
        shown = await alone.wait("luma", "g-1", timeout_s=20, tell=quiet)
    assert shown["state"] == "completed"


async def test_a_wait_that_saw_nothing_but_trouble_says_so(
    alone: Standalone, world: World, faults: Faults
) -> None:
    dream(world, seconds=600)
    faults.add(parse_fault("get:502"))
    with pytest.raises(UnavailableError, match="502 Bad Gateway"):
        await alone.wait("luma", "g-1", timeout_s=0.2, tell=quiet)


async def test_an_unknown_id_ends_a_wait_at_once(alone: Standalone) -> None:
    with pytest.raises(NotFoundError, match="does not know nope"):
        await alone.wait("luma", "nope", timeout_s=50, tell=quiet)


# --- budget and holds ---------------------------------------------------------------------------


async def test_requests_keep_to_the_accounts_budget(luma: str, world: World) -> None:
    dream(world, seconds=600)
    alone = Standalone.of(settings(luma, rate=10))
    began = time.monotonic()
    await asyncio.gather(*(alone.one("luma", "g-1") for _ in range(20)))
    took_s = time.monotonic() - began
    await alone.aclose()
    assert took_s >= 0.8  # ten at once, and the others in turn


async def test_a_429_holds_the_account(alone: Standalone, world: World, faults: Faults) -> None:
    dream(world, seconds=600)
    faults.add(parse_fault("get:429:retry_after=9:times=1"))
    with pytest.raises(UnavailableError) as first:
        await alone.one("luma", "g-1")
    with pytest.raises(UnavailableError, match="must not be asked for another") as second:
        await alone.one("luma", "g-1")
    assert 0 < second.value.retry_after <= first.value.retry_after == 9


async def test_a_429_holds_those_too_that_wait_for_their_turn(
    luma: str, world: World, faults: Faults
) -> None:
    dream(world, seconds=600)
    faults.add(parse_fault("get:429:retry_after=9"))
    alone = Standalone.of(settings(luma, rate=4))
    asked = [alone.one("luma", "g-1") for _ in range(8)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    waited = await asyncio.gather(
        alone.wait("luma", "g-1", timeout_s=0.2, tell=quiet), return_exceptions=True
    )
    await alone.aclose()
    texts = [str(each) for each in told]
    assert all("429" in each for each in texts)
    assert sum("must not be asked for another" in each for each in texts) >= 2
    assert "must not be asked for another" in str(waited[0])


# --- accounts and lists -------------------------------------------------------------------------


async def test_what_there_is_not_is_told(alone: Standalone) -> None:
    with pytest.raises(NotFoundError, match="Configured: agents, luma") as unknown:
        await alone.one("moon", "g-1")
    assert unknown.value.field == "account"
    with pytest.raises(InvalidInputError, match="generation_id"):
        await alone.one("luma", "a b")
    with pytest.raises(NotFoundError, match="has no list"):
        await alone.page("agents", limit=5, offset=0)


async def test_a_list_comes_in_parts(alone: Standalone, world: World) -> None:
    for n in range(3):
        dream(world, f"g-{n}", seconds=600)
    first = await alone.page("luma", limit=2, offset=0)
    rest = await alone.page("luma", limit=2, offset=first["next_offset"])
    names = [each["generation_id"] for each in first["items"] + rest["items"]]
    assert (names, rest["next_offset"]) == (["g-2", "g-1", "g-0"], None)


# --- creating -----------------------------------------------------------------------------------


async def test_what_is_created_is_shown(alone: Standalone, world: World) -> None:
    shown = await alone.create("luma", BOAT)
    (made,) = world.all()
    assert (shown["generation_id"], shown["state"]) == (made.id, "running")


async def test_what_is_created_is_told_though_it_cannot_be_looked_at(
    alone: Standalone, world: World, faults: Faults
) -> None:
    faults.add(parse_fault("get:502"))
    shown = await alone.create("luma", BOAT)
    (made,) = world.all()
    assert (shown["generation_id"], shown["state"]) == (made.id, "running")


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("create:400", InvalidInputError, "the provider refuses"),
        ("create:401", UnavailableError, "rejects the credentials"),
        ("create:429:retry_after=7", UnavailableError, "too often"),
        ("create:lost", DreamhookError, "nobody knows what came of it"),
    ],
)
async def test_what_is_not_created_says_why(
    alone: Standalone, faults: Faults, fault: str, kind: type[DreamhookError], says: str
) -> None:
    faults.add(parse_fault(fault))
    with pytest.raises(kind, match=says):
        await alone.create("luma", BOAT)


async def test_a_create_call_is_made_once_whatever_comes_of_it(
    alone: Standalone, world: World, faults: Faults
) -> None:
    faults.add(parse_fault("create:lost"))
    with pytest.raises(DreamhookError):
        await alone.create("luma", BOAT)
    assert len(world) == 1


async def test_where_nobody_is_nothing_was_sent() -> None:
    alone = Standalone.of(settings("http://127.0.0.1:9"))
    with pytest.raises(UnavailableError, match="Nothing was sent"):
        await alone.create("luma", BOAT)
    await alone.aclose()
