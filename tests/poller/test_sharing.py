"""Looks that share a request or a write: none is forgotten for the sake of the others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.poller.conftest import COMPLETED, DREAMING, Desk
from worker.listing import Listing, dump
from worker.looking import Look
from worker.model import Health, HealthReason, Same, State, Terms, Watched
from worker.store import ClaimedTracker, Clock


async def seen_long_ago(desk: Desk, name: str, *, seconds: int) -> None:
    """Track a generation that a look has shown running, and that is due."""
    now = await desk.store.now()
    at = now - seconds * 1000
    terms = Terms(deadline_s=seconds + 3600)
    await desk.store.trackers.track("luma", "luma", [(name, terms)], now=at)
    claimed = await desk.store.trackers.claim_one("luma", name, rate=None, now=at)
    assert isinstance(claimed, ClaimedTracker)
    after = replace(
        claimed.tracker,
        provider_state="dreaming",
        mark="dreaming",
        next_poll_at=now - 100,
        **dict.fromkeys(("entered_at", "seen_at", "running_at"), at),
    )
    await desk.store.trackers.settle(after, now=at)


@pytest.mark.parametrize("deadline_s", [60, 3600])
async def test_what_is_long_overdue_goes_before_what_is_worth_more(
    desk: Desk, deadline_s: int
) -> None:
    long_ago = await desk.store.now() - 600_000
    forgotten = [("forgotten", Terms(deadline_s=deadline_s))]
    await desk.store.trackers.track("luma", "luma", forgotten, now=long_ago)
    await seen_long_ago(desk, "worth more", seconds=30)
    await desk.store.trackers.keep_listing("luma", dump(Listing(trust=0.0)))
    desk.provider.page = 100
    desk.provider.answers = [COMPLETED]

    await desk.drain()

    assert desk.provider.asked == ["forgotten", "worth more"]


@pytest.mark.parametrize("canceled", [0, 1])
async def test_a_look_that_is_canceled_takes_no_other_with_it(
    desk: Desk, slow: None, monkeypatch: pytest.MonkeyPatch, canceled: int
) -> None:
    desk.provider.answers = [DREAMING]
    await desk.track("g-1", "g-2")
    poller = desk.poller()
    await poller.drain("luma", "poll:luma", desk.stopping)
    writing, may_write = asyncio.Event(), asyncio.Event()
    write = desk.store.trackers.settle_waits

    async def slowly(account: str, looks: Any) -> list[bool]:
        assert len(looks) == 2
        writing.set()
        await may_write.wait()
        return await write(account, looks)

    monkeypatch.setattr(desk.store.trackers, "settle_waits", slowly)
    desk.provider.may_answer.clear()
    looks = [asyncio.create_task(poller.look_now("luma", name)) for name in ("g-1", "g-2")]
    await desk.provider.was_asked(4)
    desk.provider.may_answer.set()
    async with asyncio.timeout(5):
        await writing.wait()
        looks[canceled].cancel()
        await asyncio.wait([looks[canceled]])
        may_write.set()
        await looks[1 - canceled]

    tracker = await desk.tracker(f"g-{2 - canceled}")
    assert (tracker.state, tracker.polls) == (State.TRACKING, 2)


async def test_what_shows_the_same_for_longer_than_its_kind_lasts_is_learned_of_once(
    desk: Desk, slow: None
) -> None:
    desk.provider.answers = [DREAMING]
    await seen_long_ago(desk, "g-1", seconds=10 * 86_400)

    for _ in range(2):
        await desk.poller().look_now("luma", "g-1")

    assert await desk.redis.llen(desk.store._scripts.key("observed:luma")) == 1
    assert (await desk.tracker()).polls == 2


async def test_what_a_page_showed_new_is_written_before_what_could_not_be_written_is_told_of(
    desk: Desk, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.provider.answers = [DREAMING]
    await desk.track("g-1", "g-2")
    poller = desk.poller()
    await poller.drain("luma", "poll:luma", desk.stopping)
    looks = [
        Look(before=Watched.of(await desk.tracker(name)), answer=answer, now=1, took_ms=1)
        for name, answer in (("g-1", Same()), ("g-2", COMPLETED))
    ]

    async def fails(account: str, looks: Any) -> list[bool]:
        raise ConnectionError

    monkeypatch.setattr(desk.store.trackers, "settle_waits", fails)
    with pytest.raises(ConnectionError):
        await poller._looking.conclude(*looks)

    assert (await desk.tracker("g-2")).state is State.COMPLETED


async def test_what_a_hold_or_a_pause_has_made_late_does_not_raise_the_price(desk: Desk) -> None:
    await seen_long_ago(desk, "g-1", seconds=30)
    late, now, looking = (
        Watched.of(await desk.tracker()),
        await desk.store.now(),
        desk.poller()._looking,
    )
    base = looking.price("luma")

    await looking.paid(late, now=now)  # nobody may have looked before
    assert looking.price("luma") == base

    soon = late.but(next_poll_at=now + 1)
    await looking.paid(soon, now=now + 2)
    raised = looking.price("luma")
    assert raised > base

    held = Health(reason=HealthReason.THROTTLED, held_until=now)
    await looking.look_on_time(late, held, Clock.at(now + 60_000))
    await looking.paid(soon, now=now + 60_001)
    assert looking.price("luma") == raised
