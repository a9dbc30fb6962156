"""Deliveries on real sockets: what is posted, what a receiver's answer does, what is on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest
import structlog
import svix
from redis.asyncio import Redis
from standardwebhooks import Webhook

from worker import addresses, signing
from worker.courier import Courier, settled
from worker.egress import Egress
from worker.model import (
    Delivered,
    Delivery,
    DeliveryReason,
    DeliveryState,
    DeliveryVerdict,
    Endpoint,
    Exhausted,
    NewEvent,
    RetryAt,
    Secret,
    State,
    Terms,
)
from worker.store import Store

SECRET = signing.new_secret(bytes(range(32)))
NEW_SECRET = signing.new_secret(bytes(range(32, 64)))
CONCURRENCY = Endpoint(name="", url="").concurrency
BODY = b'{"type":"generation.completed","timestamp":"2026-01-01T00:00:00.000Z","data":{"n":1}}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nThanks"


def answer(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", "content-length: 0", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class Receiver:
    """Answers the n-th request with the n-th answer; the last one repeats, None never comes."""

    answers: list[bytes | None] = field(default_factory=lambda: [OK])
    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    most_at_once: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    _busy: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # whoever called was stopped before he had said anything
            return
        lines = (line.partition(": ") for line in head.split("\r\n")[1:] if line)
        headers = {name: value for name, _, value in lines}
        said = self.answers[min(len(self.got), len(self.answers) - 1)]
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        self._busy += 1
        self.most_at_once = max(self.most_at_once, self._busy)
        async with self.came:
            self.came.notify_all()
        await self.may_answer.wait()
        self._busy -= 1
        if said is None:
            await reader.read()  # until the caller has had enough
        else:
            writer.write(said)
        writer.close()

    async def was_called(self, times: int) -> None:
        async with asyncio.timeout(5), self.came:
            await self.came.wait_for(lambda: len(self.got) >= times)

    @property
    def lane(self) -> str:
        return f"post:{addresses.origin(self.url)}"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.may_answer.set()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"http://127.0.0.1:{port}/hooks/hunter2?token=hunter2"
    yield receiver
    receiver.may_answer.set()
    server.close()
    await server.wait_closed()


@dataclass
class Office:
    """A courier with a real way out and a real store."""

    redis: Redis
    store: Store
    egress: Egress
    schedule: tuple[float, ...] = (0.05, 0.05)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    owed: int = 0

    async def owe(self, url: str, endpoint: str = "", **headers: str) -> str:
        """Complete a generation whose event is owed to `url`; returns the delivery's ID."""
        self.owed += 1
        name, event_id, delivery_id = f"g-{self.owed}", f"evt_{self.owed}", f"dlv_{self.owed}"
        await self.store.trackers.track("luma", "luma", [(name, Terms(deadline_s=60))])
        claimed = await self.store.trackers.claim_one("luma", name, rate=None)
        delivery = Delivery(
            id=delivery_id,
            event_id=event_id,
            type="generation.completed",
            account="luma",
            generation_id=name,
            endpoint=endpoint or addresses.endpoint_name(url),
            url=url,
            headers=headers,
            state=DeliveryState.PENDING,
            created_at=0,
        )
        event = NewEvent(
            id=event_id,
            type="generation.completed",
            body=BODY,
            delivery=delivery,
            lane=f"post:{addresses.origin(url)}",
        )
        done = replace(claimed.tracker, state=State.COMPLETED)  # type: ignore[union-attr]
        await self.store.trackers.settle(done, event=event)
        return delivery_id

    async def drain(self, lane: str) -> bool:
        """Deliver until nothing is due within a couple of seconds."""

        async def as_it_is(_delivery: Delivery, body: bytes) -> bytes:
            return body

        async def start(lane: str) -> None:
            raise AssertionError(lane)

        courier = Courier(
            self.store,
            self.egress,
            secret=SECRET,
            schedule=self.schedule,
            refresh=as_it_is,
            start=start,
        )
        async with asyncio.timeout(10):
            return await courier.drain(lane, self.stopping)

    async def delivery(self, delivery_id: str) -> Delivery:
        (found,) = await self.store.deliveries.get_many([delivery_id])
        return found


@pytest.fixture
async def office(redis: Redis, store: Store) -> AsyncIterator[Office]:
    egress = Egress([ip_network("127.0.0.0/8")], timeout_s=0.5)
    yield Office(redis, store, egress)
    await egress.aclose()


# --- what is posted -------------------------------------------------------------------------------


async def test_a_webhook_is_posted_at_once_byte_for_byte_and_is_on_record(
    office: Office, receiver: Receiver
) -> None:
    delivery_id = await office.owe(receiver.url)

    assert await office.drain(receiver.lane) is False

    ((headers, body),) = receiver.got
    assert body == BODY
    assert headers["content-type"] == "application/json"
    delivery = await office.delivery(delivery_id)
    (attempt,) = delivery.attempts
    assert (delivery.state, delivery.next_attempt_at) == (DeliveryState.DELIVERED, None)
    assert (attempt.status, attempt.error, attempt.response) == (200, None, "Thanks")
    assert delivery.finished_at is not None
    assert attempt.at <= delivery.finished_at <= await office.store.now()


