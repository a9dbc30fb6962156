"""How it is told that an endpoint is off: why, what that ended, and what has it sent. Pure."""

from __future__ import annotations

from worker.model import DeliveryReason, DisabledReason, JsonObject

_WHY_OFF = {
    DisabledReason.ASKED.value: "switched off by hand",
    DisabledReason.FAILING.value: "failing for five days",
}
"""What the API says of an endpoint, as it stands behind "is off"."""


def is_off(owed: JsonObject) -> bool:
    """Tell whether a delivery or a webhook ended since its endpoint was off."""
    return owed.get("reason") == DeliveryReason.ENDPOINT_DISABLED


def why_off(endpoint: JsonObject) -> str:
    """Say why an endpoint is off.

    >>> why_off({"disabled_reason": "it was switched off"})
    'switched off by hand'
    """
    reason = endpoint.get("disabled_reason")
    return _WHY_OFF.get(reason or "", reason or "switched off")


def off_in_words(owed: JsonObject, endpoint: JsonObject | None) -> str:
    """Say of what ended since its endpoint was off why it was, and how to have it all the same.

    Args:
        owed: A delivery, or the webhook of a tracker.
        endpoint: As it is now; None: it is no longer kept.

    >>> off_in_words({"endpoint": "mine", "id": "dlv_1"}, {"enabled": True})
    'its endpoint mine was off and is on again: `dreamhook replay dlv_1`'
    """
    its = f"its endpoint {owed.get('endpoint')}"
    replay = f"`dreamhook replay {owed.get('delivery_id') or owed.get('id')}`"
    if endpoint is None:
        return f"{its} was off, and is no longer kept"
    if endpoint.get("enabled"):
        return f"{its} was off and is on again: {replay}"
    return f"{its} is off ({why_off(endpoint)}): {enabling(endpoint)}, then {replay}"


def enabling(endpoint: JsonObject) -> str:
    """Give the command that switches an endpoint on."""
    return f"`dreamhook endpoints enable {endpoint['name']}`"


def ending_of(delivery: JsonObject) -> str:
    """Say how a delivery stands, and why.

    >>> ending_of({"state": "exhausted", "reason": "endpoint_disabled", "endpoint": "mine"})
    'exhausted (its endpoint mine was off)'
    """
    why = f"its {was_off(delivery)}" if is_off(delivery) else delivery.get("reason")
    return f"{delivery['state']} ({why})" if why else str(delivery["state"])


def was_off(owed: JsonObject) -> str:
    """Say so, without the name of a bare callback URL, which is long and says nothing."""
    name = str(owed.get("endpoint") or "")
    return "endpoint was off" if not name or name.startswith("url_") else f"endpoint {name} was off"
