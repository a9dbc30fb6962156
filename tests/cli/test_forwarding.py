"""`listen --forward-to` passes verified webhooks on as they came, to a server with real sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.cli.conftest import SECRET, signed
from worker.cli import forwarding as forwarding_module
from worker.cli.forwarding import forwarding, target_of
from worker.errors import InvalidInputError
from worker.listener import Received, create_app, listening

BODY = '{"type": "generation.completed",  "data": {"text": "\u2028 Böötchen"}}'


class Target(ThreadingHTTPServer):
    """The server under development: notes what comes, and answers as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 202
        self.headers = {"X-Mine": "1", "Retry-After": "7"}
        self.answer = b"thanks"
        self.came: list[tuple[str, list[tuple[str, str]], bytes]] = []
        self.hangs = threading.Event()
        self.hangs.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/luma?a=1"


class _Handler(BaseHTTPRequestHandler):
    server: Target

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.came.append((self.path, self.headers.items(), body))
        self.server.hangs.wait(20)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.hangs.set()
        server.shutdown()
        thread.join()


@asynccontextmanager
async def passing_on(url: str, **options: Any) -> AsyncIterator[tuple[Any, list[Received]]]:
    noted: list[Received] = []
    async with forwarding(target_of(url)) as forward:
        app = create_app(SECRET, noted.append, forward=forward, **options)
        async with listening(app) as here, httpx.AsyncClient(trust_env=False) as http:

            async def post(headers: dict[str, str], body: str = BODY) -> httpx.Response:
                return await http.post(here, content=body.encode(), headers=headers)

            yield post, noted


async def test_headers_and_bytes_go_on_as_they_came_and_the_answer_comes_back(
    target: Target,
) -> None:
    headers = signed(BODY) | {"X-Team": "video", "User-Agent": "dreamhook/1"}
    async with passing_on(target.url) as (post, noted):
        answer = await post(headers)

    ((path, passed, body),) = target.came
    assert (path, body) == ("/hooks/luma?a=1", BODY.encode())
    came = {name.lower(): value for name, value in passed}
    assert {name: came[name.lower()] for name in headers} == headers
    assert came["host"] == target.url.split("/")[2]
    assert len(came) == len(passed), "no header came twice"
    assert (answer.status_code, answer.content) == (202, b"thanks")
    assert (answer.headers["x-mine"], answer.headers["retry-after"]) == ("1", "7")
    assert (noted[0].answer, noted[0].reason, noted[0].body) == (202, None, json.loads(BODY))


async def test_what_is_not_genuine_is_not_passed_on(target: Target) -> None:
    async with passing_on(target.url) as (post, noted):
        answer = await post(signed(BODY), BODY + " ")
    assert answer.status_code == 401
    assert not target.came
    assert not noted[0].verified


async def test_what_the_target_refuses_is_no_duplicate_when_it_comes_again(target: Target) -> None:
    target.status = 500
    async with passing_on(target.url) as (post, noted):
        assert (await post(signed(BODY))).status_code == 500
        target.status = 204
        target.answer = b""
        assert (await post(signed(BODY))).status_code == 204
        await post(signed(BODY))
    assert [(each.attempt, each.duplicate) for each in noted] == [
        (1, False),
        (2, False),
        (3, True),
    ]


async def test_failing_on_purpose_comes_before_passing_on(target: Target) -> None:
    async with passing_on(target.url, fail_first=1) as (post, _):
        assert [(await post(signed(BODY))).status_code for _ in range(2)] == [503, 202]
    assert len(target.came) == 1


async def test_a_redirect_is_answered_and_not_followed(target: Target) -> None:
    target.status, target.headers = 302, {"Location": target.url}
    async with passing_on(target.url) as (post, _):
        assert (await post(signed(BODY))).status_code == 302
    assert len(target.came) == 1


async def test_of_an_endless_answer_only_the_start_is_passed_back(target: Target) -> None:
    target.answer = b"x" * 1_000_000
    async with passing_on(target.url) as (post, _):
        answer = await post(signed(BODY))
    assert answer.content == b"x" * forwarding_module.MAX_ANSWER_BYTES


async def test_a_target_that_is_down_is_a_502_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with passing_on(f"127.0.0.1:{port}") as (post, noted):
        answer = await post(signed(BODY))
    assert answer.status_code == 502
    assert f"http://127.0.0.1:{port} cannot be reached" in answer.text
    assert (noted[0].answer, noted[0].verified) == (502, True)


async def test_a_target_that_hangs_is_a_504(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding_module, "ANSWER_S", 0.05)
    target.hangs.clear()
    async with passing_on(target.url) as (post, noted):
        assert (await post(signed(BODY))).status_code == 504
        target.hangs.set()
    assert "has not answered within 0.05 s" in str(noted[0].reason)


@pytest.mark.parametrize("text", ["", "ftp://example.com/", "http://", "/hooks", "http://[::1"])
def test_what_cannot_be_called_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--forward-to"):
        target_of(text)


def test_a_host_and_port_will_do() -> None:
    assert str(target_of("localhost:3000/hooks")) == "http://localhost:3000/hooks"
