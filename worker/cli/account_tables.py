"""What people see on a terminal of accounts, and of what was learned about their generations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from worker.cli.tables import screen, show_table
from worker.cli.words import duration, health_of, kind_in_words, pause_of, telling
from worker.model import JsonObject


def show_accounts(accounts: Sequence[JsonObject]) -> None:
    """Print accounts as a table, and below it what was learned of how long generations take."""
    now = datetime.now(UTC)
    rows = (
        (
            each["name"],
            (health_of(each), pause_of(each, now)),
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


def budget_of(account: JsonObject) -> str:
    """Say how much of its budget an account uses.

    >>> budget_of({"polls_per_second_used": 0.8, "polls_per_second_now": 5.0})
    '0.8 of 5'
    """
    used, now = account.get("polls_per_second_used"), account.get("polls_per_second_now")
    return "" if used is None or now is None else f"{used:.1f} of {now:g}"
