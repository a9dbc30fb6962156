"""What is on record of an attempt, and deliveries that are asked for again."""

from __future__ import annotations

from tests.courier.conftest import Office, Receiver, answer
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

    await office.drain(before.lane)

    assert (len(before.got), after.webhook_ids) == (0, [owed.event_id])
    assert (await office.delivery(owed)).url == after.url


async def test_an_origin_is_not_blamed_for_the_trouble_of_another(
    office: Office, receivers: list[Receiver]
) -> None:
    """What was owed before an endpoint moved is still in the lane of its old origin."""
    before, after, *_ = receivers
    after.answers, office.schedule = [b""], (60.0,)
    await office.owe(await office.endpoint("shop", before.url))
    await office.endpoints.put("shop", EndpointRequest(url=after.url))

    await office.drain(before.lane)

    assert len(after.got) == 1
    assert (await office.health(before.lane)).streak == 0


async def test_a_probe_that_went_elsewhere_lets_its_lane_go(
    office: Office, receivers: list[Receiver]
) -> None:
    """What a dead origin's endpoint was owed does not trickle to its new home, one a lease."""
    before, after, *_ = receivers
    shop = await office.endpoint("shop", before.url)
    for _ in range(5):
        await office.owe(shop)
    over = {"reason": "unreachable", "streak": 3, "held_until": 1, "detail": "", "version": 1}
    await office.redis.hset(f"test:card:{before.lane}", mapping=over)
    await office.endpoints.put("shop", EndpointRequest(url=after.url))

    await office.drain(before.lane)

    assert len(after.got) == 5
