"""Trouble of our own raises: it must not be held against a receiver."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.egress.conftest import WHOLE_LOOPBACK, resolving, way_out
from worker import addresses
from worker.egress import OwnTroubleError
from worker.egress.words import is_ours
from worker.model import Unanswered


@contextmanager
def no_more_files() -> Iterator[None]:
    """Leave this process no file that it could open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_connection_there_is_no_file_for_is_no_attempt() -> None:
    async with way_out() as sender:
        with no_more_files(), pytest.raises(OwnTroubleError, match="Too many open files"):
            await sender.post("http://127.0.0.1:8080/", {}, b"")


async def test_without_a_file_to_find_out_whose_an_address_is_it_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "judge_ip", lambda *_: None)  # as if 127.0.0.1 were public
    async with way_out(allow_private=[]) as sender:
        with no_more_files(), pytest.raises(OwnTroubleError, match="looking up"):
            await sender.post("http://127.0.0.1:8080/", {}, b"")


@pytest.mark.parametrize(("ip", "is_our_trouble"), [("127.0.0.1", True), ("::1", False)])
async def test_a_machine_without_free_ports_is_told_from_one_without_ipv6(
    monkeypatch: pytest.MonkeyPatch, *, ip: str, is_our_trouble: bool
) -> None:
    async def unavailable(*_: object, **__: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", unavailable)
    async with way_out(allow_private=WHOLE_LOOPBACK, resolve=resolving(ip)) as sender:
        attempt = sender.post("http://hooks.example/", {}, b"")
        if is_our_trouble:
            with pytest.raises(OwnTroubleError, match="no local port is free"):
                await attempt
        else:
            assert isinstance(await attempt, Unanswered)


@pytest.mark.parametrize(
    ("failure", "ours"),
    [
        *((OSError(number, "?"), True) for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS)),
        (MemoryError(), True),
        (socket.gaierror(socket.EAI_MEMORY, "?"), True),
        (socket.gaierror(errno.ENOMEM, "a number of another kind"), False),
        (OSError(errno.ENETUNREACH, "?"), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "?"), False),
        (TimeoutError(), False),
    ],
)
def test_own_trouble_is_known_by_its_number(failure: Exception, *, ours: bool) -> None:
    assert is_ours(failure) is ours


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
