"""What can be read of an account's hold: since when, until when, and who waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.store.test_lanes import HELD, LANE, T, claim, look_again_at, track
from worker.deliveries import shown, with_hold
from worker.model import Health, HealthReason, Hold
from worker.store import Store

UNTIL = HELD.held_until
HOLD = Hold(
    name="luma", since=T, until=UNTIL, reason=HealthReason.THROTTLED, detail="429", streak=1
)


async def hold_of(store: Store, *, now: int) -> Hold | None:
    return (await store.lanes.holds([LANE, "poll:other"], now=now)).get(LANE)


async def request(store: Store, *, now: int) -> None:
    await store.trackers.claim_request("luma", rate=1, now=now)


async def test_an_account_is_held_since_an_answer_and_until_a_probe(store: Store) -> None:
    await track(store)
    assert await hold_of(store, now=T) is None

    await look_again_at(store, T, health=HELD)

    assert await hold_of(store, now=T + 1) == HOLD
    assert await hold_of(store, now=UNTIL) is None


@pytest.mark.parametrize("probe", [claim, request], ids=["a look", "a glance"])
async def test_while_a_probe_is_under_way_nobody_knows_until_when(
    store: Store, probe: Callable[..., Awaitable[None]]
) -> None:
    await track(store)
    await look_again_at(store, T, health=HELD)

    await probe(store, now=UNTIL)

    assert await hold_of(store, now=UNTIL + 7) == replace(HOLD, until=UNTIL + 7, is_probing=True)
    await store.trackers.tell_health("luma", Health(version=1))
    assert await hold_of(store, now=UNTIL + 7) is None


async def test_a_probe_that_fails_holds_on_since_the_same_time(store: Store) -> None:
    await track(store)
    await look_again_at(store, T, health=HELD)
    await claim(store, now=UNTIL)

    later = replace(HELD, version=1, streak=2, held_until=UNTIL + 9000)
    await store.trackers.tell_health("luma", later)

    assert await hold_of(store, now=UNTIL + 1) == replace(HOLD, until=UNTIL + 9000, streak=2)


async def test_of_a_whole_page_of_trackers_each_account_is_read_once(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [("luma", "g-1"), ("luma", "g-2"), ("other", "g-3")]
    for account, name in names:
        await track(store, name, account=account)
    await look_again_at(store, T, health=replace(HELD, held_until=await store.now() + 60_000))
    trackers = await store.trackers.get_many(names)
    read, piped = list[str](), redis.pipeline

    def watched(**more: Any) -> Any:
        pipe = piped(**more)
        ask = pipe.hmget
        pipe.hmget = lambda card, fields: read.append(card) or ask(card, fields)
        return pipe

    monkeypatch.setattr(redis, "pipeline", watched)
    shapes = await shown(store, trackers)

    assert sorted(read) == ["test:card:poll:luma", "test:card:poll:other"]
    assert [bool(each["held"]) for each in shapes] == [True, True, False]


async def test_a_timeline_tells_of_the_hold_that_the_next_look_waits_for(store: Store) -> None:
    await track(store)
    until = await store.now() + 60_000
    await look_again_at(store, T + 2, health=replace(HELD, held_until=until))
    (tracker,) = await store.trackers.get_many([("luma", "g-1")])

    (line,) = await with_hold(store, tracker, [])

    assert (line["kind"], line["account"], line["detail"]) == ("hold", "luma", "429")
    assert line["at"] == "2023-11-14T22:13:20.002Z"
    assert await with_hold(store, tracker.but(next_poll_at=until - 30_000), []) == []
