"""Notices: who is told that an endpoint was switched off, and that they are told once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.courier.conftest import Office, Receiver, answer
from worker.model import DeliveryReason, DisabledReason, Endpoint
from worker.requests import EndpointRequest
from worker.store.endpoints import Endpoints

GONE = answer(410)


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
    await office.redis.sadd("test:switched_off", f"shop {event}")  # its teller died before he noted

    couriers = [office.courier() for _ in range(3)]
    await asyncio.gather(*(each.settle_switched_off() for each in couriers))

    assert {name: len(found) for name, found in (await told(office)).items()} == {
        "ops": 1,
        "audit": 1,
    }
    assert await office.store.endpoints.switched_off() == []


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


async def test_of_many_that_are_switched_off_at_once_each_is_seen_to_once(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were each to see to all, a thousand would be a million steps."""
    released: list[str] = []
    release = type(office.store.endpoints).release

    async def noted(self: Endpoints, name: str) -> None:
        released.append(name)
        await release(self, name)

    monkeypatch.setattr(type(office.store.endpoints), "release", noted)
    receiver.answers = [GONE]
    receiver.may_answer.clear()
    names = [f"shop{number}" for number in range(8)]
    for name in names:
        await office.owe(await office.endpoint(name, receiver.url))
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(len(names))
    receiver.may_answer.set()
    await draining

    assert sorted(released) == names
    assert await office.store.endpoints.switched_off() == []


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


async def test_a_notice_that_nobody_has_told_yet_outlives_its_endpoint(
    office: Office, receivers: list[Receiver], off: Endpoint
) -> None:
    ops = receivers[1]
    (event,) = {each.event_id for found in (await told(office)).values() for each in found}
    for name in ("ops", "audit"):  # as if its teller had died before he told anybody
        (owed,) = (await told(office))[name]
        await office.redis.delete(f"test:delivery:{owed.id}")
    await office.redis.sadd("test:switched_off", f"shop {event}")

    await office.endpoints.delete("shop")
    await office.courier().settle_switched_off()

    await office.drain(ops.lane)
    assert ops.webhook_ids == [event]
