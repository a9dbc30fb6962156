"""Who may ask, how much may be sent, and what is answered while Redis is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fakeredis import FakeServer

from worker.api import gate

from .conftest import COMPLETED, HOOK, House, assert_problem

TRACKER = "/v1/trackers/luma/g-1"
ENDPOINT = "/v1/endpoints/mine"
PROTECTED = [
    ("PUT", TRACKER),
    ("GET", TRACKER),
    ("DELETE", TRACKER),
    ("POST", f"{TRACKER}/poll"),
    ("GET", f"{TRACKER}/timeline"),
    ("POST", "/v1/trackers"),
    ("GET", "/v1/trackers"),
    ("GET", "/v1/deliveries"),
    ("GET", "/v1/deliveries/dlv_1"),
    ("POST", "/v1/deliveries/dlv_1/replay"),
    ("GET", "/v1/endpoints"),
    ("PUT", ENDPOINT),
    ("GET", ENDPOINT),
    ("DELETE", ENDPOINT),
    ("POST", f"{ENDPOINT}/rotate"),
    ("POST", f"{ENDPOINT}/test"),
    ("POST", f"{ENDPOINT}/recover"),
    ("GET", "/v1/stats"),
    ("GET", "/v1/accounts"),
    ("GET", "/v1/accounts/luma/generations"),
    ("GET", "/v1/accounts/luma/generations/g-1"),
    ("POST", "/v1/generations"),
    ("GET", "/v1/generations"),
    ("GET", "/v1/generations/sub_1"),
    ("GET", "/v1/events"),
    ("GET", "/metrics"),
    ("GET", "/nowhere"),
]
OPEN = ["/", "/healthz", "/docs", "/openapi.json"]


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "path"), PROTECTED)
@pytest.mark.parametrize("keys", [("api-1", "api-2"), ()], ids=["api keys", "read keys only"])
async def test_without_a_key_nothing_is_answered(
    house: House, verb: str, path: str, keys: tuple[str, ...]
) -> None:
    async with house.client(api_keys=keys, read_keys=("read-1",)) as client:
        answer = await client.request(verb, path)
    assert "Authorization" in assert_problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="dreamhook"'


def test_every_route_is_held_to_a_key_or_known_to_be_open(house: House) -> None:
    paths = house.app().openapi()["paths"]
    held = {(verb.upper(), path) for path in paths for verb in paths[path]}
    shown = {(v, p.replace("luma/g-1", "{account}/{generation_id}")) for v, p in PROTECTED}
    shown = {(v, p.replace("luma/gen", "{account}/gen")) for v, p in shown}
    shown = {(v, p.replace("generations/g-1", "generations/{generation_id}")) for v, p in shown}
    shown = {(v, p.replace("dlv_1", "{delivery_id}")) for v, p in shown}
    shown = {(v, p.replace("mine", "{name}")) for v, p in shown}
    shown = {(v, p.replace("sub_1", "{submission_id}")) for v, p in shown}
    hint = ("POST", "/v1/hints/{account}/{token}")
    assert held <= shown | {("GET", "/healthz"), ("GET", "/readyz"), hint}


@pytest.mark.parametrize("path", OPEN)
async def test_some_pages_need_no_key(house: House, path: str) -> None:
    async with house.client(api_keys=("api-1",)) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("key", ["api-1", "api-2"])
async def test_any_api_key_may_do_everything(house: House, key: str) -> None:
    keys: Any = {"api_keys": ("api-1", "api-2"), "read_keys": ("read-1",)}
    async with house.client(**keys, key=key) as client:
        assert (await client.put(TRACKER)).status_code == 202
        assert (await client.get(TRACKER, params={"fresh": "true"})).status_code == 200
        assert (await client.delete(TRACKER)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        *("Bearer wrong", "Bearer api-", "Bearer api-11", "Bearer API-1", "Bearer", "Bearer  "),
        *("api-1", "Basic api-1", "Bearer api-1 more", "Bearer r\u00e9ad"),
    ],
)
async def test_any_other_key_is_refused(house: House, header: str) -> None:
    async with house.client(api_keys=("api-1",), read_keys=("read-1",)) as client:
        headers = {b"Authorization": header.encode("latin-1")}
        answer = await client.get("/v1/stats", headers=headers)
    assert_problem(answer, 401)
    assert "api-1" not in answer.text


async def test_the_name_of_the_scheme_ignores_case(house: House) -> None:
    async with house.client(api_keys=("api-1",)) as client:
        answer = await client.get("/v1/stats", headers={"Authorization": "bEARER api-1"})
    assert answer.status_code == 200


@pytest.fixture
async def reader(house: House) -> AsyncIterator[httpx.AsyncClient]:
    await house.service.track_many([{"account": "luma", "generation_id": "g-1"}])
    async with house.client(api_keys=("api-1",), read_keys=("read-1",), key="read-1") as client:
        yield client


@pytest.mark.parametrize(("verb", "path"), [each for each in PROTECTED if each[0] != "GET"])
async def test_a_read_only_key_may_not_write(
    reader: httpx.AsyncClient, verb: str, path: str
) -> None:
    assert "read" in assert_problem(await reader.request(verb, path), 403)


async def test_a_read_only_key_may_read(reader: httpx.AsyncClient) -> None:
    for path in (TRACKER, f"{TRACKER}/timeline", "/v1/trackers", "/v1/endpoints"):
        assert (await reader.get(path)).status_code == 200, path
    for path in ("/v1/deliveries", "/v1/stats", "/v1/accounts"):
        assert (await reader.get(path)).status_code == 200, path
    assert (await reader.head(TRACKER)).status_code == 200


async def test_a_read_only_key_is_shown_no_value_of_a_header(
    reader: httpx.AsyncClient, house: House
) -> None:
    secret = {"Authorization": "Bearer of-the-receiver"}
    async with house.client(api_keys=("api-1",), key="api-1") as writer:
        await writer.put("/v1/trackers/luma/g-2", json={"callback_url": HOOK, "headers": secret})
        await writer.put("/v1/endpoints/studio", json={"url": HOOK, "headers": secret})
        shown = (await writer.get("/v1/trackers/luma/g-2")).json()
    await house.look("g-2", COMPLETED)
    assert shown["headers"] == {"authorization": "Bearer of-the-receiver"}
    found = (await reader.get("/v1/deliveries")).json()["items"]
    for path in (
        *("/v1/trackers", "/v1/trackers/luma/g-2", "/v1/trackers/luma/g-2/timeline"),
        *("/v1/endpoints", "/v1/endpoints/studio", "/v1/deliveries"),
        f"/v1/deliveries/{found[0]['id']}",
    ):
        answer = await reader.get(path)
        assert answer.status_code == 200
        assert "of-the-receiver" not in answer.text, path
    for path in ("/v1/trackers/luma/g-2", "/v1/endpoints/studio"):
        assert (await reader.get(path)).json()["headers"] == {"authorization": "***"}


async def test_a_read_only_key_may_not_have_the_provider_asked(
    reader: httpx.AsyncClient, house: House
) -> None:
    assert "fresh" in assert_problem(await reader.get(TRACKER, params={"fresh": "true"}), 403)
    assert house.provider.asked == []
    assert (await reader.get(TRACKER, params={"fresh": "false"})).status_code == 200


# --- pages in this machine's browser ------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080"],
)
async def test_without_keys_this_machine_is_answered(house: House, host: str) -> None:
    async with house.client() as client:
        assert (await client.get("/v1/stats", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "10.0.0.1", "localhost.evil.example", "[::2]:80"),
        *("127.0.0.1.evil.example", "evil.example:127.0.0.1", "", "0.0.0.0", "localhost:80:80"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/stats", "/"])
async def test_without_keys_no_other_name_is_answered(house: House, host: str, path: str) -> None:
    async with house.client() as client:
        answer = await client.get(path, headers={"Host": host})
    assert "DREAMHOOK_API_KEYS" in assert_problem(answer, 421)


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8080"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("verb", ["PUT", "GET", "DELETE"])
async def test_without_keys_no_other_sites_page_is_answered(
    house: House, headers: dict[str, str], verb: str
) -> None:
    async with house.client() as client:
        answer = await client.request(verb, TRACKER, headers=headers)
        assert_problem(answer, 403)
        assert (await client.get("/v1/trackers")).json()["items"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8080"},
        {"Origin": "http://localhost:8080"},
    ],
)
async def test_without_keys_our_own_pages_are_answered(
    house: House, headers: dict[str, str]
) -> None:
    async with house.client() as client:
        assert (await client.put(TRACKER, headers=headers)).status_code == 202


async def test_a_link_from_elsewhere_leads_to_the_open_pages(house: House) -> None:
    async with house.client() as client:
        answer = await client.get("/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200


async def test_with_a_key_the_name_and_the_page_do_not_matter(house: House) -> None:
    headers = {"Host": "dreamhook.example.com", "Origin": "https://app.example.com"}
    async with house.client(api_keys=("api-1",), key="api-1") as client:
        assert (await client.put(TRACKER, headers=headers)).status_code == 202


# --- bodies -------------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    """Make a good body of that size."""
    return b"{%s}" % (b" " * (size - 2))


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


async def test_a_body_may_have_a_mebibyte(client: httpx.AsyncClient) -> None:
    answer = await client.put(TRACKER, content=padded(gate.MAX_BODY_BYTES))
    assert answer.status_code == 202


async def test_a_body_that_announces_more_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.put(TRACKER, content=padded(gate.MAX_BODY_BYTES + 1))
    assert str(gate.MAX_BODY_BYTES) in assert_problem(answer, 413)


@pytest.mark.parametrize("length", ["9" * 25, "9" * 5000, "-1", "many", "0" * 30])
async def test_a_length_that_cannot_be_is_refused(client: httpx.AsyncClient, length: str) -> None:
    answer = await client.put(TRACKER, content=b"{}", headers={"Content-Length": length})
    assert_problem(answer, 413)


async def test_a_body_in_chunks_may_have_a_mebibyte(client: httpx.AsyncClient) -> None:
    answer = await client.put(TRACKER, content=chunks(padded(gate.MAX_BODY_BYTES)))
    assert answer.status_code == 202


@pytest.mark.parametrize("path", [TRACKER, "/v1/trackers"])
async def test_a_body_in_chunks_is_not_read_beyond_that(
    client: httpx.AsyncClient, path: str
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    answer = await client.request("PUT" if path == TRACKER else "POST", path, content=endless())
    assert_problem(answer, 413)
    assert sent <= gate.MAX_BODY_BYTES + 2 * 65536


async def test_chunks_are_counted_whatever_length_is_announced(client: httpx.AsyncClient) -> None:
    body = padded(gate.MAX_BODY_BYTES + 1)
    headers = {"Transfer-Encoding": "chunked", "Content-Length": "2"}
    assert_problem(await client.put(TRACKER, content=chunks(body), headers=headers), 413)


# --- Redis away ---------------------------------------------------------------------------------


NEEDS_REDIS = [
    each
    for each in PROTECTED
    # The provider here has no list, which is known without Redis.
    if each[1].startswith("/v1") and each[1] != "/v1/accounts/luma/generations"
]


@pytest.mark.parametrize(("verb", "path"), NEEDS_REDIS)
async def test_without_redis_every_route_says_when_to_ask_again(
    client: httpx.AsyncClient,
    redis_server: FakeServer,
    caplog: pytest.LogCaptureFixture,
    verb: str,
    path: str,
) -> None:
    redis_server.connected = False
    bodies = {
        "/v1/trackers": b'{"trackers": [{"account": "luma", "generation_id": "g-1"}]}',
        "/v1/generations": b'{"account": "luma", "request": {}}',
        f"{ENDPOINT}/recover": b'{"since": "2026-01-31T12:00:00Z"}',
    }
    answer = await client.request(verb, path, content=bodies.get(path, b""))
    assert "Redis" in assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert [each.levelno for each in caplog.records] == [logging.ERROR]
    assert "Traceback" not in caplog.text


async def test_without_redis_waiting_and_fresh_say_so_too(
    client: httpx.AsyncClient, redis_server: FakeServer
) -> None:
    redis_server.connected = False
    async with asyncio.timeout(5):
        assert_problem(await client.get(TRACKER, params={"wait": "60"}), 503)
        assert_problem(await client.get(TRACKER, params={"fresh": "true"}), 503)


async def test_when_redis_is_back_all_is_well(
    client: httpx.AsyncClient, redis_server: FakeServer
) -> None:
    redis_server.connected = False
    assert_problem(await client.put(TRACKER), 503)
    redis_server.connected = True
    assert (await client.put(TRACKER)).status_code == 202


async def test_alive_does_not_need_redis(
    client: httpx.AsyncClient, redis_server: FakeServer
) -> None:
    redis_server.connected = False
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
