"""What `track` does: reads IDs, hands them over a thousand at a time, tells what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TextIO

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from worker.cli import tables
from worker.cli.process import Exit, complain, emit, wants_json
from worker.cli.receivers import tell_if_off
from worker.cli.routes import in_commands
from worker.cli.session import api, refusal
from worker.cli.waiting import shown, wait_for
from worker.client import Client
from worker.errors import DreamhookError, InvalidInputError
from worker.model import JsonObject

COMPLAINTS = 10
"""So many refused IDs are named one by one; the others are counted."""

SHOWN = 20
"""Of more IDs than these there is a summary, and on a terminal no list."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Generation IDs, and how many they are if that is known before they are read."""

    names: Iterator[str]
    count: int | None


def ids_of(arguments: Sequence[str], file: TextIO | None) -> Ids:
    """Go through the IDs that were typed, then through a file's; blank lines and # are comments.

    Raises:
        InvalidInputError: There is no ID at all.
    """
    lines = (line.strip() for line in file or ())
    wanted = chain(arguments, (line for line in lines if line and not line.startswith("#")))
    count = None
    if file is None or file.seekable():
        known = list(wanted)
        wanted, count = chain(known), len(known)
    first = next(wanted, None)
    if first is None:
        raise InvalidInputError("ID", "give at least one generation ID, or --file with some in it")
    # Bytes that are no text would make JSON that nobody reads; "?" is refused like any bad ID.
    names = (each.encode(errors="replace").decode() for each in chain([first], wanted))
    return Ids(names, count)


def track(account: str, wanted: Ids, terms: JsonObject, *, wait: bool, json: bool) -> Exit:
    """Track generations, then wait for them if that is asked.

    On a pipe there is a line for each: its tracker (with `wait`, when it is over), or
    `{account, generation_id, error}`.
    """
    as_json, tally, outcome = wants_json(asked=json), Tally(wanted.count), Exit.OK
    items = ({"account": account, "generation_id": each} | terms for each in wanted.names)
    names, first = list[str](), list[JsonObject]()
    with api() as client:
        for tracker in _tracked(client, items, tally, as_json=as_json):
            if tally.done - tally.refused == 1:  # they all have the same terms
                tell_if_off(client, tracker)
            if wait:
                names.append(str(tracker["generation_id"]))
            elif as_json:
                emit(tracker)
            elif len(first) <= SHOWN:
                first.append(tracker)
        if tally.done > SHOWN:
            complain(f"{tally.summary()}.")
        elif first:
            tables.show_trackers(first)
        if names:
            outcome = wait_for(client, account, names, None, json=json)
    return Exit.ERROR if tally.refused else outcome


def _tracked(
    client: Client, items: Iterator[JsonObject], tally: Tally, *, as_json: bool
) -> Iterator[JsonObject]:
    """Pass on the trackers that there are then; count all, and say what is wrong with the others.

    Raises:
        DreamhookError: As the client. What was tracked before stays tracked.
    """
    unseen = as_json and sys.stdout.isatty()  # the bar would be drawn among the lines
    try:
        with nullcontext() if unseen else shown(tally):
            for result in client.track_many(items):
                tally.take(result)
                if result.get("tracker"):
                    yield result["tracker"]
                    continue
                if as_json:
                    emit({name: result.get(name) for name in ("account", "generation_id", "error")})
                if tally.refused <= COMPLAINTS:
                    error = result.get("error") or {}
                    why = str(error.get("detail") or error)
                    complain(refusal(str(result.get("generation_id")), in_commands(why)))
    except DreamhookError:
        if tally.done:
            complain(f"{tally.summary()}, then it broke off. The same command again is safe.")
        raise


@dataclass(slots=True)
class Tally:
    """Counts what came of IDs, and draws how far it is."""

    expected: int | None
    new: int = 0
    same: int = 0
    refused: int = 0
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    @property
    def done(self) -> int:
        """How many there were."""
        return self.new + self.same + self.refused

    def take(self, result: Mapping[str, Any]) -> None:
        """Count the outcome of one."""
        if not result.get("tracker"):
            self.refused += 1
        elif result.get("status") == 200:  # noqa: PLR2004 - "the same again"
            self.same += 1
        else:
            self.new += 1

    def summary(self) -> str:
        """Say what came of them in one line.

        >>> Tally(None, new=4980, same=15, refused=5).summary()
        '5,000 IDs: 4,980 new, 15 tracked already, 5 refused'
        """
        return (
            f"{self.done:,} IDs: {self.new:,} new, {self.same:,} tracked already,"
            f" {self.refused:,} refused"
        )

    def __rich__(self) -> RenderableType:
        """Draw how far it is."""
        grid = Table.grid(padding=(0, 1))
        if self.expected is None:
            grid.add_row(self.spinner, Text(self.summary()))
        else:
            bar = ProgressBar(total=self.expected, completed=self.done, width=30)
            grid.add_row(self.spinner, bar, Text(f"{self.done:,} of {self.expected:,}"))
        return grid
