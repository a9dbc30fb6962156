"""What people see of endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.text import Text

from worker.cli import tables
from worker.cli.owed import fullness_of, remedy_of
from worker.cli.process import printable
from worker.cli.words import age, pause_of
from worker.model import JsonObject
from worker.off import why_off


def show_endpoints(endpoints: Iterable[JsonObject]) -> None:
    """Print endpoints as a table, or, where that would break a URL, each URL on a line below."""
    now, found = datetime.now(UTC), list(endpoints)
    _show_rows([(each["name"], condition_of(each, now), each["url"]) for each in found])
    for full in filter(fullness_of, found):
        tables.say(f"{full['name']}: {remedy_of(full)}.")


def _show_rows(rows: Sequence[tuple[str, str, str]]) -> None:
    widths = [max((len(printable(row[number])) for row in rows), default=0) for number in range(3)]
    if sum(widths) + 4 <= tables.screen().width:
        tables.show_table(("Endpoint", "State", "URL"), rows)
        return
    title = "Endpoint, URL"
    width = max(widths[0], len(title))
    tables.screen().print(Text(f"{title:<{width}}  State", "bold"), soft_wrap=True)
    for name, condition, url in rows:
        line = Text.assemble(f"{printable(name):<{width}}  ", tables.styled(condition))
        tables.screen().print(line, Text(f"  {printable(url)}"), sep="\n", soft_wrap=True)


def condition_of(endpoint: JsonObject, now: datetime) -> str:
    """Say whether an endpoint is on, and why not.

    >>> condition_of({"enabled": False, "disabled_reason": "by hand"}, datetime.now(UTC))
    'off (by hand)'
    """
    if not endpoint.get("enabled"):
        return f"off ({why_off(endpoint)})"
    found = "on"
    if endpoint.get("failing_since"):
        why = f" ({endpoint['failed_with']})" if endpoint.get("failed_with") else ""
        found = f"failing for {age(endpoint['failing_since'], now)}{why}"
    return ", ".join(filter(None, (found, pause_of(endpoint, now) or fullness_of(endpoint))))


def show_endpoint(endpoint: JsonObject) -> None:
    """Print all that there is to say about one endpoint; its secret, if it was made just now."""
    secrets = endpoint.get("secrets")
    tables.show_fields(
        [
            ("endpoint", endpoint["name"]),
            ("url", endpoint["url"]),
            ("state", condition_of(endpoint, datetime.now(UTC))),
            ("held", (endpoint.get("held") or {}).get("in_words")),
            ("events", ", ".join(endpoint.get("events") or ()) or "whatever its trackers ask for"),
            *((f"header {name}", value) for name, value in (endpoint.get("headers") or {}).items()),
            ("attempts", f"{endpoint.get('concurrency')} at a time"),
            ("full", remedy_of(endpoint) if fullness_of(endpoint) else None),
            ("assets", "refreshed" if endpoint.get("refresh_assets") else None),
            ("signed with", f"{secrets} of its own" if secrets else "the deployment's secret"),
            ("secret", endpoint.get("secret")),
        ]
    )
    if endpoint.get("secret"):
        tables.say("Keep the secret: it is shown this once.")
