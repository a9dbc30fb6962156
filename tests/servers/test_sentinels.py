"""Three Sentinels, of which one is dead: a primary that is cut off, and comes back as a replica."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.exceptions import RedisError, ResponseError

from tests.redis_servers import Server, eventually, sentinel, server
from tests.servers.conftest import Deployment
from worker.wiring_redis import _POOL, _PrimaryPool, steady

QUICK = ("info-period", "200", "publish-period", "200", "ask-period", "200")
"""How often Sentinels ask and tell, in milliseconds, instead of in seconds. Redis 6.2 has no such
setting, and takes half a minute instead."""


@dataclass
class Cluster:
    """A primary with two replicas, which refuses to write for itself alone, and who watches."""

    primary: Server
    replicas: list[Server]
    sentinels: list[Server]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{s.port}' for s in self.sentinels)}/dream"

    async def is_ready(self) -> bool:
        return await asyncio.to_thread(self._is_ready)

    def _is_ready(self) -> bool:
        for each in self.sentinels:
            with each.client() as asked:
                others = asked.execute_command("SENTINEL", "SENTINELS", "dream")
                replicas = asked.execute_command("SENTINEL", "REPLICAS", "dream")
            if (len(others), len(replicas)) != (2, 2):
                return False
        return all(self.follows(each) for each in self.replicas)

    async def has_come_back(self) -> bool:
        """Whether the old primary has all that the new one has."""
        return await asyncio.to_thread(self.follows, self.primary)

    @staticmethod
    def follows(each: Server) -> bool:
        try:
            with each.client() as asked:
                told: dict[str, Any] = asked.info("replication")
        except RedisError:  # while it becomes a replica it hangs up on all
            return False
        return told["role"] == "slave" and told["master_link_status"] == "up"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    options = {
        "repl_diskless_sync_delay": "0",
        "min_replicas_to_write": "1",
        "min_replicas_max_lag": "2",
    }
    with ExitStack() as stack:
        primary = stack.enter_context(server(tmp_path / "primary", **options))
        follow = {**options, "replicaof": f"127.0.0.1 {primary.port}"}
        replicas = [stack.enter_context(server(tmp_path / n, **follow)) for n in ("r1", "r2")]
        sentinels = [
            stack.enter_context(sentinel(tmp_path / name, "dream", primary, quorum=2))
            for name in ("s1", "s2", "s3")
        ]
        for each in sentinels:
            with each.client() as asked, suppress(ResponseError):
                asked.execute_command("SENTINEL", "DEBUG", *QUICK)
        yield Cluster(primary, replicas, sentinels)


@dataclass
class Load:
    """Tracks one generation after another, each asked for once."""

    deployment: Deployment
    api: httpx.AsyncClient
    acknowledged: list[str]
    is_over: bool = False

    async def run(self, name: str) -> None:
        for n in itertools.takewhile(lambda _: not self.is_over, itertools.count()):
            self.deployment.create(f"{name}-{n}")
            answer = await self.deployment.track(self.api, f"{name}-{n}")
            if answer.status_code == 202:
                self.acknowledged.append(f"{name}-{n}")
            else:
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.05)

    async def known(self, names: set[str]) -> set[str]:
        """Tell which of these are tracked, or were: to be tracked again is new to the others."""
        terms = {"account": "luma", "callback_url": self.deployment.receiver.url}
        known = set[str]()
        for some in (list(names)[n : n + 500] for n in range(0, len(names), 500)):
            batch = {"trackers": [{**terms, "generation_id": name} for name in some]}
            results = (await self.api.post("/v1/trackers", json=batch)).json()["results"]
            known |= {each["generation_id"] for each in results if each["status"] == 200}
        return known

    async def more(self, count: int, within_s: float = 60) -> None:
        """Wait until so many more are acknowledged."""
        most = len(self.acknowledged) + count

        async def has() -> bool:
            return len(self.acknowledged) >= most

        await eventually(has, within_s)


async def test_a_primary_that_was_cut_off_takes_nothing_with_it_but_what_no_replica_had(
    cluster: Cluster, deployment: Deployment
) -> None:
    await eventually(cluster.is_ready)
    cluster.sentinels[0].kill()  # the two others are a majority
    async with deployment.running(cluster.url) as api:
        load = Load(deployment, api, [])
        callers = [asyncio.create_task(load.run(f"g-{n}")) for n in range(4)]
        await load.more(100)
        safe = list(load.acknowledged)
        with cluster.primary.client() as primary:
            primary.set("a-write", 1)
            assert primary.wait(2, 5000) == 2  # both replicas have all that came before this write
        cluster.primary.stop()
        risked = load.acknowledged[len(safe) :]
        await load.more(100, within_s=15)  # a connection waits 20 s for an answer
        cluster.primary.go_on()  # what was sent to it meanwhile it now reads
        await eventually(cluster.has_come_back)
        await load.more(20)
        load.is_over = True
        await asyncio.gather(*callers)

        kept = set(load.acknowledged) - set(risked)
        assert kept > set(safe)
        assert await load.known(kept) == kept
        await eventually(lambda: _heard(deployment, kept))
    said = deployment.log.read_text()
    assert "worker failed" not in said
    assert "Traceback" not in said


async def _heard(deployment: Deployment, names: set[str]) -> bool:
    return names <= deployment.receiver.heard


@dataclass
class Names:
    """Stands for the Sentinels: says which address is the primary's."""

    address: tuple[str, int]

    async def discover_master(self, _service: str) -> tuple[str, int]:
        return self.address


