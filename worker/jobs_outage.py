"""Tells once that Redis is away, and once that it is back, however many jobs notice."""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as NotAnsweredError

from worker.store import ALL_IN_USE_REMEDY, all_in_use

_AWAY = (NotConnectedError, NotAnsweredError, builtins.ConnectionError)

_REFUSAL = re.compile(r"\b(NOREPLICAS Not|MASTERDOWN Link|READONLY You)\b")
"""How a server refuses that is cut off from its replicas, or is a replica itself.

redis-py has no class for the first two. For the third it has one, but does not see it if a script
was refused by Redis 6.2, which puts words of its own before it.
"""

SETTLED_S = 2.0
"""A server that refuses writes answers all else, and of many who want a connection some get one. So
that is over when it has not been noticed for so long; a worker writes every second."""

log = structlog.get_logger(__name__)


def is_away(error: BaseException) -> bool:
    """Say whether an error means that Redis cannot be used for a while, and nothing else."""
    return all(isinstance(each, _AWAY) or _refuses(each) for each in _parts(error))


def _refuses(error: BaseException) -> bool:
    is_said = isinstance(error, ResponseError) and _REFUSAL.search(str(error)) is not None
    return is_said or isinstance(error, ReadOnlyError)


def _parts(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _parts(each)
    else:
        yield error


class Outage:
    """What a process has noticed of its Redis: that it is away, or is not."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._not_over_before = 0.0
        self._told_when_over = ""

    @property
    def goes_on(self) -> bool:
        """Whether Redis is away, as far as anybody knows."""
        return self._began is not None

    def noticed(self, error: BaseException) -> None:
        """Take note of an error that `is_away`."""
        now = time.monotonic()
        if any(_refuses(each) or all_in_use(each) for each in _parts(error)):
            self._not_over_before = now + SETTLED_S
        if self._began is None:
            self._began, self._told_when_over = now, _tell(error)

    def over(self) -> None:
        """Take note that Redis has answered."""
        now = time.monotonic()
        if self._began is not None and now >= self._not_over_before:
            log.warning(self._told_when_over, after_s=round(now - self._began, 1))
            self._began = None

    @contextmanager
    def borne(self) -> Iterator[None]:
        """Let work end early since Redis is away: what it had claimed falls due again."""
        try:
            yield
        except Exception as error:
            if not is_away(error):
                raise
            self.noticed(error)


def _tell(error: BaseException) -> str:
    """Tell what has begun; gives what to say when it is over."""
    if all(map(all_in_use, _parts(error))):
        log.error("connections to redis are all in use", remedy=ALL_IN_USE_REMEDY)
        return "connections to redis are free again"
    log.error(
        "redis is away",
        error=f"{type(error).__name__}: {error}",
        meanwhile="nothing is lost: what is due is done when it is back",
    )
    return "redis is back"
