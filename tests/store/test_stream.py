"""The stream of events in Redis, and the counts of all processes beside it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from worker.model import NewEvent
from worker.store import Store
from worker.store.stream import Bounds

T = 1_700_000_000_000


async def announced(store: Store, *names: str) -> None:
    for name in names:
        await store.deliveries.announce(NewEvent(id=name, type="endpoint.test", body=b"{}"))


async def counts_what_left(redis: Redis) -> bool:
    """Whether this server does: Redis 6.2 does not, and no stream is then known to be whole."""
    return "entries-added" in await redis.xinfo_stream("test:events")


async def test_a_stream_that_never_was_goes_nowhere(store: Store) -> None:
    assert await store.stream.bounds() == Bounds(None, "0-0", is_whole=True)
    assert await store.stream.after("0-0", limit=5) == []


async def test_pages_follow_one_another(store: Store) -> None:
    await announced(store, "evt_1", "evt_2", "evt_3")
    first = await store.stream.after("0-0", limit=2)
    second = await store.stream.after(first[-1].id, limit=2)
    assert [each.event_id for each in first + second] == ["evt_1", "evt_2", "evt_3"]
    bounds = await store.stream.bounds()
    assert (bounds.first, bounds.last) == (first[0].id, second[-1].id)


async def test_a_stream_that_nothing_has_left_is_whole(store: Store, redis: Redis) -> None:
    await announced(store, "evt_1", "evt_2")
    assert (await store.stream.bounds()).is_whole is await counts_what_left(redis)


async def test_who_waits_gets_what_is_there(store: Store) -> None:
    await announced(store, "evt_1", "evt_2")
    (first,) = await store.stream.after("0-0", limit=1)
    (second,) = await store.stream.wait(first.id, limit=5)
    assert (second.event_id, second.type, second.details) == ("evt_2", "endpoint.test", {})


async def test_bodies_that_are_no_longer_kept_are_none(store: Store, redis: Redis) -> None:
    await announced(store, "evt_1", "evt_2")
    await redis.delete("test:event:evt_1")
    assert await store.stream.bodies(["evt_1", "evt_2"]) == [None, b"{}"]


async def test_a_stream_that_has_lost_its_head_is_not_whole(store: Store, redis: Redis) -> None:
    await announced(store, "evt_1", "evt_2")
    await redis.xtrim("test:events", maxlen=1, approximate=False)
    assert not (await store.stream.bounds()).is_whole
    await redis.xtrim("test:events", maxlen=0, approximate=False)
    bounds = await store.stream.bounds()
    assert (bounds.first, bounds.is_whole) == (None, False)


async def test_after_the_retention_the_sweep_empties_the_stream(store: Store) -> None:
    await announced(store, "evt_1")
    now = await store.now()
    await store.lanes.sweep(now=now + 590_000)
    assert (await store.stream.bounds()).first is not None
    await store.lanes.sweep(now=now + 610_000)
    assert (await store.stream.bounds()).first is None


async def test_what_processes_count_is_added_up(store: Store) -> None:
    for _ in range(2):
        await store.figures.add({"looks:luma:seen": 2, "ended:luma:failed": 1}, now=T)
    assert await store.figures.totals() == {"looks:luma:seen": 4, "ended:luma:failed": 2}


async def test_what_was_counted_once_is_added_once_though_the_answer_is_lost(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = iter([Counter({"looks:luma:seen": 3}), Counter({"looks:luma:seen": 1})])
    run, is_heard = store.figures._scripts.run, iter([False, False, True, True])

    async def run_and_perhaps_lose(name: str, *args: Any, now: int | None = None) -> Any:
        answer = await run(name, *args, now=now)
        if not next(is_heard):
            raise RedisTimeoutError("it took too long")
        return answer

    monkeypatch.setattr(store.figures._scripts, "run", run_and_perhaps_lose)
    for total in (3, 3, 4):
        await store.figures.add_from(lambda: next(counted))
        assert await store.figures.totals() == {"looks:luma:seen": total}
    (key,) = await redis.keys("test:flushed:*")
    assert 0 < await redis.ttl(key) <= 3600


async def test_what_the_last_hour_shows_is_counted_by_minutes(store: Store, redis: Redis) -> None:
    await store.figures.add({"looks:luma:seen": 1, "ended:luma:failed": 1, "latency:0": 1}, now=T)
    await store.figures.add({"latency:0": 2}, now=T + 60_000)
    minutes = await store.figures.minutes(now=T + 60_000)
    assert minutes[-2:] == [{"ended:luma:failed": 1, "latency:0": 1}, {"latency:0": 2}]
    assert minutes[:-2] == [Counter()] * 58
    assert (await store.figures.minutes(now=T + 60 * 60_000))[0] == {"latency:0": 2}
    for key in await redis.keys("test:minute:*"):
        assert 3600 < await redis.ttl(key) <= 3720


async def test_workers_that_have_gone_are_forgotten(store: Store, redis: Redis) -> None:
    await store.figures.beat("old:1", now=T)
    await store.figures.beat("new:1", now=T + 3_600_000)
    assert await store.figures.workers(now=T + 3_600_000) == ["new:1"]
    assert await redis.zcard("test:workers") == 1
