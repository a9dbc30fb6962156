"""Waits for the ends of generations, with a line on the terminal that tells how long they take."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from time import monotonic

from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from worker.cli import tables
from worker.cli.finding import in_its_account
from worker.cli.process import Exit, complain, emit, ended_by_signals, printable, wants_json
from worker.cli.session import api, complain_of, tell_away, unserved
from worker.cli.words import duration, estimate_of, health_of, reason_of
from worker.client import Client, StillAwayError
from worker.errors import DreamhookError
from worker.model import JsonObject, State

STEP_S = 5.0
"""Whoever sits at a terminal sees the provider's state, at most so old."""

_BAR, _ID = 16, 16

EXIT_OF_STATE = {
    State.COMPLETED: Exit.OK,
    State.FAILED: Exit.FAILED,
    State.EXPIRED: Exit.EXPIRED,
    State.CANCELED: Exit.CANCELED,
    State.TRACKING: Exit.TIMED_OUT,
}


def wait(
    account: str | None, generation_ids: Sequence[str], timeout_s: float | None, *, json: bool
) -> Exit:
    """Wait for the ends of generations, all against one time-out."""
    with api() as client:
        return wait_for(client, account, generation_ids, timeout_s, json=json)


def wait_for(
    client: Client,
    account: str | None,
    generation_ids: Sequence[str],
    timeout_s: float | None,
    *,
    json: bool,
) -> Exit:
    """Wait as `wait` does, with a client that is there already."""
    as_json, outcome = wants_json(asked=json), Exit.OK
    until = None if timeout_s is None else monotonic() + timeout_s
    line = Line([], len(generation_ids))
    for number, generation_id in enumerate(generation_ids):
        line.begin(generation_id, number)
        left = None if until is None else max(0.0, until - monotonic())
        try:
            with shown(line):
                tracker = in_its_account(
                    client, account, generation_id, partial(_end_of, client, line, left)
                )
        except StillAwayError as error:
            complain_of(generation_id, str(error), as_json=as_json)
            outcome = outcome or Exit.TIMED_OUT
            continue
        if as_json:
            emit(tracker)
        else:
            tables.show_end(tracker)
        outcome = outcome or EXIT_OF_STATE.get(tracker["state"], Exit.ERROR)
    return outcome


def _end_of(client: Client, line: Line, left: float | None, account: str) -> JsonObject:
    """Wait for the end of what the line is about, in this account."""

    def tell(tracker: JsonObject) -> None:
        line.accounts = _known(client, account)
        line.tell(tracker, unserved(client, tracker))

    if sys.stderr.isatty():
        with suppress(DreamhookError):  # the wait itself will tell what is wrong
            tell(client.get(account, line.generation_id))  # there is something to see at once
    return client.wait(
        *(account, line.generation_id),
        timeout_s=left,
        step_s=STEP_S,
        tell=tell,
        tell_away=tell_away,
    )


