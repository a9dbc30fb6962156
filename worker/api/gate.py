"""What stands before every route: who may ask, how much may be sent, and the last resort.

Plain ASGI, since it is on the way of every request.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.api.problems import Problem
from worker.api.web import dashboard
from worker.config_values import is_loopback

MAX_BODY_BYTES = 1 << 20

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"} | dashboard().keys())
"""What needs no key. Everything else does: a route that nobody thought of here is not open."""

HINTS = "/v1/hints/"
"""POSTs below it need no key: the token in their address is one."""

MCP_PATH = "/mcp"
"""Where agents' tools are mounted: what their tools ask of the API passes this gate again."""

READ_ONLY = "read_only"
"""Set in `request.state` for those who came with a read-only key."""

_SAFE_METHODS = {"GET", "HEAD"}
_LENGTH_DIGITS = 20
STOPPING = Problem(503, "The server is stopping. Ask again.", headers={"Retry-After": "1"})
_WRONG_KEY = "This key is not known; send one of DREAMHOOK_API_KEYS or DREAMHOOK_READ_KEYS."
_TOO_LARGE = Problem(413, f"The body is over {MAX_BODY_BYTES} bytes; send less in one request.")

log = logging.getLogger(__name__)


class _TooLargeError(Exception):
    """The body, of a length that was not announced, went over the limit."""


class Gate:
    """Lets a request through to the application, or answers it with a problem.

    With keys, whatever is not open needs one. Without, the server listens on loopback only, where
    the one stranger is a page in this machine's browser: it is kept out by the name it used for
    this host (a name of its own, rebound to 127.0.0.1) and by what the browser says of its origin.

    Args:
        app: what comes after.
        api_keys: may do everything.
        read_keys: may GET.
    """

    def __init__(self, app: ASGIApp, *, api_keys: Sequence[str], read_keys: Sequence[str]) -> None:
        self._app = app
        self._api_keys = [key.encode() for key in api_keys]
        self._read_keys = [key.encode() for key in read_keys]
        self._is_locked = bool(api_keys or read_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; never raises before its answer has begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        # A hint takes nothing and tells nothing, so anybody may send one.
        problem = None if is_hint(scope) else self._refusal(scope, headers) or too_large(headers)
        if problem is not None:
            await problem.response()(scope, receive, send)
            return
        answer = _Answer(send, with_body=scope["method"] != "HEAD")
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        if b"content-length" not in headers or b"transfer-encoding" in headers:
            receive = _counted(receive)
        try:
            await self._app(scope, receive, answer)
        except asyncio.CancelledError:
            # The server stops, and has waited as long as it would: whoever waits may ask again.
            if not answer.has_begun:
                await STOPPING.response()(scope, receive, answer)
            raise
        except Exception as error:
            if answer.has_begun:
                raise
            await _last_resort(error).response()(scope, receive, answer)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Problem | None:
        is_open = scope["path"] in OPEN_PATHS
        if not self._is_locked:
            return foreign_host(headers) or (None if is_open else foreign_page(headers))
        if is_open:
            return None
        key = bearer(headers)
        may_write, may_read = is_one_of(key, self._api_keys), is_one_of(key, self._read_keys)
        if may_write:
            return None
        if not may_read:
            return _no_key(is_wrong=bool(key))
        scope.setdefault("state", {})[READ_ONLY] = True
        if scope["method"] not in _SAFE_METHODS and scope["path"] != MCP_PATH:
            return Problem(403, "This key may only read. Use one of DREAMHOOK_API_KEYS.")
        return None


def is_hint(scope: Scope) -> bool:
    """Say whether this is a provider's push; see `worker.api.hints`."""
    is_one: bool = scope["method"] == "POST" and scope["path"].startswith(HINTS)
    return is_one


# --- keys ---------------------------------------------------------------------------------------


def bearer(headers: Mapping[bytes, bytes]) -> bytes:
    """Read the key that was sent; empty if there is none."""
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else b""


def is_one_of(key: bytes, keys: Sequence[bytes]) -> bool:
    """Say whether a key is one of those, in a time that does not tell which or how nearly."""
    found = False
    for each in keys:
        found |= hmac.compare_digest(each, key)
    return found


def _no_key(*, is_wrong: bool) -> Problem:
    """Ask for a key as RFC 6750 section 3 says."""
    if is_wrong:
        challenge = 'Bearer realm="dreamhook", error="invalid_token"'
        return Problem(401, _WRONG_KEY, headers={"WWW-Authenticate": challenge})
    return Problem(
        401,
        "This needs a key: send the header Authorization: Bearer <key>.",
        headers={"WWW-Authenticate": 'Bearer realm="dreamhook"'},
    )


# --- pages in this machine's browser ------------------------------------------------------------


def foreign_host(headers: Mapping[bytes, bytes]) -> Problem | None:
    """Refuse a request that did not name this machine itself."""
    host = headers.get(b"host", b"").decode("latin-1")
    if names_this_machine(host):
        return None
    return Problem(
        421,
        f"Without keys Dreamhook answers only as localhost, 127.0.0.1 or [::1], not as {host!r}. "
        "Set DREAMHOOK_API_KEYS to serve it under another name.",
    )


def foreign_page(headers: Mapping[bytes, bytes]) -> Problem | None:
    """Refuse what a browser sends on behalf of another site's page, or of another port's."""
    site = headers.get(b"sec-fetch-site", b"none")
    host = headers.get(b"host", b"")
    origin = headers.get(b"origin", b"//" + host).partition(b"//")[2]
    if site in {b"none", b"same-origin"} and origin == host:
        return None
    return Problem(
        403,
        "Without keys Dreamhook does not answer to the pages of other sites. "
        "Set DREAMHOOK_API_KEYS and send a key.",
    )


@lru_cache(maxsize=64)
def names_this_machine(host: str) -> bool:
    """Say whether a Host header names a loopback address: 127.0.0.0/8, [::1] or localhost."""
    name = re.sub(r":[0-9]*$", "", host)
    return is_loopback(name.removeprefix("[").removesuffix("]"))


# --- bodies -------------------------------------------------------------------------------------


def too_large(headers: Mapping[bytes, bytes]) -> Problem | None:
    """Refuse a body that announces a length over the limit."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and len(length) < _LENGTH_DIGITS and int(length) <= MAX_BODY_BYTES:
        return None
    return _TOO_LARGE


def _counted(receive: Receive) -> Receive:
    """Stop reading a body of unannounced length when it goes over the limit."""
    size = 0

    async def counting() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise _TooLargeError
        return message

    return counting


# --- answers ------------------------------------------------------------------------------------


class _Answer:
    """Passes an answer on; knows whether it has begun; leaves out the body if only heads count."""

    def __init__(self, send: Send, *, with_body: bool) -> None:
        self._send = send
        self._with_body = with_body
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if self._with_body:
            self.has_begun = True
            await self._send(message)
        elif not self.has_begun:
            # The head is all there will be, also of an answer whose body would never end.
            self.has_begun = True
            await self._send(message)
            await self._send({"type": "http.response.body", "body": b""})


def _last_resort(error: Exception) -> Problem:
    if isinstance(error, _TooLargeError):
        return _TOO_LARGE
    log.error("request failed", exc_info=error)
    return Problem(500, "This is a fault of Dreamhook. Its log says more.")
