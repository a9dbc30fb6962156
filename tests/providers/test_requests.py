"""What the client sends: one GET with the key, to the place of the ID and to no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import ANY

import pytest

from tests.providers.conftest import GENERATION, KEY, Say, client, http, look, says, serving
from worker.errors import ConfigurationError
from worker.model import (
    Account,
    Missing,
    Progress,
    Seen,
    Trouble,
)
from worker.providers.client import ProviderClient
from worker.providers.spec import Auth, GetGeneration, Provider, load


async def test_a_generation_is_seen() -> None:
    assert await look(says(GENERATION)) == Seen(
        progress=Progress.RUNNING,
        provider_state="dreaming",
        model="ray-2",
        kind=("ray-2", "", "", ""),
        generation=GENERATION,
        mark=ANY,
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


# --- IDs of parts, keys in the query, headers of the provider -------------------------------------


@asynccontextmanager
async def client_of(provider: Provider, base_url: str) -> AsyncIterator[ProviderClient]:
    account = Account(name="a", provider="a", api_key="k&y", base_url=base_url)
    it = ProviderClient(account, provider)
    try:
        yield it
    finally:
        await it.aclose()


@pytest.mark.parametrize(
    ("generation_id", "path"),
    [
        ("fal-ai:flux:requests:g-1", b"/v1/fal-ai/flux/requests/g-1/status "),
        ("g-1", b"/v1/g-1/status "),
        ("a:b%2F..:c?d", b"/v1/a/b%252F../c%3Fd/status "),
        ("a:b/../c", b"/v1/a/b%2F..%2Fc/status "),
    ],
)
async def test_the_parts_of_an_id_are_parts_of_the_path(generation_id: str, path: bytes) -> None:
    async with (
        serving(http(404)) as server,
        client_of(load("fal"), server.base_url) as it,
    ):
        await it.get_generation(generation_id)
    assert server.requests[0].startswith(b"GET " + path)


@pytest.mark.parametrize("generation_id", ["a:..:b", ":a", "a:", "a::b", ".", "a:."])
async def test_no_part_of_an_id_leads_elsewhere(generation_id: str) -> None:
    async with (
        serving(http(500)) as server,
        client_of(load("fal"), server.base_url) as it,
    ):
        assert isinstance(await it.get_generation(generation_id), Missing)
    assert server.requests == []


@pytest.mark.parametrize(
    ("path", "line"),
    [("/jobs/{id}", b"/v1/jobs/g-1?key=k%26y "), ("/jobs?id={id}", b"/v1/jobs?id=g-1&key=k%26y ")],
)
async def test_a_key_may_go_into_the_query(path: str, line: bytes) -> None:
    asking = load("runway").model_copy(
        update={
            "auth": Auth(query="key", value="{api_key}"),
            "get_generation": GetGeneration(path=path),
        }
    )
    async with serving(http(404)) as server, client_of(asking, server.base_url) as it:
        await it.get_generation("g-1")
    assert server.requests[0].startswith(b"GET " + line)
    assert b"Authorization" not in server.requests[0]


async def test_a_key_from_the_query_is_not_repeated_however_it_is_written() -> None:
    said = http(400, b"bad URL /jobs?key=k%26y, key k&y")
    async with serving(said) as server, client_of(load("runway"), server.base_url) as it:
        answer = await it.get_generation("g-1")
    assert answer == Trouble("400 Bad Request: bad URL /jobs?key=[API key], key [API key]")


async def test_the_headers_of_the_provider_are_sent() -> None:
    async with serving(http(404)) as server, client_of(load("runway"), server.base_url) as it:
        await it.get_generation("g-1")
    assert b"X-Runway-Version: 2024-11-06\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("found", "kind"),
    [("g-1", Seen), ("requests:g-1", Seen), ("G-1", Seen), ("1", Trouble), ("fal-ai", Trouble)],
)
async def test_an_answer_may_say_the_last_part_of_the_id_alone(found: str, kind: type) -> None:
    said = says({"request_id": found, "status": "IN_QUEUE"})
    async with serving(said) as server, client_of(load("fal"), server.base_url) as it:
        assert isinstance(await it.get_generation("fal-ai:flux:requests:g-1"), kind)


@pytest.mark.parametrize(
    ("said", "request_id"),
    [
        (says(GENERATION, "X-Request-Id: r-1"), "r-1"),
        (http(404, b"", "X-Request-Id: r-2"), "r-2"),
        (http(429, b"", "X-Request-Id: r-3"), "r-3"),
        (http(502, b"<html>", "X-Request-Id: r-4"), "r-4"),
        (http(200, b"<html>", "X-Request-Id: " + "r" * 300), "r" * 100),
        (says(GENERATION), None),
    ],
)
async def test_every_answer_keeps_the_request_id(said: Say, request_id: str | None) -> None:
    assert (await look(said)).request_id == request_id
