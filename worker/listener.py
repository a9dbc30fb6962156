"""A receiver of webhooks that verifies them as a user's own should, for `listen` and `demo`.

It knows what any receiver knows: its secret and what is posted to it. Nothing of Dreamhook's
inside is used but the words and the signature scheme.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from worker import signing
from worker.hosting import Server, listen_on, url_of
from worker.model import JsonObject

MAX_BODY_BYTES = 1024 * 1024
REMEMBERED = 10_000
"""So many webhook-ids are remembered, to know a duplicate by."""

_WITHOUT_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED}

GRACE_S = 1
"""How long a request under way may go on when the receiver ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request that was posted to the receiver, and what it made of it.

    Attributes:
        id: The `webhook-id`; empty if there was none.
        timestamp: The `webhook-timestamp`, seconds since the epoch; None if there was none.
        verified: Whether the signature holds. Nothing else here is to be believed if it does not.
        reason: Why it was refused; None if it was not.
        body: The event, `{"type", "timestamp", "data"}`; empty unless `verified`.
        duplicate: Whether this webhook-id had been taken (answered with a 2xx) before.
        attempt: How often this webhook-id has come, counting this time; 0 if not `verified`.
        answer: The HTTP status that it was answered with.
    """

    id: str
    timestamp: int | None
    verified: bool
    reason: str | None
    body: JsonObject
    duplicate: bool
    attempt: int
    answer: int


_ON_PURPOSE = "failing on purpose"

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What came of passing a webhook on.

    Attributes:
        status: The HTTP status to answer it with.
        headers: The headers to answer it with, without those of one connection.
        body: The body to answer it with; None: whatever the receiver has to say.
        reason: Why it was not taken, or could not be passed on; None if it was.
    """

    status: int
    headers: Headers = ()
    body: bytes | None = None
    reason: str | None = None


Forward: TypeAlias = Callable[[Headers, bytes], Awaitable[Passed]]


def create_app(
    secret: str,
    on_webhook: Callable[[Received], None],
    *,
    status: int = HTTPStatus.OK,
    fail_first: int = 0,
    forward: Forward | None = None,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """Make the receiver, an ASGI application that takes POSTs on any path.

    Args:
        secret: What the webhooks are signed with, `whsec_…`.
        on_webhook: Is told of each request before it is answered; not of those over 1 MiB.
        status: What verified webhooks are answered with. What is not verified gets a 401.
        fail_first: So many verified webhooks are answered with a 503 first.
        forward: Passes verified webhooks on, headers and bytes as they came; what it gives is
            answered, instead of `status`.
        clock: Tells the time, in seconds since the epoch.

    Raises:
        InvalidInputError: The secret is not one.
    """
    signing.parse_secret(secret)
    if forward is None:
        forward = _taken_with(status)
    return _Receiver(secret, on_webhook, forward, fail_first, clock)


def _taken_with(status: int) -> Forward:
    is_taken = 200 <= status < 300  # noqa: PLR2004 - "2xx"
    reason = None if is_taken else _ON_PURPOSE

    async def take(_headers: Headers, _body: bytes) -> Passed:
        return Passed(status=status, reason=reason)

    return take


class _Receiver:
    def __init__(
        self,
        secret: str,
        on_webhook: Callable[[Received], None],
        forward: Forward,
        fail_first: int,
        clock: Callable[[], float],
    ) -> None:
        self._secret = secret
        self._on_webhook = on_webhook
        self._forward = forward
        self._failures_left = fail_first
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method != "POST":
            return PlainTextResponse(
                "Dreamhook's receiver: webhooks are posted here.\n",
                HTTPStatus.METHOD_NOT_ALLOWED,
                {"Allow": "POST"},
            )
        body = await _body(request)
        if body is None:
            return PlainTextResponse(
                f"More than {MAX_BODY_BYTES} bytes are not taken.\n",
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
        received, passed = await self._receive(request, body)
        self._on_webhook(received)
        return _answer(received, passed)

    async def _receive(self, request: Request, body: bytes) -> tuple[Received, Passed]:
        """Judge a request, in the order that every receiver should: signature first."""
        headers = dict(request.headers)
        try:
            signing.verify(headers, body, self._secret, self._clock())
        except signing.SignatureError as error:
            return _refused(headers, str(error)), Passed(status=HTTPStatus.UNAUTHORIZED)
        known, event = self._recall(headers["webhook-id"]), _object(body)
        known.attempts += 1
        attempt = known.attempts
        passed = await self._passed_on(request.headers.raw, body, event)
        duplicate = known.taken
        known.taken = known.taken or 200 <= passed.status < 300  # noqa: PLR2004 - "2xx"
        received = Received(
            id=headers["webhook-id"],
            timestamp=_timestamp(headers),
            verified=True,
            reason=passed.reason,
            body=event or {},
            duplicate=duplicate,
            attempt=attempt,
            answer=int(passed.status),
        )
        return received, passed

    async def _passed_on(self, headers: Headers, body: bytes, event: JsonObject | None) -> Passed:
        if event is None:
            return Passed(status=HTTPStatus.BAD_REQUEST, reason="the body is not a JSON object")
        if self._failures_left > 0:
            self._failures_left -= 1
            return Passed(status=HTTPStatus.SERVICE_UNAVAILABLE, reason=_ON_PURPOSE)
        return await self._forward(headers, body)

    def _recall(self, name: str) -> _Known:
        """Get what is known of a webhook-id; the one that came longest ago is forgotten."""
        known = self._known.setdefault(name, _Known())
        self._known.move_to_end(name)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known


@dataclass(slots=True)
class _Known:
    attempts: int = 0
    taken: bool = False


def _refused(headers: dict[str, str], reason: str) -> Received:
    return Received(
        id=headers.get("webhook-id", ""),
        timestamp=_timestamp(headers),
        verified=False,
        reason=reason,
        body={},
        duplicate=False,
        attempt=0,
        answer=int(HTTPStatus.UNAUTHORIZED),
    )


def _answer(received: Received, passed: Passed) -> Response:
    if passed.body is None and passed.status not in _WITHOUT_BODY:
        text = received.reason or ("taken before" if received.duplicate else "taken")
        return PlainTextResponse(f"{text}\n", passed.status)
    response = Response(passed.body, passed.status)
    response.raw_headers.extend(passed.headers)
    return response


async def _body(request: Request) -> bytes | None:
    """Read the body; None if it is too large, as soon as that is known."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _object(body: bytes) -> JsonObject | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _timestamp(headers: dict[str, str]) -> int | None:
    text = headers.get("webhook-timestamp", "")
    return int(text) if text.isdecimal() and len(text) <= 15 else None  # noqa: PLR2004 - as signing


# --- serving --------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve `app` in the running loop for as long as the context lasts; signals stay with you.

    Args:
        app: The receiver, or any ASGI application.
        host: An IP address or a host name of this machine.
        port: Its port; 0 takes a free one.

    Yields:
        The URL to send webhooks to, `http://host:port/`.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    with listen_on(host, port, port_by="--port", host_by="--host") as taken:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[taken]))
        try:
            yield f"{url_of(taken)}/"
        finally:
            server.should_exit = True
            await serving
