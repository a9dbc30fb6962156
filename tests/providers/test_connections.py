"""Connections that break, hang and drip: the outcome is an answer, in time."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.providers.conftest import GENERATION, Say, client, http, look, says, serving
from worker.model import (
    Seen,
    Trouble,
)
from worker.providers.client import MAX_CONNECTIONS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        Say(b"", "close"),
        Say(b"", "reset"),
        Say(HEAD + b'{"state"', "close"),
        Say(HEAD + b'{"state"', "reset"),
        Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "close"),
        Say(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "close"),
        Say(b"SSH-2.0-OpenSSH_9.2\r\n", "close"),
        Say(b"\x00\xff\x16\x03\x01" * 50, "close"),
        Say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000, "close"),
    ],
)
async def test_a_broken_connection_is_trouble(said: Say) -> None:
    answer = await look(said)
    assert isinstance(answer, Trouble)
    assert "the connection broke" in answer.detail


async def test_a_body_without_a_length_that_ends_too_soon_is_trouble() -> None:
    answer = await look(Say(b'HTTP/1.1 200 OK\r\n\r\n{"state": "compl', "close"))
    assert answer == Trouble("200 OK: the body is not JSON")


@pytest.mark.parametrize(
    "said",
    [Say(b"", "hang"), Say(b"HTTP/1.1 200", "hang"), Say(HEAD, "hang"), Say(HEAD, "drip")],
)
async def test_the_whole_call_has_one_time_limit(said: Say) -> None:
    began = time.monotonic()
    answer = await look(said, timeout_s=0.2)
    assert answer in (
        Trouble("no complete answer within 0.2 s"),
        Trouble("200 OK: no complete answer within 0.2 s"),
    )
    assert time.monotonic() - began < 2


async def test_nobody_listening_is_trouble_in_the_systems_words() -> None:
    async with serving(http(200)) as server:
        gone = server.base_url
    async with client(gone) as it:
        assert await it.get_generation("g1") == Trouble("cannot connect: Connection refused")


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "x",
        "ftp://h/v1",
        "http://",
        "http://[::1",
        "http://\ud83d/",
        "http://xn--/",
    ],
)
async def test_a_base_url_that_cannot_be_used_is_trouble(base_url: str) -> None:
    async with client(base_url) as it:
        answer = await it.get_generation("g1")
    assert answer == Trouble("the account's base URL is not a usable http(s) URL")


async def test_the_client_works_on_after_every_kind_of_trouble() -> None:
    script = [http(200, b"x" * 1_100_000), Say(HEAD, "close"), Say(HEAD, "reset"), says(GENERATION)]
    async with serving(*script) as server, client(server.base_url) as it:
        answers = [await it.get_generation("g1") for _ in script]
    assert [type(answer) for answer in answers] == [Trouble, Trouble, Trouble, Seen]


async def test_a_connection_that_closes_without_an_answer_is_tried_once_more_and_no_more() -> None:
    async with serving(Say(b"", "close")) as server, client(server.base_url) as it:
        assert isinstance(await it.get_generation("g1"), Trouble)
    assert len(server.requests) == 2


async def test_canceling_a_look_is_not_an_answer() -> None:
    async with serving(Say(b"", "hang")) as server, client(server.base_url) as it:
        look = asyncio.create_task(it.get_generation("g1"))
        await server.asked(1)
        look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look


async def test_a_look_that_waits_for_its_turn_does_not_use_up_its_time() -> None:
    script = [*[Say(b"", "hang")] * MAX_CONNECTIONS, says(GENERATION)]
    async with serving(*script) as server, client(server.base_url, timeout_s=1.0) as it:
        looks = [it.get_generation("g1") for _ in script]
        answers = await asyncio.gather(*looks)
    assert sorted(type(answer).__name__ for answer in answers) == [
        "Seen",
        *["Trouble"] * MAX_CONNECTIONS,
    ]
