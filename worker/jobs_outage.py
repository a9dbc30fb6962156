"""Tells once that Redis is away, and once that it is back, however many jobs notice."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import TimeoutError as NotAnsweredError

_AWAY = (NotConnectedError, NotAnsweredError, builtins.ConnectionError)

log = structlog.get_logger(__name__)


def is_away(error: BaseException) -> bool:
    """Say whether an error means that Redis does not answer, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_away, error.exceptions))
    return isinstance(error, _AWAY)


class Outage:
    """What a process has noticed of its Redis: that it is away, or is not."""

    def __init__(self) -> None:
        self._began: float | None = None

    @property
    def goes_on(self) -> bool:
        """Whether Redis is away, as far as anybody knows."""
        return self._began is not None

    def noticed(self, error: BaseException) -> None:
        """Take note of an error that `is_away`."""
        if self._began is None:
            self._began = time.monotonic()
            log.error(
                "redis is away",
                error=f"{type(error).__name__}: {error}",
                meanwhile="nothing is lost: what is due is done when it is back",
            )

    def over(self) -> None:
        """Take note that Redis has answered."""
        if self._began is not None:
            after_s, self._began = time.monotonic() - self._began, None
            log.warning("redis is back", after_s=round(after_s, 1))

    @contextmanager
    def borne(self) -> Iterator[None]:
        """Let work end early since Redis is away: what it had claimed falls due again."""
        try:
            yield
        except Exception as error:
            if not is_away(error):
                raise
            self.noticed(error)
