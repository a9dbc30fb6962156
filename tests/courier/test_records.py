"""What is on record of an attempt, and deliveries that are asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.courier.conftest import DEFAULT_SECRET, Office, Receiver, answer
from worker.model import DeliveryReason, DeliveryState
from worker.requests import EndpointRequest


async def test_an_attempt_is_on_record_with_the_first_2_kib_of_the_answer(
    office: Office, receiver: Receiver
) -> None:
    office.schedule = (60.0,)
    receiver.answers = [answer(500, body="déjà vu ".encode() * 500)]
    owed = await office.owe(receiver)
    began = await office.store.now()

    await office.drain(receiver.lane)

    delivery, now = await office.delivery(owed), await office.store.now()
    (attempt,) = delivery.attempts
    assert (attempt.status, attempt.error) == (500, None)
    assert attempt.response is not None
    assert 2040 < len(attempt.response.encode()) <= 2048
    assert ("déjà vu " * 500).startswith(attempt.response)
    assert began <= attempt.at <= attempt.at + attempt.duration_ms <= now + 1
    assert delivery.next_attempt_at is not None
    assert 54_000 <= delivery.next_attempt_at - attempt.at <= 67_000


async def test_a_replay_posts_the_same_event_again_under_the_same_id(
    office: Office, receiver: Receiver
) -> None:
    owed = await office.owe(receiver)
    await office.drain(receiver.lane)

    again = await office.endpoints.replay(owed.id)
    assert (again["state"], office.started) == ("pending", [receiver.lane])
    await office.drain(receiver.lane)

    (first, body), (second, body_again) = receiver.got
    delivery = await office.delivery(owed)
    assert first["webhook-id"] == second["webhook-id"] == owed.event_id
    assert body == body_again
    assert (delivery.state, len(delivery.attempts)) == (DeliveryState.DELIVERED, 2)


async def test_a_replay_has_the_whole_schedule_before_it(
    office: Office, receiver: Receiver
) -> None:
    office.schedule = (0.01, 0.01)
    receiver.answers = [answer(500)]
    owed = await office.owe(receiver)
    await office.drain(receiver.lane)
    assert (await office.delivery(owed)).reason is DeliveryReason.ATTEMPTS

    await office.endpoints.replay(owed.id)
    await office.drain(receiver.lane)

    delivery = await office.delivery(owed)
    assert len(receiver.got) == len(delivery.attempts) == 6
    assert (delivery.state, delivery.tries) == (DeliveryState.EXHAUSTED, 3)
    assert set(receiver.webhook_ids) == {owed.event_id}


async def test_all_that_failed_is_recovered_under_its_own_ids_and_what_was_delivered_is_not(
    office: Office, receiver: Receiver
) -> None:
    office.schedule = ()
    shop = await office.endpoint("shop", receiver.url)
    await office.owe(shop)
    await office.drain(receiver.lane)
    receiver.answers = [answer(500)]
    failed = [await office.owe(shop) for _ in range(3)]
    await office.drain(receiver.lane)
    receiver.answers, receiver.got = [answer(200)], []

    assert await office.endpoints.recover("shop", since=0) == 3
    await office.drain(receiver.lane)

    assert sorted(receiver.webhook_ids) == sorted(each.event_id for each in failed)
    assert {each.state for each in await office.deliveries()} == {DeliveryState.DELIVERED}


async def test_what_is_owed_goes_to_where_the_endpoint_is_by_then_and_the_record_says_so(
    office: Office, receivers: list[Receiver]
) -> None:
    before, after, *_ = receivers
    owed = await office.owe(await office.endpoint("shop", before.url))

    await office.endpoints.put("shop", EndpointRequest(url=after.url))

    assert office.started == [after.lane]
    await office.drain(after.lane)
    assert (len(before.got), after.webhook_ids) == (0, [owed.event_id])
    assert (await office.delivery(owed)).url == after.url


async def test_an_origin_is_not_blamed_for_the_trouble_of_another(
    office: Office, receivers: list[Receiver]
) -> None:
    before, after, *_ = receivers
    after.answers, office.schedule = [b""], (60.0,)
    await office.owe(await office.endpoint("shop", before.url))
    await office.endpoints.put("shop", EndpointRequest(url=after.url))

    await office.drain(after.lane)

    assert len(after.got) == 1
    streaks = [(await office.health(each.lane)).streak for each in (before, after)]
    assert streaks == [0, 1]


async def test_an_attempt_under_way_while_its_endpoint_moves_tells_of_the_origin_it_went_to(
    office: Office, receivers: list[Receiver]
) -> None:
    before, after, *_ = receivers
    before.answers = [b""]
    before.may_answer.clear()
    owed = await office.owe(await office.endpoint("shop", before.url))
    draining = asyncio.create_task(office.drain(before.lane))
    await before.was_called(1)
    await office.endpoints.put("shop", EndpointRequest(url=after.url))

    before.may_answer.set()
    await draining
    await office.drain(after.lane)

    streaks = [(await office.health(each.lane)).streak for each in (before, after)]
    assert streaks == [1, 0]
    assert after.webhook_ids == [owed.event_id]


async def test_what_a_dead_origin_is_owed_does_not_wait_once_its_endpoint_has_moved(
    office: Office, receivers: list[Receiver]
) -> None:
    before, after, *_ = receivers
    shop = await office.endpoint("shop", before.url)
    for _ in range(5):
        await office.owe(shop)
    dead = {"reason": "unreachable", "streak": 9, "held_until": 2**42, "detail": "", "version": 1}
    await office.redis.hset(f"test:card:{before.lane}", mapping=dead)

    await office.endpoints.put("shop", EndpointRequest(url=after.url))
    await office.drain(after.lane)

    assert len(after.got) == 5


# --- what is told of it ---------------------------------------------------------------------------


async def test_the_trackers_timeline_tells_of_every_attempt(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [answer(500), answer(200)]
    owed = await office.owe(receiver)
    await office.drain(receiver.lane)

    entries = await office.store.trackers.timeline("luma", "g-1")
    told = [entry.details for entry in entries if entry.kind == "attempt"]
    assert [(d["attempt"], d["status"], d["delivery_state"]) for d in told] == [
        (1, 500, "pending"),
        (2, 200, "delivered"),
    ]
    assert {d["delivery_id"] for d in told} == {owed.id}


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_every_attempt_is_one_line_without_secrets_or_whole_addresses(
    office: Office, receiver: Receiver, lines: list[Any]
) -> None:
    receiver.answers = [answer(500), answer(200)]
    origin = receiver.url.removesuffix("/hook")
    receiver.url += "s/hunter2?token=hunter2"
    await office.owe(receiver, headers={"authorization": "hunter2"})
    await office.drain(receiver.lane)

    assert [(line["event"], line["verdict"]) for line in lines] == [
        ("attempt", "retry_at"),
        ("attempt", "delivered"),
    ]
    assert lines[0]["origin"] == origin
    assert "hunter2" not in repr(lines)
    assert DEFAULT_SECRET not in repr(lines)
