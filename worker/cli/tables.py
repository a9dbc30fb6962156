"""What people see on a terminal. Every text is shown as it is: no markup, no control characters."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from worker.cli.process import printable
from worker.cli.timeline import Node, delivery_node
from worker.cli.words import (
    age,
    duration,
    kind_in_words,
    last_attempt,
    state_of,
    telling,
    webhook_of,
)
from worker.model import JsonObject

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
}
"""By the first word of a text."""


def screen() -> Console:
    """Get what writes to the terminal, without its guesses at what might be markup or a number."""
    return Console(markup=False, highlight=False, emoji=False)


def styled(text: object) -> Text:
    """Make a text that a terminal only shows, in the colour of its first word."""
    shown = printable(text)
    word = shown.partition(" ")[0]
    return Text(shown, STYLES.get(word) or STYLES.get(word.rstrip(":"), ""))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; if it is empty, say so beside the output.

    The first column is never broken, so that an ID can be copied; the others are folded to fit.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(styled, row))
    if table.row_count:
        screen().print(table)
    else:
        say("There are none.")


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
    """Print trackers as a table; on 80 columns there is room for accounts only if they differ."""
    now, found = datetime.now(UTC), list(trackers)
    columns: dict[str, list[object]] = {
        "Generation": [each["generation_id"] for each in found],
        "State": [state_of(each) for each in found],
        "Webhook": [webhook_of(each) for each in found],
        "Model": [each.get("model") or "" for each in found],
        "Account": [each["account"] for each in found],
        "Age": [age(each.get("tracked_at"), now) for each in found],
    }
    if len(set(columns["Account"])) == 1:
        del columns["Account"]
    if not any(columns["Webhook"]):
        del columns["Webhook"]
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
            ("assets expire at", tracker.get("assets_expire_at")),
            ("failure code", tracker.get("failure_code")),
            ("may be retried", _yes_or_no(tracker.get("retryable"))),
            ("last error", tracker.get("last_error")),
            ("webhook", webhook_of(tracker)),
            ("next attempt at", (tracker.get("webhook") or {}).get("next_attempt_at")),
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
    webhook = webhook_of(tracker)
    show_fields(
        [
            *_assets(tracker),
            ("last look", tracker.get("current_error")),
            ("webhook", webhook if ":" in webhook else None),
        ],
        indent="  ",
    )


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


def show_delivery(delivery: JsonObject) -> None:
    """Print all that there is to say about one delivery, and its attempts below."""
    show_fields(
        [
            ("delivery", delivery["id"]),
            ("event", delivery["type"]),
            ("webhook-id", delivery.get("event_id")),
            ("account", delivery.get("account")),
            ("generation", delivery.get("generation_id")),
            ("endpoint", delivery.get("endpoint")),
            ("created at", delivery.get("created_at")),
            ("next attempt at", delivery.get("next_attempt_at")),
        ]
    )
    show_tree(delivery_node(delivery, ()))


# --- endpoints ------------------------------------------------------------------------------------


def show_endpoints(endpoints: Iterable[JsonObject]) -> None:
    """Print endpoints as a table."""
    now = datetime.now(UTC)
    rows = ((each["name"], condition_of(each, now), each["url"]) for each in endpoints)
    show_table(("Endpoint", "State", "URL"), rows)


def condition_of(endpoint: JsonObject, now: datetime) -> str:
    """Say whether an endpoint is on, and why not.

    >>> condition_of({"enabled": False, "disabled_reason": "by hand"}, datetime.now(UTC))
    'off (by hand)'
    """
    if not endpoint.get("enabled"):
        return f"off ({endpoint.get('disabled_reason') or 'switched off'})"
    if endpoint.get("failing_since"):
        why = f" ({endpoint['failed_with']})" if endpoint.get("failed_with") else ""
        return f"failing for {age(endpoint['failing_since'], now)}{why}"
    return "on"


def show_endpoint(endpoint: JsonObject) -> None:
    """Print all that there is to say about one endpoint; its secret, if it was made just now."""
    secrets = endpoint.get("secrets")
    show_fields(
        [
            ("endpoint", endpoint["name"]),
            ("url", endpoint["url"]),
            ("state", condition_of(endpoint, datetime.now(UTC))),
            ("events", ", ".join(endpoint.get("events") or ()) or "whatever its trackers ask for"),
            *((f"header {name}", value) for name, value in (endpoint.get("headers") or {}).items()),
            ("attempts", f"{endpoint.get('concurrency')} at a time"),
            ("assets", "refreshed" if endpoint.get("refresh_assets") else None),
            ("signed with", f"{secrets} of its own" if secrets else "the deployment's secret"),
            ("secret", endpoint.get("secret")),
        ]
    )
    if endpoint.get("secret"):
        say("Keep the secret: it is shown this once.")


# --- accounts -------------------------------------------------------------------------------------


def show_accounts(accounts: Sequence[JsonObject]) -> None:
    """Print accounts as a table, and below it what was learned of how long generations take."""
    rows = (
        (
            each["name"],
            health_of(each),
            each.get("provider") or "",
            each.get("tracking", ""),
            budget_of(each),
        )
        for each in accounts
    )
    show_table(("Account", "State", "Provider", "Tracking", "Requests a second"), rows)
    kinds = [(each["name"], kind) for each in accounts for kind in telling(each.get("kinds") or ())]
    if kinds:
        screen().print()
        show_table(
            ("Account", "Kind", "Half take", "9 in 10", "In queue", "Seen", "Looks each"),
            [(name, *_kind(kind)) for name, kind in kinds],
        )


def _kind(kind: JsonObject) -> tuple[object, ...]:
    queue_s = kind.get("queue_median_s")
    return (
        kind_in_words(kind["kind"]),
        duration(kind["median_s"]),
        duration(kind["p90_s"]),
        "" if queue_s is None else duration(queue_s),
        f"{kind['sample']:.0f}",
        f"{kind['looks_per_generation']:.1f}",
    )


def health_of(account: JsonObject) -> str:
    """Say how an account is doing.

    >>> health_of({"configured": False})
    'problem: it is not configured'
    """
    health = account.get("health") or {}
    if not account.get("configured"):
        return "problem: it is not configured"
    if health.get("ok"):
        return "ok"
    detail = f" ({health['detail']})" if health.get("detail") else ""
    return f"problem: {health.get('reason')}{detail}"


def budget_of(account: JsonObject) -> str:
    """Say how much of its budget an account uses.

    >>> budget_of({"polls_per_second_used": 0.8, "polls_per_second_now": 5.0})
    '0.8 of 5'
    """
    used, now = account.get("polls_per_second_used"), account.get("polls_per_second_now")
    return "" if used is None or now is None else f"{used:.1f} of {now:g}"


def _yes_or_no(value: object) -> str | None:
    return None if value is None else "yes" if value else "no"


def _assets(tracker: JsonObject) -> list[tuple[str, object]]:
    return list((tracker.get("assets") or {}).items())