def primary_pool(names: Names) -> _PrimaryPool:
    kind = steady(SentinelManagedConnection)
    return _PrimaryPool("dream", names, connection_class=kind, **_POOL)  # type: ignore[no-untyped-call]


async def test_a_connection_in_use_to_a_server_that_is_no_longer_named_is_cut(
    tmp_path: Path,
) -> None:
    with server(tmp_path) as one:
        names = Names(("127.0.0.1", one.port))
        pool = primary_pool(names)
        async with Redis.from_pool(pool) as redis:
            waiting = asyncio.create_task(redis.blpop(["nothing"]))

            async def is_waiting() -> bool:
                with one.client() as asked:
                    return bool(asked.info("clients")["blocked_clients"])

            await eventually(is_waiting)
            await pool.get_master_address()
            assert not waiting.done()
            names.address = ("localhost", one.port)
            await pool.get_master_address()
            with pytest.raises(exceptions.ConnectionError):
                await asyncio.wait_for(waiting, 10)
            assert await redis.ping()
            (connection,) = pool._available_connections
            assert (connection.host, connection.port) == names.address


async def test_whoever_uses_a_connection_just_as_it_is_cut_is_told_that_it_has_broken(
    tmp_path: Path,
) -> None:
    """What is no error of Redis's is a 500 for a caller, and the end of what goes on for ever."""
    with server(tmp_path) as one:
        names = Names(("127.0.0.1", one.port))
        pool = primary_pool(names)
        is_over, failures = False, list[Exception]()

        async def use(redis: Redis) -> None:
            while not is_over:
                try:
                    await redis.ping()
                except Exception as error:  # noqa: BLE001 - what it is, is the question
                    failures.append(error)

        async with Redis.from_pool(pool) as redis:
            users = [asyncio.create_task(use(redis)) for _ in range(30)]
            for host in ("localhost", "127.0.0.1") * 10:
                await asyncio.sleep(0.02)
                names.address = (host, one.port)
                await pool.get_master_address()
            is_over = True
            await asyncio.gather(*users)
    assert {type(each) for each in failures} == {exceptions.ConnectionError}


async def test_whoever_cannot_write_to_a_server_that_reads_nothing_is_cut_off_too(
    tmp_path: Path,
) -> None:
    with server(tmp_path) as one:
        names = Names(("127.0.0.1", one.port))
        pool = primary_pool(names)

        async def is_stuck() -> bool:
            writers = [each._writer for each in pool._in_use_connections]
            return any(each and each.transport.get_write_buffer_size() for each in writers)

        async with Redis.from_pool(pool) as redis:
            await redis.ping()
            one.stop()
            writing = asyncio.create_task(redis.set("much", b"x" * 50_000_000))
            await eventually(is_stuck)
            names.address = ("localhost", one.port)
            await pool.get_master_address()
            with pytest.raises(exceptions.ConnectionError):
                await asyncio.wait_for(writing, 10)
            one.go_on()
