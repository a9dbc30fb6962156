"""Endpoints that are switched off: by what, what becomes of what they are owed, who is told."""

from __future__ import annotations

import asyncio

from tests.courier.conftest import Office, Receiver, answer, eventually
from worker.delivery_policy import FAILING_DAYS, FAILING_S
from worker.model import DeliveryReason, DeliveryState, DisabledReason
from worker.requests import EndpointRequest

GONE = answer(410)
LONG_MS = round(FAILING_S * 1000) + 1000
DAY_MS = 86_400_000


async def has_failed_for_long(office: Office, name: str) -> None:
    """Day after day, until a day ago."""
    now = await office.store.now()
    failing = {
        "failing_since": now - LONG_MS,
        "failed_at": now - DAY_MS,
        "failing_days": FAILING_DAYS,
    }
    await office.redis.hset(f"test:endpoint:{name}", mapping=failing)


async def test_a_410_switches_the_endpoint_off_and_what_it_is_owed_is_given_up(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [GONE]
    shop = await office.endpoint("shop", receiver.url, concurrency=1)
    owed = [await office.owe(shop) for _ in range(4)]

    await office.drain(receiver.lane)

    known = await office.known("shop")
    assert (known.enabled, known.disabled_reason) == (False, DisabledReason.GONE)
    assert receiver.webhook_ids == [owed[0].event_id]
    found = [await office.delivery(each) for each in owed]
    assert {(each.state, each.reason) for each in found} == {
        (DeliveryState.EXHAUSTED, DeliveryReason.ENDPOINT_DISABLED)
    }
    assert [len(each.attempts) for each in found] == [1, 0, 0, 0]
    assert await office.redis.exists("test:due:shop", "test:lanes") == 0


async def test_a_bare_callback_url_is_switched_off_like_any_endpoint(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [GONE]
    owed = await office.owe(receiver)
    await office.drain(receiver.lane)
    later = await office.owe(receiver)

    await office.drain(receiver.lane)

    assert (await office.known(owed.endpoint)).disabled_reason == DisabledReason.GONE
    assert len(receiver.got) == 1
    assert (await office.delivery(later)).reason is DeliveryReason.ENDPOINT_DISABLED


async def test_endpoints_of_the_same_origin_stay_on(office: Office, receiver: Receiver) -> None:
    receiver.answers = [GONE, answer(200)]
    shop = await office.endpoint("shop", receiver.url, concurrency=1)
    desk = await office.endpoint("desk", receiver.url, concurrency=1)
    _, to_desk = await office.owe(shop), await office.owe(desk)

    await office.drain(receiver.lane)

    assert (await office.known("desk")).enabled
    assert (await office.delivery(to_desk)).state is DeliveryState.DELIVERED


async def test_what_comes_while_an_endpoint_is_off_is_kept_and_recovered_when_it_is_on_again(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [GONE, answer(200)]
    shop = await office.endpoint("shop", receiver.url)
    owed = [await office.owe(shop)]
    await office.drain(receiver.lane)
    owed.append(await office.owe(shop))
    await office.drain(receiver.lane)
    assert len(receiver.got) == 1

    await office.endpoints.put("shop", EndpointRequest(enabled=True))
    assert await office.endpoints.recover("shop", since=0) == 2
    await office.drain(receiver.lane)

    found = [await office.delivery(each) for each in owed]
    assert [each.state for each in found] == [DeliveryState.DELIVERED] * 2
    assert sorted(receiver.webhook_ids[1:]) == sorted(each.event_id for each in owed)


async def test_five_days_of_nothing_but_failure_switch_an_endpoint_off(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [answer(500)]
    shop = await office.endpoint("shop", receiver.url)
    await has_failed_for_long(office, "shop")
    owed = await office.owe(shop)

    await office.drain(receiver.lane)

    known, delivery = await office.known("shop"), await office.delivery(owed)
    assert (known.enabled, known.disabled_reason) == (False, DisabledReason.FAILING)
    assert delivery.reason is DeliveryReason.ENDPOINT_DISABLED
    assert len(receiver.got) == 1


async def test_a_failure_a_week_ago_and_one_now_are_no_five_days(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers, office.schedule = [answer(500)], ()
    shop = await office.endpoint("shop", receiver.url)
    await office.owe(shop)
    await office.drain(receiver.lane)
    week_ago = await office.store.now() - 7 * DAY_MS
    failed = {"failing_since": week_ago, "failed_at": week_ago}
    await office.redis.hset("test:endpoint:shop", mapping=failed)
    await office.owe(shop)

    await office.drain(receiver.lane)

    known = await office.known("shop")
    assert known.enabled
    assert known.failing_since is not None
    assert known.failing_since > week_ago + DAY_MS  # it begins anew


async def test_one_success_in_five_days_is_enough(office: Office, receiver: Receiver) -> None:
    receiver.answers = [answer(204), answer(500), answer(204)]
    shop = await office.endpoint("shop", receiver.url, concurrency=1)
    await has_failed_for_long(office, "shop")
    for _ in range(2):
        await office.owe(shop)

    await office.drain(receiver.lane)

    known = await office.known("shop")
    assert (known.enabled, known.failing_since) == (True, None)
    assert {each.state for each in await office.deliveries()} == {DeliveryState.DELIVERED}


async def test_a_success_amid_an_attempt_that_fails_is_enough_too(
    office: Office, receiver: Receiver
) -> None:
    taken = asyncio.Event()

    async def fail_late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await taken.wait()
        writer.write(answer(500))

    async def one_is_delivered() -> bool:
        return DeliveryState.DELIVERED in {each.state for each in await office.deliveries()}

    receiver.answers, office.schedule = [fail_late, answer(200)], (60.0,)
    shop = await office.endpoint("shop", receiver.url)
    await has_failed_for_long(office, "shop")
    for _ in range(2):
        await office.owe(shop)
    draining = asyncio.create_task(office.drain(receiver.lane))
    await eventually(one_is_delivered)

    taken.set()
    await draining

    assert (await office.known("shop")).enabled


async def test_an_endpoint_that_begins_to_fail_shows_since_when(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers, office.schedule = [answer(500)], (0.01, 60.0)
    shop = await office.endpoint("shop", receiver.url)
    owed = await office.owe(shop)

    await office.drain(receiver.lane)

    first, second = (await office.delivery(owed)).attempts
    since = (await office.known("shop")).failing_since
    assert since is not None
    assert first.at <= since <= second.at


async def test_a_410_that_comes_too_late_switches_nothing_off(
    office: Office, receiver: Receiver
) -> None:
    """The delivery was claimed anew meanwhile, and then the receiver took it."""
    office.store._scripts.lease_ms = 50
    receiver.answers = [GONE, answer(200)]
    receiver.may_answer.clear()
    shop = await office.endpoint("shop", receiver.url)
    owed = await office.owe(shop)
    drains = []
    for times in (1, 2):
        drains.append(asyncio.create_task(office.drain(receiver.lane)))
        await receiver.was_called(times)

    receiver.may_answer.set()
    await asyncio.gather(*drains)

    delivery = await office.delivery(owed)
    assert (await office.known("shop")).enabled
    assert [each.status for each in delivery.attempts] == [200]
