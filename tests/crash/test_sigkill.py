"""Processes that are killed at a marked point: nothing is lost, nothing is told twice."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from worker.embedded import EmbeddedRedis
from worker.model import DeliveryState, State

if TYPE_CHECKING:
    from tests.crash.conftest import Scene


# How often the webhook is posted in all: a second time only if nobody knows of the first.
POSTS_WHEN_KILLED_AFTER = {
    "tracked": 1,
    "drain queued": 1,
    "look claimed": 1,
    "provider answered": 1,
    "end settled": 1,
    "lane left": 1,
    "lane handed over": 1,
    "delivery claimed": 1,
    "receiver answered": 2,
    "attempt settled": 1,
}


@pytest.mark.parametrize(("point", "posts"), POSTS_WHEN_KILLED_AFTER.items())
async def test_a_process_killed_at_any_point_loses_nothing_and_makes_no_second_event(
    scene: Scene, point: str, posts: int
) -> None:
    scene.complete_generation("g-1")
    victim, heir = await scene.process(TRACK="g-1", DIE_AFTER=point), await scene.process()
    await victim.go()
    assert await victim.ended() == -signal.SIGKILL

    await heir.go()

    await assert_all_is_well(scene, posts=posts)


async def test_a_worker_killed_before_it_starts_what_it_found_waiting_loses_nothing(
    scene: Scene,
) -> None:
    scene.complete_generation("g-1")
    await scene.track("g-1")
    victim, heir = await scene.process(DIE_AFTER="lane staged"), await scene.process()
    await victim.go()
    assert await victim.ended() == -signal.SIGKILL

    await heir.go()

    await assert_all_is_well(scene)


async def test_a_worker_and_its_redis_killed_at_once_lose_nothing(
    scene: Scene, embedded: EmbeddedRedis
) -> None:
    """The receiver has taken the webhook, but nobody has written that down."""
    scene.complete_generation("g-1")
    victim = await scene.process(TRACK="g-1", DIE_AFTER="receiver answered")
    await victim.go()
    assert await victim.ended() == -signal.SIGKILL
    os.kill(embedded.pid, signal.SIGKILL)

    heir = await scene.process()
    await heir.go()

    await assert_all_is_well(scene, posts=2)


async def test_a_worker_that_is_told_to_stop_ends_what_it_has_in_hand(scene: Scene) -> None:
    scene.receiver.may_answer.clear()
    scene.complete_generation("g-1")
    worker = await scene.process(TRACK="g-1")
    await worker.go()
    await scene.receiver.came.acquire()

    worker.process.terminate()
    scene.receiver.may_answer.set()

    assert await worker.ended() == 0
    await assert_all_is_well(scene)


@pytest.mark.parametrize(("point", "posts"), [("provider answered", 1), ("receiver answered", 2)])
async def test_a_worker_that_was_asleep_for_longer_than_its_lease_changes_nothing_any_more(
    scene: Scene, point: str, posts: int
) -> None:
    scene.complete_generation("g-1")
    sleeper, heir = await scene.process(TRACK="g-1", PAUSE_AFTER=point), await scene.process()
    await sleeper.go()
    await sleeper.says("paused")
    await heir.go()
    await scene.eventually_over()
    deliveries = await scene.deliveries()

    sleeper.process.send_signal(signal.SIGCONT)
    sleeper.process.terminate()  # what it has in hand comes first

    assert await sleeper.ended() == 0
    await assert_all_is_well(scene, posts=posts)
    assert await scene.deliveries() == deliveries


async def assert_all_is_well(scene: Scene, posts: int = 1) -> None:
    """The tracker has ended, its one event was delivered under one ID, and nothing is left over."""
    await scene.eventually_over()
    (event,), (delivery,) = await scene.events(), await scene.deliveries()
    assert (await scene.tracker("g-1")).state is State.COMPLETED
    assert (delivery.state, delivery.event_id) == (DeliveryState.DELIVERED, event)
    assert scene.webhook_ids() == [event] * posts
    assert await scene.stranded() == []
