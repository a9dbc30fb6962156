"""A courier with a real way out, a real store, and receivers on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.receivers import receiving
from worker import events, signing
from worker.courier import Courier
from worker.egress import Egress
from worker.endpoints import Endpoints
from worker.model import Delivery, DeliveryState, Endpoint, EventType, Health, State, Terms
from worker.store import Store, packing

DEFAULT_SECRET = signing.new_secret(bytes(range(32)))
LOOPBACK = ip_network("127.0.0.0/8")
ASSETS = {"video": "https://a.example/v.mp4?signed=1"}

Conduct = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the caller has had enough


@dataclass
class Receiver:
    """Answers the n-th request with the n-th answer, once it may; the last one repeats.

    An answer that is a function does what it likes with the connection.
    """

    answers: Sequence[bytes | Conduct] = field(default_factory=lambda: [answer(200)])
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
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        said = self.answers[min(len(self.got), len(self.answers) - 1)]
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        self._busy += 1
        self.most_at_once = max(self.most_at_once, self._busy)
        async with self.came:
            self.came.notify_all()
        await self.may_answer.wait()
        self._busy -= 1
        if isinstance(said, bytes):
            writer.write(said)
        else:
            await said(reader, writer)
        writer.close()

    async def was_called(self, times: int) -> None:
        async with asyncio.timeout(5), self.came:
            await self.came.wait_for(lambda: len(self.got) >= times)

    @property
    def lane(self) -> str:
        return events.lane_of(self.url)

    @property
    def webhook_ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
async def receivers() -> AsyncIterator[list[Receiver]]:
    """Eight receivers, each with an origin of its own."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(receiving(Receiver())) for _ in range(8)]


async def as_it_is(_delivery: Delivery, body: bytes) -> bytes:
    return body


@dataclass
class Office:
    """What a worker of the deployment has, and those who use it."""

    redis: Redis
    store: Store
    egress: Egress
    schedule: tuple[float, ...] = (0.05, 0.05)
    refresh: Callable[[Delivery, bytes], Awaitable[bytes]] = as_it_is
    started: list[str] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    tracked: int = 0

    async def start(self, lane: str) -> None:
        self.started.append(lane)

    def courier(self) -> Courier:
        return Courier(
            self.store,
            self.egress,
            secret=DEFAULT_SECRET,
            schedule=self.schedule,
            refresh=self.refresh,
            start=self.start,
        )

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.store, start=self.start, allow_private=[LOOPBACK])

    async def endpoint(self, name: str, url: str, **settings: Any) -> Endpoint:
        """Make a named endpoint; its secret is the first of its secrets."""
        wanted = Endpoint(name=name, url=url, **settings)
        secret = signing.new_secret(name.encode().ljust(32, b"."))
        found = await self.store.endpoints.put(wanted, enabled=None, secret=secret)
        assert found is not None
        return found.endpoint

    async def owe(
        self,
        to: Endpoint | Receiver,
        *,
        seen_s_ago: float = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Delivery:
        """Complete a generation whose event is owed to an endpoint, or to a bare callback URL."""
        endpoint = events.anonymous(to.url) if isinstance(to, Receiver) else to
        self.tracked += 1
        name, now = f"g-{self.tracked}", await self.store.now()
        terms = Terms(deadline_s=60, headers=headers or {})
        await self.store.trackers.track("luma", "luma", [(name, terms)])
        claimed = await self.store.trackers.claim_one("luma", name, rate=None)
        done = replace(
            claimed.tracker,  # type: ignore[union-attr]
            state=State.COMPLETED,
            assets=ASSETS,
            seen_at=now - round(seen_s_ago * 1000),
            generation={"id": name},
        )
        event = events.about_tracker(done, EventType.COMPLETED, endpoint, now)
        await self.store.trackers.settle(done, event=event)
        assert event.delivery is not None
        return event.delivery

    async def drain(self, lane: str) -> None:
        """Deliver until nothing is due within a couple of seconds."""
        async with asyncio.timeout(10):
            await self.courier().drain(lane, self.stopping)

    async def delivery(self, owed: Delivery) -> Delivery:
        (found,) = await self.store.deliveries.get_many([owed.id])
        return found

    async def born(self, owed: Delivery) -> bytes:
        """Read the bytes of the event that a delivery is about."""
        kept = await self.redis.hget(f"test:event:{owed.event_id}", "body")  # type: ignore[misc]
        assert kept is not None
        return packing.body_of(kept)

    async def deliveries(self) -> list[Delivery]:
        ids = await self.store.deliveries.ids(list(DeliveryState), before=None, limit=1000)
        return await self.store.deliveries.get_many([each for _, each in ids])

    async def known(self, name: str) -> Endpoint:
        found = await self.store.endpoints.get(name)
        assert found is not None
        return found

    async def health(self, lane: str) -> Health:
        (health,) = await self.store.lanes.health([lane])
        return health


@pytest.fixture
async def office(redis: Redis, store: Store) -> AsyncIterator[Office]:
    egress = Egress([LOOPBACK])
    yield Office(redis, store, egress)
    await egress.aclose()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await condition():  # noqa: ASYNC110 - Redis sets no events
            await asyncio.sleep(0.005)
