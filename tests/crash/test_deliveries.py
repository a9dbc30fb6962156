"""Workers that are killed on the way to a receiver: nothing is lost, no chain of retries forks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.crash.conftest import PREFIX, SECRET, Process, Receiver, Scene, receiving
from worker.model import (
    Delivery,
    DeliveryReason,
    DeliveryState,
    DisabledReason,
    Endpoint,
    EndpointEvent,
    EventType,
)

FLAKY = (500, 500, 200)
ON_THE_WAY = [
    {"DIE_AFTER": "delivery claimed"},
    {"DIE_BEFORE": "receiver answered"},
    {"DIE_AFTER": "receiver answered"},
    {"DIE_BEFORE": "attempt settled"},
    {"DIE_AFTER": "attempt settled"},
]
SWITCHING_OFF = [
    {"DIE_BEFORE": "endpoint switched off"},
    {"DIE_AFTER": "endpoint switched off"},
    {"DIE_BEFORE": "all released"},
    {"DIE_AFTER": "some released"},
    {"DIE_AFTER": "all released"},
    {"DIE_AFTER": "watchers read"},
    {"DIE_BEFORE": "watcher owed"},
    {"DIE_AFTER": "watcher owed"},
    {"DIE_BEFORE": "watchers told"},
    {"DIE_AFTER": "watchers told"},
]


def place(fault: dict[str, str]) -> str:
    ((when, point),) = fault.items()
    return f"{when.removeprefix('DIE_').lower()} {point}"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(8):
        while not await condition():  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.01)


async def was_killed(victim: Process) -> None:
    assert await victim.ended() == -signal.SIGKILL


async def attempt_numbers(scene: Scene, name: str) -> list[object]:
    """The attempts on a tracker's record, as they were counted."""
    entries = await scene.store.trackers.timeline("luma", name)
    return [each.details["attempt"] for each in entries if each.kind == "attempt"]


async def only_delivery(scene: Scene) -> Delivery:
    (delivery,) = await scene.deliveries()
    return delivery


# --- an attempt that fails, and the next ----------------------------------------------------------


@pytest.mark.parametrize("fault", ON_THE_WAY, ids=place)
async def test_wherever_a_worker_is_killed_a_delivery_goes_on_where_it_was(
    scene: Scene, fault: dict[str, str]
) -> None:
    """Every post is a step of one chain: a fork would post once more than there are answers."""
    scene.env["DREAMHOOK_RETRY_SCHEDULE"] = "0.1,0.1,0.1"
    scene.receiver.statuses = FLAKY
    scene.complete_generation("g-1")
    victim, heir = await scene.process(TRACK="g-1", **fault), await scene.process()
    await victim.go()
    await was_killed(victim)

    await heir.go()
    await scene.eventually_over()

    delivery, counted = await only_delivery(scene), await attempt_numbers(scene, "g-1")
    assert delivery.state is DeliveryState.DELIVERED
    assert scene.webhook_ids() == [delivery.event_id] * len(FLAKY)
    assert counted == list(range(1, len(delivery.attempts) + 1))
    assert len(delivery.attempts) >= len(FLAKY) - 1  # of one nobody lived to tell
    assert await scene.stranded() == []


async def test_a_worker_killed_right_after_it_has_owed_a_replay_loses_nothing(scene: Scene) -> None:
    scene.complete_generation("g-1")
    first = await scene.process(TRACK="g-1")
    await first.go()
    await scene.receiver.came.acquire()
    await scene.eventually_over()
    first.process.terminate()
    assert await first.ended() == 0
    before = await only_delivery(scene)
    victim = await scene.process(REPLAY=before.id, DIE_AFTER="replayed")
    await victim.go()
    await was_killed(victim)
    assert (await only_delivery(scene)).state is DeliveryState.PENDING

    heir = await scene.process()
    await heir.go()
    await scene.eventually_over()

    after = await only_delivery(scene)
    assert (after.state, len(after.attempts)) == (DeliveryState.DELIVERED, 2)
    assert scene.webhook_ids() == [before.event_id] * 2
    assert await scene.stranded() == []