@dataclass(slots=True)
class Line:
    """What is waited for, as a line that is drawn anew a few times a second."""

    accounts: Sequence[JsonObject]
    total: int
    generation_id: str = ""
    done: int = 0
    tracker: JsonObject | None = None
    trouble: str | None = None
    complaints: set[str] = field(default_factory=set)
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def begin(self, generation_id: str, done: int) -> None:
        """Go on with the next one."""
        self.generation_id, self.done, self.tracker = generation_id, done, None

    def tell(self, tracker: JsonObject, nobody: str | None = None) -> None:
        """Note how it stands, and that `nobody` sees to it.

        Without a terminal say what keeps it: once, unless a look has shown it meanwhile.
        """
        self.tracker, self.trouble = tracker, nobody or trouble_of(tracker, self.accounts)
        error = tracker.get("current_error")
        what = self.trouble or (f"{_failed(error)}; looking again" if error else None)
        if what is None:
            self.complaints.clear()
        elif what not in self.complaints and not sys.stderr.isatty():
            self.complaints.add(what)
            complain(f"{self.generation_id}: {what}")

    def __rich__(self) -> RenderableType:
        """Draw the line as it is now."""
        return self.drawn(datetime.now(UTC))

    def drawn(self, now: datetime) -> RenderableType:
        """Draw the line."""
        grid = Table.grid(padding=(0, 1))
        parts: list[RenderableType] = [self.spinner]
        if self.total > 1:
            parts += [
                Text(f"{self.done} of {self.total} over"),
                ProgressBar(total=self.total, completed=self.done, width=_BAR),
            ]
        parts.append(Text(abridged(printable(self.generation_id)), "bold", no_wrap=True))
        if self.tracker is not None:
            age_s, expected = self._progress(self.tracker, now)
            if expected and self.total == 1:
                bar = ProgressBar(total=expected[1], completed=min(age_s, expected[1]), width=_BAR)
                parts.append(bar)
            words = said(self.tracker, age_s, expected, self.trouble)
            parts.append(Text(words, no_wrap=True, overflow="ellipsis"))
        grid.add_row(*parts)
        return grid

    def _progress(
        self, tracker: JsonObject, now: datetime
    ) -> tuple[float, tuple[float, float] | None]:
        began = datetime.fromisoformat(tracker["tracked_at"])
        age_s = max(0.0, (now - began).total_seconds())
        return age_s, estimate_of(tracker, self.accounts)


def abridged(generation_id: str) -> str:
    """Leave room on the line: whoever waits knows the ID.

    >>> abridged("63c2c9b5-b143-4242-bb3f-f5ab57ba27c2"), abridged("dream-1")
    ('63c2c9b5-b14…', 'dream-1')
    """
    return generation_id if len(generation_id) <= _ID else f"{generation_id[: _ID - 4]}…"


def trouble_of(tracker: JsonObject, accounts: Sequence[JsonObject]) -> str | None:
    """Say that a tracker's account is in trouble, if it is: as itself says, or its account.

    >>> held = {"reason": "credentials rejected", "detail": "401 Unauthorized"}
    >>> trouble_of({"held": held}, [])
    'its account is in trouble: credentials rejected (401 Unauthorized)'
    >>> trouble_of({}, [{"configured": True, "health": held | {"ok": False}}])
    'its account is in trouble: credentials rejected (401 Unauthorized)'
    """
    held = tracker.get("held")
    words = [reason_of(held)] if held else []
    words += [health_of(each).partition("problem: ")[2] for each in accounts]
    found = next(filter(None, words), None)
    return f"its account is in trouble: {found}" if found else None


def said(
    tracker: JsonObject,
    age_s: float,
    expected: tuple[float, float] | None,
    trouble: str | None = None,
) -> str:
    """Say how it stands and how long it usually takes, or what keeps it.

    >>> said({"provider_state": "dreaming"}, 41.0, (88.0, 112.0))
    'dreaming, 41 s; half take 88 s, 9 in 10 112 s'
    """
    text = f"{printable(tracker.get('provider_state') or 'tracking')}, {duration(max(1, age_s))}"
    if trouble:
        return f"{text}; {printable(trouble)}"
    if tracker.get("current_error"):
        return f"{text}; {_failed(printable(tracker['current_error']))}"
    if expected is None:
        return text
    return f"{text}; half take {duration(expected[0])}, 9 in 10 {duration(expected[1])}"


def _failed(error: str) -> str:
    return f"the last look failed: {error}"


def _known(client: Client, account: str) -> list[JsonObject]:
    """Get what was learned of the account, if anybody will see it."""
    if not sys.stderr.isatty():
        return []
    try:
        return [each for each in client.accounts() if each.get("name") == account]
    except DreamhookError:  # the wait itself will tell what is wrong
        return []


@contextmanager
def shown(what: RenderableType) -> Iterator[None]:
    """Show something beside the output for a while, if that is a terminal; leave no trace of it."""
    if not sys.stderr.isatty():
        yield
        return
    live = Live(
        what,
        console=tables.notes(),
        transient=True,
        refresh_per_second=5,
        redirect_stdout=False,  # what is printed is not for here; complaints go above the line
    )
    with ended_by_signals(), live:
        yield
