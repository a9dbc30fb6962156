"""What heals by itself when jobs are lost, what stays bounded, and what jobs look like."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from worker import jobs, jobs_starting, running
from worker.jobs_starting import STAND_INS, queue_name
from worker.model import Terms

from .conftest import JOB, LANE, Fleet, eventually, nothing_queued

# --- what heals -----------------------------------------------------------------------------------


async def test_a_flushed_arq_queue_heals(fleet: Fleet, hasty: None) -> None:
    await fleet.track()
    await fleet.redis.delete(queue_name("test"), *await fleet.redis.keys("arq:*"))

    async with fleet.working():
        await fleet.drains.ran()


async def test_a_drain_that_nobody_started_heals(fleet: Fleet, hasty: None) -> None:
    """Whoever tracked was killed before he could start it."""
    await fleet.store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))])

    async with fleet.working():
        await fleet.drains.ran()


async def test_a_job_whose_text_has_expired_heals(fleet: Fleet, hasty: None) -> None:
    await fleet.track()
    await fleet.redis.delete(f"arq:job:{JOB}")

    async with fleet.working():
        await fleet.drains.ran()


async def test_a_job_locked_by_a_killed_worker_heals(fleet: Fleet, hasty: None) -> None:
    await fleet.track()
    await fleet.redis.set(f"arq:in-progress:{JOB}", 1, ex=40)

    async with fleet.working():
        await fleet.drains.ran()
        assert fleet.drains.count == {LANE: 1}


async def test_a_worker_whose_clock_is_hours_behind_stages_for_itself_what_others_have_queued(
    fleet: Fleet, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            jobs_starting, "CLOCK_SLACK_S", -3600
        )  # as if theirs were two hours ahead of ours
        await fleet.track()
    assert await fleet.queued() == [JOB]

    async with fleet.working():
        await fleet.drains.ran()
        assert JOB in await fleet.queued()  # still unseen: it was a stand-in that ran


async def test_a_new_drain_is_staged_for_work_that_falls_due_later(fleet: Fleet) -> None:
    await fleet.track()
    claimed = await fleet.store.trackers.claim("luma", limit=1, rate=5)
    assert claimed.looks
    await fleet.store.trackers.hurry("luma", "g-1")
    await fleet.redis.delete(f"test:drain:{LANE}")

    async with fleet.working():
        await fleet.drains.ran()


async def test_a_lane_is_staged_up_to_a_second_before_its_work_is_due(fleet: Fleet) -> None:
    """Or else what a killed worker had claimed would wait for a second more than its lease."""
    now = await fleet.store.now()
    await fleet.store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=now + 900)
    await fleet.redis.delete(f"test:drain:{LANE}")

    await jobs.stage(fleet.worker().ctx)

    assert await fleet.queued() == [JOB]


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(seconds=-5), timedelta(hours=1)])
async def test_a_clock_that_is_put_back_or_forward_does_not_stop_the_staging(
    fleet: Fleet, step: timedelta
) -> None:
    async def staged() -> list[bytes]:
        return [each for each in await fleet.redis.keys("arq:job:*") if b"stage" in each]

    worker, at = fleet.worker(), datetime(2026, 1, 31, 12, tzinfo=UTC)
    for n in range(4):
        await worker.run_cron(at + n * timedelta(seconds=1), 0.5)
    await fleet.redis.flushall()

    for n in range(4):
        await worker.run_cron(at + step + n * timedelta(seconds=1), 0.5)

    assert 2 <= len(await staged()) <= 4


async def test_deployments_that_share_a_redis_do_not_take_each_others_turn_to_heal(
    fleet: Fleet,
) -> None:
    """A cron job runs once per name and second, whoever asks for it."""
    other = Fleet(fleet.redis, fleet.store, prefix="other")

    ours, theirs = ({job.name for job in each.worker().cron_jobs} for each in (fleet, other))

    assert len(ours) == len(theirs) == 3
    assert ours.isdisjoint(theirs)


# --- what stays bounded ---------------------------------------------------------------------------


async def test_without_a_worker_the_queue_does_not_grow(fleet: Fleet, hasty: None) -> None:
    """Nor does it behind a queue so long that a lane seems to have no drain before it has begun."""
    for n in range(5):
        await fleet.redis.delete(f"test:drain:{LANE}")  # as if the marker had expired
        await fleet.track(f"g-{n}")

    assert await fleet.queued() == [JOB, f"{JOB}:1"]
    async with fleet.working():
        await eventually(nothing_queued(fleet))


async def test_beside_jobs_that_seem_to_run_for_ever_few_are_queued(fleet: Fleet) -> None:
    for _ in range(2 * STAND_INS):
        await fleet.start(LANE)
        for job in await fleet.queued():
            await fleet.redis.set(f"arq:in-progress:{job}", 1, ex=40)

    assert await fleet.queued() == [JOB, *(f"{JOB}:{n}" for n in range(1, STAND_INS + 1))]


async def test_nothing_of_a_drain_is_left_behind(fleet: Fleet, deaf_but_for_the_bell: None) -> None:
    async with fleet.working():
        await fleet.track()
        await fleet.drains.ran()
        await eventually(nothing_queued(fleet))
        assert await fleet.redis.keys(f"arq:*{JOB}*") == []


async def test_a_lane_whose_drain_does_nothing_is_not_drained_without_pause(fleet: Fleet) -> None:
    """So it is with an account that is no longer configured."""
    async with fleet.working() as worker:
        await fleet.track()
        await fleet.drains.ran()
        for _ in range(5):
            await jobs.stage(worker.ctx)
        assert fleet.drains.count == {LANE: 1}
        assert await fleet.queued() == []


async def test_all_that_arq_keeps_of_its_cron_ends(fleet: Fleet, hasty: None) -> None:
    await fleet.store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))])
    async with fleet.working():
        await fleet.drains.ran(times=2)

        keys = await fleet.redis.keys("arq:*")
        assert keys
        assert [key for key in keys if await fleet.redis.pttl(key) == -1] == []


# --- what it looks like ---------------------------------------------------------------------------


async def test_jobs_are_json(fleet: Fleet) -> None:
    await fleet.track()

    text = await fleet.redis.get(f"arq:job:{JOB}")
    job = json.loads(text)
    assert (job["f"], job["a"], job["k"]) == ("drain", [LANE], {})


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("a pickle from the queue was loaded",)


async def test_a_pickle_in_the_queue_is_not_loaded_and_does_not_stop_the_worker(
    fleet: Fleet,
) -> None:
    await fleet.redis.set("arq:job:bomb", pickle.dumps({"f": Bomb()}), ex=60)
    await fleet.redis.zadd(queue_name("test"), {"bomb": 1})

    async with fleet.working():
        await fleet.track()
        await fleet.drains.ran()
        await eventually(nothing_queued(fleet))


async def test_a_worker_shows_that_it_is_alive(fleet: Fleet) -> None:
    async with fleet.working():
        assert await fleet.redis.zcard("test:workers") == 1


async def test_what_is_over_is_swept(fleet: Fleet) -> None:
    await fleet.redis.zadd("test:trackers:luma:completed", {"g-1": 1})
    await fleet.redis.zadd("test:expiry", {"trackers:luma:completed g-1": 1})

    await jobs.sweep(fleet.worker().ctx)

    assert await fleet.redis.zcard("test:trackers:luma:completed") == 0
    assert fleet.swept == 1


async def test_a_search_that_takes_its_time_holds_up_nothing_else_while_redis_is_full(
    fleet: Fleet,
) -> None:
    worker, searched = fleet.worker(), asyncio.Event()

    async def search() -> None:
        searched.set()
        await asyncio.Event().wait()

    worker.ctx["reconcile"] = search
    async with asyncio.timeout(5):
        for _ in range(2):
            await worker._do_without_arq()
        await searched.wait()
    assert fleet.swept == 2
    assert len(worker.tasks) == 1
    await running._cancel(*worker.tasks.values())
