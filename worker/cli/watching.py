"""What `top` does: asks for figures, listens to events, draws both until somebody quits.

Two threads ask the API, and put what they hear into a `View`; this one draws it and reads keys.
They are daemons: one may hang in an answer that is slow to come, and nobody waits for that.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import FrameType

from rich.live import Live

from worker.cli import keyboard, tables
from worker.cli.board import LISTINGS, Listing, View, board
from worker.cli.keyboard import keys
from worker.cli.process import emit, ended_by_signals, wants_json
from worker.cli.session import api, tell_away
from worker.client import (
    PATIENCE_S,
    PAUSE_S,
    ApiError,
    Client,
    Event,
    Outage,
    UnreachableError,
    is_away,
)
from worker.errors import DreamhookError
from worker.model import JsonObject

ROWS = 50
DRAW_EVERY_S = 0.25
AGAIN_S = 2.0
HEARD_SINCE = timedelta(minutes=10)
TYPES = ("generation", "endpoint", "delivery.exhausted")


def top(account: str | None, interval_s: float, *, json: bool) -> None:
    """Watch the queue until somebody quits; on a pipe, print its figures once."""
    with api() as client:
        if wants_json(asked=json):
            emit(_figures(client))
            return
        watch = Watch(client, _first_view(client), account, interval_s)
        with watch.threads(), ended_by_signals():
            _show(watch)


def _figures(client: Client) -> JsonObject:
    """Get the figures; an API that is away for a while is waited for, as `wait` does."""
    outage = Outage()
    while True:
        try:
            return client.stats()
        except (ApiError, UnreachableError) as error:
            if outage.bear(error, time.monotonic(), patience_s=PATIENCE_S):
                tell_away(error)
            after_s = error.retry_after_s if isinstance(error, ApiError) else None
            time.sleep(min(PATIENCE_S, max(PAUSE_S, after_s or 0.0)))


def _first_view(client: Client) -> View:
    """Ask once, so that what is no API is told; one that is away for a while is waited for."""
    try:
        return View(client.url, client.stats())
    except ApiError as error:
        if not is_away(error):
            raise
        return View(client.url, {}, problem=str(error))


@dataclass(slots=True)
class Watch:
    """What is watched, and what is known of it."""

    client: Client
    view: View
    account: str | None
    interval_s: float
    heard: str | None = None
    over: threading.Event = field(default_factory=threading.Event)
    at_once: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Ask and listen beside what goes on in this context."""
        for work in (self._ask, self._listen):
            threading.Thread(target=self._until_over, args=[work], daemon=True).start()
        try:
            yield
        finally:
            self.over.set()

    def _until_over(self, work: Callable[[], None]) -> None:
        try:
            while not self.over.is_set():
                work()
        except Exception:
            if not self.over.is_set():  # else it is the client, which was closed under it
                raise

    def _ask(self) -> None:
        """Ask for figures and for the list that is shown."""
        self.at_once.clear()
        listing = self.view.listing
        try:
            stats, rows = self.client.stats(), list(self._rows(listing))
        except DreamhookError as error:
            self._note(problem=str(error))
        else:
            self._note(stats=stats, problem=None)
            if listing is self.view.listing:
                self._note(rows=rows)
        self.at_once.wait(self.interval_s)

    def _listen(self) -> None:
        """Listen to events, those of the last minutes first; go on when that breaks off."""
        since = None if self.heard else _minutes_ago()
        try:
            events = self.client.events(
                types=TYPES, account=self.account, since=since, after=self.heard
            )
            for event in events:
                self.heard = event.id or self.heard
                self._hear(event)
        except DreamhookError as error:
            self._note(problem=str(error))
        self.over.wait(AGAIN_S)

    def show_next(self) -> None:
        """Show the next list."""
        following = LISTINGS.index(self.view.listing) + 1
        self._note(listing=LISTINGS[following % len(LISTINGS)], rows=())
        self.at_once.set()

    def drawn_from(self) -> View:
        """Get what to draw: what is known, so that it does not change meanwhile."""
        with self.lock:
            view = copy(self.view)
            view.events = self.view.events.copy()
            return view

    def _hear(self, event: Event) -> None:
        if event.type == "stream.gap":
            self.at_once.set()
            return
        with self.lock:
            self.view.events.append(event.body)

    def _rows(self, wanted: Listing) -> Iterator[JsonObject]:
        if wanted.path == "trackers":
            found = self.client.trackers(state=wanted.state, account=self.account, page=ROWS)
        else:
            found = self.client.deliveries(state=wanted.state, account=self.account, page=ROWS)
        return islice(found, ROWS)

    def _note(self, **news: object) -> None:
        with self.lock:
            for name, value in news.items():
                setattr(self.view, name, value)


def _show(watch: Watch) -> None:
    with _stops() as stop:
        while _shown_until(stop, watch):
            # The terminal is as it was: now Ctrl-Z may do what it does.
            stop.clear()
            os.kill(os.getpid(), signal.SIGSTOP)


def _shown_until(stop: threading.Event, watch: Watch) -> bool:
    """Draw and read keys, on a screen of its own; tell whether it was left only to stop."""
    console = tables.screen()
    live = Live(console=console, screen=True, auto_refresh=False)
    shown = watch.drawn_from()
    with keys() as read, live:
        while not stop.is_set():
            if not watch.view.is_paused:
                shown = watch.drawn_from()
            shown.is_paused = watch.view.is_paused
            live.update(board(shown, datetime.now(UTC), console.width), refresh=True)
            if not _obeyed(read(DRAW_EVERY_S), watch):
                return False
    return True


def _obeyed(key: str, watch: Watch) -> bool:
    """Do what a key says; tell whether to go on."""
    match key:
        case "q" | "Q" | keyboard.HUNG_UP:
            return False
        case "p" | " ":
            watch.view.is_paused = not watch.view.is_paused
        case "\t":
            watch.show_next()
    return True


@contextmanager
def _stops() -> Iterator[threading.Event]:
    """Note that somebody typed Ctrl-Z, instead of stopping with the terminal as `top` has it."""
    stop = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = signal.signal(signal.SIGTSTP, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTSTP, before)


def _minutes_ago() -> str:
    return (datetime.now(UTC) - HEARD_SINCE).isoformat().replace("+00:00", "Z")
