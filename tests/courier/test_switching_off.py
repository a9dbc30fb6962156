"""Endpoints that are switched off: by what, what becomes of what they are owed, who is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.courier.conftest import Office, Receiver, answer, eventually
from worker.delivery_policy import FAILING_S
from worker.model import DeliveryReason, DeliveryState, DisabledReason, Endpoint
from worker.requests import EndpointRequest

GONE = answer(410)
LONG_MS = round(FAILING_S * 1000) + 1000


async def has_failed_for_long(office: Office, name: str) -> None:
    since = await office.store.now() - LONG_MS
    await office.redis.hset(f"test:endpoint:{name}", "failing_since", str(since))


async def test_a_410_switches_the_endpoint_off_and_what_it_is_owed_is_given_up(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [GONE]
    shop = await office.endpoint("shop", receiver.url, concurrency=1)
    owed = [await office.owe(shop) for _ in range(4)]

    assert await office.drain(receiver.lane) is False

    known = await office.known("shop")
    assert (known.enabled, known.disabled_reason) == (False, DisabledReason.GONE)
    assert receiver.webhook_ids == [owed[0].event_id]
    found = [await office.delivery(each) for each in owed]
    assert {(each.state, each.reason) for each in found} == {
        (DeliveryState.EXHAUSTED, DeliveryReason.ENDPOINT_DISABLED)
    }
    assert [len(each.attempts) for each in found] == [1, 0, 0, 0]
    assert await office.redis.exists(f"test:due:{receiver.lane}") == 0


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
    assert await office.drain(receiver.lane) is False
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


# --- who is told ----------------------------------------------------------------------------------


@pytest.fixture
async def off(office: Office, receivers: list[Receiver]) -> Endpoint:
    """An endpoint that a 410 has switched off, while `ops` and `audit` asked to be told."""
    shop, ops, audit, other, *_ = receivers
    shop.answers = [GONE]
    endpoint = await office.endpoint("shop", shop.url, events=("generation.completed",))
    await office.endpoint("ops", ops.url, events=("endpoint.disabled",))
    await office.endpoint("audit", audit.url, events=("endpoint.disabled",))
    await office.endpoint("other", other.url)
    await office.owe(endpoint)
    await office.drain(shop.lane)
    return endpoint


async def told(office: Office) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for each in await office.deliveries():
        if each.type == "endpoint.disabled":
            found.setdefault(each.endpoint, []).append(each)
    return found


async def test_those_who_asked_are_told_that_an_endpoint_was_switched_off(
    office: Office, receivers: list[Receiver], off: Endpoint
) -> None:
    _, ops, audit, other, *_ = receivers
    assert sorted(office.started) == sorted([ops.lane, audit.lane])

    for lane in office.started:
        await office.drain(lane)

    (posted,), (posted_too,) = ops.got, audit.got
    body = json.loads(posted[1])
    assert body["type"] == "endpoint.disabled"
    assert body["data"] == {"endpoint": "shop", "url": off.url, "reason": DisabledReason.GONE}
    Webhook((await office.known("ops")).secrets[0].text).verify(posted[1], posted[0])
    assert posted[0]["webhook-id"] == posted_too[0]["webhook-id"]
    assert other.got == []


async def test_those_who_asked_are_told_once_whoever_tells_them_again(
    office: Office, off: Endpoint
) -> None:
    (event,) = {each.event_id for found in (await told(office)).values() for each in found}
    await office.redis.hset("test:disabled", "shop", event)  # its teller died before he had noted

    couriers = [office.courier() for _ in range(3)]
    await asyncio.gather(*(each.settle_switched_off() for each in couriers))

    assert {name: len(found) for name, found in (await told(office)).items()} == {
        "ops": 1,
        "audit": 1,
    }
    assert await office.redis.hlen("test:disabled") == 0


async def test_many_410s_at_once_make_one_event(office: Office, receivers: list[Receiver]) -> None:
    receiver, ops, *_ = receivers
    receiver.answers = [GONE]
    receiver.may_answer.clear()
    await office.endpoint("ops", ops.url, events=("endpoint.disabled",))
    shop = await office.endpoint("shop", receiver.url)
    for _ in range(8):
        await office.owe(shop)
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(8)

    receiver.may_answer.set()
    await draining

    assert [len(found) for found in (await told(office)).values()] == [1]


async def test_an_endpoint_is_not_told_of_itself(office: Office, receiver: Receiver) -> None:
    receiver.answers = [GONE]
    both = ("endpoint.disabled", "generation.completed")
    shop = await office.endpoint("shop", receiver.url, events=both)
    await office.owe(shop)

    await office.drain(receiver.lane)

    assert await told(office) == {}
    assert len(receiver.got) == 1


async def test_a_watcher_that_is_off_itself_can_recover_what_it_missed(
    office: Office, receivers: list[Receiver]
) -> None:
    shop, ops, *_ = receivers
    shop.answers = [GONE]
    await office.endpoint("ops", ops.url, events=("endpoint.disabled",))
    await office.endpoints.put(
        "ops", EndpointRequest(enabled=False, events=frozenset({"endpoint.disabled"}))
    )
    await office.owe(await office.endpoint("shop", shop.url))

    await office.drain(shop.lane)

    (missed,) = (await told(office))["ops"]
    assert missed.reason is DeliveryReason.ENDPOINT_DISABLED
    assert office.started == []
