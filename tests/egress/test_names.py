"""Names whose look-up hangs, and those that must not wait for them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.egress.conftest import OK, SHORT_S, WHOLE_LOOPBACK, answering, receiver, way_out
from worker import egress
from worker.egress import Egress, OwnTroubleError, names
from worker.model import Replied, Unanswered

TOO_LATE = "timed out while looking up the host"


class NameServer:
    """Stands in for getaddrinfo: names with `hung` in them hang until the test ends."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if "hung" in host:
            self.release.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "too late for anybody")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def end(self, sender: Egress) -> None:
        """Let all look-ups end."""
        self.release.set()
        await asyncio.gather(*sender._names._pending.values(), return_exceptions=True)


@pytest.fixture
async def name_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(egress.socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.release.set()


async def test_a_name_that_hangs_holds_up_neither_the_attempt_nor_another_name(
    name_server: NameServer,
) -> None:
    async with receiver(answering(OK)) as port, way_out(timeout_s=SHORT_S) as sender:
        hung = [sender.post(f"http://hung.example:{port}/", {}, b"") for _ in range(100)]
        *late, good = await asyncio.gather(
            *hung, sender.post(f"http://ok.example:{port}/", {}, b"")
        )
        await name_server.end(sender)
    assert isinstance(good, Replied)
    assert name_server.asked.count("hung.example") == 1
    assert {reply.error for reply in late if isinstance(reply, Unanswered)} == {TOO_LATE}


async def test_a_zone_that_hangs_leaves_threads_for_the_others(name_server: NameServer) -> None:
    zone = [f"http://n{n}.hung.example/" for n in range(names.LOOKUPS)]
    async with receiver(answering(OK)) as port, way_out(timeout_s=SHORT_S) as sender:
        *late, good = await asyncio.gather(
            *(sender.post(url, {}, b"") for url in zone),
            sender.post(f"http://a.healthy.example:{port}/", {}, b""),
        )
        await name_server.end(sender)
    assert isinstance(good, Replied)
    assert len(name_server.asked) == names.ZONE_LOOKUPS + 1
    assert {reply.error for reply in late if isinstance(reply, Unanswered)} == {TOO_LATE}


async def test_when_every_thread_is_taken_that_is_our_own_trouble(
    name_server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LOOKUPS", 2)
    monkeypatch.setattr(names, "TURN_S", 0.05)
    async with way_out(timeout_s=5) as sender:
        hung = [
            asyncio.ensure_future(sender.post(f"http://hung.{zone}.example/", {}, b""))
            for zone in ("one", "two")
        ]
        while len(name_server.asked) < len(hung):  # noqa: ASYNC110 - the threads set no events
            await asyncio.sleep(0)
        with pytest.raises(OwnTroubleError, match="look-up threads"):
            await sender.post("http://a.healthy.example/", {}, b"")
        await name_server.end(sender)
        await asyncio.gather(*hung)


async def test_a_thread_that_cannot_be_started_is_our_own_trouble_and_takes_no_room(
    name_server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise RuntimeError("can't start new thread")  # as in a container that may have no more

    async with receiver(answering(OK)) as port, way_out() as sender:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", exhausted)
            for n in range(2 * names.LOOKUPS):
                with pytest.raises(OwnTroubleError, match="can't start new thread"):
                    await sender.post(f"http://a.zone{n % 9}.example:{port}/", {}, b"")
        reply = await sender.post(f"http://b.zone0.example:{port}/", {}, b"")
        await name_server.end(sender)
    assert isinstance(reply, Replied)


async def test_names_under_a_public_suffix_are_no_zone(name_server: NameServer) -> None:
    hung = [f"http://hung-{n}.co.uk/" for n in range(2 * names.ZONE_LOOKUPS)]
    async with receiver(answering(OK)) as port, way_out(timeout_s=SHORT_S) as sender:
        *_, good = await asyncio.gather(
            *(sender.post(url, {}, b"") for url in hung),
            sender.post(f"http://healthy.co.uk:{port}/", {}, b""),
        )
        await name_server.end(sender)
    assert isinstance(good, Replied)


async def test_threads_come_back_when_their_names_have_been_answered(
    name_server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LOOKUPS", 1)
    async with receiver(answering(OK)) as port, way_out() as sender:
        hosts = ("a.one.example", "b.one.example", "a.two.example")
        posts = (sender.post(f"http://{host}:{port}/", {}, b"") for host in hosts)
        replies = await asyncio.gather(*posts)
        assert not sender._names._zones
    assert all(isinstance(reply, Replied) for reply in replies)


async def test_a_real_resolver_answers_for_localhost() -> None:
    async with receiver(answering(OK)) as port, way_out(allow_private=WHOLE_LOOPBACK) as sender:
        reply = await sender.post(f"http://localhost:{port}/", {}, b"")
    assert isinstance(reply, Replied)