async def test_what_is_posted_verifies_with_the_libraries_that_receivers_use(
    office: Office, receiver: Receiver
) -> None:
    await office.owe(receiver.url)
    await office.drain(receiver.lane)

    ((headers, body),) = receiver.got
    assert Webhook(SECRET).verify(body, headers) == json.loads(BODY)
    svix.Webhook(SECRET).verify(body, headers)
    assert headers["webhook-id"] == "evt_1"


async def test_while_a_secret_is_rotated_both_verify(office: Office, receiver: Receiver) -> None:
    made = await office.store.endpoints.put(
        Endpoint(name="shop", url=receiver.url), enabled=None, secret=SECRET
    )
    later = await office.store.now() + 60_000
    await office.store.endpoints.set_secrets(made[0], [Secret(NEW_SECRET), Secret(SECRET, later)])
    await office.owe(receiver.url, endpoint="shop")
    await office.drain(receiver.lane)

    ((headers, body),) = receiver.got
    for secret in (NEW_SECRET, SECRET):
        Webhook(secret).verify(body, headers)


async def test_the_users_headers_are_sent_but_never_replace_the_signature(
    office: Office, receiver: Receiver
) -> None:
    await office.owe(receiver.url, **{"x-tenant": "7", "webhook-id": "evt_forged"})
    await office.drain(receiver.lane)

    ((headers, body),) = receiver.got
    assert headers["x-tenant"] == "7"
    assert headers["webhook-id"] == "evt_1"
    Webhook(SECRET).verify(body, headers)


# --- what a receiver's answer does ----------------------------------------------------------------


