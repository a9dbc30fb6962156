"""Asks an application in this process, as whoever asked us, and takes its answer as a value."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import Response
from pydantic_core import from_json
from starlette.types import ASGIApp, Message, Scope

_OF_THE_BODY = {b"content-length", b"transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What it answered; `cursors` lead to what is older than each item, if it is a list."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    cursors: Sequence[str]

    @property
    def is_ok(self) -> bool:
        """Tell whether it did what it was asked."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110's own numbers

    def json(self) -> Any:
        """Read its body."""
        return from_json(self.body)

    def response(self) -> Response:
        """Make it our own answer."""
        response = Response(self.body, self.status)
        response.raw_headers = list(self.headers)
        return response


async def ask(
    app: ASGIApp, scope: Scope, body: bytes = b"", *, query: Mapping[str, str] | None = None
) -> Answer:
    """Ask what `scope` asks, with this body, and with this query if one is given."""
    state: dict[str, Any] = dict(scope.get("state", {}))
    headers = [each for each in scope["headers"] if each[0] not in _OF_THE_BODY]
    asked = {**scope, "state": state, "headers": headers, "path_params": {}}
    if query is not None:
        asked["query_string"] = urlencode(query).encode()
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        return unread.pop() if unread else await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(asked, receive, send)
    head, *parts = sent
    content = b"".join(each.get("body", b"") for each in parts)
    return Answer(head["status"], head["headers"], content, state.get("cursors", ()))
