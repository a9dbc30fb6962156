"""The client for asyncio: it asks for what the other one asks for, and fails in the same words."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from worker.client import ApiError, AsyncClient, UnreachableError
from worker.errors import ConfigurationError, InvalidInputError

PROBLEM = {"title": "Service Unavailable", "detail": "Redis is away.", "field": "account"}


class Api:
    """An API in this process that answers with what it is told to."""

    def __init__(self, status: int = 200, answer: Any = None, **headers: str) -> None:
        self.status, self.answer, self.headers = status, answer or {}, headers
        self.asked: list[tuple[str, str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        path = scope["raw_path"].decode() + ("?" if scope["query_string"] else "")
        path += scope["query_string"].decode()
        self.asked.append((scope["method"], path, message["body"]))
        self.sent = {name.decode(): value.decode() for name, value in scope["headers"]}
        headers = [
            (name.replace("_", "-").encode(), v.encode()) for name, v in self.headers.items()
        ]
        answer = httpx.Response(self.status, json=self.answer)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})


CALLS = {
    "get": (("luma", "g-1"), {"wait": 5.0}, "GET /v1/trackers/luma/g-1?wait=5"),
    "track": (("luma", "g-1"), {"deadline_s": 5}, "PUT /v1/trackers/luma/g-1"),
    "cancel": (("luma", "g-1"), {}, "DELETE /v1/trackers/luma/g-1"),
    "trackers": ((), {"account": None, "limit": 5}, "GET /v1/trackers?limit=5"),
    "create": (("key-1",), {"account": "luma", "request": {}}, "POST /v1/generations"),
    "glance": (("luma", "a:b"), {}, "GET /v1/accounts/luma/generations/a%3Ab"),
    "glances": (
        *(("luma",), {"limit": 5, "offset": 2}),
        "GET /v1/accounts/luma/generations?limit=5&offset=2",
    ),
    "deliveries": (
        ({"state": "pending"},),
        {"limit": 5},
        "GET /v1/deliveries?state=pending&limit=5",
    ),
    "replay": (("dlv_1",), {}, "POST /v1/deliveries/dlv_1/replay"),
    "stats": ((), {}, "GET /v1/stats"),
    "accounts": ((), {}, "GET /v1/accounts"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_each_method_asks_for_its_route_with_the_key(name: str) -> None:
    args, more, line = CALLS[name]
    api = Api(answer={"items": []})
    async with AsyncClient("http://localhost", "all", app=api) as client:
        await getattr(client, name)(*args, **more)
    ((method, path, _),) = api.asked
    assert f"{method} {path}" == line
    assert api.sent["authorization"] == "Bearer all"
    assert api.sent.get("idempotency-key") == ("key-1" if name == "create" else None)


async def test_a_refusal_says_what_the_problem_says_and_when_to_ask_again() -> None:
    async with AsyncClient("http://localhost", app=Api(503, PROBLEM, retry_after="7")) as client:
        with pytest.raises(ApiError, match=r"account: Redis is away. \(HTTP 503\)") as error:
            await client.stats()
    assert (error.value.status, error.value.field, error.value.retry_after_s) == (503, "account", 7)


async def test_what_is_not_the_api_is_told_from_it() -> None:
    async with AsyncClient("http://localhost", app=Api(200, ["no object"])) as client:
        with pytest.raises(ApiError, match="is not Dreamhook's API"):
            await client.stats()


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with AsyncClient("http://127.0.0.1:9") as client:
        with pytest.raises(UnreachableError, match="Cannot reach Dreamhook") as error:
            await client.stats()
    assert error.value.was_sent is False


async def test_whoever_hangs_up_without_an_answer_may_have_been_asked() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, AsyncClient(url) as client:
        with pytest.raises(UnreachableError) as error:
            await client.create("key-1", account="luma", request={})
    assert error.value.was_sent is True


@pytest.mark.parametrize("name", ["", "a/b"])
async def test_a_name_that_would_lead_elsewhere_is_not_asked_for(name: str) -> None:
    api = Api()
    async with AsyncClient("http://localhost", app=api) as client:
        with pytest.raises(InvalidInputError):
            await client.get("luma", name)
    assert api.asked == []


async def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://user:secret@proxy:1")
    with pytest.raises(ConfigurationError, match="HTTP_PROXY") as error:
        AsyncClient("http://dreamhook.example.com")
    assert "secret" not in str(error.value)
