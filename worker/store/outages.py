"""What callers are told while Redis is away: where its errors turn into ours."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import OutOfMemoryError, RedisError

from worker.errors import UnavailableError

Params = ParamSpec("Params")
Result = TypeVar("Result")

FULL_RETRY_S = 10.0
"""When to try again after Redis was full: soon enough to be in time once something has ended."""

ALL_IN_USE_REMEDY = (
    "see whether Redis is slow (`redis-cli --latency`, `SLOWLOG GET`); if it is not, run more"
    " processes"
)

log = logging.getLogger(__name__)


def all_in_use(error: BaseException) -> bool:
    """Say whether Redis was not even asked, since no connection of the pool became free in time.

    redis-py has no class for that, only these words of its `BlockingConnectionPool`.
    """
    return isinstance(error, NotConnectedError) and str(error) == "No connection available."


def redis_may_be_away(
    use_case: Callable[Params, Awaitable[Result]],
) -> Callable[Params, Coroutine[Any, Any, Result]]:
    """Let a use case raise `UnavailableError` when Redis does not do what it is asked.

    Every use case may be asked again, so that is the advice; what Redis said goes to the log.
    """

    @functools.wraps(use_case)
    async def told(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        try:
            return await use_case(*args, **kwargs)
        except (RedisError, OSError) as error:
            if all_in_use(error):
                log.error("all connections to Redis are in use: %s", ALL_IN_USE_REMEDY)  # noqa: TRY400 - no bug
                raise UnavailableError(
                    "All connections of this process to Redis are in use. Try again in a moment."
                ) from error
            log.error("Redis failed: %s: %s", type(error).__name__, error)  # noqa: TRY400 - no bug
            if isinstance(error, OutOfMemoryError):
                raise UnavailableError(
                    "Redis is full (maxmemory), so nothing new can be taken in; what is tracked "
                    "goes on. Raise maxmemory, or wait until what is finished has made room.",
                    retry_after=FULL_RETRY_S,
                ) from error
            raise UnavailableError(
                f"Redis does not answer as it should ({type(error).__name__}). Try again in a"
                " moment.",
            ) from error

    return told
