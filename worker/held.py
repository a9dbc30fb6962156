"""How a hold is shown: why an origin is sent nothing, or an account is not asked. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from worker.model import HealthReason, Hold, JsonObject, rfc3339

_WHY = {
    HealthReason.THROTTLED: "Account {0} has asked its provider too often{1}.",
    HealthReason.UNREACHABLE: "The provider of account {0} gives no answer that can be used{1}.",
    HealthReason.CREDENTIALS: "The provider rejects the credentials of account {0}{1}: check its"
    " API key.",
}


def hold_shape(hold: Hold) -> JsonObject:
    """Show why nothing is sent to an origin, and until when; null: a probe is under way."""
    return {"origin": hold.name, **_parts(hold), "in_words": hold_in_words(hold)}


def account_hold_shape(hold: Hold) -> JsonObject:
    """Show the same of an account whose generations are not looked at."""
    return {"account": hold.name, **_parts(hold), "in_words": account_hold_in_words(hold)}


def held_until(hold: Hold | None) -> str | None:
    """Tell when the next probe goes; None: one is under way, or nothing is held."""
    return None if hold is None or hold.is_probing else rfc3339(hold.until)


def hold_in_words(hold: Hold) -> str:
    """Say why nothing is sent to an origin, and what must come first."""
    return (
        f"{hold.name} is not there: {hold.streak} attempts in a row failed{_detail(hold)}. "
        f"A probe {_probe(hold)}; once it is answered, what waits follows."
    )


def account_hold_in_words(hold: Hold) -> str:
    """Say why an account's generations are not looked at, and what must come first."""
    why = _WHY[hold.reason].format(hold.name, _detail(hold))
    return f"{why} A probe {_probe(hold)}; once it is answered, what waits follows."


def _parts(hold: Hold) -> JsonObject:
    return {
        "since": rfc3339(hold.since),
        "until": held_until(hold),
        "reason": hold.reason.value,
        "detail": hold.detail,
        "errors_in_a_row": hold.streak,
    }


def _probe(hold: Hold) -> str:
    at = datetime.fromtimestamp(hold.until / 1000, tz=UTC)
    return "is under way" if hold.is_probing else f"goes at {at:%H:%M:%S} UTC"


def _detail(hold: Hold) -> str:
    return f" ({hold.detail})" if hold.detail else ""
