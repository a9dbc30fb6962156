"""The create call, and how a provider's list shows what came of one.

To call twice is to pay twice. So each call has a connection of its own, which cannot turn out to
have been closed before, is made once, and its outcome says whether anything can have been made.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from worker.errors import InvalidInputError
from worker.model import (
    Account,
    Created,
    Creation,
    Declined,
    InDoubt,
    JsonObject,
    NotSent,
    Seen,
)
from worker.providers import reading
from worker.providers.exchange import (
    MAX_BODY_BYTES,
    Exchange,
    Reply,
    content_of,
    in_words,
    json_of,
    retry_after_s,
    titled,
)
from worker.providers.spec import CreateGeneration, Provider
from worker.providers.transport import MAX_CONNECTIONS, connect
from worker.requests import GENERATION_ID, is_deeper
from worker.submissions import SKEW_S, UNSYNCED_SKEW_S, Row

MAX_ERROR_TEXT_CHARS = 2000
MAX_ERROR_DEPTH = 32

_BEFORE_IT_WAS_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError),
    *(httpx.InvalidURL, httpx.UnsupportedProtocol),
)
_REQUEST_TIMEOUT, _FIRST_SERVER_ERROR = 408, 500


class Creator:
    """Makes an account's create calls, up to `MAX_CONNECTIONS` at once.

    Args:
        account: whose generations.
        provider: where its create call is, and what it answers.
    """

    def __init__(self, account: Account, provider: Provider) -> None:
        self._provider = provider
        self._exchange = Exchange(account, provider, connect(kept_alive=False))
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)

    async def create(self, request: JsonObject, *, timeout_s: float) -> Creation:
        """Send the request as it is, once, and say what is known of its outcome.

        Args:
            request: the provider's own create body.
            timeout_s: until an answer must be there; nothing is sent later, whoever stood still.

        Raises:
            InvalidInputError: the request does not say which create call it is for.
        """
        path, content = path_of(self._provider, request), body_of(request)
        reply, is_sent = Reply(MAX_BODY_BYTES), False
        until = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s), self._turns:
                is_sent = time.monotonic() < until  # or the process has stood still
                if is_sent:
                    await self._exchange.receive(path, reply, content=content)
        except TimeoutError:
            reply.fault = f"no complete answer within {timeout_s:g} s"
        except Exception as error:  # noqa: BLE001 - a strange answer trips libraries in strange places
            is_sent = not isinstance(error, _BEFORE_IT_WAS_SENT)
            reply.fault = in_words(error)
        if not is_sent:
            return NotSent(self._exchange.presentable(reply.fault or "it had to wait too long"))
        return self._outcome(reply)

    def _outcome(self, reply: Reply) -> Creation:
        """Read an answer. A 408 or a 5xx may come from a proxy before a provider that goes on."""
        status = reply.status
        if status is None:
            return InDoubt(self._exchange.presentable(reply.fault or "no answer"))
        if status == _REQUEST_TIMEOUT or status >= _FIRST_SERVER_ERROR:
            return InDoubt(self._exchange.detail(reply))
        if not httpx.codes.is_success(status):
            return self._declined(status, reply)
        try:
            found = created_id(self._provider, json_of(reply))
        except ValueError as error:
            return InDoubt(self._exchange.presentable(f"{titled(status)}: {error}"))
        return Created(found)

    def _declined(self, status: int, reply: Reply) -> Declined:
        return Declined(
            status=status,
            detail=self._exchange.detail(reply),
            body=self._told(reply),
            retry_after_s=retry_after_s(reply),
            request_id=self._exchange.request_id(reply),
        )

    def _told(self, reply: Reply) -> Any:
        """Keep what the provider said as it said it: JSON, or the beginning of a text.

        JSON that no reader of ours would take back is kept as text.
        """
        try:
            content = content_of(reply)
        except ValueError:
            return None
        text = self._exchange.without_key(content.decode("utf-8", "replace"))
        try:
            told = reading.parse_json(text.encode())
        except ValueError:
            return text[:MAX_ERROR_TEXT_CHARS] or None
        return text[:MAX_ERROR_TEXT_CHARS] if is_deeper(told, MAX_ERROR_DEPTH) else told

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchange.aclose()


def body_of(request: JsonObject) -> bytes:
    """Write a request as it is sent.

    Raises:
        InvalidInputError: it cannot be written as JSON that everybody can read.
    """
    try:
        return orjson.dumps(request)
    except (TypeError, ValueError) as error:  # an integer beyond 64 bits, half an emoji
        raise InvalidInputError("request", f"cannot be sent as JSON: {error}") from error


def path_of(provider: Provider, request: JsonObject) -> str:
    """Tell where a request goes: in the path, `{call}` stands for what it is for.

    Raises:
        InvalidInputError: it does not say so, or the provider's file has no create call.
    """
    call = create_call(provider)
    if call.call is None:
        return call.path
    found = reading.find(call.call, request)
    parts = found.split("/") if isinstance(found, str) else [""]
    if not {"", ".", ".."}.isdisjoint(parts):
        raise InvalidInputError("request", "does not say which of the create calls it is for")
    return call.path.replace("{call}", quote("/".join(parts), safe="/", errors="replace"))


def create_call(provider: Provider) -> CreateGeneration:
    """Get the create call of a provider.

    Raises:
        InvalidInputError: its file describes none.
    """
    if provider.create_generation is None:
        raise InvalidInputError(
            "account",
            f"provider {provider.name} has no create call here; create the generation yourself and "
            "PUT /v1/trackers/{account}/{generation_id}",
        )
    return provider.create_generation


def created_id(provider: Provider, body: Any) -> str:
    """Read the new generation's ID from the answer of the create call.

    Raises:
        ValueError: there is none that could be tracked.
    """
    found = reading.find(create_call(provider).id, body)
    found = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
    if not isinstance(found, str) or not GENERATION_ID.fullmatch(found):
        raise ValueError("the answer has no ID of a generation")
    return found


def row(provider: Provider, generation_id: str, seen: Seen, *, now: int) -> Row:
    """Read from a row of the list when a generation was created and what was asked for."""
    call = provider.create_generation
    asked = reading.find(call.echo if call else None, seen.generation)
    offset = 0 if seen.answered_at is None else now - seen.answered_at
    return Row(
        generation_id=generation_id,
        created_at=None if seen.created_at is None else seen.created_at + offset,
        skew_s=UNSYNCED_SKEW_S if seen.answered_at is None else SKEW_S,
        asked=asked if isinstance(asked, dict) else None,
    )
