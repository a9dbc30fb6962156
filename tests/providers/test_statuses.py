"""Statuses with a meaning, and the words that are kept of an error."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Literal

import orjson
import pytest

from tests.providers.conftest import GENERATION, KEY, Say, client, http, look, says, serving
from worker.model import (
    Answer,
    Missing,
    Refused,
    Throttled,
    Trouble,
)
from worker.providers.exchange import MAX_DETAIL_CHARS


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (404, Missing("404 Not Found: no such thing")),
        (401, Refused("401 Unauthorized: no such thing")),
        (403, Refused("403 Forbidden: no such thing", of_account=False)),
        (429, Throttled("429 Too Many Requests: no such thing")),
    ],
)
async def test_some_statuses_have_a_meaning(status: int, answer: Answer) -> None:
    assert await look(says({"detail": "no such thing"}, status=status)) == answer


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[]", b"\xff\xfe", b"null"])
@pytest.mark.parametrize("status", [401, 404, 429])
async def test_a_status_keeps_its_meaning_whatever_the_body(status: int, body: bytes) -> None:
    kinds: dict[int, type[Answer]] = {401: Refused, 404: Missing, 429: Throttled}
    assert isinstance(await look(http(status, body)), kinds[status])


@pytest.mark.parametrize("then", ["hang", "drip", "close", "reset"])
async def test_a_429_counts_even_if_its_body_never_ends(then: Literal["hang", "drip"]) -> None:
    head = b"HTTP/1.1 429 Slow\r\nRetry-After: 9\r\nContent-Length: 500000\r\n\r\n"
    answer = await look(Say(head + b'{"det', then), timeout_s=0.2)
    assert isinstance(answer, Throttled)
    assert answer.retry_after_s == 9


async def test_an_error_page_without_end_is_not_read_to_the_end() -> None:
    head = b"HTTP/1.1 404 No\r\nContent-Length: 100000000\r\n\r\n"
    began = time.monotonic()
    assert isinstance(await look(Say(head + b"x" * 40_000, "hang")), Missing)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 30", 30),
        ("Retry-After: 1.5", 1.5),
        ("retry-after-ms: 250", 0.25),
        ("retry-after-ms: junk\r\nRetry-After: 3", 3),
        ("retry-after-ms: 250\r\nRetry-After: 3", 0.25),
        ("Retry-After: soon", None),
        ("Retry-After: -4", None),
        ("X-Other: 1", None),
    ],
)
@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_busy_provider_may_say_when_to_come_back(
    status: int, header: str, seconds: float | None
) -> None:
    answer = await look(http(status, b"", header))
    assert isinstance(answer, Throttled | Trouble)
    assert answer.retry_after_s == seconds


async def test_when_to_come_back_may_be_a_date() -> None:
    answer = await look(http(429, b"", f"Retry-After: {formatdate(time.time() + 90, usegmt=True)}"))
    assert isinstance(answer, Throttled)
    assert answer.retry_after_s == pytest.approx(90, abs=5)


async def test_retry_after_means_nothing_on_a_redirect() -> None:
    answer = await look(http(302, b"", "Location: /x", "Retry-After: 500"))
    assert isinstance(answer, Trouble)
    assert answer.retry_after_s is None


def echo(text: str) -> bytes:
    return orjson.dumps({"detail": text})


@pytest.mark.parametrize(
    "said",
    [
        http(401, echo(f"Invalid API key {KEY} is provided")),
        http(500, f"Traceback: Authorization: Bearer {KEY}".encode()),
        Say(f"Bearer {KEY} is not HTTP\r\n\r\n".encode(), "close"),
    ],
)
async def test_a_key_that_a_server_echoes_is_not_kept(said: Say) -> None:
    answer = await look(said)
    assert isinstance(answer, Refused | Trouble)
    assert "[API key]" in answer.detail
    assert KEY not in answer.detail


@pytest.mark.parametrize("api_key", ["luma-secret\n", "luma-secret\r\nX: y", "luma\x00secret"])
async def test_a_key_that_no_header_may_carry_is_trouble_and_is_not_shown(api_key: str) -> None:
    async with serving(says(GENERATION)) as server, client(server.base_url, api_key=api_key) as it:
        answer = await it.get_generation("g1")
    assert isinstance(answer, Trouble)
    assert "API key has characters" in answer.detail
    assert "secret" not in answer.detail


async def test_a_key_with_a_stray_character_is_for_the_provider_to_refuse() -> None:
    async with serving(http(401)) as server, client(server.base_url, api_key="lümä") as it:
        assert isinstance(await it.get_generation("g1"), Refused)
    assert "Bearer lümä\r\n".encode() in server.requests[0]


async def test_a_detail_is_one_short_printable_line() -> None:
    answer = await look(http(500, echo("a\n\n b\x00\x1b[31m" + "x" * 5_000)))
    assert isinstance(answer, Trouble)
    assert answer.detail.startswith("500 Internal Server Error: a b [31mxxx")
    assert len(answer.detail) == MAX_DETAIL_CHARS
    assert answer.detail.isprintable()
