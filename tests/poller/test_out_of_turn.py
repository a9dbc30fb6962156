"""A look out of turn, and what is logged of looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.poller.conftest import COMPLETED, DREAMING, FAILED, HOOK, LANE, SHOWN, Desk
from worker import schedule
from worker.errors import NotFoundError, UnavailableError
from worker.model import (
    Answer,
    Missing,
    State,
    Throttled,
    Trouble,
)


async def test_a_look_at_a_finished_tracker_brings_fresh_assets_and_nothing_else(
    desk: Desk,
) -> None:
    await desk.track(callback_url=HOOK)
    await desk.drain()
    before, keys = await desk.tracker(), len(await desk.redis.keys())
    fresh = {**SHOWN, "assets": {"video": "https://a.example/v.mp4?signed=2"}}
    desk.provider.answers = [replace(COMPLETED, assets=fresh["assets"], generation=fresh)]

    await desk.poller().look_now("luma", "g-1")

    after = await desk.tracker()
    assert after.assets == {"video": "https://a.example/v.mp4?signed=2"}
    assert after.generation == fresh
    assert (after.state, after.finished_at) == (before.state, before.finished_at)
    assert after.next_poll_at is None
    assert len(await desk.bodies()) == 1
    assert (len(await desk.owed()), len(await desk.redis.keys())) == (1, keys)
    assert await desk.redis.zcard(desk.store._scripts.key(f"due:{LANE}")) == 0


@pytest.mark.parametrize("answer", [DREAMING, FAILED, Missing("404 Not Found"), Trouble("502")])
async def test_no_later_answer_changes_how_a_tracker_ended(desk: Desk, answer: Answer) -> None:
    await desk.track()
    await desk.drain()
    before = await desk.tracker()
    desk.provider.answers = [answer]

    await desk.poller().look_now("luma", "g-1")

    after = await desk.tracker()
    assert (after.state, after.reason) == (State.COMPLETED, None)
    assert after.finished_at == before.finished_at
    assert len(await desk.bodies()) == 1


async def test_what_a_late_look_shows_is_kept_no_longer_than_its_tracker(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [Missing("404 Not Found")]
    await desk.track()
    await desk.drain()
    desk.provider.answers = [COMPLETED]

    await desk.poller().look_now("luma", "g-1")

    tracker = await desk.tracker()
    assert (tracker.state, tracker.generation) == (State.EXPIRED, SHOWN)
    keys = await desk.redis.keys("*:luma:g-1")
    assert keys
    assert [key for key in keys if await desk.redis.pttl(key) < 0] == []


async def test_a_look_at_a_canceled_tracker_that_shows_the_same_does_not_take_it_up_again(
    desk: Desk, slow: None
) -> None:
    desk.provider.answers = [DREAMING]
    await desk.track()
    await desk.drain()
    await desk.cancel()

    await desk.poller().look_now("luma", "g-1")

    tracker = await desk.tracker()
    assert (tracker.state, tracker.polls, tracker.next_poll_at) == (State.CANCELED, 2, None)
    assert await desk.redis.zcard(desk.store._scripts.key(f"due:{LANE}")) == 0


async def test_a_look_that_shows_the_same_plans_none_for_after_the_deadline(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "SHORTEST_GAP_S", 60.0)
    desk.provider.answers = [DREAMING]
    await desk.track(deadline_s=40.0)
    await desk.drain()

    await desk.poller().look_now("luma", "g-1")

    tracker = await desk.tracker()
    assert (tracker.polls, tracker.next_poll_at) == (2, tracker.deadline_at)


async def test_a_look_out_of_turn_may_find_the_end(desk: Desk, slow: None) -> None:
    desk.provider.answers = [DREAMING, COMPLETED]
    await desk.track(callback_url=HOOK)
    await desk.drain()

    await desk.poller().look_now("luma", "g-1")

    assert (await desk.tracker()).state is State.COMPLETED
    assert desk.started == ["post:https://hooks.example.com:443"]


async def test_a_look_out_of_turn_needs_a_tracker(desk: Desk) -> None:
    with pytest.raises(NotFoundError, match="g-9 is not tracked"):
        await desk.poller().look_now("luma", "g-9")


async def test_a_look_out_of_turn_respects_a_hold_and_says_how_long_it_lasts(desk: Desk) -> None:
    desk.provider.answers = [Throttled("429 Too Many Requests", 300.0)]
    await desk.track()
    await desk.drain()

    with pytest.raises(UnavailableError) as caught:
        await desk.poller().look_now("luma", "g-1")

    assert 290 < caught.value.retry_after <= 300
    assert desk.provider.asked == ["g-1"]


async def test_a_look_out_of_turn_respects_the_budget(desk: Desk, slow: None) -> None:
    desk.account = replace(desk.account, polls_per_second=0.5)
    desk.provider.answers = [DREAMING]
    await desk.track()
    await desk.drain()

    with pytest.raises(UnavailableError) as caught:
        await desk.poller().look_now("luma", "g-1")

    assert 1.5 < caught.value.retry_after <= 2


async def test_every_look_is_one_line_without_secrets_or_addresses(
    desk: Desk, quick: None, lines: list[Any]
) -> None:
    desk.provider.answers = [DREAMING, Throttled("429 Too Many Requests", 0.05), COMPLETED]
    await desk.track(callback_url=HOOK, headers={"authorization": "hunter2"})

    await desk.drain()

    looks = [line for line in lines if line["event"] == "look"]
    assert [line["answer"] for line in looks] == ["seen", "throttled", "seen"]
    assert [line["event"] for line in lines if line["event"] != "look"] == ["held", "freed"]
    assert "hunter2" not in repr(lines)
    assert "hooks.example.com" not in repr(lines)


async def test_a_look_that_shows_a_finished_generation_running_takes_nothing_from_it(
    desk: Desk,
) -> None:
    await desk.track()
    await desk.drain()
    desk.provider.answers = [DREAMING]

    await desk.poller().look_now("luma", "g-1")

    after = await desk.tracker()
    assert (after.assets, after.provider_state) == (COMPLETED.assets, "completed")
    assert after.generation == SHOWN
