"""The bell: who waits for a name hears it, from any process, and is never the worse without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.embedded import EmbeddedRedis
from worker.model import State, Terms
from worker.store import Bell, ClaimedTracker, Store, heard


@pytest.fixture
async def listening(store: Store) -> AsyncIterator[asyncio.Task[None]]:
    """The store's bell, listening."""
    task = asyncio.create_task(store.bell.listen())
    with store.bell.expect("up?") as up:
        while not await heard(up, 0.01):
            await store.ring("up?")
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_all_who_wait_for_a_name_hear_it_and_nobody_else(store: Store) -> None:
    with (
        store.bell.expect("a") as first,
        store.bell.expect("a") as second,
        store.bell.expect("b") as other,
    ):
        store.bell.ring("a")

        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)


async def test_a_ring_that_nobody_waits_for_is_lost(store: Store) -> None:
    store.bell.ring("a")

    with store.bell.expect("a") as event:
        assert not event.is_set()


async def test_a_ring_that_comes_before_the_wait_but_after_the_expectation_is_heard(
    store: Store,
) -> None:
    with store.bell.expect("a") as event:
        store.bell.ring("a")

        assert await heard(event, 0) is True
        assert await heard(event, 0) is False  # once


async def test_nothing_is_kept_for_those_who_wait_no_more(store: Store) -> None:
    with store.bell.expect("a"), store.bell.expect("a"), store.bell.expect("b"):
        assert len(store.bell._waiting) == 2

    assert len(store.bell._waiting) == 0


async def test_a_ring_in_one_process_is_heard_in_another(
    redis: Redis, store: Store, listening: asyncio.Task[None]
) -> None:
    other = Store(redis, prefix="test", retention_s=60)

    with store.bell.expect("a") as event:
        await other.ring("a")
        assert await heard(event, 5)


async def test_a_bell_rings_for_its_own_deployment_only(
    redis: Redis, store: Store, listening: asyncio.Task[None]
) -> None:
    with store.bell.expect("a") as ours, store.bell.expect("b") as after:
        await Store(redis, prefix="tes", retention_s=60).ring("a")
        await Store(redis, prefix="test:bell", retention_s=60).ring("a")
        await store.ring("b")
        assert await heard(after, 5)

        assert not ours.is_set()


@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELED])
async def test_the_end_of_a_tracker_is_heard_under_its_name(
    store: Store, listening: asyncio.Task[None], state: State
) -> None:
    await store.trackers.track("luma", "luma", [("g:1", Terms(deadline_s=60))])
    claimed = await store.trackers.claim_one("luma", "g:1", rate=None)
    assert isinstance(claimed, ClaimedTracker)

    with store.bell.expect("luma:g:1") as ended:
        await store.trackers.settle(replace(claimed.tracker, state=state))
        assert await heard(ended, 5)


async def test_work_that_comes_due_is_heard_under_its_lane(
    store: Store, listening: asyncio.Task[None]
) -> None:
    await store.trackers.claim("luma", limit=1, rate=5)  # now its drain sleeps

    with store.bell.expect("poll:luma") as bell:
        await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))])
        assert await heard(bell, 5)


async def test_a_message_that_is_no_text_harms_nobody(
    redis: Redis, store: Store, listening: asyncio.Task[None]
) -> None:
    with store.bell.expect("a") as event:
        await redis.publish("test:bell", b"\xff")
        await store.ring("a")
        assert await heard(event, 5)


async def test_a_bell_whose_connection_breaks_is_heard_again(
    embedded: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.bell.RECONNECT_S", 0.01)
    redis = Redis.from_url(embedded.url)
    bell = Bell(redis, ["test:bell"])
    task = asyncio.create_task(bell.listen())
    for _ in range(2):
        with bell.expect("a") as event:
            async with asyncio.timeout(5):
                while not await heard(event, 0.01):
                    await redis.publish("test:bell", "a")
        await redis.client_kill_filter(_type="pubsub")

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await redis.aclose()


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), OSError("gone")])
async def test_a_bell_waits_a_little_before_it_tries_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    pauses: list[float] = []
    tries = 0

    async def broken() -> None:
        nonlocal tries
        tries += 1
        raise error

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(store.bell, "_pass_on", broken)
    monkeypatch.setattr("worker.store.bell.asyncio.sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await store.bell.listen()

    assert (tries, pauses) == (3, [1.0] * 3)
