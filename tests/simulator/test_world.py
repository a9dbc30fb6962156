"""The simulated world: lives from a seed, states from a clock, and the shape Luma shows them in."""

from __future__ import annotations

import re
import statistics
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.conftest import Clock
from worker.errors import ConflictError, InvalidInputError, NotFoundError
from worker.simulator.world import (
    FAILURE_REASONS,
    PACES,
    Generation,
    Outcome,
    Script,
    World,
    shown,
    steady_clock,
)

ORIGIN = "http://127.0.0.1:8090"
IN_ORDER = ("queued", "dreaming", "completed", "failed")


def dream(world: World, script: Script | None = None, *, model: str = "ray-2") -> Generation:
    kind = "image" if model.startswith("photon") else "video"
    return world.create(
        generation_type=kind, model=model, request={"prompt": "a teapot"}, script=script
    )


def lives(world: World, count: int = 20) -> list[Generation]:
    return [dream(world) for _ in range(count)]


def told(outcome: Outcome = Outcome.COMPLETED) -> Script:
    return Script(id="g-1", queued_s=2, dreaming_s=3, outcome=outcome, failure_reason="No")


def states_at(world: World, clock: Clock, *ages_s: float) -> Iterator[str]:
    born = clock.now
    generation = world.find("g-1")
    assert generation is not None
    for age_s in ages_s:
        clock.now = born + age_s
        yield world.state(generation)


def test_the_same_seed_and_order_give_the_same_lives(clock: Clock) -> None:
    assert lives(World(seed=7, clock=clock)) == lives(World(seed=7, clock=clock))


def test_another_seed_gives_other_ids(clock: Clock) -> None:
    one = {generation.id for generation in lives(World(seed=1, clock=clock))}
    other = {generation.id for generation in lives(World(seed=2, clock=clock))}
    assert not one & other


def test_a_scripted_life_does_not_change_the_next_ones(clock: Clock) -> None:
    plain, scripted = World(seed=3, clock=clock), World(seed=3, clock=clock)
    dream(plain)
    dream(scripted, told(Outcome.FAILED))
    assert lives(plain) == lives(scripted)


def test_an_id_is_a_version_4_uuid(clock: Clock) -> None:
    generation = dream(World(clock=clock))
    assert uuid.UUID(generation.id).version == 4


def test_a_generation_is_queued_then_dreams_then_completes(clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told())
    assert list(states_at(world, clock, 0, 1.9, 2, 4.9, 5, 1e9)) == [
        "queued",
        "queued",
        "dreaming",
        "dreaming",
        "completed",
        "completed",
    ]


def test_a_generation_may_fail(clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told(Outcome.FAILED))
    assert list(states_at(world, clock, 4.9, 5)) == ["dreaming", "failed"]


def test_a_stuck_generation_dreams_for_ever(clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told(Outcome.STUCK))
    assert list(states_at(world, clock, 1, 1e9)) == ["queued", "dreaming"]


def test_speed_shortens_simulated_seconds(clock: Clock) -> None:
    world = World(clock=clock, speed=10)
    dream(world, told())
    assert list(states_at(world, clock, 0.19, 0.21, 0.51)) == ["queued", "dreaming", "completed"]


