"""A receiver of webhooks that verifies them as a user's own should, for `listen` and `demo`.

It knows what any receiver knows: its secret and what is posted to it. Nothing of Dreamhook's
inside is used but the words and the signature scheme.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

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


def create_app(
    secret: str,
    on_webhook: Callable[[Received], None],
    *,
    status: int = HTTPStatus.OK,
    fail_first: int = 0,
    clock: Callable[[], float] = time.time,
) -> ASGIApp:
    """Make the receiver, an ASGI application that takes POSTs on any path.

    Args:
        secret: What the webhooks are signed with, `whsec_…`.
        on_webhook: Is told of each request before it is answered; not of those over 1 MiB.
        status: What verified webhooks are answered with. What is not verified gets a 401.
        fail_first: So many verified webhooks are answered with a 503 first.
        clock: Tells the time, in seconds since the epoch.

    Raises:
        InvalidInputError: The secret is not one.
    """
    signing.parse_secret(secret)
    return _Receiver(secret, on_webhook, status, fail_first, clock)


class _Receiver:
    def __init__(
        self,
        secret: str,
        on_webhook: Callable[[Received], None],
        status: int,
        fail_first: int,
        clock: Callable[[], float],
    ) -> None:
        self._secret = secret
        self._on_webhook = on_webhook
        self._status = status
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
        received = self._receive(dict(request.headers), body)
        self._on_webhook(received)
        text = received.reason or ("taken before" if received.duplicate else "taken")
        return PlainTextResponse(f"{text}\n", received.answer)

    def _receive(self, headers: dict[str, str], body: bytes) -> Received:
        """Judge a request, in the order that every receiver should: signature first."""
        name = headers.get("webhook-id", "")
        try:
            signing.verify(headers, body, self._secret, self._clock())
        except signing.SignatureError as error:
            return _refused(headers, str(error))
        known = self._recall(name)
        known.attempts += 1
        event = _object(body)
        if event is None:
            answer, reason = int(HTTPStatus.BAD_REQUEST), "the body is not a JSON object"
        elif self._failures_left > 0:
            self._failures_left -= 1
            answer, reason = int(HTTPStatus.SERVICE_UNAVAILABLE), "failing on purpose"
        else:
            answer, reason = self._status, None
        duplicate = known.taken
        known.taken = known.taken or 200 <= answer < 300  # noqa: PLR2004 - "2xx"
        return Received(
            id=name,
            timestamp=_timestamp(headers),
            verified=True,
            reason=reason,
            body=event or {},
            duplicate=duplicate,
            attempt=known.attempts,
            answer=answer,
        )

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
    with listen_on(host, port, remedy="Choose another port or host.") as taken:
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
