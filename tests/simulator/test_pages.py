"""Pages of the simulated list: true and newest first, but for the habits in force."""

from __future__ import annotations

import random

import pytest

from tests.simulator.conftest import Clock
from worker.simulator.faults import parse_fault
from worker.simulator.pages import page
from worker.simulator.world import Outcome, Script, World


@pytest.fixture
def world(clock: Clock) -> World:
    """Five generations, a second apart; each queues for two and dreams for three seconds."""
    world = World(clock=clock)
    for n in range(5):
        told = Script(id=f"g-{n}", queued_s=2, dreaming_s=3, outcome=Outcome.COMPLETED)
        world.create(generation_type="video", model="ray-2", request={}, script=told)
        clock.now += 1
    return world


def rows(world: World, *habits: str, limit: int = 100, offset: int = 0) -> list[tuple[str, str]]:
    found = page(world, map(parse_fault, habits), random.Random(3), limit=limit, offset=offset)
    return [(generation.id, state) for generation, state in found]


def names(world: World, *habits: str, limit: int = 100, offset: int = 0) -> str:
    return "".join(name[2:] for name, _ in rows(world, *habits, limit=limit, offset=offset))


def test_a_page_is_newest_first(world: World) -> None:
    assert names(world, limit=2, offset=1) == "32"


def test_a_page_may_be_oldest_first(world: World) -> None:
    assert names(world, "list:oldest_first", limit=2, offset=1) == "12"


def test_a_shuffled_list_is_whole_and_in_no_order(world: World) -> None:
    found = names(world, "list:shuffled")
    assert sorted(found) == list("01234")
    assert found not in {"01234", "43210"}


def test_a_capped_page_is_smaller_than_asked(world: World) -> None:
    assert names(world, "list:capped:rows=2", offset=1) == "32"
    assert names(world, "list:capped:rows=2", limit=1) == "4"


def test_a_stale_page_is_the_list_as_it_was(world: World) -> None:
    assert rows(world)[2:] == [("g-2", "dreaming"), ("g-1", "dreaming"), ("g-0", "completed")]
    assert rows(world, "list:stale:seconds=2.5") == [
        ("g-2", "queued"),
        ("g-1", "queued"),
        ("g-0", "dreaming"),
    ]


def test_a_page_with_omissions_leaves_out_a_share_of_its_rows(world: World) -> None:
    left = names(world, "list:omission:share=0.5")
    assert 0 < len(left) < 5
    assert left == "".join(sorted(left, reverse=True))
    assert names(world, "list:omission:share=1") == ""


def test_habits_add_up(world: World) -> None:
    assert (
        names(world, "list:oldest_first", "list:capped:rows=3", "list:stale:seconds=2.5") == "012"
    )
