"""What `up`, `serve` and `work` do: read the settings, start the log, run until told to stop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

import uvloop

from worker import running, telemetry
from worker.cli.process import complain
from worker.config import Settings

NO_ACCOUNT = (
    "no account is configured, so nothing can be tracked yet: stop this and start it again with"
    " LUMAAI_API_KEY=… (`dreamhook demo` shows how it works without a key)."
)


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
    if not settings.accounts:
        complain(NO_ACCOUNT)
    uvloop.run(part(settings))
