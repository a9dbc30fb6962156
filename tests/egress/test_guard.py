"""Which addresses are dialled."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address

import pytest

from tests.egress.conftest import (
    NOT_ALLOWED,
    OK,
    SHORT_S,
    UNKNOWN,
    WHOLE_LOOPBACK,
    answering,
    post_to,
    receiver,
    resolving,
    way_out,
)
from worker import addresses, egress
from worker.model import Replied, Unanswered


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
        ["127.0.0.1"] * 65,
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


async def test_an_unknown_name_and_one_that_leads_to_what_is_not_public_are_told_apart() -> None:
    async def unknown(host: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    said = []
    for resolve in (unknown, resolving(), resolving("10.0.0.1")):
        async with way_out(resolve=resolve) as sender:
            reply = await sender.post("http://redis.corp.example/", {}, b"")
        assert isinstance(reply, Unanswered)
        said.append(reply.error)
    assert said == [UNKNOWN, UNKNOWN, NOT_ALLOWED]


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
