"""What `top` shows, drawn from what it knows; every text is shown as it is. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.layout import Layout
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from worker.cli.owed import last_attempt, next_of, standing_of
from worker.cli.process import printable
from worker.cli.tables import STYLES, styled
from worker.cli.words import age, duration, lacks_worker, pause_of
from worker.figures import NO_WORKER
from worker.model import JsonObject

KEPT_EVENTS = 200
NARROW = 150
"""On fewer columns the lists stand below each other."""

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN_TROUBLES = 4
_STANDING, _ACCOUNT = 2, 16
"""The column that says how a tracker stands; so much is shown of its account's name at most."""

_BESIDE = len("last hour") + 4
"""What stands beside the bars of an hour, with the padding."""

_ID = len("63c2c9b5-b143-4242-bb3f-f5ab57ba27c2")


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that can be shown: what to ask for, and how it is called."""

    title: str
    path: str
    state: str


LISTINGS = (
    Listing("Tracking", "trackers", "tracking"),
    Listing("Webhooks pending", "deliveries", "pending"),
    Listing("Webhooks exhausted", "deliveries", "exhausted"),
    Listing("Failed", "trackers", "failed"),
    Listing("Expired", "trackers", "expired"),
    Listing("Completed", "trackers", "completed"),
)


@dataclass(slots=True)
class View:
    """All that `top` knows at a moment."""

    url: str
    stats: JsonObject
    events: deque[JsonObject] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))
    listing: Listing = LISTINGS[0]
    rows: Sequence[JsonObject] = ()
    problem: str | None = None
    is_paused: bool = False


def board(view: View, now: datetime, width: int) -> Layout:
    """Draw the whole screen."""
    troubles = list(troubles_of(view.stats, now))
    whole, lists = Layout(), Layout(ratio=1)
    parts = [
        Layout(_head(view, now), size=1),
        Layout(_figures(view.stats, width), size=4),
    ]
    if troubles:
        parts.append(Layout(_troubles(troubles), size=1 + min(len(troubles), _SHOWN_TROUBLES + 1)))
    happened = Layout(_happened(view.events, now))
    listed = Layout(_listed(view.listing, view.rows, now))
    if width < NARROW:
        lists.split_column(happened, listed)
    else:
        lists.split_row(happened, Layout(Text(" "), size=2), listed)
    whole.split_column(*parts, lists, Layout(_keys(view), size=1))
    return whole


def _head(view: View, now: datetime) -> Text:
    if view.problem is not None:
        state = (printable(view.problem), "bold red")
    elif view.is_paused:
        state = ("paused", "bold yellow")
    else:
        state = ("live", "green")
    return _line(
        ("dreamhook", "bold"), (f"  {printable(view.url)}  ", ""), state, (f"  {now:%H:%M:%S}", "")
    )


def _figures(stats: JsonObject, width: int) -> Table:
    trackers, deliveries = stats.get("trackers") or {}, stats.get("deliveries") or {}
    due, lag_s = stats.get("due") or {}, stats.get("lag_s") or 0.0
    table = _grid(2)
    table.columns[0].min_width = len("last hour")
    table.add_row("queue", _figure_line(
        ("tracking", trackers.get("tracking"), "tracking"),
        ("looks due", due.get("looks"), ""),
        ("receivers due", due.get("receivers"), ""),
        ("behind", duration(lag_s), "failed" if lag_s > 10 else ""),  # noqa: PLR2004 - see alerts
        ("workers", stats.get("workers"), "" if stats.get("workers") else "failed"),
    ))  # fmt: skip
    table.add_row("ended", _figure_line(*_by_state(trackers, "tracking")))
    table.add_row("webhooks", _figure_line(*_by_state(deliveries)))
    table.add_row("last hour", _hour(stats.get("last_hour") or (), width))
    return table


def _by_state(counts: Mapping[str, Any], but: str = "") -> Iterator[tuple[str, object, str]]:
    for state, count in counts.items():
        if state != but:
            yield state, count, state if count else ""


def _figure_line(*figures: tuple[str, object, str]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, value, style in figures:
        known = "-" if value is None else value  # nothing has been heard yet
        shown = f"{known:,}" if isinstance(known, int) else printable(known)
        line.append(shown, f"bold {STYLES.get(style, '')}".strip()).append(f" {name}   ", "dim")
    return line


def _hour(minutes: Sequence[JsonObject], width: int) -> Text:
    ends = [
        sum(each.get(name) or 0 for name in ("completed", "failed", "expired")) for each in minutes
    ]
    said = f"  {max(ends, default=0):,} ends a minute at most"
    latencies = [each["latency_p95_s"] for each in minutes if each.get("latency_p95_s") is not None]
    if latencies:
        said += f"   webhook after {duration(latencies[-1])} (p95)"
    left = width - _BESIDE - len(said)
    line = Text(bars(ends[-max(5, left) :]), "cyan", no_wrap=True, overflow="ellipsis")
    return line.append(said, "dim")


def bars(values: Sequence[float]) -> str:
    """Draw numbers as a row of bars; one that is not 0 can be told from one that is.

    >>> bars([0, 1, 8, 4])
    ' ▁█▄'
    """
    most = max(values, default=0)
    return "".join(
        _BARS[min(7, max(0, round(value / most * 8) - 1))] if value else " " for value in values
    )


def troubles_of(stats: JsonObject, now: datetime) -> Iterator[str]:
    """Name what is in trouble, and why: that nobody works, accounts, endpoints."""
    if lacks_worker(stats):
        yield f"{NO_WORKER}; work has been due for {duration(stats['lag_s'])}"
    for account in stats.get("accounts_in_trouble") or ():
        pause = f", {pause_of(account, now)}" if account.get("held") else ""
        yield f"account {account['name']}: {account['reason']}{pause} ({account.get('detail')})"
    named = {each["name"] for each in stats.get("accounts_in_trouble") or ()}
    for text in stats.get("troubles") or ():
        if not any(text.startswith(f"account {name}:") for name in named):
            yield text
    endpoints = stats.get("endpoints_in_trouble") or {}
    for each in endpoints.get("items") or ():
        how = "failing" if each.get("enabled") else "off"
        since = age(each.get("since"), now)
        why = each.get("failed_with") if each.get("enabled") else each.get("reason")
        name = "" if each["name"].startswith("url_") else f"endpoint {each['name']}, "
        pause = f", {pause_of(each, now)}" if each.get("held") else ""
        yield f"{name}{each.get('url')}: {how} for {since}{pause} ({why or each.get('reason')})"
    hidden = (endpoints.get("total") or 0) - len(endpoints.get("items") or ())
    if hidden > 0:
        yield f"{hidden:,} more endpoints"


def _troubles(troubles: Sequence[str]) -> Table:
    table = _grid(1)
    table.add_row(Rule("In trouble", align="left", style="red"))
    for text in troubles[:_SHOWN_TROUBLES]:
        table.add_row(Text(printable(text), "red", no_wrap=True, overflow="ellipsis"))
    if len(troubles) > _SHOWN_TROUBLES:
        table.add_row(Text(f"and {len(troubles) - _SHOWN_TROUBLES} more", "red"))
    return table


def _happened(events: Sequence[JsonObject], now: datetime) -> Table:
    rows = []
    for event in reversed(events):
        data = event.get("data") or {}
        about = data.get("generation_id") or data.get("endpoint") or ""
        why = data.get("failure_reason") or data.get("reason") or ""
        what = _what(str(event.get("type")))
        rows.append([_when(event.get("timestamp"), now), _cut(about), what, _cut(why)])
    return _titled("Just now", rows)


def _what(type_: str) -> Text:
    group, _, what = type_.partition(".")
    name = what if group == "generation" else f"{group} {what}"
    return Text(printable(name), STYLES.get(what, ""), no_wrap=True)


def _listed(listing: Listing, rows: Sequence[JsonObject], now: datetime) -> Table:
    shown = []
    for row in rows:
        if listing.path == "trackers":
            at, more = row.get("tracked_at"), [standing_of(row, now), row.get("account")]
        else:
            tried = last_attempt(row.get("attempts") or ())
            at = row.get("created_at")
            more = [next_of(row, now) or tried, row.get("url")]
        about = row.get("generation_id") or row.get("id")
        shown.append([_when(at, now), *map(_cut, (about, *more))])
    return _titled(listing.title, shown, _STANDING if listing.path == "trackers" else -1)


def _titled(title: str, rows: Sequence[Sequence[Text]], longest: int = -1) -> Table:
    """Put a table under its title; what each row is about, an ID, is not cut.

    The column `longest` has what the others leave of the width.
    """
    outer = _grid(1)
    outer.add_row(Rule(title, align="left", style="bright_black"))
    if not rows:
        outer.add_row(Text("nothing", "dim"))
        return outer
    table = _grid(len(rows[0]))
    table.expand = True
    table.columns[0].min_width = len("119 s")
    table.columns[1].min_width = min(_ID, max(row[1].cell_len for row in rows))
    table.columns[-1].max_width = _ACCOUNT if longest == _STANDING else None
    table.columns[longest].ratio = 1
    for row in rows:
        table.add_row(*row)
    outer.add_row(table)
    return outer


def _when(at: str | None, now: datetime) -> Text:
    return Text(age(at, now), "dim", no_wrap=True)


def _keys(view: View) -> Text:
    pause = "go on" if view.is_paused else "pause"
    return Text(f"q quit   p {pause}   Tab another list", "dim", no_wrap=True)


def _grid(columns: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=columns == 1)
    for _ in range(columns):
        table.add_column(no_wrap=True, overflow="ellipsis")
    return table


def _cut(text: object) -> Text:
    shown = styled("" if text is None else text)
    shown.no_wrap, shown.overflow = True, "ellipsis"
    return shown


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
