"""The provider client on real sockets: whatever a server says, the outcome is an answer."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import ConfigurationError
from worker.model import (
    Account,
    Answer,
    JsonObject,
    Missing,
    Progress,
    Refused,
    Seen,
    Throttled,
    Trouble,
)
from worker.providers.client import MAX_CONNECTIONS, MAX_DETAIL_CHARS, ProviderClient
from worker.providers.spec import load

KEY = "luma-0123456789-secret"
GENERATION = {"id": "g1", "state": "dreaming", "model": "ray-2", "assets": None}


# --- a server that says what it is told ---------------------------------------------------------


@dataclass(frozen=True)
class Say:
    """Bytes for one request, and what becomes of the connection then."""

    content: bytes
    then: Literal["keep", "close", "hang", "reset", "drip"] = "keep"


@dataclass
class Server:
    """Answers the n-th request with the n-th line of the script; the last one repeats."""

    script: list[Say]
    base_url: str = ""
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.tasks.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(request)
                async with self.changed:
                    self.changed.notify_all()
                said = self.script[min(len(self.requests), len(self.script)) - 1]
                writer.write(said.content)
                if said.then != "keep":
                    await self.end(writer, said.then)
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has hung up
        finally:
            writer.close()

    async def end(self, writer: asyncio.StreamWriter, how: str) -> None:
        if how == "hang":
            await self.over.wait()
        while how == "drip" and not self.over.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
        if how == "reset":
            writer.transport.abort()

    async def asked(self, times: int) -> None:
        """Return once so many requests have come in."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.requests) >= times)


@asynccontextmanager
async def serving(*script: Say) -> AsyncIterator[Server]:
    server = Server(list(script))
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        server.over.set()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.gather(*server.tasks)
        await listener.wait_closed()


def http(status: int, body: bytes = b"", *headers: str, then: str = "keep") -> Say:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return Say("\r\n".join([*lines, "", ""]).encode() + body, then)  # type: ignore[arg-type]


def says(value: object, *headers: str, status: int = 200) -> Say:
    return http(status, orjson.dumps(value), *headers)


@asynccontextmanager
async def client(
    base_url: str, *, api_key: str = KEY, timeout_s: float = 5.0
) -> AsyncIterator[ProviderClient]:
    account = Account(name="luma", provider="luma", api_key=api_key, base_url=base_url)
    it = ProviderClient(account, load("luma"), timeout_s=timeout_s)
    try:
        yield it
    finally:
        await it.aclose()


async def look(*script: Say, generation_id: str = "g1", timeout_s: float = 5.0) -> Answer:
    async with serving(*script) as server, client(server.base_url, timeout_s=timeout_s) as it:
        return await it.get_generation(generation_id)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# --- the request --------------------------------------------------------------------------------


async def test_a_generation_is_seen() -> None:
    assert await look(says(GENERATION)) == Seen(
        progress=Progress.RUNNING,
        provider_state="dreaming",
        model="ray-2",
        generation=GENERATION,
    )


