"""What people see on a terminal. Every text is shown as it is: no markup, no control characters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from worker.cli.owed import (
    last_attempt,
    next_of,
    receiver_name,
    wait_in_full,
    webhook_in_full,
    webhook_of,
)
from worker.cli.process import printable
from worker.cli.timeline import Node, delivery_node
from worker.cli.words import age, ahead, state_of
from worker.model import JsonObject
from worker.off import is_off, off_in_words

STYLES = {
    "completed": "green",
    "created": "green",
    "delivered": "green",
    "ok": "green",
    "failed": "red",
    "refused": "red",
    "exhausted": "red",
    "problem": "red",
    "expired": "yellow",
    "unknown": "yellow",
    "not": "yellow",
    "warning": "yellow",
    "canceled": "bright_black",
    "tracking": "cyan",
    "pending": "cyan",
    "pending:": "yellow",
    "discarded": "bright_black",
    "change": "bold",
    "on": "green",
    "off": "red",
    "failing": "yellow",
    "held,": "yellow",
}
"""By the first word of a text."""

_WIDE, _ROOMY = 170, 110
"""On fewer columns than the first a delivery is shown on two lines, than the second a tracker."""

_SHORT = len("held, 59 s at least")
"""What a delivery waits for is not broken if it is no longer than that."""


def screen() -> Console:
    """Get what writes to the terminal, without its guesses at what might be markup or a number."""
    return Console(markup=False, highlight=False, emoji=False)


def styled(text: object) -> Text:
    """Make a text that a terminal only shows, in the colour of its first word."""
    shown = printable(text)
    word = shown.partition(" ")[0]
    return Text(shown, STYLES.get(word) or STYLES.get(word.rstrip(":"), ""))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int = 1) -> None:
    """Print a table; if it is empty, say so beside the output.

    The first `whole` columns are never broken: the first, so that an ID can be copied. The others
    are folded to fit. What is several things, a tuple, has a line for each.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number < whole, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    if table.row_count:
        screen().print(table)
    else:
        say("There are none.")


def _cell(content: object) -> Text:
    if not isinstance(content, tuple):
        return styled(content)
    return Text("\n").join(styled(each) for each in content if each != "")


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


def say(text: str) -> None:
    """Print a line for people beside the output, whole: a URL must not be broken."""
    notes().print(Text(printable(text)), soft_wrap=True)


