"""Workers that are killed on the way to a receiver: nothing is lost, no chain of retries forks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.crash import child
from tests.crash.conftest import PREFIX, SECRET, Process, Receiver, Scene
from tests.receivers import receiving
from worker import drain, jobs, running
from worker.config import Settings
from worker.model import (
    Delivery,
    DeliveryReason,
    DeliveryState,
    DisabledReason,
    Endpoint,
    EndpointEvent,
    EventType,
)
from worker.store import deliveries, endpoints, lanes, trackers
from worker.wiring import opened

Heir = Callable[[], AbstractAsyncContextManager[None]]

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
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.01)


async def was_killed(victim: Process) -> None:
    assert await victim.ended() == -signal.SIGKILL


async def attempt_numbers(scene: Scene, name: str) -> list[object]:
    """The attempts on a tracker's record, as they were counted."""
    entries = await scene.store.trackers.timeline("luma", name)
    return [each.details["attempt"] for each in entries if each.kind == "attempt"]


@pytest.fixture
def heir(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Heir:
    """A worker that takes over: in this process, since nobody kills it and a new one takes long."""
    for module in (trackers, lanes, deliveries, endpoints):
        monkeypatch.setattr(module, "ALIVE_S", child.ALIVE_S)
    monkeypatch.setattr(drain, "HEARTBEAT_S", child.HEARTBEAT_S)
    monkeypatch.setattr(jobs, "IDLE_POLL_S", child.IDLE_POLL_S)
    monkeypatch.setattr(jobs, "cron", child.every_second)

    @asynccontextmanager
    async def working() -> AsyncIterator[None]:
        for name, value in scene.env.items():
            monkeypatch.setenv(name, value)
        async with opened(Settings.load(), lease_s=child.LEASE_S) as deployment:
            stop = asyncio.Event()
            working = asyncio.create_task(running._work(deployment, stop))
            try:
                yield
            finally:
                stop.set()
                await working

    return working


async def only_delivery(scene: Scene) -> Delivery:
    (delivery,) = await scene.deliveries()
    return delivery


# --- an attempt that fails, and the next ----------------------------------------------------------


@pytest.mark.parametrize("fault", ON_THE_WAY, ids=place)
async def test_wherever_a_worker_is_killed_a_delivery_goes_on_where_it_was(
    scene: Scene, heir: Heir, fault: dict[str, str]
) -> None:
    """Every post is a step of one chain: a fork would post once more than there are answers."""
    scene.env["DREAMHOOK_RETRY_SCHEDULE"] = "0.1,0.1,0.1"
    scene.receiver.statuses = FLAKY
    scene.complete_generation("g-1")
    victim = await scene.process(TRACK="g-1", **fault)
    await victim.go()
    await was_killed(victim)

    async with heir():
        await scene.eventually_over()

    delivery, counted = await only_delivery(scene), await attempt_numbers(scene, "g-1")
    assert delivery.state is DeliveryState.DELIVERED
    assert scene.webhook_ids() == [delivery.event_id] * len(FLAKY)
    assert counted == list(range(1, len(delivery.attempts) + 1))
    assert len(delivery.attempts) >= len(FLAKY) - 1  # of one nobody lived to tell
    assert await scene.stranded() == []


async def test_a_worker_killed_right_after_it_has_owed_a_replay_loses_nothing(
    scene: Scene, heir: Heir
) -> None:
    scene.complete_generation("g-1")
    await scene.track("g-1")
    async with heir():
        await scene.eventually_over()
    before = await only_delivery(scene)
    victim = await scene.process(REPLAY=before.id, DIE_AFTER="replayed")
    await victim.go()
    await was_killed(victim)
    assert (await only_delivery(scene)).state is DeliveryState.PENDING

    async with heir():
        await scene.eventually_over()

    after = await only_delivery(scene)
    assert (after.state, len(after.attempts)) == (DeliveryState.DELIVERED, 2)
    assert scene.webhook_ids() == [before.event_id] * 2
    assert await scene.stranded() == []


@pytest.mark.parametrize("late_status", [200, 410, 500])
async def test_a_worker_that_was_asleep_settles_nothing_with_the_fence_of_its_old_claim(
    scene: Scene, heir: Heir, late_status: int
) -> None:
    """The delivery is pending still, but it was claimed since and has had its next attempt."""
    scene.env["DREAMHOOK_RETRY_SCHEDULE"] = "60"
    scene.receiver.statuses = (late_status, 503)
    scene.complete_generation("g-1")
    sleeper = await scene.process(TRACK="g-1", PAUSE_AFTER="receiver answered")
    await sleeper.go()
    await sleeper.says("paused")

    async def was_attempted() -> bool:
        return bool((await only_delivery(scene)).attempts)

    async with heir():
        await eventually(was_attempted)
    before = await only_delivery(scene)
    known = await scene.store.endpoints.get(before.endpoint)

    sleeper.process.send_signal(signal.SIGCONT)
    sleeper.process.terminate()  # what it has in hand comes first
    assert await sleeper.ended() == 0

    after = await only_delivery(scene)
    assert after == before
    assert (after.state, [each.status for each in after.attempts]) == ("pending", [503])
    assert await scene.store.endpoints.get(before.endpoint) == known
    (lane,) = await scene.redis.keys(f"{PREFIX}:due:*")
    assert await scene.redis.zrange(lane, 0, -1, withscores=True) == [
        (after.id.encode(), float(after.next_attempt_at or 0))
    ]


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
    async with receiving(Receiver()) as ops:
        watcher = Endpoint(name="ops", url=ops.url, events=(EndpointEvent.DISABLED,))
        shop = Endpoint(name="shop", url=scene.receiver.url, concurrency=1)
        for endpoint in (watcher, shop):
            await scene.store.endpoints.put(endpoint, enabled=None, secret=SECRET)
        yield ops


@pytest.mark.parametrize("fault", SWITCHING_OFF, ids=place)
async def test_wherever_a_worker_is_killed_while_it_switches_an_endpoint_off_all_is_settled(
    scene: Scene, ops: Receiver, heir: Heir, fault: dict[str, str]
) -> None:
    names = ["g-1", "g-2", "g-3"]
    scene.receiver.statuses = (410,)
    scene.receiver.may_answer.clear()
    for name in names:
        scene.complete_generation(name)
    victim = await scene.process(TRACK=" ".join(names), ENDPOINT="shop", **fault)
    await victim.go()
    await eventually(all_are_owed(scene, len(names)))
    scene.receiver.may_answer.set()
    await was_killed(victim)

    async with heir():
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
        to_tell = await scene.redis.exists(f"{PREFIX}:switched_off")
        return len(found) == count + 1 and not to_tell and await scene.is_over()

    return is_so
