"""The way out, against hostile receivers on real sockets and hostile names in a fake resolver."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import addresses, egress
from worker.egress import Egress
from worker.model import Replied, Reply, Unanswered

LOOPBACK = [ip_network("127.0.0.0/8")]
WHOLE_LOOPBACK = [*LOOPBACK, ip_network("::1/128")]
SHORT_S = 0.3
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
NOT_ALLOWED = "the address is not allowed: the host is unknown or not public"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    return head, await reader.readexactly(length)


@asynccontextmanager
async def receiver(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run `handler` on a loopback port; whatever it still does at the end is cancelled."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.ensure_future(handler(reader, writer)))
        try:
            await task
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the sender has hung up, or the test is over
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def way_out(**options: Any) -> AsyncIterator[Egress]:
    sender = Egress(options.pop("allow_private", LOOPBACK), **options)
    try:
        yield sender
    finally:
        await sender.aclose()


async def post_to(handler: Handler, **options: Any) -> Reply:
    async with receiver(handler) as port, way_out(**options) as sender:
        return await sender.post(f"http://127.0.0.1:{port}/hook?a=b", {}, b"{}")


def answering(*parts: bytes, pause: asyncio.Event | None = None) -> Handler:
    """Read the request, write the parts, then hold the connection (or close it)."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
        await writer.drain()
        if pause is not None:
            await pause.wait()

    return handler


def dripping(first: bytes, drop: bytes, *, every_s: float = 0.01) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(first)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(every_s)

    return handler


def resolving(*answers: str) -> Callable[[str], Awaitable[Sequence[str]]]:
    async def resolve(host: str) -> Sequence[str]:
        return answers

    return resolve


# --- a plain attempt ------------------------------------------------------------------------------


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
    for line in ("webhook-id: evt_1", "x-team: a", "content-length: 8", "connection: close"):
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


# --- isolation of attempts from each other --------------------------------------------------------


async def test_a_second_answer_sent_ahead_is_not_taken_for_the_next_attempts() -> None:
    answers = [
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
        b"HTTP/1.1 500 X\r\n\r\n",
    ]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answers.pop(0))
        await writer.drain()

    async with receiver(handler) as port, way_out() as sender:
        url = f"http://127.0.0.1:{port}/"
        replies = [await sender.post(url, {}, b""), await sender.post(url, {}, b"")]
    assert [reply.status for reply in replies if isinstance(reply, Replied)] == [200, 500]


async def test_a_connection_is_closed_when_its_attempt_is_over() -> None:
    closed = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await writer.drain()
        await reader.read()
        closed.set()

    async with receiver(handler) as port, way_out() as sender:
        await sender.post(f"http://127.0.0.1:{port}/", {}, b"")
        await asyncio.wait_for(closed.wait(), 5)


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


# --- hostile answers: every attempt ends, in bounded time and memory ------------------------------


@pytest.mark.parametrize(
    "handler",
    [
        dripping(b"", b"H"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", every_s=0.1),
        answering(pause=asyncio.Event()),
    ],
    ids=["dripped status line", "dripped headers", "103 drip", "silence"],
)
async def test_an_attempt_without_an_answer_ends_in_time(handler: Handler) -> None:
    started = time.monotonic()
    reply = await post_to(handler, timeout_s=SHORT_S)
    assert time.monotonic() - started < SHORT_S + 1
    assert isinstance(reply, Unanswered)
    assert reply.error == "timed out while waiting for the answer"
    assert reply.duration_ms >= SHORT_S * 1000 - 1


async def test_a_2xx_counts_although_its_body_drips_for_ever() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n"
    reply = await post_to(dripping(head, b"a"), timeout_s=SHORT_S)
    assert isinstance(reply, Replied)
    assert reply.status == 200
    assert set(reply.response) == {"a"}


@pytest.mark.parametrize(
    "body",
    [b"zz\r\nnot a chunk\r\n", b"5\r\nhel"],
    ids=["broken chunk", "cut short"],
)
async def test_a_2xx_counts_although_its_body_breaks(body: bytes) -> None:
    reply = await post_to(answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", body))
    assert isinstance(reply, Replied)
    assert reply.status == 200


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 65536),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 10_000),
    ],
    ids=["raw", "one-byte chunks"],
)
async def test_an_endless_body_is_cut_off(head: bytes, drop: bytes) -> None:
    reply = await post_to(dripping(head, drop, every_s=0), timeout_s=10)
    assert isinstance(reply, Replied)
    assert reply.duration_ms < 5000
    assert reply.response == "a" * egress.TEXT_LIMIT


