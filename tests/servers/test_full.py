"""A Redis that is full refuses what is new, and lets end what was promised."""

from __future__ import annotations

from pathlib import Path

from tests.redis_servers import eventually, server
from tests.servers.conftest import Deployment

NAMES = [f"g-{n}" for n in range(20)]


async def test_what_is_tracked_ends_and_is_told_though_redis_is_full(
    deployment: Deployment, tmp_path: Path
) -> None:
    with server(tmp_path / "redis") as redis, redis.client() as admin:
        async with deployment.running(redis.url) as api:
            for name in NAMES:
                deployment.create(name, over=False)
                assert (await deployment.track(api, name)).status_code == 202
            admin.config_set("maxmemory", "1")  # byte

            refused = await deployment.track(api, "one-more")
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert "Redis is full" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) > 0
            assert (await api.get("/v1/trackers/luma/one-more")).status_code == 404
            assert (await deployment.track(api, NAMES[0])).status_code == 200  # asked again
            warnings = (await api.get("/readyz")).json()["warnings"]
            assert any("memory" in each for each in warnings)

            for name in NAMES:
                await deployment.finish(api, name)
            await eventually(lambda: _has_heard_all(deployment))
            found = (await api.get("/v1/trackers", params={"state": "completed"})).json()["items"]
            assert len(found) == len(NAMES)


async def test_a_worker_that_starts_while_redis_is_full_ends_what_is_tracked(
    deployment: Deployment, tmp_path: Path
) -> None:
    with server(tmp_path / "redis") as redis, redis.client() as admin:
        async with deployment.running(redis.url, "serve") as api:
            deployment.create("g-1")
            assert (await deployment.track(api, "g-1")).status_code == 202
        admin.config_set("maxmemory", "1")
        async with deployment.running(redis.url) as api:
            await eventually(lambda: _has_heard(deployment, "g-1"))

            admin.config_set("maxmemory", "0")
            deployment.create("g-2")
            assert (await deployment.track(api, "g-2")).status_code == 202
            await eventually(lambda: _has_heard(deployment, "g-2"))


async def test_an_endpoint_can_be_switched_off_while_redis_is_full(
    deployment: Deployment, tmp_path: Path
) -> None:
    with server(tmp_path / "redis") as redis, redis.client() as admin:
        async with deployment.running(redis.url, "serve") as api:
            url = {"url": deployment.receiver.url}
            assert (await api.put("/v1/endpoints/studio", json=url)).status_code == 201
            admin.config_set("maxmemory", "1")
            assert (await api.put("/v1/endpoints/other", json=url)).status_code == 503
            off = await api.put("/v1/endpoints/studio", json={**url, "enabled": False})
            assert (off.status_code, off.json()["enabled"]) == (200, False)
            assert (await api.delete("/v1/endpoints/studio")).is_success


async def _has_heard_all(deployment: Deployment) -> bool:
    return deployment.receiver.heard >= set(NAMES)


async def _has_heard(deployment: Deployment, name: str) -> bool:
    return name in deployment.receiver.heard
