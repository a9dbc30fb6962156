"""The stream of events, as those hear it who listen to a real server."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import uvicorn
from redis.asyncio import Redis

from worker import events, stream
from worker.hosting import Server, url_of
from worker.model import Attempt, DeliveryState, Endpoint, EndpointEvent, Entry
from worker.store import StreamEntry, packing
from worker.stream import EventStream

from .conftest import COMPLETED, HOOK, House, assert_problem

HOOK_OF_A_TEST = Endpoint(name="studio", url=HOOK)


@dataclass
class Block:
    """One block as it was sent: its fields, and what its data says."""

    fields: dict[str, str]
    data: Any = None

    @property
    def event(self) -> str | None:
        return self.fields.get("event")


@dataclass
class Ear:
    """A listener: reads blocks one by one."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[Block] = field(default_factory=list)
    head: bytes = b""
    text: bytes = b""

    async def block(self) -> Block:
        """Read the next block."""
        async with asyncio.timeout(10):
            while b"\n\n" not in self.text:
                await self._read_chunk()
        block_text, _, self.text = self.text.partition(b"\n\n")
        lines = block_text.decode().splitlines()
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        block = Block(fields, json.loads(fields["data"]) if "data" in fields else None)
        self.heard.append(block)
        return block

    async def event(self) -> Block:
        """Read on to the next block that is an event."""
        while (block := await self.block()).event is None:
            pass
        return block

    async def rest(self) -> list[Block]:
        """Read what comes until the server ends the answer."""
        blocks = []
        with suppress(EOFError):
            while True:
                blocks.append(await self.block())
        return blocks

    async def _read_chunk(self) -> None:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        self.text += (await self.reader.readexactly(size + 2))[:-2]
        if size == 0:
            raise EOFError

    def last_id(self) -> str:
        return next(b.fields["id"] for b in reversed(self.heard) if "id" in b.fields)

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@dataclass
class Api:
    """A server of the API on a port of its own."""

    house: House
    url: str
    port: int
    ears: list[Ear] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self, query: str = "", **headers: str) -> AsyncIterator[Ear]:
        ear = await self.ear(query, **headers)
        yield ear
        await ear.close()

    async def ear(self, query: str = "", *, buffer: int = 2**20, **headers: str) -> Ear:
        """Begin to listen, and read on to the place where it begins."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.setblocking(False)  # noqa: FBT003 - the standard library's own way
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=buffer)
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"GET /v1/events{query} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""])
        writer.write(head.encode())
        self.ears.append(ear := Ear(reader, writer))
        ear.head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " in ear.head:
            await ear.block()
        return ear


@asynccontextmanager
async def serving(house: House, *, port: int = 0) -> AsyncIterator[Api]:
    with socket.create_server(("127.0.0.1", port)) as taken:
        config = uvicorn.Config(
            house.app(), log_config=None, lifespan="off", timeout_graceful_shutdown=5
        )
        server = Server(config)
        task = asyncio.create_task(server.serve(sockets=[taken]))
        api = Api(house, url_of(taken), taken.getsockname()[1])
        try:
            yield api
        finally:
            server.should_exit = True
            await house.stream.close()
            async with asyncio.timeout(4):  # less than it would wait for answers that do not end
                await task
            for ear in api.ears:
                await ear.close()


@pytest.fixture
async def api(real: House) -> AsyncIterator[Api]:
    async with serving(real) as api:
        yield api


async def complete(house: House, *names: str) -> None:
    """Have generations complete: one event each."""
    for name in names:
        account, generation_id = name.split("/")
        await house.service.track_many([{"account": account, "generation_id": generation_id}])
        await house.look(generation_id, COMPLETED, account)


async def happen(house: House, times: int, *, size: int = 0) -> None:
    """Have events happen that nobody is owed."""
    for _ in range(times):
        event = events.about_endpoint(HOOK_OF_A_TEST, EndpointEvent.TEST, "x" * size, 0)
        await house.store.deliveries.announce(event)


# --- what is heard --------------------------------------------------------------------------------


async def test_an_event_is_heard_as_it_happens(api: Api) -> None:
    async with api.listening() as ear:
        await complete(api.house, "luma/g-1")
        heard = await ear.event()
    assert b"content-type: text/event-stream" in ear.head
    assert heard.event == heard.data["type"] == "generation.completed"
    assert heard.data["event_id"].startswith("evt_")
    assert heard.data["data"]["generation_id"] == "g-1"
    assert heard.data["data"]["assets"] == dict(COMPLETED.assets)


async def test_it_is_the_webhooks_body_without_the_providers_object(api: Api) -> None:
    await complete(api.house, "luma/g-1")
    async with api.listening("?since=0") as ear:
        heard = (await ear.event()).data
    key = f"test:event:{heard['event_id']}"
    kept = await api.house.redis.hget(key, "body")  # type: ignore[misc]
    body = json.loads(packing.body_of(kept))
    assert body["data"].pop("generation")
    assert heard == {"event_id": heard["event_id"], **body}


async def test_who_only_begins_hears_nothing_of_before(api: Api) -> None:
    await complete(api.house, "luma/g-1")
    async with api.listening() as ear:
        await complete(api.house, "luma/g-2")
        assert (await ear.event()).data["data"]["generation_id"] == "g-2"


async def test_who_asks_for_all_hears_all_in_order_and_goes_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PAGE", 2)
    await complete(api.house, *(f"luma/g-{n}" for n in range(5)))
    async with api.listening("?since=0") as ear:
        before = [(await ear.event()).data["data"]["generation_id"] for _ in range(5)]
        await complete(api.house, "luma/g-5")
        assert (await ear.event()).data["data"]["generation_id"] == "g-5"
    assert before == [f"g-{n}" for n in range(5)]


async def test_since_an_instant_what_came_later_is_heard(api: Api) -> None:
    await complete(api.house, "luma/g-1")
    async with api.listening("?since=0") as ear:
        first = (await ear.event()).fields["id"]
    at = int(first.partition("-")[0])
    async with asyncio.timeout(5):
        while await api.house.store.now() == at:
            pass
    await complete(api.house, "luma/g-2")
    async with api.listening(f"?since={(at + 1) / 1000}") as ear:
        assert (await ear.event()).data["data"]["generation_id"] == "g-2"
    async with api.listening(f"?since={at / 1000}") as ear:
        assert (await ear.event()).data["data"]["generation_id"] == "g-1"


@pytest.mark.parametrize(
    ("query", "heard"),
    [
        ("", ["a", "b", "a", "studio"]),
        ("account=luma", ["a", "b"]),
        ("generation_id=a", ["a", "a"]),
        ("account=other&generation_id=a", ["a"]),
        ("type=endpoint", ["studio"]),
        ("type=endpoint.test,generation.failed", ["studio"]),
        ("type=endpoint.test&type=generation.completed", ["a", "b", "a", "studio"]),
        ("type=generation", ["a", "b", "a"]),
    ],
)
async def test_events_can_be_filtered(api: Api, query: str, heard: list[str]) -> None:
    async def all_happen() -> None:
        await complete(api.house, "luma/a", "luma/b", "other/a")
        await happen(api.house, 1)

    def name(block: Block) -> str:
        return str(block.data["data"].get("generation_id") or block.data["data"]["endpoint"])

    async with api.listening(f"?{query}") as live:
        await all_happen()
        assert [name(await live.event()) for _ in heard] == heard
    async with api.listening(f"?since=0&{query}") as later:
        assert [name(await later.event()) for _ in heard] == heard


async def test_ends_of_deliveries_are_heard_by_those_who_ask_for_them(api: Api) -> None:
    house = api.house
    await house.service.track_many(
        [{"account": "luma", "generation_id": "g-1", "callback_url": HOOK}]
    )
    await house.look("g-1", COMPLETED)
    async with api.listening("?type=delivery") as ear, api.listening() as other:
        await deliver(house)
        heard = await ear.event()
        await happen(house, 1)
        assert (await other.event()).event == "endpoint.test"
    assert heard.event == heard.data["type"] == "delivery.delivered"
    details = heard.data["data"]
    assert details.pop("delivery_id").startswith("dlv_")
    assert details.pop("endpoint").startswith("url_")
    assert details == {"account": "luma", "generation_id": "g-1", "reason": None}


async def deliver(house: House) -> None:
    """Write that what is owed to HOOK was taken."""
    claimed = await house.store.deliveries.claim(events.lane_of(HOOK), limit=1)
    delivery = replace(claimed.deliveries[0].delivery, state=DeliveryState.DELIVERED)
    attempt = Attempt(at=0, duration_ms=1, status=200)
    await house.store.deliveries.settle(delivery, attempt, entry=Entry(0, "attempt"))


# --- places ---------------------------------------------------------------------------------------


async def test_who_resumes_hears_what_came_meanwhile_once(api: Api) -> None:
    async with api.listening() as ear:
        await complete(api.house, "luma/g-1")
        await ear.event()
    await complete(api.house, "luma/g-2")
    for resumed in (
        api.listening(Last_Event_ID=ear.last_id()),
        api.listening(f"?last_event_id={ear.last_id()}"),
        api.listening("?since=0&last_event_id=0-0", Last_Event_ID=ear.last_id()),
    ):
        async with resumed as again:
            assert (await again.event()).data["data"]["generation_id"] == "g-2"


async def test_an_api_that_starts_again_loses_nobody_an_event(real: House) -> None:
    heard: list[str] = []
    async with serving(real) as api:
        ear = await api.ear()
        await complete(real, "luma/g-0")
        heard.append((await ear.event()).data["data"]["generation_id"])
        port = api.port
    last = await ear.rest()
    await ear.close()
    assert (last[-1].event, last[-1].data["reason"]) == ("stream.end", "stopping")
    await complete(real, "luma/g-1")
    real.stream = EventStream(real.store)
    async with (
        serving(real, port=port) as api,
        api.listening(Last_Event_ID=ear.last_id()) as again,
    ):
        await complete(real, "luma/g-2")
        heard += [(await again.event()).data["data"]["generation_id"] for _ in range(2)]
    assert heard == ["g-0", "g-1", "g-2"]


async def test_who_heard_no_event_yet_can_resume_too(api: Api) -> None:
    async with api.listening() as ear:
        pass
    await complete(api.house, "luma/g-1")
    async with api.listening(Last_Event_ID=ear.last_id()) as again:
        assert (await again.event()).data["data"]["generation_id"] == "g-1"


async def test_heartbeats_bring_the_newest_place_past_what_was_filtered_out(real: House) -> None:
    real.stream = EventStream(real.store, heartbeat_s=0.05)
    async with serving(real) as api, api.listening("?account=other") as ear:
        begun = ear.last_id()
        await complete(real, "luma/g-1")
        newest = (await real.store.stream.bounds()).last
        async with asyncio.timeout(5):
            while ear.last_id() == begun:
                assert (await ear.block()).event is None
    assert ear.last_id() == newest


async def test_a_gap_is_told_first(api: Api) -> None:
    await happen(api.house, 3)
    async with api.listening("?since=0") as ear:
        places = [(await ear.event()).fields["id"] for _ in range(3)]
    await api.house.redis.xtrim("test:events", maxlen=1, approximate=False)
    ear = await api.ear(Last_Event_ID=places[0])
    assert ear.heard[0].event == "stream.gap"
    assert ear.heard[0].data == {"after": places[0], "first": places[2]}
    assert (await ear.event()).fields["id"] == places[2]
    await ear.close()


async def test_where_nothing_was_lost_there_is_no_gap(api: Api) -> None:
    await happen(api.house, 3)
    async with api.listening("?since=2020-01-01T00:00:00Z") as ear:
        assert (await ear.event()).event == "endpoint.test"
    await api.house.redis.xtrim("test:events", maxlen=1, approximate=False)
    async with api.listening("?since=0") as ear:
        assert (await ear.event()).event == "endpoint.test"
    async with api.listening(Last_Event_ID=ear.last_id()) as again:
        assert again.heard[0].event is None


async def test_since_an_instant_after_all_that_happened_there_is_no_gap(api: Api) -> None:
    await happen(api.house, 1)
    async with api.listening("?since=2100-01-01T00:00:00Z") as ear:
        assert ear.heard[0].event is None
        await happen(api.house, 1)
        assert (await ear.event()).event == "endpoint.test"


async def test_what_is_trimmed_away_before_a_listener_caught_up_is_told(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = api.house
    monkeypatch.setattr(stream, "PAGE", 2)
    await happen(house, 6)
    page = house.store.stream.after

    async def trimmed_page(position: str, *, limit: int) -> list[StreamEntry]:
        if position != "0-0":
            await house.redis.xtrim("test:events", maxlen=1, approximate=False)
        return await page(position, limit=limit)

    monkeypatch.setattr(house.store.stream, "after", trimmed_page)
    async with api.listening("?since=0") as ear:
        heard = [(await ear.event()).event for _ in range(4)]
    assert heard == ["endpoint.test", "endpoint.test", "stream.gap", "endpoint.test"]


async def test_what_is_trimmed_away_while_redis_was_away_is_told_to_who_comes_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = api.house
    monkeypatch.setattr(stream, "PAGE", 2)
    await happen(house, 1)
    is_back, wait = asyncio.Event(), house.store.stream.wait

    async def away(position: str, *, limit: int) -> list[StreamEntry]:
        await is_back.wait()
        return await wait(position, limit=limit)

    monkeypatch.setattr(house.store.stream, "wait", away)
    async with api.listening() as ear:
        await happen(house, 5)
        await house.redis.xtrim("test:events", maxlen=2, approximate=False)
        is_back.set()
        assert (await ear.event()).data["reason"] == "unavailable"
    async with api.listening(Last_Event_ID=ear.last_id()) as again:
        assert again.heard[0].event == "stream.gap"


async def test_a_place_that_the_stream_has_not_reached_begins_now_and_says_so(api: Api) -> None:
    ear = await api.ear(Last_Event_ID="99999999999999-0")
    assert (ear.heard[0].event, ear.heard[0].data["first"]) == ("stream.gap", None)
    await happen(api.house, 1)
    assert (await ear.event()).event == "endpoint.test"
    await ear.close()


async def test_an_event_whose_body_is_no_longer_kept_is_left_out(api: Api) -> None:
    await happen(api.house, 1)
    for name in await api.house.redis.keys("test:event:*"):
        await api.house.redis.delete(name)
    await happen(api.house, 1)
    async with api.listening("?since=0") as ear:
        await ear.event()
    entries = await api.house.redis.xrange("test:events")
    assert ear.last_id() == entries[-1][0].decode()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("type=generation.done", "type"),
        ("since=yesterday", "since"),
        ("last_event_id=7", "last_event_id"),
        ("state=failed", "state"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await client.get(f"/v1/events?{query}")
    assert answer.json()["field"].startswith(field)
    assert answer.status_code == 422


async def test_a_last_event_id_that_is_none_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/events", headers={"Last-Event-ID": "evt_1"})
    assert_problem(answer, 422, "Last-Event-ID")


async def test_a_head_request_ends(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        answer = await client.head("/v1/events")
    assert (answer.status_code, answer.content) == (200, b"")


# --- many listeners, and slow ones ----------------------------------------------------------------


async def test_five_hundred_hear_everything_from_one_reader(api: Api) -> None:
    ears = [await api.ear(buffer=2**16) for _ in range(500)]
    assert api.house.stream.listeners == 500
    await complete(api.house, "luma/g-1", "luma/g-2")
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        assert (await client.get("/v1/stats")).json()["trackers"]["completed"] == 2
    for ear in ears:
        heard = [(await ear.event()).data["data"]["generation_id"] for _ in range(2)]
        assert heard == ["g-1", "g-2"]
    blocked = [each for each in await api.house.redis.client_list() if each["cmd"] == "xread"]
    assert len(blocked) == 1
    for ear in ears:
        await ear.close()
    async with asyncio.timeout(10):
        while api.house.stream.listeners:  # noqa: ASYNC110 - it is what the API tells of itself
            await asyncio.sleep(0.01)


async def test_a_listener_that_takes_nothing_is_sent_away_and_can_resume(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUEUE_LIMIT", 10)
    ear = await api.ear(buffer=4096)
    async with api.listening() as other:
        for _ in range(40):  # more than what the sockets hold between them
            await happen(api.house, 5, size=50_000)
            for _ in range(5):
                assert (await other.event()).event == "endpoint.test"
    blocks = [each for each in await slowly(ear) if each.event]
    assert (blocks[-1].event, blocks[-1].data["reason"]) == ("stream.end", "slow")
    assert "Resume" in blocks[-1].data["detail"]
    count = len(blocks) - 1
    assert count < 200
    async with api.listening(Last_Event_ID=ear.last_id()) as again:
        assert [(await again.event()).event for _ in range(200 - count)] == ["endpoint.test"] * (
            200 - count
        )


async def slowly(ear: Ear) -> list[Block]:
    """Read at last what a listener has not read."""
    blocks = await ear.rest()
    await ear.close()
    return blocks


async def test_only_so_many_can_listen(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_LISTENERS", 1)
    async with api.listening(), httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
        answer = await client.get("/v1/events")
    assert "listen" in assert_problem(answer, 503)
    assert answer.headers["retry-after"]


async def test_a_redis_that_comes_back_is_read_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "RETRY_S", 0.01)
    async with api.listening() as ear:
        await complete(api.house, "luma/g-1")
        await ear.event()
        await api.house.redis.client_kill_filter(_type="normal", skipme=True)
        await complete(api.house, "luma/g-2")
        assert (await ear.event()).data["data"]["generation_id"] == "g-2"


async def test_a_redis_that_is_away_is_a_problem() -> None:
    async with Redis(host="127.0.0.1", port=1) as redis, House.on(redis).client() as client:
        assert "Redis" in assert_problem(await client.get("/v1/events"), 503)


async def test_what_happens_while_somebody_catches_up_with_nothing_is_not_passed_over(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = api.house
    await happen(house, 1)
    async with api.listening("?type=endpoint"):  # keeps the reader going
        await happen(house, 1)
        places = [entry[0].decode() for entry in await house.redis.xrange("test:events")]
        await until_read(house, places[-1])
        await house.redis.xtrim("test:events", maxlen=0, approximate=False)
        page = house.store.stream.after

        async def slow_page(position: str, *, limit: int) -> list[StreamEntry]:
            found = await page(position, limit=limit)
            monkeypatch.undo()
            await happen(house, 1)  # after the page was read, and the reader goes past it
            bounds = await house.store.stream.bounds()
            await until_read(house, bounds.last)
            return found

        monkeypatch.setattr(house.store.stream, "after", slow_page)
        async with api.listening(Last_Event_ID=places[0]) as behind:
            assert behind.heard[0].event == "stream.gap"
            assert (await behind.event()).event == "endpoint.test"


async def until_read(house: House, place: str) -> None:
    async with asyncio.timeout(5):
        while house.stream._position != place:  # noqa: ASYNC110 - the reader sets no event
            await asyncio.sleep(0.01)


async def test_who_has_caught_up_past_the_reader_hears_nothing_twice(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PACE_S", 0.5)
    async with api.listening():
        await happen(api.house, 1)
        first = (await api.house.store.stream.bounds()).last
        await until_read(api.house, first)  # now the reader pauses
        await happen(api.house, 1)
        async with api.listening("?since=0") as ahead:
            heard = [(await ahead.event()).fields["id"] for _ in range(2)]
            assert api.house.stream._position == first
            await happen(api.house, 1)
            heard.append((await ahead.event()).fields["id"])
    assert heard == [entry[0].decode() for entry in await api.house.redis.xrange("test:events")]
