"""Attempts over TLS."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from tests.egress.conftest import (
    OK,
    SHORT_S,
    answering,
    read_request,
    receiver,
    resolving,
    server_context,
    way_out,
)
from worker import egress
from worker.model import Replied, Unanswered


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
