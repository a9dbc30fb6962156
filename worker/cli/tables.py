"""What people see on a terminal. Every text is shown as it is: no markup, no control characters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from worker.cli.process import printable
from worker.model import JsonObject

STYLES = {
    "completed": "green",
    "delivered": "green",
    "ok": "green",
    "failed": "red",
    "exhausted": "red",
    "problem": "red",
    "expired": "yellow",
    "warning": "yellow",
    "canceled": "bright_black",
    "tracking": "cyan",
    "pending": "cyan",
    "discarded": "bright_black",
}
"""By the first word of a text."""

_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))


def screen() -> Console:
    """Get what writes to the terminal, without its guesses at what might be markup or a number."""
    return Console(markup=False, highlight=False, emoji=False)


def styled(text: object) -> Text:
    """Make a text that a terminal only shows, in the colour of its first word."""
    shown = printable(text)
    return Text(shown, STYLES.get(shown.partition(" ")[0], ""))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, unless it is empty.

    The first column is never broken, so that an ID can be copied; the others are folded to fit.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(styled, row))
    if table.row_count:
        screen().print(table)


def show_fields(fields: Iterable[tuple[str, object]], *, indent: str = "") -> None:
    """Print names and values, each on a line that is not broken: a URL must stay one.

    What is absent or empty is left out.
    """
    present = [(name, value) for name, value in fields if value not in (None, "")]
    width = max((len(name) for name, _ in present), default=0)
    for name, value in present:
        label = Text(f"{indent}{printable(name):<{width}}  ", "bold")
        screen().print(Text.assemble(label, styled(value)), soft_wrap=True)


def show_heading(title: str, verdict: str, *, is_good: bool) -> None:
    """Print the time of day, a title, and whether it is good."""
    line = Text.assemble(
        (f"{datetime.now().astimezone():%H:%M:%S}  ", "bright_black"),
        (printable(title) + ("  " if title else ""), "bold"),
        (printable(verdict), "green" if is_good else "red"),
    )
    screen().print(line, soft_wrap=True)


def notice(text: str) -> Status:
    """Show on the terminal, beside the output, what is waited for while a context lasts."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    return console.status(Text(printable(text)))


# --- trackers -------------------------------------------------------------------------------------


def state_of(tracker: JsonObject) -> str:
    """Say how a tracker stands, and why, in a few words.

    >>> state_of({"state": "tracking", "provider_state": "dreaming"})
    'tracking (dreaming)'
    """
    state = str(tracker["state"])
    why = {
        "tracking": tracker.get("provider_state"),
        "failed": tracker.get("failure_reason"),
        "expired": tracker.get("reason"),
    }.get(state)
    return f"{state} ({why})" if why else state


def age(at: str | None, now: datetime) -> str:
    """Say how long ago an RFC 3339 time was.

    >>> age("2026-01-01T00:00:00.000Z", datetime(2026, 1, 1, 0, 2, 30, tzinfo=UTC))
    '2 min'
    """
    if at is None:
        return ""
    seconds = int((now - datetime.fromisoformat(at)).total_seconds())
    for unit_s, unit in _AGES:
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s} {unit}"
    return f"{max(seconds, 0)} s"


def show_trackers(trackers: Iterable[JsonObject]) -> None:
    """Print trackers as a table; on 80 columns there is room for accounts only if they differ."""
    now, found = datetime.now(UTC), list(trackers)
    columns: dict[str, list[object]] = {
        "Generation": [each["generation_id"] for each in found],
        "State": [state_of(each) for each in found],
        "Model": [each.get("model") or "" for each in found],
        "Account": [each["account"] for each in found],
        "Age": [age(each.get("tracked_at"), now) for each in found],
        "Looks": [each.get("polls", "") for each in found],
    }
    if len(set(columns["Account"])) == 1:
        del columns["Account"]
    show_table(list(columns), zip(*columns.values(), strict=True))


def show_tracker(tracker: JsonObject) -> None:
    """Print all that there is to say about one tracker, but the provider's own object."""
    metadata = tracker.get("metadata")
    finished = tracker.get("finished_at")
    show_fields(
        [
            ("generation", tracker["generation_id"]),
            ("account", f"{tracker['account']} (provider {tracker.get('provider')})"),
            ("state", state_of(tracker)),
            ("model", tracker.get("model")),
            *_assets(tracker),
            ("last error", tracker.get("last_error")),
            ("callback_url", tracker.get("callback_url")),
            ("endpoint", tracker.get("endpoint")),
            ("events", ", ".join(tracker.get("events") or ())),
            ("metadata", json.dumps(metadata, ensure_ascii=False) if metadata else None),
            ("tracked at", tracker.get("tracked_at")),
            ("seen at", tracker.get("seen_at")),
            ("finished at", finished),
            ("next look at", tracker.get("next_poll_at")),
            ("deadline at", None if finished else tracker.get("deadline_at")),
            ("looks", f"{tracker.get('polls', 0)}, {tracker.get('poll_errors', 0)} failed"),
        ]
    )


def show_end(tracker: JsonObject) -> None:
    """Print how a tracker ended, and where what was made is to be had."""
    line = Text.assemble(styled(state_of(tracker)), "  ", printable(tracker["generation_id"]))
    screen().print(line, soft_wrap=True)
    show_fields(_assets(tracker), indent="  ")


def show_timeline(entries: Iterable[JsonObject]) -> None:
    """Print what happened, oldest first."""
    rows = (
        (
            entry["at"],
            entry["kind"],
            ", ".join(
                f"{name}: {value}"
                for name, value in entry.items()
                if name not in ("at", "kind") and value is not None
            ),
        )
        for entry in entries
    )
    show_table(("At", "What", "Details"), rows)


# --- deliveries -----------------------------------------------------------------------------------


def show_deliveries(deliveries: Iterable[JsonObject]) -> None:
    """Print deliveries as a table; what they are about and to whom is in the JSON, and too long."""
    now = datetime.now(UTC)
    rows = (
        (
            each["id"],
            each["state"],
            each["type"].removeprefix("generation."),
            age(each.get("created_at"), now),
            last_attempt(each.get("attempts") or ()),
        )
        for each in deliveries
    )
    show_table(("Delivery", "State", "Event", "Age", "Attempts"), rows)


def last_attempt(attempts: Sequence[JsonObject]) -> str:
    """Say how many attempts there were and how the last one ended.

    >>> last_attempt([{"status": None, "error": "no answer"}, {"status": 503, "error": None}])
    '2, HTTP 503'
    """
    if not attempts:
        return "0"
    last = attempts[-1]
    return f"{len(attempts)}, {last.get('error') or 'HTTP ' + str(last.get('status'))}"


def _assets(tracker: JsonObject) -> list[tuple[str, object]]:
    return list((tracker.get("assets") or {}).items())
