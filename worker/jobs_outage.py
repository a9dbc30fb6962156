"""An outage of Redis, told once, and once that it is back, however many jobs notice."""

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

_AWAY = (NotConnectedError, NotAnsweredError, builtins.ConnectionError)

_REFUSAL = re.compile(r"\b(NOREPLICAS Not|MASTERDOWN Link|READONLY You)\b")
"""How a server refuses that is cut off from its replicas, or is a replica itself.

redis-py has no class for the first two. For the third it has one, but does not see it if a script
was refused by Redis 6.2, which puts words of its own before it.
"""

WRITTEN_S = 2.0
"""A server that refuses writes answers all else. A worker writes every second: if nothing has been
refused for so long, it writes again."""

log = structlog.get_logger(__name__)


def is_away(error: BaseException) -> bool:
    """Say whether an error means that Redis does not answer, or takes no writes; nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_away, error.exceptions))
    return isinstance(error, _AWAY) or _refuses_writes(error)


def _refuses_writes(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_refuses_writes, error.exceptions))
    is_one = isinstance(error, ResponseError) and _REFUSAL.search(str(error))
    return isinstance(error, ReadOnlyError) or bool(is_one)


class Outage:
    """What a process has noticed of its Redis: that it is away, or is not."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._not_over_before = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether Redis is away, as far as anybody knows."""
        return self._began is not None

    def noticed(self, error: BaseException) -> None:
        """Take note of an error that `is_away`."""
        now = time.monotonic()
        if _refuses_writes(error):
            self._not_over_before = now + WRITTEN_S
        if self._began is None:
            self._began = now
            log.error(
                "redis is away",
                error=f"{type(error).__name__}: {error}",
                meanwhile="nothing is lost: what is due is done when it is back",
            )

    def over(self) -> None:
        """Take note that Redis has answered."""
        now = time.monotonic()
        if self._began is not None and now >= self._not_over_before:
            log.warning("redis is back", after_s=round(now - self._began, 1))
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
