"""What `up`, `serve` and `work` do: read the settings, start the log, run until told to stop."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine
from functools import partial

import uvloop

from worker import running, telemetry
from worker.cli import tables
from worker.config import Settings
from worker.config_unknown import unknown_settings


def up() -> None:
    """Run the API and a worker. Raises ConfigurationError, as those below do."""
    _run(lambda settings: running.up(settings, partial(_greet, settings)))


def serve() -> None:
    """Run the API."""
    _run(running.serve)


def work() -> None:
    """Run a worker."""
    _run(running.work)


def _run(part: Callable[[Settings], Coroutine[None, None, None]]) -> None:
    settings = Settings.load()
    telemetry.configure(settings.log_level)
    for each in unknown_settings():
        telemetry.unknown_setting(each.name, each.remedy)
    gc.freeze()  # what the imports made stays: a fifth of a busy API's time went into walking it
    uvloop.run(part(settings))


def _greet(settings: Settings, url: str) -> None:
    """Tell whoever sits at a terminal where everything is; a log file gets its lines alone."""
    if not sys.stderr.isatty():
        return
    embedded = f"embedded Redis, its data in {settings.data}"
    accounts = ", ".join(settings.accounts) or "none: set LUMAAI_API_KEY=… and start again"
    tables.say("Dreamhook is up; Ctrl-C stops it, and what is tracked stays.")
    tables.say(f"  dashboard  {url}/")
    tables.say(f"  API        {url}/v1")
    tables.say(f"  reference  {url}/docs")
    tables.say(f"  accounts   {accounts}")
    tables.say(f"  state      {embedded if settings.redis_url is None else 'DREAMHOOK_REDIS_URL'}")
    tables.say("")
