"""Scripts that are asked for together travel together, and none suffers for another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from worker.model import Terms
from worker.store import Store

Track = Callable[[str], Awaitable[object]]


@pytest.fixture
def track(store: Store) -> Track:
    """Track a generation by its ID."""

    async def track(generation_id: str) -> object:
        wanted = [(generation_id, Terms(deadline_s=60))]
        return await store.trackers.track("luma", "luma", wanted)

    return track


async def tracked(store: Store, *ids: str) -> list[str]:
    found = await store.trackers.get_many([("luma", each) for each in ids])
    return [each.generation_id for each in found]


async def test_what_is_asked_for_at_once_goes_in_one_load(
    store: Store, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    execute = Pipeline.execute

    async def counted(self: Pipeline, raise_on_error: bool = True) -> list[object]:  # noqa: FBT001, FBT002 - redis-py's
        loads.append(len(self.command_stack))
        found: list[object] = await execute(self, raise_on_error)
        return found

    monkeypatch.setattr(Pipeline, "execute", counted)
    await asyncio.gather(*(track(f"g-{n}") for n in range(10)))
    assert loads == [10]
    assert len(await tracked(store, *(f"g-{n}" for n in range(10)))) == 10


async def test_a_great_many_go_in_several_loads_and_each_gets_its_own_answer(store: Store) -> None:
    ids = [f"g-{n}" for n in range(100)]
    wanted = [[(each, Terms(deadline_s=60))] for each in ids]
    await asyncio.gather(*(store.trackers.track("luma", "luma", each) for each in wanted[::2]))
    answers = await asyncio.gather(*(store.trackers.track("luma", "luma", each) for each in wanted))
    assert [each.outcomes for each in answers] == [["same"], ["new"]] * 50


async def test_a_script_that_fails_fails_for_its_caller_alone(store: Store, track: Track) -> None:
    wrong = store._scripts.run("track", "luma", "not a number", "", "g-1", "{}", "")
    failure, answer = await asyncio.gather(wrong, track("g-2"), return_exceptions=True)
    assert isinstance(failure, ResponseError)
    assert not isinstance(answer, Exception)
    assert await tracked(store, "g-2") == ["g-2"]


@pytest.mark.parametrize("unwritable", [object(), "\ud800"])
async def test_what_cannot_be_written_keeps_no_other_from_leaving(
    store: Store, track: Track, unwritable: object
) -> None:
    wrong = store._scripts.run("leave", unwritable, 0)
    failure, answer = await asyncio.gather(wrong, track("g-2"), return_exceptions=True)
    assert isinstance(failure, Exception)
    assert not isinstance(answer, Exception)
    assert await tracked(store, "g-2") == ["g-2"]


async def test_scripts_that_redis_has_forgotten_are_sent_anew(
    store: Store, redis: Redis, track: Track
) -> None:
    await track("g-1")
    await redis.script_flush()
    await asyncio.gather(track("g-2"), track("g-3"))
    assert await tracked(store, "g-1", "g-2", "g-3") == ["g-1", "g-2", "g-3"]


async def test_a_redis_that_forgets_again_before_it_can_be_asked_by_name_does_what_it_is_sent(
    redis: Redis, store: Store, track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = redis.evalsha

    async def forgotten(*args: Any) -> object:
        await redis.script_flush()
        return await by_name(*args)

    await redis.script_flush()
    monkeypatch.setattr(redis, "evalsha", forgotten)
    await asyncio.gather(track("g-1"), track("g-2"))
    assert await tracked(store, "g-1", "g-2") == ["g-1", "g-2"]


async def test_a_caller_that_is_cancelled_takes_nobody_with_it(store: Store, track: Track) -> None:
    leaving = asyncio.ensure_future(track("g-1"))
    staying = asyncio.ensure_future(track("g-2"))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await tracked(store, "g-2") == ["g-2"]


async def test_when_redis_is_away_everyone_is_told(
    track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_self: Pipeline, *_args: object, **_kwargs: object) -> list[object]:
        raise RedisConnectionError

    monkeypatch.setattr(Pipeline, "execute", away)
    answers = await asyncio.gather(track("g-1"), track("g-2"), return_exceptions=True)
    assert [type(each) for each in answers] == [RedisConnectionError] * 2
