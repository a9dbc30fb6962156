"""Connects to Redis: the embedded one, one server, or whichever server the Sentinels name."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import TimeoutError as NotAnsweredError

from worker.cancelling import until_ended
from worker.config import Settings
from worker.config_redis import TLS_FILES, RedisPlace, credentials_of_sentinels, redis_place
from worker.embedded import EmbeddedRedis
from worker.errors import ConfigurationError, RedisAwayError
from worker.jobs_starting import deserialize, serialize
from worker.store import Store

CONNECTIONS = 64
TIMEOUT_S = 20.0
"""A connection that has gone silent for so long is given up; no script takes a second."""

CONNECT_S = 5.0
"""A machine that does not answer at all, as one that has lost its power, is given up sooner."""

SENTINEL_TIMEOUT_S = 2.0
"""A Sentinel that has not answered by then is passed over for the next one."""

FOLLOW_S = 1.0
CANCEL_AGAIN_S = 0.1

_POOL: dict[str, Any] = {
    "max_connections": CONNECTIONS,
    "timeout": TIMEOUT_S,
    "socket_timeout": TIMEOUT_S,
    "socket_connect_timeout": CONNECT_S,
    "health_check_interval": 30,
}


def steady(kind: type[Connection]) -> type[Connection]:
    """Make a kind of connection that says so if it breaks between two steps of whoever uses it.

    redis-py or uvloop say something else then, which is taken for a bug, and nobody bears it.
    """

    class Steady(kind):  # type: ignore[misc, valid-type]
        async def _send_packed_command(self, command: Iterable[bytes]) -> None:
            try:
                await super()._send_packed_command(command)
            except (AttributeError, RuntimeError) as error:  # its writer, its transport has gone
                raise NotConnectedError(f"it has just broken: {error}") from error

    return Steady


class _Sentinels(Sentinel):
    """Sentinels of which most are heard, where redis-py believes the first that answers.

    One that is cut off together with a primary goes on naming it. The others, when they have made
    another server primary, have a greater configuration epoch, and among most there is one of them:
    https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/#configuration-epochs
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Give the primary's address as those say who know the newest.

        Raises:
            MasterNotFoundError: none answers, or to them the primary is down.
        """
        asked = [asyncio.create_task(_asked(each, service_name)) for each in self.sentinels]
        try:
            await _most(asked)
        finally:
            await until_ended(*asked, again_s=CANCEL_AGAIN_S)
        told = [each.result() for each in asked if not each.cancelled()]
        newest = max((each for each in told if isinstance(each, dict)), key=_standing, default={})
        if newest and self.check_master_state(newest, service_name):
            return newest["ip"], newest["port"]
        errors = [each for each in told if isinstance(each, Exception)]
        why = "".join(f"; {type(each).__name__}: {each}" for each in errors)
        refusal = next((each for each in errors if not _may_come(each)), None)
        raise MasterNotFoundError(f"No master found for {service_name!r}{why}") from refusal


async def _most(asked: Collection[asyncio.Task[Any]]) -> None:
    """Wait until most have told what they know, or all have answered something."""
    waiting = set(asked)
    while waiting:
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        told = sum(each.done() and isinstance(each.result(), dict) for each in asked)
        if 2 * told > len(asked):
            return


async def _asked(sentinel: Redis, service: str) -> dict[str, Any] | Exception | None:
    """Ask a Sentinel what it knows of a service; None: nothing."""
    try:
        services: dict[str, dict[str, Any]] = await sentinel.sentinel_masters()  # type: ignore[no-untyped-call]
    except (RedisError, OSError) as error:
        return error
    return services.get(service)


def _standing(state: Mapping[str, Any]) -> tuple[int, bool, bool]:
    """Say whom to believe: who leads a failover knows its epoch before the new address.

    Of those that know as much, one by itself may not reach the primary: that is no failover.
    """
    is_down = state["is_sdown"] or state["is_odown"]
    return state["config-epoch"], "failover_in_progress" not in state["flags"], not is_down


class _PrimaryPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the server that the Sentinels name, and to no other."""

    async def get_master_address(self) -> tuple[str, int]:
        """Ask the Sentinels, and cut the connections to any server but the one they name.

        redis-py cuts those that are idle. In one that is in use somebody waits for a server that is
        cut off, and closes nothing; or that is back, and would take writes until the Sentinels
        make it a replica, which throws them away. What has not been sent is dropped: to close a
        connection is to wait until that has been read.
        """
        address: tuple[str, int] = await super().get_master_address()  # type: ignore[no-untyped-call]
        for each in (*self._available_connections, *self._in_use_connections):
            if each.is_connected and (each.host, each.port) != address:  # type: ignore[attr-defined]
                each._writer.transport.abort()  # type: ignore[union-attr]  # noqa: SLF001
                await each.disconnect(nowait=True)
        return address

    async def follow(self) -> None:
        """Ask the Sentinels every second, until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            with suppress(RedisError, OSError):
                await self.get_master_address()


@asynccontextmanager
async def connected(settings: Settings, *, may_be_away: bool = False) -> AsyncIterator[ArqRedis]:
    """Connect to the configured Redis, or to the embedded one, which is started if need be.

    Args:
        settings: where it is.
        may_be_away: whether it will do if it does not answer yet.

    Raises:
        RedisAwayError: it does not answer.
        ConfigurationError: it refuses, or cannot be relied on; says what to change.
    """
    if settings.is_divided:
        raise ConfigurationError(
            "DREAMHOOK_CELLS: this is about one cell. Set DREAMHOOK_CELL to its name, one of"
            f" {', '.join(settings.cells)}; `serve` alone is about all of them."
        )
    async with AsyncExitStack() as stack:
        url = settings.redis_url
        if url is None:
            url = (await _embedded(stack, settings.data)).url
        pool = await stack.enter_async_context(_pooled(redis_place(url)))
        redis = ArqRedis(pool, job_serializer=serialize, job_deserializer=deserialize)
        await _check(redis, settings, may_be_away=may_be_away)
        yield redis


async def _embedded(stack: AsyncExitStack, data: Path) -> EmbeddedRedis:
    """Start the embedded Redis. The stack stops it, or gives it up where it still starts."""
    given_up = threading.Event()
    starting = asyncio.create_task(asyncio.to_thread(EmbeddedRedis.start, data, given_up=given_up))
    stack.push_async_callback(_stopped, starting)
    stack.callback(given_up.set)
    await asyncio.wait({starting})
    return starting.result()


async def _stopped(starting: asyncio.Task[EmbeddedRedis]) -> None:
    """Stop it, if it has started; who gives this up has to wait for that all the same."""
    while not starting.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({starting})
    if starting.exception() is None:
        await asyncio.to_thread(starting.result().stop)


@asynccontextmanager
async def _pooled(place: RedisPlace) -> AsyncIterator[BlockingConnectionPool]:
    """Keep connections to a place.

    They are made here and not by arq, whose settings know no time-outs and no password of
    Sentinels.
    """
    _find_files(place)
    async with AsyncExitStack() as stack:
        pool: BlockingConnectionPool
        options: dict[str, Any] = {**_POOL, **parse_url(place.url)}
        kind = options.pop("connection_class", Connection)
        if place.sentinels:
            over_tls = kind is not Connection
            for address in ("host", "port"):  # which the Sentinels tell
                options.pop(address, None)
            sentinels = _sentinels(place, options, over_tls=over_tls)
            for each in sentinels.sentinels:
                stack.push_async_callback(each.aclose)
            kind = SentinelManagedSSLConnection if over_tls else SentinelManagedConnection
            pool = _PrimaryPool(place.service, sentinels, connection_class=steady(kind), **options)  # type: ignore[no-untyped-call]
            stack.push_async_callback(ended, asyncio.create_task(pool.follow()))
        else:
            pool = BlockingConnectionPool(connection_class=steady(kind), **options)
        stack.push_async_callback(pool.aclose)
        yield pool


def _find_files(place: RedisPlace) -> None:
    """Make sure that the files of TLS are there: Python's own error does not name them."""
    for name in TLS_FILES:
        path = place.parameters.get(name)
        if path is not None and not Path(path).is_file():
            raise ConfigurationError(
                f"DREAMHOOK_REDIS_URL: there is no file {path}, which its {name} names."
            )


