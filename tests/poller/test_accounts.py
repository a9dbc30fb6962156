"""What an answer does to its account: holds, probes, the budget."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.poller.conftest import COMPLETED, DREAMING, HOOK, Desk
from worker import policy
from worker.model import (
    HealthReason,
    Reason,
    Refused,
    State,
    Terms,
    Throttled,
    Trouble,
)
from worker.providers.transport import MAX_CONNECTIONS


async def test_a_429_holds_the_whole_account_for_as_long_as_it_says(desk: Desk) -> None:
    desk.provider.answers = [Throttled("429 Too Many Requests", 300.0)]
    await desk.track("g-1")
    await desk.drain()
    await desk.track("g-2")

    await desk.drain()

    health = await desk.health()
    assert desk.provider.asked == ["g-1"]
    assert (health.reason, health.detail) == (HealthReason.THROTTLED, "429 Too Many Requests")
    assert 290_000 < health.held_until - await desk.store.now() <= 300_000
    assert (await desk.tracker()).state is State.TRACKING


async def test_many_429s_at_once_count_as_one(desk: Desk) -> None:
    desk.provider.may_answer.clear()
    desk.provider.answers = [Throttled("429 Too Many Requests")]
    await desk.track(*[f"g-{n}" for n in range(10)])
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(10)

    desk.provider.may_answer.set()
    await drain

    assert (await desk.health()).streak == 1


async def test_after_a_hold_one_probe_goes_first(desk: Desk, quick: None) -> None:
    desk.provider.answers = [Throttled("429 Too Many Requests", 0.3)]
    await desk.track("g-1")
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(1)
    desk.provider.answers = [COMPLETED]
    desk.provider.may_answer.clear()
    await desk.track("g-2", "g-3", "g-4")
    await desk.provider.was_asked(2)
    await asyncio.wait({drain}, timeout=0.1)

    assert len(desk.provider.asked) == 2
    desk.provider.may_answer.set()
    await drain
    assert len(desk.provider.asked) == 5
    assert (await desk.health()).reason is None


async def test_rejected_credentials_show_and_recover_once_the_key_works(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [Refused("401 Unauthorized: Invalid API key")] * 3 + [COMPLETED]
    await desk.track()
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(2)
    held = await desk.health()

    await drain

    assert held.reason is HealthReason.CREDENTIALS
    assert held.detail == "401 Unauthorized: Invalid API key"
    tracker = await desk.tracker()
    assert (tracker.state, tracker.polls, tracker.poll_errors) == (State.COMPLETED, 4, 3)
    assert (await desk.health()).reason is None


async def test_the_third_look_in_trouble_in_a_row_holds_the_account(
    desk: Desk, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "HOLD_FLOOR_S", 100.0)
    trouble = Trouble("502 Bad Gateway")
    desk.provider.answers = [trouble, trouble, DREAMING, trouble, trouble, trouble, COMPLETED]
    await desk.track()

    await desk.drain()

    health = await desk.health()
    assert len(desk.provider.asked) == 6
    assert (health.reason, health.streak) == (HealthReason.UNREACHABLE, 3)
    assert 90_000 < health.held_until - await desk.store.now() <= 100_000


async def test_a_look_that_shows_the_same_ends_the_trouble_of_its_account(
    desk: Desk, slow: None
) -> None:
    desk.provider.answers = [DREAMING]
    await desk.track()
    await desk.drain()
    trouble = replace(await desk.health(), reason=HealthReason.UNREACHABLE, streak=1)
    await desk.store.trackers.tell_health("luma", trouble)

    await desk.poller().look_now("luma", "g-1")

    assert (await desk.health()).reason is None
    assert (await desk.tracker()).polls == 2


async def test_a_tracker_ends_at_its_deadline_though_the_account_is_held(desk: Desk) -> None:
    desk.provider.answers = [DREAMING, Refused("401 Unauthorized")]
    await desk.track(deadline_s=0.4, callback_url=HOOK)
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(1)
    await desk.store.trackers.hurry("luma", "g-1")
    await drain

    tracker = await desk.tracker()
    (body,) = await desk.bodies()
    assert len(desk.provider.asked) == 2
    assert (tracker.state, tracker.reason) == (State.EXPIRED, Reason.DEADLINE)
    assert (tracker.last_error, tracker.polls) == ("401 Unauthorized", 2)
    assert body["data"]["generation"] == {"n": 1}
    assert len(await desk.owed()) == 1
    assert (await desk.health()).reason is HealthReason.CREDENTIALS


async def test_what_ends_unseen_says_why_its_account_was_held(desk: Desk) -> None:
    desk.provider.answers = [Refused("401 Unauthorized")]
    await desk.track("g-1")
    await desk.drain()
    await desk.track("g-2", deadline_s=0.05)
    async with asyncio.timeout(5):
        while (await desk.tracker("g-2")).state is State.TRACKING:
            await desk.drain()

    assert desk.provider.asked == ["g-1"]
    assert (await desk.tracker("g-2")).last_error == "401 Unauthorized"


async def test_an_account_that_is_no_longer_configured_keeps_its_trackers(desk: Desk) -> None:
    await desk.store.trackers.track("other", "luma", [("g-1", Terms(deadline_s=60))])

    await desk.poller().drain("other", "poll:other", desk.stopping)

    kept = await desk.store.trackers.get("other", "g-1")
    assert kept is not None
    assert (kept.state, kept.fence) == (State.TRACKING, 1)
    assert desk.provider.asked == []


async def test_no_claimed_look_waits_for_a_connection_while_its_lease_runs(desk: Desk) -> None:
    desk.provider.may_answer.clear()
    await desk.track(*[f"g-{n}" for n in range(3 * MAX_CONNECTIONS)])
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(MAX_CONNECTIONS)

    desk.provider.may_answer.set()
    await drain

    assert desk.provider.most_at_once == MAX_CONNECTIONS
    assert len(desk.provider.asked) == 3 * MAX_CONNECTIONS


async def test_an_account_is_asked_no_faster_than_its_budget(desk: Desk) -> None:
    desk.account = replace(desk.account, polls_per_second=10.0)
    await desk.track(*[f"g-{n}" for n in range(14)])
    started = asyncio.get_running_loop().time()

    await desk.drain()

    took = asyncio.get_running_loop().time() - started
    assert len(desk.provider.asked) == 14
    assert took >= 0.35  # ten at once, then one every tenth of a second


async def test_one_generation_that_is_refused_stalls_nobody_else(desk: Desk, quick: None) -> None:
    forbidden = Refused("403 Forbidden", of_account=False)
    desk.provider.answers = [forbidden, *[DREAMING] * 5, COMPLETED]
    await desk.track("g-1", "g-2", "g-3")

    async with asyncio.timeout(10):
        while [(await desk.tracker(n)).state for n in ("g-2", "g-3")] != [State.COMPLETED] * 2:
            await desk.drain()

    assert (await desk.tracker("g-1")).state is State.TRACKING
    assert (await desk.health()).held_until == 0


async def test_credentials_that_are_refused_for_all_hold_the_account(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [Refused("403 Forbidden", of_account=False)]
    await desk.track("g-1", "g-2")
    await desk.drain()
    await desk.track("g-3")
    await desk.drain()

    health = await desk.health()
    assert health.reason is HealthReason.CREDENTIALS
    assert health.held_until > 0
    assert (await desk.tracker("g-3")).state is State.TRACKING
