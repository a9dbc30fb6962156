"""Asks Redis about itself."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ResponseError

from worker.safety import RedisFacts, facts_of


async def read_facts(redis: Redis) -> RedisFacts:
    """Read what is to be known of a Redis before it is relied on.

    Some that others manage refuse to tell; what they do not tell is not held against them.

    Raises:
        RedisError, OSError: it does not answer.
    """
    asked_at = time.time()
    seconds, microseconds = await redis.time()
    answered_at = time.time()
    skew_s = seconds + microseconds / 1e6 - (asked_at + answered_at) / 2
    in_doubt_s = (answered_at - asked_at) / 2
    try:
        info: dict[str, Any] = await redis.info()
    except ResponseError:
        info = {}
    try:
        found = await redis.config_get("appendfsync")
    except ResponseError:
        found = {}
    return facts_of(
        {**info},
        fsync=found.get("appendfsync"),
        behind_sentinels=isinstance(redis.connection_pool, SentinelConnectionPool),
        skew_s=skew_s if abs(skew_s) > in_doubt_s else 0.0,
    )
