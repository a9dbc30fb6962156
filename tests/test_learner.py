"""Learning from ends: by whichever process, once, and for good."""

from __future__ import annotations

import pytest

from worker.durations import ANYTHING
from worker.learner import Learner
from worker.learning import Observation, Prior
from worker.schedule import Sighting
from worker.store import Store

KIND = ("ray-2", "video", "720p", "5s")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.learner.REFRESH_S", 0.0)


async def see(store: Store, *durations_s: float, kind: tuple[str, ...] = KIND) -> None:
    """Put down ends as settles do."""
    for each in durations_s:
        seen = Sighting(entry=0.5, last=each - 1, queued=0.0, running=0.5)
        observation = Observation(kind=kind, sighting=seen, over=each, looks=4)
        await store._redis.rpush("test:observed:luma", observation.to_bytes())


async def median_s(learner: Learner, kind: tuple[str, ...] = KIND) -> float:
    return (await learner.expect("luma", kind)).run.age_when(0.5)


async def test_where_nothing_was_learned_the_prior_counts(store: Store) -> None:
    assert await median_s(Learner(store, {"luma": Prior()})) == ANYTHING.age_when(0.5)


async def test_what_one_process_learned_another_expects(store: Store) -> None:
    await see(store, *[100.0] * 40)
    await Learner(store, {}).fold("luma")

    assert 90 < await median_s(Learner(store, {})) < 105


async def test_a_process_hears_that_others_have_learned(store: Store) -> None:
    learner = Learner(store, {})
    before = await median_s(learner)
    await see(store, *[100.0] * 40)
    await Learner(store, {}).fold("luma")

    learner.heard("luma", 1)

    assert await median_s(learner) > before


async def test_a_kind_that_was_never_seen_is_expected_to_be_like_its_parent(store: Store) -> None:
    await see(store, *[100.0] * 40)
    learner = Learner(store, {})
    await learner.fold("luma")

    assert 80 < await median_s(learner, (*KIND[:3], "9s")) < 110


async def test_workers_that_learn_at_once_count_each_end_once(store: Store) -> None:
    await see(store, *[100.0] * 10)
    workers = [Learner(store, {}) for _ in range(4)]

    for worker in workers:
        await worker.fold("luma")

    known, _ = await workers[0].known("luma")
    assert known[KIND].ends == pytest.approx(10, rel=0.01)
    assert known[KIND].looks == pytest.approx(40, rel=0.01)


async def test_what_cannot_be_read_is_no_obstacle(store: Store) -> None:
    await store._redis.rpush("test:observed:luma", b"\xff", b"[]", b'[["a"],1,5,1,0,null,3]')
    await see(store, 100.0)
    learner = Learner(store, {})

    await learner.fold("luma")

    known, _ = await learner.known("luma")
    assert known[KIND].ends == 1
    assert await store._redis.llen("test:observed:luma") == 0


async def test_more_kinds_than_there_is_room_for_count_as_their_parents(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.learning.MOST_KINDS", 6)
    learner = Learner(store, {})
    for n in range(20):
        await see(store, 50.0, kind=("m", str(n)))
        await learner.fold("luma")

    known, _ = await learner.known("luma")
    assert len(known) <= 8
    assert known[("m",)].ends == pytest.approx(20, rel=0.02)


async def test_of_many_ends_at_once_each_kind_is_learned_of(store: Store) -> None:
    other = ("photon-1", "image")
    await see(store, *[100.0] * 40)
    await see(store, *[9.0] * 40, kind=other)

    await Learner(store, {}).fold("luma")

    assert await median_s(Learner(store, {})) > 60
    assert await median_s(Learner(store, {}), other) < 20
