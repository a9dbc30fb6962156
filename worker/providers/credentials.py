"""How a request shows whose it is: an account's key, put where its provider wants it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote

import orjson

from worker.model import Account
from worker.providers.spec import Auth

TOKEN_LIFETIME_S = 1800
CLOCK_SKEW_S = 5


def header_of(auth: Auth, account: Account, *, now_s: int) -> dict[bytes, bytes]:
    """Make the header that carries the credentials; none if they go elsewhere or there are none."""
    if auth.header is None or not account.api_key:
        return {}
    # Bytes, so that a key with a stray character is for the provider to refuse.
    return {auth.header.encode(): _value(auth, account.api_key, now_s).encode("utf-8", "replace")}


def query_of(auth: Auth, account: Account, *, now_s: int) -> str:
    """Make the query parameter that carries the credentials, or nothing."""
    if auth.query is None or not account.api_key:
        return ""
    return f"{auth.query}={quote(_value(auth, account.api_key, now_s), safe='', errors='replace')}"


def _value(auth: Auth, api_key: str, now_s: int) -> str:
    value = auth.value.replace("{api_key}", api_key)
    return value.replace("{jwt}", jwt(api_key, now_s=now_s)) if "{jwt}" in value else value


def jwt(api_key: str, *, now_s: int) -> str:
    """Sign a JSON Web Token (RFC 7519, HS256) with `<access key>:<secret key>`, for half an hour.

    It is good a little earlier too, for providers whose clocks are behind.
    """
    access, _, secret = api_key.partition(":")
    # Of half an emoji, which JSON cannot write, a mark is left: the provider will refuse it.
    issuer = access.encode("utf-8", "replace").decode()
    claims = {"iss": issuer, "exp": now_s + TOKEN_LIFETIME_S, "nbf": now_s - CLOCK_SKEW_S}
    head = _base64(orjson.dumps({"alg": "HS256", "typ": "JWT"}))
    body = _base64(orjson.dumps(claims))
    signature = hmac.digest(
        secret.encode("utf-8", "replace"), f"{head}.{body}".encode(), hashlib.sha256
    )
    return f"{head}.{body}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