async def test_the_request_is_one_get_with_the_key() -> None:
    async with serving(says(GENERATION)) as server, client(server.base_url + "/") as it:
        await it.get_generation("g1")
    assert len(server.requests) == 1
    assert server.requests[0].startswith(b"GET /v1/generations/g1 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n".encode() in server.requests[0]


@pytest.mark.parametrize(
    ("generation_id", "path"),
    [
        ("a~b._-1", b"/v1/generations/a~b._-1 "),
        ("../credits", b"/v1/generations/..%2Fcredits "),
        ("a?b#c", b"/v1/generations/a%3Fb%23c "),
        ("a@b:c+d=e", b"/v1/generations/a%40b%3Ac%2Bd%3De "),
        ("%2e%2e", b"/v1/generations/%252e%252e "),
        ("ä\r\nX: y", b"/v1/generations/%C3%A4%0D%0AX%3A%20y "),
        ("{id}", b"/v1/generations/%7Bid%7D "),
        ("\ud83d", b"/v1/generations/%3F "),
    ],
)
async def test_an_id_cannot_leave_its_place_in_the_path(generation_id: str, path: bytes) -> None:
    async with serving(http(404)) as server, client(server.base_url) as it:
        await it.get_generation(generation_id)
    assert server.requests[0].startswith(b"GET " + path)


@pytest.mark.parametrize("generation_id", ["", ".", ".."])
async def test_an_id_that_names_another_path_is_missing_without_a_request(
    generation_id: str,
) -> None:
    async with serving(says(GENERATION)) as server, client(server.base_url) as it:
        assert isinstance(await it.get_generation(generation_id), Missing)
    assert server.requests == []


async def test_without_a_key_no_credentials_are_sent() -> None:
    async with serving(says(GENERATION)) as server, client(server.base_url, api_key="") as it:
        await it.get_generation("g1")
    assert b"authorization" not in server.requests[0].lower()


async def test_a_user_name_in_the_base_url_does_not_replace_the_key() -> None:
    async with serving(says(GENERATION)) as server:
        base_url = server.base_url.replace("http://", "http://me:mine@")
        async with client(base_url) as it:
            await it.get_generation("g1")
    assert f"Bearer {KEY}".encode() in server.requests[0]


async def test_cookies_are_not_kept() -> None:
    answer = says(GENERATION, "Set-Cookie: a=b; Path=/")
    async with serving(answer) as server, client(server.base_url) as it:
        await it.get_generation("g1")
        await it.get_generation("g1")
    assert b"cookie" not in server.requests[1].lower()


async def test_connections_are_reused() -> None:
    async with serving(says(GENERATION)) as server, client(server.base_url) as it:
        for _ in range(3):
            await it.get_generation("g1")
    assert (len(server.requests), len(server.writers)) == (3, 1)


async def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(says(GENERATION)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        async with client("http://provider.invalid/v1") as it:
            assert isinstance(await it.get_generation("g1"), Seen)
    assert proxy.requests[0].startswith(b"GET http://provider.invalid/v1/generations/g1 ")


async def test_an_unusable_proxy_is_a_configuration_error_that_keeps_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://me:hunter2@proxy.invalid")
    with pytest.raises(ConfigurationError, match="ALL_PROXY") as caught:
        async with client("http://127.0.0.1:1/v1"):
            pass
    assert "hunter2" not in str(caught.value)


# --- bodies -------------------------------------------------------------------------------------


async def test_gzip_is_understood() -> None:
    body = gzip.compress(orjson.dumps(GENERATION))
    assert isinstance(await look(http(200, body, "Content-Encoding: gzip")), Seen)


async def test_a_body_in_chunks_is_understood() -> None:
    body = orjson.dumps(GENERATION)
    chunks = b"".join(b"1\r\n" + body[i : i + 1] + b"\r\n" for i in range(len(body)))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert isinstance(await look(Say(head + chunks + b"0\r\n\r\n")), Seen)


async def test_an_informational_answer_before_the_real_one_is_skipped() -> None:
    real = says(GENERATION)
    assert isinstance(await look(Say(b"HTTP/1.1 103 Early Hints\r\n\r\n" + real.content)), Seen)


COMPRESSED = gzip.compress(orjson.dumps(GENERATION))
BOMB = gzip.compress(b'{"state":"completed","x":"' + b"a" * 50_000_000 + b'"}', compresslevel=9)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (http(204), "204 No Content: the body is empty"),
        (http(200), "200 OK: the body is empty"),
        (http(200, b"<!doctype html><h1>Hi"), "200 OK: the body is HTML"),
        (http(200, b"completed"), "200 OK: the body is not JSON"),
        (http(200, b'{"state": "completed"'), "200 OK: the body is not JSON"),
        (says([GENERATION]), "the answer is JSON, but not an object"),
        (says({"id": "g1"}), "the answer has no state"),
        (says({**GENERATION, "id": "g2"}), "the answer is about another generation"),
        (http(200, b"{}", "Content-Encoding: br"), "an encoding that was not asked for"),
        (http(200, b"{}", "Content-Encoding: gzip"), "the body is damaged gzip"),
        (http(200, COMPRESSED[:-9], "Content-Encoding: gzip"), "truncated gzip, or too large"),
        (http(200, BOMB, "Content-Encoding: gzip"), "truncated gzip, or too large"),
        (http(200, b'"' + b"a" * 1_100_000), "the body is larger than 1024 KiB"),
        (http(301, b"", "Location: http://127.0.0.1:1/"), "redirects are not followed"),
        (http(302, b"", "Location: :::"), "Invalid URL in location header"),
        (http(304), "304 Not Modified"),
        (http(400, b"nope"), "400 Bad Request: nope"),
        (http(422, b'{"detail":[{"msg":"not a UUID"}]}'), "not a UUID"),
        (http(500, b'{"detail":"oh"}'), "500 Internal Server Error: oh"),
        (http(502, b"<html>nginx</html>"), "502 Bad Gateway"),
        (http(599), "599"),
        (http(999), "999"),
    ],
)
async def test_an_answer_that_does_not_show_the_generation_is_trouble(
    said: Say, words: str
) -> None:
    answer = await look(said)
    assert isinstance(answer, Trouble)
    assert words in answer.detail


