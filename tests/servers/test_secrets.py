"""Secrets with a mark on them go through success and failure, and come out nowhere."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson

from tests.redis_servers import eventually, free_port, server
from tests.servers.conftest import Deployment

MARKS = {
    name: f"marked-{name}-5ecret"
    for name in ("api-key", "read-key", "wrong-key", "provider", "redis", "header", "other-redis")
}
SIGNING = "whsec_" + base64.b64encode(b"marked-signing-5ecret-0123456789").decode()

READ = (
    "/",
    "/docs",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/accounts",
    "/v1/deliveries",
    "/v1/stats",
    "/v1/trackers",
    "/v1/trackers?account=nobodys",
    "/v1/trackers/luma/well",
    "/v1/trackers/luma/well/timeline",
    "/v1/trackers/echo/refused",
    "/v1/trackers/oops/broken/timeline",
    "/v1/trackers/luma/well?wait=x",
    "/nowhere",
)
"""What is asked with the key that may read. `/v1/endpoints` shows it headers as ***."""


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    """A provider that answers with an error, and in it all that it was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = "401 No" if "/refused" in head else "500 Oh"
        body = orjson.dumps({"detail": f"this is wrong: {head}"})
        kind = "content-type: application/json\r\nconnection: close"
        start = f"HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(start.encode() + body)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def test_a_secret_comes_out_nowhere(deployment: Deployment, tmp_path: Path) -> None:
    said = b""
    async with echoing() as base_url:
        luma = orjson.loads(deployment.env["DREAMHOOK_ACCOUNTS"])["luma"]
        key = MARKS["provider"]
        accounts = {
            "luma": {**luma, "api_key": key},
            "echo": {"provider": "luma", "api_key": key, "base_url": base_url},
            "oops": {"provider": "luma", "api_key": key, "base_url": base_url},
            "gone": {"provider": "luma", "api_key": key, "base_url": "http://127.0.0.1:1"},
        }
        deployment.env |= {
            "DREAMHOOK_ACCOUNTS": orjson.dumps(accounts).decode(),
            "DREAMHOOK_API_KEYS": MARKS["api-key"],
            "DREAMHOOK_READ_KEYS": MARKS["read-key"],
            "DREAMHOOK_WEBHOOK_SECRET": SIGNING,
            "DREAMHOOK_LOG_LEVEL": "debug",
        }
        with server(tmp_path / "redis", requirepass=MARKS["redis"]) as redis:
            url = f"redis://:{MARKS['redis']}@127.0.0.1:{redis.port}/0"
            async with deployment.running(url) as api:
                api.headers["Authorization"] = f"Bearer {MARKS['api-key']}"
                shown_once = await _live(deployment, api)
                said += await _heard(api)
                redis.kill()  # from here on everything fails
                said += (await deployment.track(api, "too-late")).content
                said += (await api.get("/readyz")).content + (await api.get("/v1/stats")).content
                redis.start_again()
                await eventually(lambda: _is_back(api))
            said += await _complaints(deployment, url)
    said += deployment.log.read_bytes()
    secrets = [*MARKS.values(), SIGNING, SIGNING.removeprefix("whsec_"), *shown_once]
    assert [secret for secret in secrets if secret.encode() in said] == []
    for spoken in (b"this is wrong", b"dreamhook_looks_total", b"not known", b"ConnectionError"):
        assert spoken in said  # so all of them have really been


async def _live(deployment: Deployment, api: httpx.AsyncClient) -> list[str]:
    """Do all that secrets are needed for; gives those that an answer has shown, once."""
    headers = {"X-Token": MARKS["header"]}
    ok = deployment.receiver.url
    put = await api.put("/v1/endpoints/studio", json={"url": ok, "headers": headers})
    rotated = await api.post("/v1/endpoints/studio/rotate")
    nobody = f"http://127.0.0.1:{free_port()}/"
    for name in ("well", "badly", "no-tls"):
        deployment.create(name)
    terms = {
        "luma/well": {"endpoint": "studio"},
        "luma/badly": {"callback_url": nobody, "headers": headers},
        "luma/no-tls": {
            "callback_url": f"https://127.0.0.1:{api.base_url.port}/",
            "headers": headers,
        },
        "echo/refused": {},
        "oops/broken": {"metadata": {"a": 1}},
        "gone/g-1": {},
    }
    for name, term in terms.items():
        assert (await api.put(f"/v1/trackers/{name}", json=term)).status_code == 202, name

    async def has_all_happened() -> bool:
        stats = await api.get("/v1/deliveries")
        tried = [each for each in stats.json()["items"] if each["attempts"]]
        broken = (await api.get("/v1/trackers/oops/broken")).json()["poll_errors"]
        return len(tried) == 3 and bool(broken) and "well" in deployment.receiver.heard

    await eventually(has_all_happened)
    return [put.json()["secret"], rotated.json()["secret"]]


async def _heard(api: httpx.AsyncClient) -> bytes:
    """Read everything that can be read, and be refused in every way."""
    said = b""
    wrong = {"Authorization": f"Bearer {MARKS['wrong-key']}"}
    reading = {"Authorization": f"Bearer {MARKS['read-key']}"}
    for path in (*READ, "/v1/endpoints", "/v1/endpoints/studio"):
        said += (await api.get(path, headers=reading)).content
        said += (await api.get(path, headers=wrong)).content
    for path in READ:  # whoever may write may see the headers that were set, and no secret else
        said += (await api.get(path)).content.replace(MARKS["header"].encode(), b"")
    said += (await api.put("/v1/trackers/luma/x", headers=reading)).content
    said += (await api.put("/v1/trackers/luma/x", json={"headers": {"Host": "a"}})).content
    said += (await api.put("/v1/trackers/luma/well", json={"metadata": {"b": 2}})).content
    said += (await api.get("/v1/trackers/luma/well?fresh=true", headers=reading)).content
    async with api.stream("GET", "/v1/events?since=0", headers=reading) as events:
        async for line in events.aiter_lines():
            said += line.encode()
            if "delivery.delivered" in line or "generation.completed" in line:
                break
    return said


async def _is_back(api: httpx.AsyncClient) -> bool:
    return (await api.get("/readyz")).is_success


async def _complaints(deployment: Deployment, url: str) -> bytes:
    """Start it with what cannot be used, and look it over."""
    wrong_password = url.replace(MARKS["redis"], MARKS["other-redis"])
    other_path = url.replace("/0", "/none")
    broken = {"DREAMHOOK_ACCOUNTS": deployment.env["DREAMHOOK_ACCOUNTS"][:-3]}
    tries = [
        ("serve", wrong_password, {}),
        ("work", other_path, {}),
        ("serve", url, broken),
        ("serve", url, {"DREAMHOOK_WEBHOOK_SECRET": SIGNING[:20]}),
        ("check", wrong_password, {"LUMA_AGENTS_API_KEY": MARKS["provider"]}),
    ]
    outputs = await asyncio.gather(
        *(deployment.ended(command, redis_url, **env) for command, redis_url, env in tries)
    )
    return b"".join(outputs)
