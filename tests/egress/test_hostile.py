"""Hostile answers: every attempt ends, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.egress.conftest import (
    OK,
    SHORT_S,
    Handler,
    answering,
    dripping,
    post_to,
    read_request,
    receiver,
    way_out,
)
from worker import egress
from worker.model import Replied, Unanswered


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


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 5_000),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 30_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 200_000),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 30_000),
        (OK, b"HTTP/1.1 200 OK\r\n\r\n" * 10_000),
    ],
    ids=["103 flood", "headers", "body", "chunks", "answers"],
)
async def test_a_flood_takes_no_more_memory_than_a_read(head: bytes, drop: bytes) -> None:
    async with receiver(dripping(head, drop, every_s=0)) as port, way_out() as sender:
        tracemalloc.start()
        try:
            await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 1_000_000  # ours and that of the receiver, which runs here too