async def test_a_page_of_html_is_not_quoted() -> None:
    assert await look(http(502, b"<html>nginx</html>")) == Trouble("502 Bad Gateway")


@pytest.mark.parametrize("found", ["G1", "g-1", None, 7])
async def test_another_spelling_of_the_id_or_none_is_the_same_generation(found: object) -> None:
    assert isinstance(await look(says({**GENERATION, "id": found})), Seen)


# --- connections --------------------------------------------------------------------------------

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
    script = [Say(b"", "reset"), http(200, b"x" * 1_100_000), Say(HEAD, "close"), says(GENERATION)]
    async with serving(*script) as server, client(server.base_url) as it:
        answers = [await it.get_generation("g1") for _ in script]
    assert [type(answer) for answer in answers] == [Trouble, Trouble, Trouble, Seen]


async def test_canceling_a_look_is_not_an_answer() -> None:
    async with serving(Say(b"", "hang")) as server, client(server.base_url) as it:
        look = asyncio.create_task(it.get_generation("g1"))
        await server.asked(1)
        look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look


async def test_a_look_that_waits_for_its_turn_does_not_use_up_its_time() -> None:
    script = [*[Say(b"", "hang")] * MAX_CONNECTIONS, says(GENERATION)]
    async with serving(*script) as server, client(server.base_url, timeout_s=0.3) as it:
        looks = [it.get_generation("g1") for _ in script]
        answers = await asyncio.gather(*looks)
    assert sorted(type(answer).__name__ for answer in answers) == [
        "Seen",
        *["Trouble"] * MAX_CONNECTIONS,
    ]


# --- statuses with a meaning --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (404, Missing("404 Not Found: no such thing")),
        (401, Refused("401 Unauthorized: no such thing")),
        (403, Refused("403 Forbidden: no such thing")),
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


# --- details and secrets ------------------------------------------------------------------------


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


# --- lists --------------------------------------------------------------------------------------


async def test_a_page_of_the_list_is_read() -> None:
    page = {"generations": [GENERATION, {"id": "g2", "state": "failed"}], "has_more": False}
    async with serving(says(page)) as server, client(server.base_url) as it:
        rows = await it.list_generations(limit=50, offset=100)
    assert isinstance(rows, list)
    assert [(found, seen.progress) for found, seen in rows] == [
        ("g1", Progress.RUNNING),
        ("g2", Progress.FAILED),
    ]
    assert server.requests[0].startswith(b"GET /v1/generations?limit=50&offset=100 ")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (http(404), Missing),
        (http(401), Refused),
        (http(429), Throttled),
        (http(500), Trouble),
        (says({"generations": None}), Trouble),
    ],
)
async def test_a_list_that_cannot_be_had_is_an_answer_too(said: Say, kind: type[Answer]) -> None:
    async with serving(said) as server, client(server.base_url) as it:
        assert isinstance(await it.list_generations(limit=100, offset=0), kind)


# --- anything at all ----------------------------------------------------------------------------

bodies = st.binary(max_size=80) | st.builds(
    orjson.dumps,
    st.dictionaries(
        st.sampled_from(["id", "state", "assets", "model", "detail", "request", "created_at"]),
        st.sampled_from([None, "g1", "completed", {}, [], 1, True, {"video": "u"}, ["x"]]),
    ),
)
headers = st.lists(
    st.sampled_from(
        [
            "Content-Encoding: gzip",
            "Content-Encoding: x",
            "Location: /",
            "Retry-After: x",
            "Set-Cookie: =",
        ]
    ),
    max_size=3,
)
whole = st.builds(
    lambda status, body, lines: http(status, body, *lines, then="close"),
    st.integers(200, 999),
    bodies,
    headers,
)
torn = st.builds(lambda say, length: Say(say.content[:length], "close"), whole, st.integers(0, 200))
noise = st.builds(Say, st.binary(max_size=300), st.just("close"))


@settings(max_examples=60, deadline=None)
@given(st.one_of(whole, torn, noise))
def test_whatever_a_server_says_is_an_answer(said: Say) -> None:
    answer = asyncio.run(look(said, timeout_s=0.3))
    assert isinstance(answer, Seen | Missing | Refused | Throttled | Trouble)
    if isinstance(answer, Seen):
        final: JsonObject = answer.generation
        assert final["state"] == answer.provider_state
