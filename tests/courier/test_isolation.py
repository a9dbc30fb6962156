"""No receiver's trouble delays another's webhooks, and no receiver gets more than it bears."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.courier.conftest import Office, Receiver, answer, eventually, hang
from worker import attempts, jobs
from worker.jobs_outage import Outage
from worker.model import DeliveryState

OWED_EACH = 20


async def drip_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
    await drip(reader, writer)


async def drip_a_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 1000\r\n\r\n")
    await drip(reader, writer)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    gone = asyncio.ensure_future(reader.read())
    while not gone.done():
        writer.write(b".")
        await asyncio.wait({gone}, timeout=0.05)


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def test_receivers_in_trouble_delay_no_other_not_even_in_the_same_job(
    office: Office, receivers: list[Receiver]
) -> None:
    *ill, one, two, three = receivers
    healthy = [one, two, three]
    for receiver, conduct in zip(ill, (hang, drip_a_head, drip_a_body, reset), strict=False):
        receiver.answers = [conduct]
    ill[-1].answers = [b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"]
    for _ in range(OWED_EACH):
        for receiver in receivers:  # those in trouble come first
            await office.owe(receiver)
    context = {
        "drains": office.courier().drain,
        "start": office.start,
        "stopping": office.stopping,
        "outage": Outage(),
    }
    lanes = [receiver.lane for receiver in receivers]

    async def all_is_delivered() -> bool:
        owed = (await office.store.figures.read([], now=0)).deliveries
        return owed["delivered"] == len(healthy) * OWED_EACH

    job = asyncio.create_task(jobs.drain(context, *lanes))
    for receiver in healthy:
        await receiver.was_called(OWED_EACH)
    await eventually(all_is_delivered)

    assert not job.done()  # the others are still at it
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    states = Counter((each.url, each.state) for each in await office.deliveries())
    assert all(states[each.url, DeliveryState.DELIVERED] == OWED_EACH for each in healthy)


async def test_a_hung_receiver_has_no_more_connections_than_its_limit(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [hang]
    shop = await office.endpoint("shop", receiver.url, concurrency=2)
    for _ in range(6):
        await office.owe(shop)
    draining = asyncio.create_task(office.drain(receiver.lane))

    await receiver.was_called(2)
    await asyncio.wait({draining}, timeout=0.2)

    assert len(receiver.got) == 2
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)


async def test_when_hung_receivers_could_fill_a_worker_the_healthy_are_served_all_the_same(
    office: Office, receivers: list[Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PLACES", 24)
    monkeypatch.setattr(attempts, "KEPT_FREE", 4)
    monkeypatch.setattr(attempts, "STRANGERS", 2)
    *hung, healthy = receivers
    courier = office.courier()
    await office.owe(healthy)
    await courier.drain(healthy.lane, office.stopping)  # it has answered, and is known for that
    for receiver in hung:
        receiver.answers = [hang]
        for _ in range(OWED_EACH):
            await office.owe(receiver)
    draining = [
        asyncio.create_task(courier.drain(receiver.lane, office.stopping)) for receiver in hung
    ]
    for receiver in hung[:3]:
        await receiver.was_called(1)

    for _ in range(OWED_EACH):
        await office.owe(healthy)
    draining.append(asyncio.create_task(courier.drain(healthy.lane, office.stopping)))
    await healthy.was_called(1 + OWED_EACH)

    assert sum(len(receiver.got) for receiver in hung) <= 20
    for each in draining:
        each.cancel()
    await asyncio.gather(*draining, return_exceptions=True)


async def test_an_endpoints_concurrency_holds_over_all_workers(
    office: Office, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    shop = await office.endpoint("shop", receiver.url, concurrency=3)
    for _ in range(12):
        await office.owe(shop)
    drains = [asyncio.create_task(office.drain(receiver.lane)) for _ in range(3)]
    await receiver.was_called(3)
    await asyncio.wait(drains, timeout=0.1)
    assert len(receiver.got) == 3

    receiver.may_answer.set()
    await asyncio.gather(*drains)

    assert receiver.most_at_once == 3
    assert len(receiver.got) == len(set(receiver.webhook_ids)) == 12


async def test_an_endpoint_may_have_more_under_way_than_by_default(
    office: Office, receiver: Receiver
) -> None:
    shop = await office.endpoint("shop", receiver.url, concurrency=20)
    courier = office.courier()
    await office.owe(shop)
    await courier.drain(receiver.lane, office.stopping)  # it has answered, and is known for that
    receiver.may_answer.clear()
    for _ in range(30):
        await office.owe(shop)
    draining = asyncio.create_task(courier.drain(receiver.lane, office.stopping))

    await receiver.was_called(20)
    receiver.may_answer.set()
    await draining

    assert receiver.most_at_once == 20


async def test_an_endpoint_that_hangs_delays_no_other_of_its_origin(
    office: Office, receiver: Receiver
) -> None:
    async def slow_shop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tenant = receiver.got[-1][0]["x-tenant"]
        await (hang(reader, writer) if tenant == "shop" else answered(writer))

    async def answered(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200))

    receiver.answers = [slow_shop]
    shop = await office.endpoint("shop", receiver.url, concurrency=1, headers={"x-tenant": "shop"})
    desk = await office.endpoint("desk", receiver.url, concurrency=2, headers={"x-tenant": "desk"})
    for _ in range(10):
        await office.owe(shop)
    owed = [await office.owe(desk) for _ in range(5)]

    async def desk_has_all() -> bool:
        states = {(await office.delivery(each)).state for each in owed}
        return states == {DeliveryState.DELIVERED}

    draining = asyncio.create_task(office.drain(receiver.lane))
    await eventually(desk_has_all)

    assert len(receiver.got) == 6
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
