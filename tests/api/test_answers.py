"""What is answered when only the head counts, when a fault is ours, and when the server stops."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from worker.api import gate, schemas
from worker.errors import ConfigurationError

from .conftest import House, assert_problem

TRACKER = "/v1/trackers/luma/g-1"


@pytest.mark.parametrize("path", ["/healthz", "/v1/trackers", "/", "/docs"])
async def test_whoever_asks_for_the_head_gets_no_body(client: httpx.AsyncClient, path: str) -> None:
    head, whole = await client.head(path), await client.get(path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(whole.content))


async def test_a_fault_of_ours_is_logged_and_not_shown(
    house: House,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(house.status, "stats", broken)
    answer = await client.get("/v1/stats")
    assert "secret" not in answer.text
    assert "log" in assert_problem(answer, 500)
    assert "secret internals" in caplog.text


async def test_an_error_that_no_caller_can_mend_is_a_fault_of_ours(
    house: House, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def misconfigured() -> None:
        raise ConfigurationError("set this")

    monkeypatch.setattr(house.status, "stats", misconfigured)
    answer = await client.get("/v1/stats")
    assert_problem(answer, 500)
    assert "set this" not in answer.text


async def test_an_answer_that_has_begun_is_broken_off(house: House) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("halfway")

    broken = gate.Gate(app, api_keys=(), read_keys=())
    transport = httpx.ASGITransport(broken)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with pytest.raises(RuntimeError, match="halfway"):
            await client.get("/")


async def test_whoever_waits_while_the_server_stops_is_told_to_ask_again(
    house: House, client: httpx.AsyncClient
) -> None:
    await client.put(TRACKER)
    sent: list[Any] = []
    app, scope = server_like(client, TRACKER, b"wait=60")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    task = asyncio.create_task(app(scope, receive, send))
    while not house.store.bell._waiting:  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    start, body = sent
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert schemas.Problem.model_validate_json(body["body"]).status == 503


def server_like(client: httpx.AsyncClient, path: str, query: bytes) -> tuple[Any, dict[str, Any]]:
    """Give the application under a client, and a request as a server would put it."""
    app = client._transport.app  # type: ignore[attr-defined]
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query}
    return app, {**scope, "headers": headers, "scheme": "http", "root_path": "", "state": {}}


async def test_what_is_not_http_is_none_of_its_business(house: House) -> None:
    seen = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    await gate.Gate(app, api_keys=(), read_keys=())({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]