async def test_a_retry_has_the_same_id_a_new_timestamp_and_its_own_valid_signature(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers, office.schedule = [answer(500), OK], (1.15,)
    delivery_id = await office.owe(receiver.url)

    await office.drain(receiver.lane)

    (first, body), (second, body_again) = receiver.got
    assert body == body_again == BODY
    assert first["webhook-id"] == second["webhook-id"] == "evt_1"
    assert int(second["webhook-timestamp"]) > int(first["webhook-timestamp"])
    assert second["webhook-signature"] != first["webhook-signature"]
    for headers in (first, second):
        Webhook(SECRET).verify(body, headers)
    assert (await office.delivery(delivery_id)).state is DeliveryState.DELIVERED


async def test_attempts_keep_to_the_schedule_and_end_with_it(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers, office.schedule = [answer(500)], (0.1, 0.4)
    delivery_id = await office.owe(receiver.url)

    await office.drain(receiver.lane)

    delivery = await office.delivery(delivery_id)
    one, two, three = (attempt.at for attempt in delivery.attempts)
    assert 90 <= two - one < 900  # it would look by itself after a second
    assert 360 <= three - two < 900
    assert (delivery.state, delivery.reason) == (DeliveryState.EXHAUSTED, DeliveryReason.ATTEMPTS)
    assert delivery.next_attempt_at is None
    assert [attempt.status for attempt in delivery.attempts] == [500, 500, 500]
    assert await office.redis.zcard(f"test:due:{receiver.lane}") == 0


async def test_a_410_ends_a_delivery_at_once(office: Office, receiver: Receiver) -> None:
    receiver.answers = [answer(410)]
    delivery_id = await office.owe(receiver.url)

    await office.drain(receiver.lane)

    delivery = await office.delivery(delivery_id)
    assert delivery.state is DeliveryState.EXHAUSTED
    assert delivery.reason is DeliveryReason.ENDPOINT_DISABLED
    assert len(receiver.got) == 1


async def test_a_receiver_that_asks_to_wait_is_given_the_time(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [answer(503, "retry-after: 60")]
    delivery_id = await office.owe(receiver.url)

    await office.drain(receiver.lane)

    delivery = await office.delivery(delivery_id)
    assert delivery.state is DeliveryState.PENDING
    assert delivery.next_attempt_at is not None
    assert 60_000 <= delivery.next_attempt_at - delivery.attempts[0].at < 61_000


async def test_a_redirect_is_a_failure_and_not_followed(office: Office, receiver: Receiver) -> None:
    receiver.answers = [answer(302, f"location: {receiver.url}"), OK]
    delivery_id = await office.owe(receiver.url)

    await office.drain(receiver.lane)

    attempts = (await office.delivery(delivery_id)).attempts
    assert [attempt.status for attempt in attempts] == [302, 200]


async def test_a_receiver_that_is_not_there_is_tried_again(office: Office) -> None:
    server = await asyncio.start_server(Receiver().serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    server.close()
    await server.wait_closed()
    delivery_id = await office.owe(url)

    await office.drain(f"post:{addresses.origin(url)}")

    delivery = await office.delivery(delivery_id)
    assert [attempt.error for attempt in delivery.attempts] == ["the connection was refused"] * 3
    assert {attempt.status for attempt in delivery.attempts} == {None}
    assert delivery.state is DeliveryState.EXHAUSTED


async def test_a_receiver_that_never_answers_is_given_up_on(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [None, OK]
    delivery_id = await office.owe(receiver.url)

    await office.drain(receiver.lane)

    delivery = await office.delivery(delivery_id)
    first, second = delivery.attempts
    assert first.error == "timed out while waiting for the answer"
    assert first.duration_ms >= 490
    assert second.status == 200


async def test_a_receiver_has_no_more_attempts_under_way_than_its_limit(
    office: Office, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    for _ in range(3 * CONCURRENCY):
        await office.owe(receiver.url)
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(CONCURRENCY)

    receiver.may_answer.set()
    await draining

    assert receiver.most_at_once == CONCURRENCY
    assert len(receiver.got) == 3 * CONCURRENCY


async def test_two_drains_of_one_lane_at_once_post_each_webhook_once(
    office: Office, receiver: Receiver
) -> None:
    for _ in range(12):
        await office.owe(receiver.url)

    await asyncio.gather(office.drain(receiver.lane), office.drain(receiver.lane))

    names = [headers["webhook-id"] for headers, _ in receiver.got]
    assert sorted(names) == sorted(f"evt_{n}" for n in range(1, 13))


async def test_an_attempt_in_hand_is_ended_when_its_drain_is_to_stop(
    office: Office, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    delivery_ids = [await office.owe(receiver.url) for _ in range(CONCURRENCY + 1)]
    draining = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(CONCURRENCY)
    office.stopping.set()
    receiver.may_answer.set()

    assert await draining is True  # somebody else is to take the rest

    states = [(await office.delivery(each)).state for each in delivery_ids]
    assert states.count(DeliveryState.DELIVERED) == CONCURRENCY
    assert states.count(DeliveryState.PENDING) == 1


async def test_an_attempt_that_outlives_its_claim_changes_nothing(
    office: Office, receiver: Receiver, redis: Redis
) -> None:
    """Somebody else has claimed the delivery since, and his word counts."""
    office.store = Store(redis, prefix="test", retention_s=600, lease_s=0.05)
    receiver.answers = [answer(410), OK]
    receiver.may_answer.clear()
    delivery_id = await office.owe(receiver.url)
    first = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(1)
    second = asyncio.create_task(office.drain(receiver.lane))
    await receiver.was_called(2)

    receiver.may_answer.set()
    await asyncio.gather(first, second)

    delivery = await office.delivery(delivery_id)
    assert delivery.state is DeliveryState.DELIVERED
    assert [attempt.status for attempt in delivery.attempts] == [200]


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
def test_an_attempt_counts_whatever_came_of_it(
    verdict: DeliveryVerdict,
    state: DeliveryState,
    reason: DeliveryReason | None,
    next_attempt_at: int | None,
) -> None:
    before = Delivery(
        id="dlv_1",
        event_id="evt_1",
        type="generation.completed",
        account="luma",
        generation_id="g-1",
        endpoint="url_1",
        url="https://hooks.example.com/",
        state=DeliveryState.PENDING,
        created_at=1,
        next_attempt_at=2,
        tries=1,
    )

    after = settled(before, verdict, now=5)

    assert (after.tries, after.state, after.reason) == (2, state, reason)
    assert after.next_attempt_at == next_attempt_at
    assert after.finished_at == (None if state is DeliveryState.PENDING else 5)


# --- what is told of it ---------------------------------------------------------------------------


async def test_the_trackers_timeline_tells_of_every_attempt(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [answer(500), OK]
    delivery_id = await office.owe(receiver.url)
    await office.drain(receiver.lane)

    entries = await office.store.trackers.timeline("luma", "g-1")
    told = [entry.details for entry in entries if entry.kind == "attempt"]
    assert [(d["attempt"], d["status"], d["delivery_state"]) for d in told] == [
        (1, 500, "pending"),
        (2, 200, "delivered"),
    ]
    assert {d["delivery_id"] for d in told} == {delivery_id}


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_every_attempt_is_one_line_without_secrets_or_whole_addresses(
    office: Office, receiver: Receiver, lines: list[Any]
) -> None:
    receiver.answers = [answer(500), OK]
    await office.owe(receiver.url, authorization="hunter2")
    await office.drain(receiver.lane)

    assert [(line["event"], line["verdict"]) for line in lines] == [
        ("attempt", "retry_at"),
        ("attempt", "delivered"),
    ]
    assert lines[0]["origin"] == receiver.url.partition("/hooks")[0]
    assert "hunter2" not in repr(lines)
    assert SECRET not in repr(lines)