async def test_a_gzip_bomb_stays_packed() -> None:
    bomb = gzip.compress(bytes(20_000_000))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"
    reply = await post_to(answering(head, bomb))
    assert isinstance(reply, Replied)
    assert len(reply.response.encode()) <= egress.TEXT_LIMIT


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nx: ", b"a" * 70_000, b"\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 12_000, b"\r\n"],
        [b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 100_000],
    ],
    ids=["one header", "many headers", "103 flood"],
)
async def test_a_head_that_goes_on_and_on_is_cut_off(parts: list[bytes]) -> None:
    reply = await post_to(answering(*parts, pause=asyncio.Event()), timeout_s=10)
    assert isinstance(reply, Unanswered)
    assert reply.error == "the answer's head is too long"
    assert reply.duration_ms < 5000


async def test_a_few_interim_answers_do_no_harm() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    reply = await post_to(answering(b"HTTP/1.1 100 Continue\r\n\r\n", hints, hints, OK))
    assert isinstance(reply, Replied)
    assert (reply.status, reply.response) == (200, "ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"<html>\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_not_an_answer(answer: bytes) -> None:
    reply = await post_to(answering(answer), timeout_s=5)
    assert isinstance(reply, Unanswered)
    assert reply.error == "the answer is not valid HTTP/1.1"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-OpenSSH\r\n"])
async def test_a_connection_closed_before_the_headers_end_is_no_answer(answer: bytes) -> None:
    reply = await post_to(answering(answer))
    assert isinstance(reply, Unanswered)
    assert reply.error == "the connection was closed without an answer"


async def test_a_reset_is_an_answer_only_when_headers_came_first() -> None:
    def resetting(first: bytes) -> Handler:
        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(first)
            await writer.drain()
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

        return handler

    reply = await post_to(resetting(b"HTTP/1.1 2"))
    assert reply == Unanswered(error="the connection was reset", duration_ms=reply.duration_ms)
    reply = await post_to(resetting(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"))
    assert isinstance(reply, Replied)


async def test_what_is_kept_of_a_body_is_text() -> None:
    reply = await post_to(answering(b"HTTP/1.1 500 X\r\n\r\n", b"\xff\x00\xc3\xbc"))
    assert isinstance(reply, Replied)
    assert reply.response == "\ufffd\x00ü"


@given(st.one_of(st.binary(max_size=3000), st.text(max_size=2100).map(str.encode)))
def test_what_is_kept_of_a_body_is_bounded_and_never_cut_within_a_character(body: bytes) -> None:
    text = egress._text(body[: egress.TEXT_LIMIT])
    assert len(text.encode()) <= egress.TEXT_LIMIT
    try:
        whole = body.decode()
    except UnicodeDecodeError:
        return
    assert whole.startswith(text)


# --- where we connect to --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers",
    [
        *(["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:10.0.0.1"], ["64:ff9b::a9fe:a9fe"]),
        *(
            ["fe80::1%1"],
            ["127.0.0.1", "10.0.0.1"],
            ["10.0.0.1", "127.0.0.1"],
            ["127.0.0.1", "::1"],
        ),
        *([], ["127.0.0.1"] * 65),
    ],
)
async def test_one_forbidden_answer_of_the_resolver_is_enough_to_refuse(answers: list[str]) -> None:
    visits: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append("visit")
        await answering(OK)(reader, writer)

    async with receiver(handler) as port, way_out(resolve=resolving(*answers)) as sender:
        reply = await sender.post(f"http://hooks.example:{port}/", {}, b"")
    assert reply == Unanswered(error=NOT_ALLOWED, duration_ms=reply.duration_ms)
    assert visits == []


async def test_each_attempt_looks_the_name_up_once_and_judges_it_anew() -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]]

    async def rebinding(host: str) -> Sequence[str]:
        assert host == "hooks.example"
        return answers.pop(0)

    async with receiver(answering(OK)) as port, way_out(resolve=rebinding) as sender:
        replies = [await sender.post(f"http://hooks.example:{port}/", {}, b"") for _ in range(3)]
    assert [type(reply) for reply in replies] == [Replied, Unanswered, Replied]
    assert answers == []


