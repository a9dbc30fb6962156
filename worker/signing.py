"""Standard Webhooks signatures: make and read secrets, sign, verify.

The scheme is https://www.standardwebhooks.com, version 1.0.0, symmetric only: HMAC-SHA256 over
`id.timestamp.body`. The rules here are stricter than the specification where its libraries differ.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from worker.errors import DreamhookError, InvalidInputError

PREFIX = "whsec_"
SHORTEST_SECRET, LONGEST_SECRET = 24, 64  # bytes, by the specification
TOLERANCE_S = 300

# The separators of what is signed and of the header may not occur in an ID: with a dot in it, one
# signature would hold for two messages.
_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,15}")


class SignatureError(DreamhookError):
    """A message that does not prove who sent it; says what is wrong, never what was expected."""


def new_secret(random_bytes: bytes) -> str:
    """Write a signing secret as users see it, `whsec_…`, from 24 to 64 fresh random bytes."""
    if not SHORTEST_SECRET <= len(random_bytes) <= LONGEST_SECRET:
        raise ValueError(f"a secret has {SHORTEST_SECRET} to {LONGEST_SECRET} bytes")
    return PREFIX + base64.b64encode(random_bytes).decode()


def parse_secret(text: str, field: str = "secret") -> bytes:
    """Read a secret's bytes from `whsec_…`.

    Only padded standard base64 in its one canonical spelling is read: the receivers' libraries
    turn the other spellings into other keys without a word.

    Raises:
        InvalidInputError: About `field`; the text itself is not repeated.
    """
    if not text.startswith(PREFIX):
        raise InvalidInputError(field, f"a signing secret begins with {PREFIX} (lower case)")
    encoded = text.removeprefix(PREFIX)
    try:
        secret = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        secret = b""
    if base64.b64encode(secret).decode() != encoded or not secret:
        raise InvalidInputError(
            field, f"what follows {PREFIX} is not standard base64; keep + and /, = and no blanks"
        )
    if not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET:
        raise InvalidInputError(
            field,
            f"it holds {len(secret)} bytes; use {SHORTEST_SECRET} to {LONGEST_SECRET} random ones",
        )
    return secret


def sign(event_id: str, timestamp_s: int, body: bytes, secrets: Sequence[bytes | str]) -> str:
    """Return the value of `webhook-signature`: one `v1,…` per secret, single spaces between.

    Args:
        event_id: The `webhook-id`: letters, digits, `_` and `-`, at most 128.
        timestamp_s: When this attempt is made, whole seconds since the Unix epoch.
        body: The bytes as they are sent.
        secrets: The live secrets, the newest first; as bytes or as `whsec_…`.

    Raises:
        ValueError: An ID or a timestamp that cannot be signed safely, or no secret.
    """
    if not _EVENT_ID.fullmatch(event_id):
        raise ValueError("an event ID holds letters, digits, _ and - only")
    if timestamp_s < 0 or not secrets:
        raise ValueError("a signature needs a time since 1970 and a secret")
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp_s, body)
    return " ".join(_v1(secret, signed) for secret in secrets)


def headers(
    event_id: str, timestamp_s: int, body: bytes, secrets: Sequence[bytes | str]
) -> dict[str, str]:
    """Return the three headers of a signed message; arguments and errors as in `sign`."""
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(event_id, timestamp_s, body, secrets),
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secret: bytes | str,
    now_s: float,
    tolerance_s: float = TOLERANCE_S,
) -> None:
    """Accept a received message, or raise.

    Args:
        headers: The request's headers, names in any case.
        body: The bytes as they came, before any decoding.
        secret: What the message must be signed with.
        now_s: The receiver's clock, seconds since the Unix epoch.
        tolerance_s: How far `webhook-timestamp` may be from it, either way.

    Raises:
        SignatureError: A header is missing or malformed, the time is out of tolerance, or no `v1`
            item fits. Items of other versions and malformed ones are passed over.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    try:
        event_id, timestamp, signatures = (
            lowered[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as missing:
        raise SignatureError(f"the header {missing.args[0]} is missing") from None
    if not _EVENT_ID.fullmatch(event_id) or not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError("webhook-id or webhook-timestamp is malformed")
    if abs(now_s - int(timestamp)) > tolerance_s:
        raise SignatureError(f"webhook-timestamp is over {tolerance_s:g} s away from this clock")
    expected = sign(event_id, int(timestamp), body, [secret]).encode()
    offered = [item.encode(errors="replace") for item in signatures.split(" ")]
    if not any(hmac.compare_digest(expected, item) for item in offered):
        raise SignatureError(
            "no signature fits this secret and body; an endpoint has a secret of its own"
        )


def _v1(secret: bytes | str, signed: bytes) -> str:
    key = parse_secret(secret) if isinstance(secret, str) else secret
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
