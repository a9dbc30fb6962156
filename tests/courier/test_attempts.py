"""Attempts on real sockets: what is posted, and what a receiver's answer does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
import svix
from standardwebhooks import Webhook

from tests.courier.conftest import (
    DEFAULT_SECRET,
    LOOPBACK,
    Office,
    Receiver,
    answer,
    hang,
)
from worker import events
from worker.courier import settled
from worker.egress import Egress
from worker.model import (
    Delivered,
    DeliveryReason,
    DeliveryState,
    DeliveryVerdict,
    Endpoint,
    Exhausted,
    RetryAt,
)
from worker.store.deliveries import BARE_CONCURRENCY

# --- what is posted -------------------------------------------------------------------------------


async def test_a_webhook_is_posted_at_once_byte_for_byte_and_is_on_record(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [answer(200, body=b"Thanks")]
    owed = await office.owe(receiver)

    await office.drain(receiver.lane)

    ((headers, body),) = receiver.got
    assert body == await office.born(owed)
    assert headers["content-type"] == "application/json"
    delivery = await office.delivery(owed)
    (attempt,) = delivery.attempts
    assert (delivery.state, delivery.next_attempt_at) == (DeliveryState.DELIVERED, None)
    assert (attempt.status, attempt.error, attempt.response) == (200, None, "Thanks")
    assert delivery.finished_at is not None
    assert attempt.at <= delivery.finished_at <= await office.store.now()
    assert office.started == []  # nothing is left to do


async def test_what_is_posted_verifies_with_the_libraries_that_receivers_use(
    office: Office, receiver: Receiver
) -> None:
    owed = await office.owe(receiver)
    await office.drain(receiver.lane)

    ((headers, body),) = receiver.got
    assert Webhook(DEFAULT_SECRET).verify(body, headers) == json.loads(body)
    svix.Webhook(DEFAULT_SECRET).verify(body, headers)
    assert headers["webhook-id"] == owed.event_id


async def test_the_users_headers_are_sent_but_never_replace_the_signature(
    office: Office, receiver: Receiver
) -> None:
    owed = await office.owe(receiver, headers={"x-tenant": "7", "webhook-id": "evt_forged"})
    await office.drain(receiver.lane)

    ((headers, body),) = receiver.got
    assert headers["x-tenant"] == "7"
    assert headers["webhook-id"] == owed.event_id
    Webhook(DEFAULT_SECRET).verify(body, headers)


# --- what a receiver's answer does ----------------------------------------------------------------


async def test_a_retry_has_the_same_id_a_new_timestamp_and_its_own_valid_signature(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers, office.schedule = [answer(500), answer(200)], (1.15,)
    owed = await office.owe(receiver)

    await office.drain(receiver.lane)

    (first, body), (second, body_again) = receiver.got
    assert body == body_again
    assert first["webhook-id"] == second["webhook-id"] == owed.event_id
    assert int(second["webhook-timestamp"]) > int(first["webhook-timestamp"])
    assert second["webhook-signature"] != first["webhook-signature"]
    for headers in (first, second):
        Webhook(DEFAULT_SECRET).verify(body, headers)
    assert (await office.delivery(owed)).state is DeliveryState.DELIVERED


async def test_attempts_keep_to_the_schedule_and_end_with_it(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers, office.schedule = [answer(500)], (0.1, 0.4)
    owed = await office.owe(receiver)

    await office.drain(receiver.lane)

    delivery = await office.delivery(owed)
    one, two, three = (attempt.at for attempt in delivery.attempts)
    assert 90 <= two - one < 900  # it would look by itself after a second
    assert 360 <= three - two < 900
    assert (delivery.state, delivery.reason) == (DeliveryState.EXHAUSTED, DeliveryReason.ATTEMPTS)
    assert delivery.next_attempt_at is None
    assert [attempt.status for attempt in delivery.attempts] == [500, 500, 500]
    assert not await office.redis.exists(f"test:due:{receiver.lane}", "test:lanes")


async def test_a_receiver_that_asks_to_wait_is_given_the_time(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [answer(503, "retry-after: 60")]
    owed = await office.owe(receiver)

    await office.drain(receiver.lane)

    delivery = await office.delivery(owed)
    assert delivery.state is DeliveryState.PENDING
    assert delivery.next_attempt_at is not None
    assert 60_000 <= delivery.next_attempt_at - delivery.attempts[0].at < 61_000


async def test_a_redirect_is_a_failure_and_not_followed(office: Office, receiver: Receiver) -> None:
    receiver.answers = [answer(302, f"location: {receiver.url}"), answer(200)]
    owed = await office.owe(receiver)

    await office.drain(receiver.lane)

    attempts = (await office.delivery(owed)).attempts
    assert [attempt.status for attempt in attempts] == [302, 200]


async def test_a_receiver_that_is_not_there_is_tried_again(office: Office) -> None:
    server = await asyncio.start_server(Receiver().serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    server.close()
    await server.wait_closed()
    owed = await office.owe(events.anonymous(url))

    await office.drain(events.lane_of(url))

    delivery = await office.delivery(owed)
    assert [attempt.error for attempt in delivery.attempts] == ["the connection was refused"] * 3
    assert {attempt.status for attempt in delivery.attempts} == {None}
    assert delivery.state is DeliveryState.EXHAUSTED


async def test_a_receiver_that_never_answers_is_given_up_on(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [hang, answer(200)]
    owed = await office.owe(receiver)
    patient, office.egress = office.egress, Egress([LOOPBACK], timeout_s=0.5)

    await office.drain(receiver.lane)

    await office.egress.aclose()
    office.egress = patient
    first, second = (await office.delivery(owed)).attempts
    assert first.error == "timed out while waiting for the answer"
    assert first.duration_ms >= 490
    assert second.status == 200


# --- more than one at a time ----------------------------------------------------------------------


async def test_all_bare_callback_urls_of_an_origin_have_no_more_under_way_than_it_bears(
    office: Office, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    for number in range(3 * BARE_CONCURRENCY):
        await office.owe(events.anonymous(f"{receiver.url}?id={number}"))
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(BARE_CONCURRENCY)

    receiver.may_answer.set()
    await draining

    assert receiver.most_at_once == BARE_CONCURRENCY == Endpoint(name="", url="").concurrency
    assert len(receiver.got) == 3 * BARE_CONCURRENCY


async def test_two_drains_of_one_lane_at_once_post_each_webhook_once(
    office: Office, receiver: Receiver
) -> None:
    owed = [await office.owe(receiver) for _ in range(12)]

    await asyncio.gather(office.drain(receiver.lane), office.drain(receiver.lane))

    assert sorted(receiver.webhook_ids) == sorted(each.event_id for each in owed)


async def test_an_attempt_in_hand_is_ended_when_its_drain_is_to_stop(
    office: Office, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    owed = [await office.owe(receiver) for _ in range(BARE_CONCURRENCY + 1)]
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(BARE_CONCURRENCY)
    office.stopping.set()
    receiver.may_answer.set()

    await draining

    assert office.started == [receiver.lane]  # somebody else is to take the rest
    states = [(await office.delivery(each)).state for each in owed]
    assert states.count(DeliveryState.DELIVERED) == BARE_CONCURRENCY
    assert states.count(DeliveryState.PENDING) == 1


# --- what becomes of a delivery -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "state", "reason", "next_attempt_at"),
    [
        (Delivered(), DeliveryState.DELIVERED, None, None),
        (RetryAt(9), DeliveryState.PENDING, None, 9),
        (
            Exhausted(DeliveryReason.ATTEMPTS),
            DeliveryState.EXHAUSTED,
            DeliveryReason.ATTEMPTS,
            None,
        ),
    ],
)
async def test_an_attempt_counts_whatever_came_of_it(
    office: Office,
    verdict: DeliveryVerdict,
    state: DeliveryState,
    reason: DeliveryReason | None,
    next_attempt_at: int | None,
) -> None:
    owed = await office.owe(events.anonymous("https://hooks.example.com/"))
    before = replace(owed, next_attempt_at=2, tries=1)

    after = settled(before, verdict, now=5)

    assert (after.tries, after.state, after.reason) == (2, state, reason)
    assert after.next_attempt_at == next_attempt_at
    assert after.finished_at == (None if state is DeliveryState.PENDING else 5)