async def test_a_literal_address_is_judged_too() -> None:
    async with receiver(answering(OK)) as port, way_out(allow_private=[]) as sender:
        reply = await sender.post(f"http://127.0.0.1:{port}/", {}, b"")
    assert reply == Unanswered(error=NOT_ALLOWED, duration_ms=reply.duration_ms)


async def test_a_stranger_cannot_tell_an_inner_name_from_an_unknown_one() -> None:
    async def unknown(host: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with way_out(resolve=unknown) as one, way_out(resolve=resolving("10.0.0.1")) as other:
        replies = [
            await sender.post("http://redis.corp.example/", {}, b"") for sender in (one, other)
        ]
    assert {reply.error for reply in replies if isinstance(reply, Unanswered)} == {NOT_ALLOWED}


async def test_our_own_public_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "judge_ip", lambda *_: None)  # as if 127.0.0.1 were public
    async with receiver(answering(OK)) as port, way_out(allow_private=[]) as sender:
        reply = await sender.post(f"http://127.0.0.1:{port}/", {}, b"")
    assert reply == Unanswered(error=NOT_ALLOWED, duration_ms=reply.duration_ms)
    assert not egress._is_own(IPv4Address("192.0.2.1"))


async def test_the_next_address_is_tried_when_the_first_does_not_answer() -> None:
    options = {"resolve": resolving("::1", "127.0.0.1"), "allow_private": WHOLE_LOOPBACK}
    async with receiver(answering(OK)) as port, way_out(**options) as sender:
        reply = await sender.post(f"http://hooks.example:{port}/", {}, b"")
    assert isinstance(reply, Replied)


async def test_a_closed_port_refuses() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        async with way_out() as sender:
            reply = await sender.post(f"http://127.0.0.1:{unheard.getsockname()[1]}/", {}, b"")
    assert reply == Unanswered(error="the connection was refused", duration_ms=reply.duration_ms)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels refuse when the backlog is full")
async def test_a_connection_that_hangs_ends_in_time() -> None:
    async with AsyncExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # the kernel drops what is beyond the backlog
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the socket API
            filler.connect_ex(full.getsockname())
        sender = await stack.enter_async_context(way_out(timeout_s=SHORT_S))
        reply = await sender.post(f"http://127.0.0.1:{full.getsockname()[1]}/", {}, b"")
    assert reply == Unanswered(error="timed out while connecting", duration_ms=reply.duration_ms)


async def test_names_that_hang_hold_up_neither_the_attempt_nor_another_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release, asked = threading.Event(), []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        if host == "hung.example":
            release.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "too late for anybody")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async with receiver(answering(OK)) as port, way_out(timeout_s=SHORT_S) as sender:
        monkeypatch.setattr(egress.socket, "getaddrinfo", getaddrinfo)
        hung = [sender.post(f"http://hung.example:{port}/", {}, b"") for _ in range(100)]
        *late, good = await asyncio.gather(
            *hung, sender.post(f"http://ok.example:{port}/", {}, b"")
        )
        release.set()
        await asyncio.gather(*sender._names._pending.values(), return_exceptions=True)
    assert isinstance(good, Replied)
    assert asked.count("hung.example") == 1
    assert {reply.error for reply in late if isinstance(reply, Unanswered)} == {
        "timed out while looking up the host"
    }


