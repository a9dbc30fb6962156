"""Connections that serve another attempt, and those that must not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.egress.conftest import (
    OK,
    SHORT_S,
    read_request,
    receiver,
    resolving,
    server_context,
    trusting,
    way_out,
)
from worker import egress
from worker.egress import Egress, wire
from worker.model import Replied, Reply, Unanswered

FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"


class Host:
    """Answers one request after the other, the last answer again and again; None: hangs up."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.closed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head, body = await read_request(reader)
                self.requests.append(head + body)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        finally:
            self.closed.set()


async def post(sender: Egress, port: int, host: str = "127.0.0.1", body: bytes = b"{}") -> Reply:
    return await sender.post(f"http://{host}:{port}/hook", {}, body)


@pytest.mark.parametrize("answer", [OK, BUSY, b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_a_connection_whose_answer_was_complete_serves_the_next_attempt(
    answer: bytes,
) -> None:
    host = Host(answer)
    async with receiver(host) as port, way_out() as sender:
        replies = [await post(sender, port) for _ in range(3)]
    assert all(isinstance(reply, Replied) for reply in replies)
    assert (len(host.requests), len(host.writers)) == (3, 1)


async def test_attempts_at_once_have_a_connection_each() -> None:
    host = Host(OK)
    async with receiver(host) as port, way_out() as sender:
        await asyncio.gather(*(post(sender, port) for _ in range(3)))
        await asyncio.gather(*(post(sender, port) for _ in range(3)))
    assert (len(host.requests), len(host.writers)) == (6, 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"H",
        OK + FORGED,
        OK + b" " * 10_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n" + b"a" * 99_999,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["close", "1.0", "a byte more", "second answer", "blanks", "too long", "broken"],
)
async def test_an_answer_that_leaves_a_doubt_ends_the_connection(answer: bytes) -> None:
    host = Host(answer, BUSY)
    async with receiver(host) as port, way_out() as sender:
        replies = [await post(sender, port), await post(sender, port)]
    assert [reply.status for reply in replies if isinstance(reply, Replied)] == [200, 503]
    assert len(host.writers) == 2


async def test_a_request_that_was_not_read_to_its_end_ends_the_connection() -> None:
    connections = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BUSY)
        await writer.drain()
        await asyncio.Event().wait()

    async with receiver(handler) as port, way_out() as sender:
        for _ in range(2):
            reply = await post(sender, port, body=bytes(8_000_000))
            assert isinstance(reply, Replied)
    assert len(connections) == 2


async def test_an_answer_sent_ahead_is_not_taken_for_the_next_ones() -> None:
    host = Host(OK, BUSY)
    async with receiver(host) as port, way_out() as sender:
        await post(sender, port)
        host.writers[0].write(FORGED)  # it lies in the kernel: no loop has run since
        reply = await post(sender, port)
    assert isinstance(reply, Replied)
    assert (reply.status, len(host.writers)) == (503, 2)


async def test_what_comes_unasked_ends_an_idle_connection() -> None:
    host = Host(OK)
    async with receiver(host) as port, way_out() as sender:
        await post(sender, port)
        host.writers[0].write(b"x")
        await asyncio.wait_for(host.closed.wait(), 5)


async def test_a_connection_the_receiver_has_closed_is_not_used() -> None:
    host = Host(OK)
    async with receiver(host) as port, way_out() as sender:
        await post(sender, port)
        host.writers[0].write_eof()
        reply = await post(sender, port)
    assert isinstance(reply, Replied)
    assert (len(host.requests), len(host.writers)) == (2, 2)


async def test_a_kept_connection_that_ends_without_an_answer_is_replaced_once() -> None:
    host = Host(OK, None, BUSY)
    async with receiver(host) as port, way_out() as sender:
        await post(sender, port)
        reply = await post(sender, port)
    assert isinstance(reply, Replied)
    assert (reply.status, len(host.writers)) == (503, 2)
    assert host.requests[1] == host.requests[2]


async def test_when_a_kept_connection_has_ended_the_error_says_what_was_done_last() -> None:
    answers: list[Sequence[str]] = [["127.0.0.1"]]

    async def hanging_the_second_time(_: str) -> Sequence[str]:
        if not answers:
            await asyncio.Event().wait()
        return answers.pop()

    options = {"resolve": hanging_the_second_time, "timeout_s": SHORT_S}
    async with receiver(Host(OK, None)) as port, way_out(**options) as sender:
        await post(sender, port, "hooks.example")
        reply = await post(sender, port, "hooks.example")
    assert isinstance(reply, Unanswered)
    assert reply.error == "timed out while looking up the host"


async def test_a_new_connection_that_ends_without_an_answer_is_not_replaced() -> None:
    host = Host(OK, None)
    async with receiver(host) as port, way_out() as sender:
        await post(sender, port)
        reply = await post(sender, port)
    assert reply == Unanswered(
        error="the connection was closed without an answer", duration_ms=reply.duration_ms
    )
    assert (len(host.requests), len(host.writers)) == (3, 2)


async def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    connections = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for answer in (OK, b"HTTP/1.1 2"):
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    async with receiver(handler) as port, way_out() as sender:
        replies = [await post(sender, port) for _ in range(2)]
    assert [type(reply) for reply in replies] == [Replied, Unanswered]
    assert len(connections) == 1


async def test_a_kept_connection_serves_its_own_origin_only() -> None:
    host = Host(OK)
    async with receiver(host) as port, way_out(resolve=resolving("127.0.0.1")) as sender:
        for name in ("one.example", "two.example", "one.example"):
            await post(sender, port, name)
    assert (len(host.requests), len(host.writers)) == (3, 2)


async def test_an_address_is_judged_anew_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "JUDGED_S", 0)
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def rebinding(_: str) -> Sequence[str]:
        return answers.pop(0)

    async with receiver(Host(OK)) as port, way_out(resolve=rebinding) as sender:
        replies = [await post(sender, port, "hooks.example") for _ in range(2)]
    assert [type(reply) for reply in replies] == [Replied, Unanswered]


async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE_S", 0.01)
    host = Host(OK)
    async with receiver(host) as port, way_out() as sender:
        await post(sender, port)
        await asyncio.wait_for(host.closed.wait(), 5)


async def test_of_too_many_idle_connections_the_oldest_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "IDLE_WIRES", 2)
    hosts = [Host(OK) for _ in range(3)]
    async with (
        receiver(hosts[0]) as one,
        receiver(hosts[1]) as two,
        receiver(hosts[2]) as three,
        way_out() as sender,
    ):
        for port in (one, two, three):
            await post(sender, port)
        await asyncio.wait_for(hosts[0].closed.wait(), 5)
        for port in (two, three):
            await post(sender, port)
    assert [len(host.writers) for host in hosts] == [1, 1, 1]


async def test_closing_the_way_out_closes_what_is_idle() -> None:
    host = Host(OK)
    async with receiver(host) as port:
        async with way_out() as sender:
            await post(sender, port)
            assert not host.closed.is_set()
        await asyncio.wait_for(host.closed.wait(), 5)


async def test_a_second_attempt_over_tls_needs_no_handshake(certificate: Path) -> None:
    names: list[str | None] = []
    options = {"resolve": resolving("127.0.0.1"), "tls": trusting(certificate)}
    async with (
        receiver(Host(OK), server_context(certificate, names)) as port,
        way_out(**options) as sender,
    ):
        for _ in range(3):
            reply = await sender.post(f"https://hooks.example:{port}/", {}, b"{}")
            assert isinstance(reply, Replied)
    assert names == ["hooks.example"]