def _sentinels(place: RedisPlace, options: dict[str, Any], *, over_tls: bool) -> _Sentinels:
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    of_their_own = {
        **tls,
        **credentials_of_sentinels(place),
        "ssl": over_tls,
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
    }
    return _Sentinels(place.sentinels, sentinel_kwargs=of_their_own)  # type: ignore[no-untyped-call]


async def _check(redis: ArqRedis, settings: Settings, *, may_be_away: bool) -> None:
    store = Store(redis, prefix=settings.prefix, retention_s=settings.retention_s)
    try:
        await store.check()
    except (RedisError, OSError) as error:
        if may_be_away:
            return
        where = "the embedded Redis" if settings.redis_url is None else "DREAMHOOK_REDIS_URL"
        kind = RedisAwayError if _may_come(error) else ConfigurationError
        raise kind(
            f"Redis does not answer ({type(error).__name__}: {error}). Check {where}."
        ) from error


def _may_come(error: BaseException) -> bool:
    """Say whether to wait is worth while: not if it has refused us, or we its certificate."""
    if not isinstance(error, NotConnectedError | NotAnsweredError | OSError):
        return False
    refused = (AuthenticationError, AuthorizationError, ssl.SSLError)
    return not (
        isinstance(error.__cause__, ResponseError)  # of a Sentinel, or of what is none
        or any(isinstance(each, refused) for each in _causes(error))
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended."""
    await until_ended(task, again_s=CANCEL_AGAIN_S)
