"""A copy of Redis that is made under load, and a deployment that goes on from it elsewhere."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import httpx

from tests.redis_servers import Server, eventually, server
from tests.servers.conftest import Deployment


async def test_what_was_acknowledged_before_a_backup_is_there_after_its_restoration(
    deployment: Deployment, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    with server(tmp_path / "first") as first:
        async with deployment.running(first.url) as api:
            stop = asyncio.Event()
            loading = [
                asyncio.create_task(_load(deployment, api, n, acknowledged, stop)) for n in range(4)
            ]
            await eventually(lambda: _many(acknowledged, 60))
            before = list(acknowledged)
            backup = await asyncio.to_thread(_back_up, first, tmp_path)
            await eventually(lambda: _many(acknowledged, len(before) + 20))
            stop.set()
            await asyncio.gather(*loading)
        first.kill()  # and its disk is lost, too

    restored = tmp_path / "second"
    await asyncio.to_thread(_restore, backup, restored)
    for name in (each.id for each in [*deployment.world.all()] if each.id.startswith("slow")):
        deployment.end(name)
    with server(restored) as second:
        async with deployment.running(second.url) as api:
            for name in before:
                answer = await api.get(f"/v1/trackers/luma/{name}")
                assert answer.status_code == 200, name
                assert answer.json()["state"] in {"tracking", "completed"}
                if name.startswith("slow"):
                    await api.post(f"/v1/trackers/luma/{name}/poll")

            # What had been claimed when the copy was made falls due when its lease ends.
            await eventually(lambda: _is_over(api), within_s=60)
            found = [await api.get(f"/v1/trackers/luma/{name}") for name in before]
            assert {each.json()["state"] for each in found} == {"completed"}
            assert set(before) <= deployment.receiver.heard


async def _load(
    deployment: Deployment,
    api: httpx.AsyncClient,
    n: int,
    acknowledged: list[str],
    stop: asyncio.Event,
) -> None:
    """Track one generation after another; every fourth goes on until it is ended."""
    for turn in range(10_000):
        if stop.is_set():
            return
        name = f"{'slow' if turn % 4 == 0 else 'quick'}-{n}-{turn}"
        deployment.create(name, over=not name.startswith("slow"))
        if (await deployment.track(api, name)).status_code == 202:
            acknowledged.append(name)


def _back_up(redis: Server, folder: Path) -> Path:
    """Do what the runbook says."""
    with redis.client() as admin:
        admin.bgsave()
        while admin.info("persistence")["rdb_bgsave_in_progress"]:
            time.sleep(0.01)
        assert admin.info("persistence")["rdb_last_bgsave_status"] == "ok"
    return Path(shutil.copy(redis.folder / "dump.rdb", folder / "copy.rdb"))


def _restore(backup: Path, folder: Path) -> None:
    """Do what the runbook says, on another machine."""
    folder.mkdir()
    shutil.copy(backup, folder / "dump.rdb")
    with server(folder, appendonly="no") as redis, redis.client() as admin:
        admin.config_set("appendonly", "yes")
        while _is_rewriting(admin.info("persistence")):
            time.sleep(0.01)


def _is_rewriting(told: dict[str, int]) -> bool:
    return bool(told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])


async def _many(acknowledged: list[str], count: int) -> bool:
    return len(acknowledged) >= count


async def _is_over(api: httpx.AsyncClient) -> bool:
    """Whether nothing is tracked or owed any more."""
    stats = (await api.get("/v1/stats")).json()
    return stats["trackers"]["tracking"] == 0 and stats["deliveries"]["pending"] == 0
