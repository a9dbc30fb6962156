"""A primary with a replica, and a Sentinel: after a failover the work goes on at the replica."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.redis_servers import Server, eventually, sentinel, server
from tests.servers.conftest import Deployment
from worker.config import Settings
from worker.errors import ConfigurationError, RedisAwayError
from worker.wiring_redis import connected

PASSWORD = "p@ss:w/rd"
ENCODED = "p%40ss%3Aw%2Frd"


@dataclass
class Watched:
    primary: Server
    replica: Server
    sentinel: Server

    @property
    def url(self) -> str:
        nobody = "127.0.0.1:1"  # a Sentinel that is away is passed over
        sentinels = f"{nobody},127.0.0.1:{self.sentinel.port}"
        return f"redis+sentinel://:{ENCODED}@{sentinels}/dream/1?sentinel_password={ENCODED}"

    def is_ready(self) -> bool:
        """Whether the replica has everything, and the Sentinel knows of it."""
        with self.sentinel.client(password=PASSWORD) as asked:
            known = asked.execute_command("SENTINEL", "REPLICAS", "dream")
        with self.replica.client(password=PASSWORD) as replica:
            return bool(known) and replica.info("replication")["master_link_status"] == "up"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    guarded = {"requirepass": PASSWORD, "masterauth": PASSWORD, "repl_diskless_sync_delay": "0"}
    with (
        server(tmp_path / "primary", **guarded) as primary,
        server(tmp_path / "replica", **guarded, replicaof=f"127.0.0.1 {primary.port}") as replica,
        sentinel(
            tmp_path / "sentinel",
            "dream",
            primary,
            f'sentinel auth-pass dream "{PASSWORD}"',
            f'requirepass "{PASSWORD}"',
        ) as watching,
    ):
        yield Watched(primary, replica, watching)


async def _ready(watched: Watched) -> bool:
    return await asyncio.to_thread(watched.is_ready)


async def test_after_a_failover_under_load_nothing_that_the_replica_had_is_lost(
    watched: Watched, deployment: Deployment
) -> None:
    await eventually(lambda: _ready(watched))
    acknowledged: list[str] = []
    async with deployment.running(watched.url) as api:
        stop, loading = asyncio.Event(), list[asyncio.Task[None]]()
        loading = [
            asyncio.create_task(_load(deployment, api, f"g-{n}", acknowledged, stop))
            for n in range(4)
        ]
        await eventually(lambda: _many(acknowledged, 100))
        safe = list(acknowledged)
        with watched.primary.client(password=PASSWORD) as primary:
            primary.set("a-write", 1)
            assert primary.wait(1, 5000) == 1  # the replica has all that came before this write
        watched.primary.kill()
        before = len(acknowledged)
        await eventually(lambda: _many(acknowledged, before + 100), within_s=60)
        stop.set()
        await asyncio.gather(*loading)

        after = acknowledged[before + 10 :]  # of what was under way when it died some may be lost
        await eventually(lambda: _heard(deployment, {*safe, *after}), within_s=60)
        answers = [await api.get(f"/v1/trackers/luma/{name}") for name in safe]
        assert {answer.json()["state"] for answer in answers} == {"completed"}


async def _load(
    deployment: Deployment,
    api: httpx.AsyncClient,
    name: str,
    acknowledged: list[str],
    stop: asyncio.Event,
) -> None:
    """Track one generation after another, each asked for once."""
    for n in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
        deployment.create(f"{name}-{n}")
        answer = await deployment.track(api, f"{name}-{n}")
        if answer.status_code == 202:
            acknowledged.append(f"{name}-{n}")
        else:
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.05)


async def _many(acknowledged: list[str], count: int) -> bool:
    return len(acknowledged) >= count


async def _heard(deployment: Deployment, names: set[str]) -> bool:
    return names <= deployment.receiver.heard


async def test_a_service_that_the_sentinels_do_not_know_is_said_to_be(watched: Watched) -> None:
    wrong = watched.url.replace("/dream/", "/other/")
    with pytest.raises(ConfigurationError, match="No master found for 'other'"):
        async with connected(Settings(redis_url=wrong)):
            pass


async def test_a_wrong_password_of_the_sentinels_is_not_shown(watched: Watched) -> None:
    wrong = watched.url.replace(f"sentinel_password={ENCODED}", "sentinel_password=hunter2")
    with pytest.raises(ConfigurationError, match="DREAMHOOK_REDIS_URL") as refused:
        async with connected(Settings(redis_url=wrong)):
            pass
    assert not isinstance(refused.value, RedisAwayError)  # so it is not waited for
    assert "hunter2" not in str(refused.value)
    assert PASSWORD not in str(refused.value)


async def test_a_server_that_is_no_sentinel_is_not_waited_for(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{one.port}/dream"
        with pytest.raises(ConfigurationError, match="unknown command") as refused:
            async with connected(Settings(redis_url=url)):
                pass
    assert not isinstance(refused.value, RedisAwayError)