async def test_a_real_resolver_answers_for_localhost() -> None:
    async with receiver(answering(OK)) as port, way_out(allow_private=WHOLE_LOOPBACK) as sender:
        reply = await sender.post(f"http://localhost:{port}/", {}, b"")
    assert isinstance(reply, Replied)


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


async def test_an_unforeseen_error_is_logged_and_does_not_raise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(host: str) -> Sequence[str]:
        raise ZeroDivisionError

    async with way_out(resolve=broken) as sender:
        reply = await sender.post("http://hooks.example/", {}, b"")
    assert isinstance(reply, Unanswered)
    assert reply.error == "the attempt failed while looking up the host"
    assert "ZeroDivisionError" in caplog.text


async def test_no_words_repeat_what_was_resolved_or_received() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        async with way_out(resolve=resolving("127.0.0.1")) as sender:
            port = unheard.getsockname()[1]
            refused = await sender.post(f"http://hooks.example:{port}/", {}, b"")
    garbage = await post_to(answering(b"secret-of-the-receiver\r\n\r\n"))
    for reply in (refused, garbage):
        assert isinstance(reply, Unanswered)
        assert "127.0.0" not in reply.error
        assert "secret" not in reply.error


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


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for hooks.example, its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-keyout", "-", "-days", "2", "-subj", "/CN=hooks.example"]
    command += ["-addext", "subjectAltName=DNS:hooks.example"]
    made.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return made


def server_context(certificate: Path, names: list[str | None]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    return context


async def test_tls_and_host_speak_of_the_name_though_the_address_is_dialled(
    certificate: Path,
) -> None:
    names: list[str | None] = []
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await read_request(reader))[0])
        writer.write(OK)
        await writer.drain()

    trusting = ssl.create_default_context(cafile=certificate)
    options = {"resolve": resolving("127.0.0.1"), "tls": trusting}
    async with (
        receiver(handler, server_context(certificate, names)) as port,
        way_out(**options) as sender,
    ):
        reply = await sender.post(f"https://hooks.example:{port}/", {}, b"{}")
        other = await sender.post(f"https://other.example:{port}/", {}, b"{}")
    assert isinstance(reply, Replied)
    assert names == ["hooks.example", "other.example"]
    assert [head.split(b"\r\n")[1] for head in heads] == [f"host: hooks.example:{port}".encode()]
    assert isinstance(other, Unanswered)
    assert other.error.startswith("the TLS certificate is not accepted: Hostname mismatch")


async def test_a_certificate_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with (
        receiver(answering(OK), server_context(certificate, [])) as port,
        way_out(resolve=resolving("127.0.0.1")) as sender,
    ):
        reply = await sender.post(f"https://hooks.example:{port}/", {}, b"{}")
    assert isinstance(reply, Unanswered)
    assert reply.error.startswith("the TLS certificate is not accepted: self")


async def test_tls_to_a_receiver_that_speaks_none_fails_in_words() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(OK)
        await writer.drain()

    async with receiver(handler) as port, way_out() as sender:
        reply = await sender.post(f"https://127.0.0.1:{port}/", {}, b"{}")
    assert isinstance(reply, Unanswered)
    assert reply.error.startswith("TLS failed: ")


async def test_a_tls_handshake_that_hangs_ends_in_time() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with receiver(handler) as port, way_out(timeout_s=SHORT_S) as sender:
        reply = await sender.post(f"https://127.0.0.1:{port}/", {}, b"{}")
    assert reply == Unanswered(error="timed out while connecting", duration_ms=reply.duration_ms)


def test_the_tls_context_is_built_once() -> None:
    assert egress._tls_context() is egress._tls_context()
    assert egress._tls_context().verify_mode == ssl.CERT_REQUIRED
    assert egress._tls_context().check_hostname
