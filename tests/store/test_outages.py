"""What callers are told when Redis does not do what it is asked."""

from __future__ import annotations

import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as NotConnectedError

from worker.embedded import EmbeddedRedis
from worker.errors import UnavailableError
from worker.store import redis_may_be_away


@redis_may_be_away
async def ask(redis: Redis) -> None:
    await redis.ping()


async def test_a_caller_for_whom_no_connection_is_free_is_not_told_that_redis_is_at_fault(
    embedded: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    pool = BlockingConnectionPool.from_url(embedded.url, max_connections=1, timeout=0.05)
    async with Redis.from_pool(pool) as redis:
        taken = await pool.get_connection()
        with pytest.raises(UnavailableError, match=r"^All connections of this process"):
            await ask(redis)
        await pool.release(taken)
        await ask(redis)
    assert "run more processes" in caplog.text


async def test_a_redis_that_does_not_answer_is_told_by_the_kind_of_its_error() -> None:
    @redis_may_be_away
    async def refused() -> None:
        raise NotConnectedError("refused")

    with pytest.raises(UnavailableError, match=r"does not answer as it should \(ConnectionError\)"):
        await refused()
