"""Fixtures that many tests share: a store on fakeredis and on the embedded server."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from tests.redis_servers import embed_the_chosen
from worker.embedded import EmbeddedRedis
from worker.store import Store

PREFIX = "test"
RETENTION_S = 600.0

# On a busy machine it may take its time to make examples up, and to try them. That is no failure.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def chosen_server() -> Iterator[None]:
    """Run what is embedded with another server, if one was asked for."""
    with pytest.MonkeyPatch.context() as patch:
        embed_the_chosen(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let processes be interrupted: a shell has what it runs in the background ignore that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One embedded server for all tests; each empties it first."""
    with EmbeddedRedis.start(tmp_path_factory.mktemp("embedded")) as server:
        yield server


@pytest.fixture(params=["fakeredis", "embedded"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """An empty Redis: the test runs once on each kind."""
    if request.param == "fakeredis":
        client: Redis = FakeAsyncRedis(server=FakeServer())
    else:
        client = Redis.from_url(request.getfixturevalue("embedded").url)
        await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(autouse=True)
def drains_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a drain end with its work; how long it stays for more is tested for itself."""
    monkeypatch.setattr("worker.drain.STAY_S", 0.0)


@pytest.fixture
def store(redis: Redis) -> Store:
    """An empty store."""
    return Store(redis, prefix=PREFIX, retention_s=RETENTION_S)
