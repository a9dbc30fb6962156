"""What is sent, what counts as an answer, and what a receiver cannot make the sender do."""

from __future__ import annotations

import asyncio

import pytest

from tests.egress.conftest import (
    OK,
    answering,
    post_to,
    read_request,
    receiver,
    way_out,
)
from worker.model import Replied, Unanswered


async def test_the_request_is_what_was_signed_framed_by_us_alone() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)
        await writer.drain()

    theirs = {"webhook-id": "evt_1", "X-Team": "a", "Transfer-Encoding": "chunked", "HOST": "evil"}
    async with receiver(handler) as port, way_out() as sender:
        reply = await sender.post(f"http://127.0.0.1:{port}/a%20b?c", theirs, b'{"\xc3\xbc":1}')
    assert isinstance(reply, Replied)
    assert (reply.status, reply.response, reply.retry_after) == (200, "ok", None)
    [(head, body)] = seen
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /a%20b?c http/1.1"
    assert lines[1] == f"host: 127.0.0.1:{port}"
    assert body == b'{"\xc3\xbc":1}'
    for line in ("webhook-id: evt_1", "x-team: a", "content-length: 8"):
        assert line in lines
    assert "accept-encoding: identity" in lines
    assert "content-type: application/json" in lines
    assert sum(line.startswith("host:") for line in lines) == 1
    assert not any(line.startswith(("transfer-encoding", "cookie")) for line in lines)
    assert any(line.startswith("user-agent: dreamhook") for line in lines)


@pytest.mark.parametrize("status", [204, 302, 400, 410, 500, 999])
async def test_every_complete_answer_is_a_reply(status: int) -> None:
    head = f"HTTP/1.1 {status} X\r\nRetry-After: 120\r\ncontent-length: 0\r\n\r\n".encode()
    reply = await post_to(answering(head))
    assert isinstance(reply, Replied)
    assert (reply.status, reply.retry_after, reply.response) == (status, "120", "")


async def test_the_duration_is_how_long_the_attempt_took() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.1)
        writer.write(OK)
        await writer.drain()

    reply = await post_to(handler)
    assert 100 <= reply.duration_ms < 2000


async def test_a_receiver_that_answers_without_reading_a_large_body_is_heard() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with receiver(handler) as port, way_out() as sender:
        reply = await sender.post(f"http://127.0.0.1:{port}/", {}, bytes(4_000_000))
    assert isinstance(reply, Replied)
    assert reply.status == 413


async def test_an_answer_without_length_ends_with_the_connection() -> None:
    reply = await post_to(answering(b"HTTP/1.0 200 OK\r\n\r\nhello"))
    assert isinstance(reply, Replied)
    assert reply.response == "hello"


async def test_cookies_are_not_sent_back() -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await read_request(reader))[0])
        writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with receiver(handler) as port, way_out() as sender:
        for _ in range(2):
            await sender.post(f"http://127.0.0.1:{port}/", {}, b"")
    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


async def test_a_redirect_is_an_answer_not_an_order() -> None:
    visits: list[str] = []

    async def target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append("target")
        await answering(OK)(reader, writer)

    async with receiver(target) as port:
        location = f"location: http://127.0.0.1:{port}/\r\n".encode()
        reply = await post_to(
            answering(b"HTTP/1.1 307 Moved\r\n" + location + b"content-length: 0\r\n\r\n")
        )
    assert isinstance(reply, Replied)
    assert (reply.status, visits) == (307, [])


async def test_proxy_variables_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    visits: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append("proxy")

    async with receiver(proxy) as port:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        reply = await post_to(answering(OK))
    assert isinstance(reply, Replied)
    assert visits == []


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://user@127.0.0.1/", {}),
        ("ftp://127.0.0.1/", {}),
        ("http://127.1/", {}),
        ("http://127.0.0.1:8080/", {"x-a": "b\r\nc: d"}),
        ("http://127.0.0.1:8080/", {"x-a": "\u2028"}),
        ("http://127.0.0.1:8080/", {"x a": "b"}),
    ],
)
async def test_what_should_never_have_been_registered_does_not_raise(
    url: str, headers: dict[str, str]
) -> None:
    async with way_out() as sender:
        reply = await sender.post(url, headers, b"")
    assert isinstance(reply, Unanswered)
    assert "cannot be" in reply.error


async def test_a_cancelled_attempt_is_cancelled_and_closed() -> None:
    began, closed = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        began.set()
        await reader.read()
        closed.set()

    async with receiver(handler) as port, way_out() as sender:
        attempt = asyncio.create_task(sender.post(f"http://127.0.0.1:{port}/", {}, b""))
        await asyncio.wait_for(began.wait(), 5)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        await asyncio.wait_for(closed.wait(), 5)