def notes() -> Console:
    """Get what writes to the terminal beside the output, for what is there for a while."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def show_tree(root: Node) -> None:
    """Print a tree; a line that is too long is folded."""
    screen().print(_branch(Tree(_leaf(root), guide_style="bright_black"), root))


def _branch(tree: Tree, node: Node) -> Tree:
    for child in node.children:
        _branch(tree.add(_leaf(child)), child)
    return tree


def _leaf(node: Node) -> Text:
    return Text(printable(node.text), STYLES.get(node.style, ""), overflow="fold")


# --- trackers -------------------------------------------------------------------------------------


def show_trackers(trackers: Iterable[JsonObject]) -> None:
    """Print trackers as a table; their accounts only if they differ.

    Where there is no room for how webhooks stand beside it, each is shown on two lines.
    """
    now, found = datetime.now(UTC), list(trackers)
    columns: dict[str, list[object]] = {
        "Generation": [each["generation_id"] for each in found],
        "State": [state_of(each, now) for each in found],
        "Webhook": [webhook_of(each, now) for each in found],
        "Model": [each.get("model") or "" for each in found],
        "Account": [each["account"] for each in found],
        "Age": [age(each.get("tracked_at"), now) for each in found],
    }
    if len(set(columns["Account"])) == 1:
        del columns["Account"]
    if not any(columns["Webhook"]):
        del columns["Webhook"]
    elif screen().width < _ROOMY:
        columns = _on_two_lines(columns)
    show_table(list(columns), zip(*columns.values(), strict=True))


def _on_two_lines(columns: dict[str, list[object]]) -> dict[str, list[object]]:
    """Put the model and the account below the ID, and the webhook below the state."""
    about = [columns[name] for name in ("Model", "Account") if name in columns]
    below = [", ".join(filter(None, map(str, each))) for each in zip(*about, strict=True)]
    return {
        "Generation, model": list(zip(columns["Generation"], below, strict=True)),
        "State, webhook": list(zip(columns["State"], columns["Webhook"], strict=True)),
        "Age": columns["Age"],
    }


def show_tracker(tracker: JsonObject, receiver: JsonObject | None = None) -> None:
    """Print all that there is to say about one tracker, but the provider's own object.

    Args:
        tracker: It.
        receiver: The endpoint of its webhook, if that is off or was; None: no longer kept.
    """
    now, metadata, finished = datetime.now(UTC), tracker.get("metadata"), tracker.get("finished_at")
    show_fields(
        [
            ("generation", tracker["generation_id"]),
            ("account", f"{tracker['account']} (provider {tracker.get('provider')})"),
            ("state", state_of(tracker, now)),
            ("held", (tracker.get("held") or {}).get("in_words")),
            ("model", tracker.get("model")),
            *_assets(tracker),
            ("assets expire at", tracker.get("assets_expire_at")),
            ("failure code", tracker.get("failure_code")),
            ("may be retried", _yes_or_no(tracker.get("retryable"))),
            ("last error", tracker.get("last_error")),
            ("webhook", webhook_in_full(tracker, receiver, now)),
            *_waiting(tracker.get("webhook") or {}, now),
            ("callback_url", tracker.get("callback_url")),
            ("endpoint", tracker.get("endpoint") or (tracker.get("webhook") or {}).get("endpoint")),
            ("events", ", ".join(tracker.get("events") or ())),
            ("metadata", json.dumps(metadata, ensure_ascii=False) if metadata else None),
            ("tracked at", tracker.get("tracked_at")),
            ("seen at", tracker.get("seen_at")),
            ("finished at", finished),
            ("next look at", _with_countdown(tracker.get("next_poll_at"), now)),
            ("deadline at", None if finished else tracker.get("deadline_at")),
            ("looks", f"{tracker.get('polls', 0)}, {tracker.get('poll_errors', 0)} failed"),
        ]
    )


def _with_countdown(at: str | None, now: datetime) -> str | None:
    left = ahead(at, now)
    return f"{at} ({left})" if left else at


def show_end(tracker: JsonObject) -> None:
    """Print how a tracker ended, and where what was made is to be had."""
    now, held = datetime.now(UTC), (tracker.get("held") or {}).get("in_words")
    line = Text.assemble(styled(state_of(tracker, now)), "  ", printable(tracker["generation_id"]))
    screen().print(line, soft_wrap=True)
    webhook = webhook_of(tracker, now)
    show_fields(
        [
            *_assets(tracker),
            ("held", held),
            ("last look", None if held else tracker.get("current_error")),
            ("webhook", webhook if ":" in webhook else None),
        ],
        indent="  ",
    )


# --- deliveries -----------------------------------------------------------------------------------


def show_deliveries(deliveries: Iterable[JsonObject]) -> None:
    """Print deliveries as a table; where there is no room for two IDs side by side, on two lines.

    To whom they are owed is told where there is room for it.
    """
    now, width = datetime.now(UTC), screen().width
    columns = ("Generation", "Delivery", "State", "", "Event", "Age", "Attempts", "Endpoint")
    rows = [
        (
            each.get("generation_id") or f"endpoint {each.get('endpoint')}",
            each["id"],
            each["state"],
            next_of(each, now),
            each["type"].removeprefix("generation."),
            age(each.get("created_at"), now),
            last_attempt(each.get("attempts") or ()),
            receiver_name(each),
        )
        for each in deliveries
    ]
    if width >= _WIDE:
        show_table(columns, rows)
        return
    shown = 5 if width >= _ROOMY else 4
    pairs = ((*zip(row[0:6:2], row[1:6:2], strict=True), *row[6:])[:shown] for row in rows)
    titles = ("Generation, delivery", "State", "Event, age", "Attempts", "Endpoint")
    is_short = all(len(row[3]) <= _SHORT for row in rows)
    show_table(titles[:shown], pairs, whole=2 if is_short else 1)


def _waiting(owed: JsonObject, now: datetime) -> list[tuple[str, object]]:
    """Tell when it is tried next, and why not earlier; held, the next may be another's attempt."""
    held, when = owed.get("held") or {}, _with_countdown(owed.get("next_attempt_at"), now)
    return [
        ("next attempt at", None if held else when),
        ("next attempt", f"not before {when}" if held and when else None),
        ("held", held.get("in_words")),
    ]


def show_delivery(delivery: JsonObject, receiver: JsonObject | None = None) -> None:
    """Print all that there is to say about one delivery, and its attempts below.

    `receiver` is as in `show_tracker`.
    """
    now = datetime.now(UTC)
    show_fields(
        [
            ("delivery", delivery["id"]),
            ("event", delivery["type"]),
            ("webhook-id", delivery.get("event_id")),
            ("account", delivery.get("account")),
            ("generation", delivery.get("generation_id")),
            ("endpoint", delivery.get("endpoint")),
            ("created at", delivery.get("created_at")),
            *_waiting(delivery, now),
            (delivery["state"], _ended_or_waits(delivery, receiver, now)),
        ]
    )
    show_tree(delivery_node(delivery, (), now))


def _ended_or_waits(delivery: JsonObject, receiver: JsonObject | None, now: datetime) -> str | None:
    if is_off(delivery):
        return off_in_words(delivery, receiver)
    return wait_in_full(delivery, receiver, now) or None


def _yes_or_no(value: object) -> str | None:
    return None if value is None else "yes" if value else "no"


def _assets(tracker: JsonObject) -> list[tuple[str, object]]:
    return list((tracker.get("assets") or {}).items())