@given(
    seed=st.integers(0, 10_000),
    ages=st.lists(st.floats(0, 2_000), min_size=2, max_size=8),
    model=st.sampled_from(sorted(PACES)),
)
def test_a_state_never_goes_back(seed: int, ages: list[float], model: str) -> None:
    generation = dream(World(seed=seed, failure_rate=0.5, clock=Clock()), model=model)
    ranks = [IN_ORDER.index(generation.state_at(age)) for age in sorted(ages)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("model", sorted(PACES))
def test_the_median_of_what_is_dreamt_is_that_of_the_model(model: str, clock: Clock) -> None:
    world = World(failure_rate=0, clock=clock)
    drawn = [dream(world, model=model).dreaming_s for _ in range(1000)]
    assert statistics.median(drawn) == pytest.approx(PACES[model].median_s, rel=0.08)


def test_failures_come_at_their_rate_and_early(clock: Clock) -> None:
    world = World(failure_rate=0.25, clock=clock)
    failed = [g for g in lives(world, 1000) if g.outcome is Outcome.FAILED]
    assert len(failed) == pytest.approx(250, rel=0.15)
    assert max(generation.dreaming_s for generation in failed) <= 10
    assert {generation.failure_reason for generation in failed} == set(FAILURE_REASONS)


def test_one_generation_in_a_thousand_gets_stuck(clock: Clock) -> None:
    outcomes = [generation.outcome for generation in lives(World(clock=clock), 5000)]
    assert 1 <= outcomes.count(Outcome.STUCK) <= 12


def test_a_queued_generation_is_shown_with_assets_null(clock: Clock) -> None:
    world = World(clock=clock)
    generation = dream(world, told())
    assert shown(generation, world.state(generation), origin=ORIGIN) == {
        "id": "g-1",
        "generation_type": "video",
        "state": "queued",
        "failure_reason": None,
        "created_at": "2025-03-20T12:00:00.000000Z",
        "assets": None,
        "model": "ray-2",
        "request": {"prompt": "a teapot"},
    }


def test_a_dreaming_generation_is_shown_with_empty_assets(clock: Clock) -> None:
    assert shown(dream(World(clock=clock)), "dreaming", origin=ORIGIN)["assets"] == {}


def test_a_completed_video_has_a_video_and_a_thumbnail(clock: Clock) -> None:
    assert shown(dream(World(clock=clock), told()), "completed", origin=ORIGIN)["assets"] == {
        "video": f"{ORIGIN}/dream_machine/g-1/g-1_result.mp4",
        "image": f"{ORIGIN}/dream_machine/g-1/g-1_thumb.png",
    }


def test_a_completed_image_has_an_image_only(clock: Clock) -> None:
    generation = dream(World(clock=clock), told(), model="photon-1")
    assets = shown(generation, "completed", origin=ORIGIN)["assets"]
    assert assets == {"image": f"{ORIGIN}/dream_machine/g-1/g-1_result.png"}


def test_a_failed_generation_says_why_and_has_no_assets(clock: Clock) -> None:
    generation = shown(dream(World(clock=clock), told()), "failed", origin=ORIGIN)
    assert (generation["failure_reason"], generation["assets"]) == ("No", None)


def test_created_at_keeps_its_microseconds(clock: Clock) -> None:
    clock.now += 0.5
    created_at = shown(dream(World(clock=clock)), "queued", origin=ORIGIN)["created_at"]
    assert created_at == "2025-03-20T12:00:00.500000Z"


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED])
def test_a_generation_can_be_finished_at_once(outcome: Outcome, clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told(Outcome.STUCK))
    clock.now += 0.1
    assert world.state(world.finish("g-1", outcome)) == outcome.value


def test_finishing_sets_the_reason_it_is_told(clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told())
    assert world.finish("g-1", Outcome.FAILED, "Because").failure_reason == "Because"


def test_what_is_over_cannot_be_finished_again(clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told())
    world.finish("g-1", Outcome.COMPLETED)
    with pytest.raises(ConflictError, match="over already"):
        world.finish("g-1", Outcome.FAILED)


def test_nobody_can_be_finished_as_stuck(clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told())
    with pytest.raises(InvalidInputError, match="outcome"):
        world.finish("g-1", Outcome.STUCK)


def test_an_unknown_generation_cannot_be_finished(clock: Clock) -> None:
    with pytest.raises(NotFoundError):
        World(clock=clock).finish("nobody", Outcome.COMPLETED)


def test_an_id_can_be_scripted_only_once(clock: Clock) -> None:
    world = World(clock=clock)
    dream(world, told())
    with pytest.raises(ConflictError, match="g-1"):
        dream(world, told())


def test_a_deleted_generation_is_gone(clock: Clock) -> None:
    world = World(clock=clock)
    generation = dream(world)
    assert world.delete(generation.id)
    assert not world.delete(generation.id)
    assert world.find(generation.id) is None


def test_time_left_is_told_in_seconds_of_the_clock(clock: Clock) -> None:
    world = World(clock=clock, speed=10)
    generation = dream(world, told())
    assert world.left_s(generation) == pytest.approx(0.5)
    clock.now += 60
    assert world.left_s(generation) == 0


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"speed": 0}, "speed"),
        ({"speed": float("inf")}, "speed"),
        ({"failure_rate": 1.1}, "failure_rate"),
        ({"stuck_rate": -0.1}, "stuck_rate"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(field)):
        World(**settings)


def test_the_default_clock_agrees_with_the_calendar_and_never_steps_back() -> None:
    read = steady_clock()
    readings = [read() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[0] > 1_742_472_000
