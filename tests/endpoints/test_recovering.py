"""Endpoints as callers see them: what has failed is asked for again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.endpoints.conftest import LANE, TO_URL, URL, Desk
from worker.errors import NotFoundError
from worker.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Entry,
)
from worker.requests import EndpointRequest


async def test_a_replay_owes_a_finished_delivery_again(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.exhaust()
    before = await desk.delivery(owed)
    await desk.redis.delete(f"test:drain:{LANE}")

    shown = await desk.endpoints.replay(owed)

    after = await desk.delivery(owed)
    assert (shown["id"], shown["event_id"], shown["state"]) == (owed, before.event_id, "pending")
    assert (after.reason, after.tries, len(after.attempts)) == (None, 0, 1)
    assert desk.started == [LANE]
    kinds = [each.kind for each in await desk.store.trackers.timeline("luma", "g-1")]
    assert kinds[-1] == "replay"


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.EXHAUSTED])
async def test_the_answer_to_a_replay_says_when_it_is_due(desk: Desk, state: DeliveryState) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    if state is DeliveryState.PENDING:
        (it,) = (await desk.store.deliveries.claim(LANE, limit=1)).deliveries
        later = replace(it.delivery, tries=1, next_attempt_at=it.delivery.created_at + 9**9)
        attempt, entry = Attempt(at=1, duration_ms=1, status=500), Entry(1, "attempt")
        await desk.store.deliveries.settle(later, attempt, entry=entry)
    else:
        await desk.exhaust()
    before = await desk.store.now()

    shown = await desk.endpoints.replay(owed)

    due = datetime.fromisoformat(shown["next_attempt_at"]).timestamp() * 1000
    assert before - 1 <= due <= await desk.store.now() + 1
    assert (await desk.delivery(owed)).tries == (state is DeliveryState.PENDING)


async def test_a_replay_of_what_is_owed_anyway_makes_no_second_one(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()

    for _ in range(3):
        await desk.endpoints.replay(owed)

    claimed = await desk.store.deliveries.claim(LANE, limit=9)
    assert [each.delivery.id for each in claimed.deliveries] == [owed]


async def test_a_replay_while_an_attempt_is_under_way_makes_no_second_one(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.store.deliveries.claim(LANE, limit=9)

    await desk.endpoints.replay(owed)

    assert (await desk.store.deliveries.claim(LANE, limit=9)).deliveries == []


async def test_a_replay_of_what_ends_at_that_moment_begins_with_a_whole_schedule(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    read = type(desk.store.deliveries).get_many

    async def read_and_end(*args: Any) -> list[Delivery]:
        found = await read(*args)
        monkeypatch.undo()
        await desk.exhaust()
        return found

    monkeypatch.setattr(type(desk.store.deliveries), "get_many", read_and_end)

    shown = await desk.endpoints.replay(owed)

    assert shown["state"] == "pending"
    assert (await desk.delivery(owed)).tries == 0


async def test_what_is_not_there_cannot_be_replayed(desk: Desk) -> None:
    with pytest.raises(NotFoundError, match="no delivery 'dlv_1'"):
        await desk.endpoints.replay("dlv_1")


async def test_a_recovery_owes_again_what_was_exhausted_since_an_instant(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    await desk.endpoints.put("desk", TO_URL)
    early = await desk.owe()
    await desk.exhaust()
    since = await desk.store.now() + 1
    while await desk.store.now() < since:
        pass
    late, others = await desk.owe(), await desk.owe("desk")
    await desk.exhaust()

    assert await desk.endpoints.recover("shop", since=since) == 1

    states = {each: (await desk.delivery(each)).state for each in (early, late, others)}
    assert states == {
        early: DeliveryState.EXHAUSTED,
        late: DeliveryState.PENDING,
        others: DeliveryState.EXHAUSTED,
    }


async def test_a_recovery_goes_in_steps_and_leaves_nothing_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.endpoints.RECOVERED_PER_STEP", 2)
    await desk.endpoints.put("shop", EndpointRequest(url=URL, concurrency=64))
    owed = [await desk.owe() for _ in range(5)]
    assert sorted(await desk.exhaust()) == sorted(owed)

    steps = len(desk.started)
    assert await desk.endpoints.recover("shop", since=0) == 5
    assert len(desk.started) <= steps + 1
    assert await desk.endpoints.recover("shop", since=0) == 0

    found: list[Any] = [(await desk.delivery(each)).state for each in owed]
    assert found == [DeliveryState.PENDING] * 5