@pytest.mark.parametrize("late_status", [410, 500])
async def test_a_worker_that_was_asleep_settles_nothing_with_the_fence_of_its_old_claim(
    scene: Scene, late_status: int
) -> None:
    scene.receiver.statuses = (late_status, 200)
    scene.complete_generation("g-1")
    sleeper = await scene.process(TRACK="g-1", PAUSE_AFTER="receiver answered")
    heir = await scene.process()
    await sleeper.go()
    await sleeper.says("paused")
    await heir.go()
    await scene.eventually_over()
    before = await only_delivery(scene)

    sleeper.process.send_signal(signal.SIGCONT)
    sleeper.process.terminate()  # what it has in hand comes first
    assert await sleeper.ended() == 0

    endpoint = await scene.store.endpoints.get(before.endpoint)
    assert endpoint is not None
    assert (endpoint.enabled, endpoint.failing_since) == (True, None)
    assert await only_delivery(scene) == before
    assert [each.status for each in before.attempts] == [200]
    assert await scene.stranded() == []


async def test_a_redis_that_forgets_its_scripts_again_and_again_loses_nothing(scene: Scene) -> None:
    scene.env["DREAMHOOK_RETRY_SCHEDULE"] = "0.1,0.1,0.1"
    scene.receiver.statuses = FLAKY
    scene.complete_generation("g-1")
    worker = await scene.process(TRACK="g-1")

    async def is_over() -> bool:
        await scene.redis.script_flush()
        return bool(await scene.deliveries()) and await scene.is_over()

    await worker.go()
    await eventually(is_over)

    delivery = await only_delivery(scene)
    assert delivery.state is DeliveryState.DELIVERED
    assert scene.webhook_ids() == [delivery.event_id] * len(FLAKY)


# --- an endpoint that is switched off -------------------------------------------------------------


@pytest.fixture
async def ops(scene: Scene) -> AsyncIterator[Receiver]:
    """A receiver that asked to be told when an endpoint is switched off."""
    async with receiving() as ops:
        watcher = Endpoint(name="ops", url=ops.url, events=(EndpointEvent.DISABLED,))
        shop = Endpoint(name="shop", url=scene.receiver.url, concurrency=1)
        for endpoint in (watcher, shop):
            await scene.store.endpoints.put(endpoint, enabled=None, secret=SECRET)
        yield ops


@pytest.mark.parametrize("fault", SWITCHING_OFF, ids=place)
async def test_wherever_a_worker_is_killed_while_it_switches_an_endpoint_off_all_is_settled(
    scene: Scene, ops: Receiver, fault: dict[str, str]
) -> None:
    names = ["g-1", "g-2", "g-3"]
    scene.receiver.statuses = (410,)
    scene.receiver.may_answer.clear()
    for name in names:
        scene.complete_generation(name)
    victim = await scene.process(TRACK=" ".join(names), ENDPOINT="shop", **fault)
    heir = await scene.process()
    await victim.go()
    if place(fault) != "before endpoint switched off":
        await eventually(all_are_owed(scene, len(names)))
    scene.receiver.may_answer.set()
    await was_killed(victim)

    await heir.go()
    await eventually(all_is_settled(scene, len(names)))

    found = await scene.deliveries()
    owed = [each for each in found if each.type == EventType.COMPLETED]
    (notice,) = [each for each in found if each.type == EndpointEvent.DISABLED]
    shop = await scene.store.endpoints.get("shop")
    assert shop is not None
    assert (shop.enabled, shop.disabled_reason) == (False, DisabledReason.GONE)
    assert {(each.state, each.reason) for each in owed} == {
        (DeliveryState.EXHAUSTED, DeliveryReason.ENDPOINT_DISABLED)
    }
    assert set(scene.webhook_ids()) <= {each.event_id for each in owed}
    assert (notice.endpoint, notice.state) == ("ops", DeliveryState.DELIVERED)
    assert ops.webhook_ids() == [notice.event_id]
    assert sorted(await scene.events()) == sorted({each.event_id for each in found})
    assert await scene.stranded() == []


def all_are_owed(scene: Scene, count: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return len(await scene.deliveries()) == count

    return is_so


def all_is_settled(scene: Scene, count: int) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        found = await scene.deliveries()
        to_tell = await scene.redis.exists(f"{PREFIX}:disabled")
        return len(found) == count + 1 and not to_tell and await scene.is_over()

    return is_so
