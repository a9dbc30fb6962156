"""Trace context, https://www.w3.org/TR/trace-context/: from who tracks to who gets the webhook.

We make no spans of our own: what the caller sent is passed on, so that the receiver's work hangs
below the caller's, however many hours later.
"""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
"""Of any version; those after 00 may say more, behind another hyphen."""


def accepted(header: str | None) -> str | None:
    """Read a `traceparent` header as version 00 has it; None if it is not valid, or not there."""
    found = _TRACEPARENT.fullmatch(header) if header else None
    if header is None or found is None or (header.startswith("00") and found[4]):
        return None
    return f"00-{found[1]}-{found[2]}-{found[3]}"


def trace_id(traceparent: str | None) -> str | None:
    """Tell which trace a `traceparent` is of, if it is valid."""
    valid = accepted(traceparent)
    return valid.split("-")[1] if valid else None
