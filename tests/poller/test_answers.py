"""What an answer does to its tracker."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.poller.conftest import (
    COMPLETED,
    DREAMING,
    FAILED,
    HOOK,
    KEY,
    LANE,
    QUEUED,
    SHOWN,
    Desk,
    instant,
)
from worker.model import (
    Missing,
    Reason,
    State,
    Trouble,
)
from worker.providers.client import ProviderClient
from worker.providers.spec import load
from worker.simulator import Outcome, Script, World, create_app, running


async def test_a_running_generation_is_looked_at_at_once_and_then_again_later(
    desk: Desk, slow: None
) -> None:
    desk.provider.answers = [DREAMING]
    await desk.track()

    await desk.drain()

    tracker = await desk.tracker()
    assert desk.provider.asked == ["g-1"]
    assert (tracker.state, tracker.provider_state) == (State.TRACKING, "dreaming")
    assert tracker.seen_at is not None
    assert tracker.seen_at - tracker.tracked_at < 1000
    assert tracker.next_poll_at is not None
    assert tracker.next_poll_at - tracker.seen_at >= 20_000
    assert await desk.bodies() == []


async def test_waiting_costs_no_error_budget(desk: Desk, quick: None) -> None:
    desk.provider.answers = [QUEUED, DREAMING, DREAMING, COMPLETED]
    await desk.track()

    await desk.drain()

    tracker = await desk.tracker()
    assert (tracker.polls, tracker.poll_errors, tracker.last_error) == (4, 0, None)
    assert (await desk.health()).reason is None


async def test_a_completed_generation_makes_one_event_that_says_it_all(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [DREAMING, COMPLETED]
    await desk.track(callback_url=HOOK, metadata={"order": 7})

    await desk.drain()

    (body,) = await desk.bodies()
    tracker = await desk.tracker()
    finished_at = body["data"].pop("finished_at")
    assert (tracker.state, tracker.finished_at) == (State.COMPLETED, instant(finished_at[:-1]))
    assert instant(body["data"].pop("tracked_at")[:-1]) == tracker.tracked_at
    assert instant(body["data"].pop("seen_at")[:-1]) == tracker.finished_at
    assert body == {
        "type": "generation.completed",
        "timestamp": finished_at,
        "data": {
            "account": "luma",
            "provider": "luma",
            "generation_id": "g-1",
            "state": "completed",
            "reason": None,
            "provider_state": "completed",
            "assets": {"video": "https://a.example/v.mp4"},
            "assets_expire_at": None,
            "failure_reason": None,
            "failure_code": None,
            "retryable": None,
            "metadata": {"order": 7},
            "polls": 2,
            "generation": SHOWN,
        },
    }


async def test_an_event_carries_what_a_real_provider_showed_verbatim(desk: Desk) -> None:
    world = World()
    script = Script(id="g-1", queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
    world.create(
        generation_type="video", model="ray-2", request={"prompt": "déjà vu 🌀"}, script=script
    )
    await desk.track()
    async with running(create_app(world, keys=[KEY])) as base_url:
        account = replace(desk.account, base_url=base_url)
        client = ProviderClient(account, load("luma"))
        await desk.poller(client).drain("luma", LANE, desk.stopping)
        await client.aclose()

    (body,) = await desk.bodies()
    shown = body["data"]["generation"]
    assert shown["request"] == {"prompt": "déjà vu 🌀"}
    assert set(shown) == {
        *("id", "generation_type", "state", "failure_reason", "created_at", "assets", "model"),
        "request",
    }
    assert body["data"]["assets"] == shown["assets"] == (await desk.tracker()).assets
    assert (await desk.tracker()).model == "ray-2"


async def test_a_failed_generation_makes_one_event_with_the_providers_reason(desk: Desk) -> None:
    desk.provider.answers = [FAILED]
    await desk.track()

    await desk.drain()

    (body,) = await desk.bodies()
    assert body["type"] == "generation.failed"
    assert body["data"]["failure_reason"] == "Too dreamy"
    assert (await desk.tracker()).state is State.FAILED


async def test_the_deadline_gets_a_last_look_which_may_still_find_the_end(desk: Desk) -> None:
    await desk.track(deadline_s=0.0)

    await desk.drain()

    assert (await desk.tracker()).state is State.COMPLETED


async def test_a_deadline_ends_it_even_if_the_last_look_fails(desk: Desk) -> None:
    desk.provider.answers = [Trouble("502 Bad Gateway")]
    await desk.track(deadline_s=0.0)

    await desk.drain()

    tracker = await desk.tracker()
    assert (tracker.state, tracker.reason) == (State.EXPIRED, Reason.DEADLINE)
    (body,) = await desk.bodies()
    assert (body["type"], body["data"]["reason"]) == ("generation.expired", "deadline")
    assert tracker.last_error == "502 Bad Gateway"


async def test_an_event_at_the_deadline_carries_what_was_seen_last(desk: Desk, quick: None) -> None:
    desk.provider.answers = [DREAMING, Trouble("502 Bad Gateway")]
    await desk.track(deadline_s=0.2)

    await desk.drain()

    (body,) = await desk.bodies()
    assert body["data"]["generation"] == {"n": 1}
    assert body["data"]["provider_state"] == "dreaming"


async def test_what_shows_the_same_until_its_deadline_ends_there(desk: Desk, quick: None) -> None:
    desk.provider.answers = [DREAMING]
    await desk.track(deadline_s=0.2)

    await desk.drain()

    tracker = await desk.tracker()
    assert (tracker.state, tracker.reason) == (State.EXPIRED, Reason.DEADLINE)
    assert tracker.finished_at is not None
    assert 0 <= tracker.finished_at - tracker.deadline_at < 1000


async def test_trouble_backs_off_and_never_ends_a_tracker(desk: Desk, quick: None) -> None:
    desk.provider.answers = [*[Trouble("502 Bad Gateway")] * 5, COMPLETED]
    await desk.track()

    await desk.drain()

    tracker = await desk.tracker()
    assert tracker.state is State.COMPLETED
    assert (tracker.polls, tracker.poll_errors) == (6, 5)
    assert tracker.last_error == "502 Bad Gateway"


async def test_a_404_is_believed_after_the_third_within_the_grace(desk: Desk, quick: None) -> None:
    desk.provider.answers = [Missing("404 Not Found")]
    await desk.track()

    await desk.drain()

    tracker = await desk.tracker()
    assert (tracker.state, tracker.reason) == (State.EXPIRED, Reason.NOT_FOUND)
    assert tracker.finished_at is not None
    assert tracker.finished_at - tracker.tracked_at >= 100
    assert tracker.polls >= 3
    (body,) = await desk.bodies()
    assert (body["type"], body["data"]["reason"]) == ("generation.expired", "not_found")


async def test_404s_that_stop_are_forgotten(desk: Desk, quick: None) -> None:
    missing = Missing("404 Not Found")
    desk.provider.answers = [missing, missing, DREAMING, missing, missing, COMPLETED]
    await desk.track()

    await desk.drain()

    assert (await desk.tracker()).state is State.COMPLETED


async def test_an_answer_that_comes_after_the_tracker_was_canceled_changes_nothing(
    desk: Desk,
) -> None:
    desk.provider.may_answer.clear()
    await desk.track()
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(1)
    claimed = await desk.store.trackers.claim_one("luma", "g-1", rate=None)
    canceled = replace(claimed.tracker, state=State.CANCELED)  # type: ignore[union-attr]
    await desk.store.trackers.settle(canceled)

    desk.provider.may_answer.set()
    await drain

    assert (await desk.tracker()).state is State.CANCELED
    assert await desk.bodies() == []


async def test_an_event_says_until_when_its_urls_are_good_and_whether_to_try_again(
    desk: Desk,
) -> None:
    code = {"failure_code": "generation_failed", "retryable": True}
    desk.provider.answers = [replace(FAILED, assets={"image": "u"}, asset_lifetime_s=3600, **code)]
    await desk.track()

    await desk.drain()

    (body,) = await desk.bodies()
    data, tracker = body["data"], await desk.tracker()
    assert (data["failure_code"], data["retryable"]) == ("generation_failed", True)
    assert tracker.seen_at is not None
    assert instant(data["assets_expire_at"][:-1]) == tracker.seen_at + 3_600_000


async def test_the_timeline_has_the_request_ids_of_looks_that_failed_or_showed_something_new(
    desk: Desk, quick: None
) -> None:
    asked = [Trouble("502", request_id="r-1"), replace(DREAMING, request_id="r-2")]
    desk.provider.answers = [*asked, replace(COMPLETED, request_id="r-3")]
    await desk.track()

    while (await desk.tracker()).state is State.TRACKING:
        await desk.drain()

    entries = await desk.store.trackers.timeline("luma", "g-1")
    looks = [entry.details.get("request_id") for entry in entries if entry.kind == "look"]
    assert looks == ["r-1", "r-2", "r-3"]
