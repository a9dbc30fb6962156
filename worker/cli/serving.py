"""What `up`, `serve` and `work` do: read the settings, start the log, run until told to stop."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine

import uvloop

from worker import running, telemetry
from worker.config import Settings


def up() -> None:
    """Run the API and a worker. Raises ConfigurationError, as those below do."""
    _run(running.up)


def serve() -> None:
    """Run the API."""
    _run(running.serve)


def work() -> None:
    """Run a worker."""
    _run(running.work)


def _run(part: Callable[[Settings], Coroutine[None, None, None]]) -> None:
    settings = Settings.load()
    telemetry.configure(settings.log_level)
    gc.freeze()  # what the imports made stays: a fifth of a busy API's time went into walking it
    uvloop.run(part(settings))
