"""One account's connection to its provider: look-ups go in, answers come out.

Whatever the network or the provider does, the outcome is a value of `worker.model`; nothing here
raises for it. The client knows HTTP; what a body says is read in `worker.providers.reading`.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from worker.listing import Page
from worker.model import Account, Answer, Missing, Refused, Seen, Throttled, Trouble
from worker.policy import parse_retry_after
from worker.providers import reading
from worker.providers.credentials import header_of, query_of
from worker.providers.spec import Provider
from worker.providers.transport import MAX_CONNECTIONS, connect
from worker.refusals import Refusal

MAX_BODY_BYTES = 1024 * 1024
MAX_PAGE_BYTES = 4 * 1024 * 1024
MAX_ERROR_BODY_BYTES = 16 * 1024
MAX_DETAIL_CHARS = 300
MAX_REQUEST_ID_CHARS = 100

_GZIP = 16 + zlib.MAX_WBITS
_COMMON_HEADERS = {
    b"Accept": b"application/json",
    b"Accept-Encoding": b"gzip",
    b"User-Agent": b"dreamhook",
}


@dataclass(frozen=True, slots=True)
class _Json:
    """A 2xx whose body is JSON; `answered_at` is what its `Date` says, in ms."""

    value: Any
    answered_at: int | None
    request_id: str | None


@dataclass(slots=True)
class _Reply:
    """What has come in so far, of `cap` bytes at most; `fault` says why no more did."""

    cap: int
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytearray = field(default_factory=bytearray)
    fault: str | None = None


class ProviderClient:
    """Looks up generations for one account.

    At most `MAX_CONNECTIONS` calls are under way at once; further ones wait for their turn, which
    is not counted against their time. `page` is the most rows to ask the list call for, None if
    the provider has no such call. Redirects are not followed, no cookies are kept, and the
    usual proxy variables of the environment are honoured.

    Args:
        account: whose generations; its base URL and API key are used as they are.
        provider: where the calls are and how to read their answers.
        timeout_s: the time a call may take as a whole, from connecting to the last byte.

    Raises:
        ConfigurationError: the environment's proxy or certificate settings cannot be used.
    """

    def __init__(self, account: Account, provider: Provider, *, timeout_s: float = 10.0) -> None:
        self.asset_lifetime_s = provider.asset_lifetime_s or provider.asset_refresh_s
        listed = provider.list_generations
        self.page = listed.page if listed else None
        self._account = account
        self._provider = provider
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._headers = _COMMON_HEADERS | {
            name.encode(): value.encode() for name, value in provider.headers.items()
        }
        self._transport = connect()

    async def get_generation(self, generation_id: str) -> Answer:
        """Look at one generation."""
        path = _placed(self._provider.get_generation.path, generation_id)
        if path is None:
            return Missing("this cannot be a generation's ID")
        reply = await self._ask(path)
        if not isinstance(reply, _Json):
            return reply
        found = reading.read_id(self._provider, reply.value)
        answer: Answer
        if found is not None and not _is_same(found, generation_id):
            answer = Trouble("the answer is about another generation")
        else:
            answer = reading.read_generation(
                self._provider, reply.value, answered_at=reply.answered_at
            )
        if not isinstance(answer, Seen):
            answer = replace(answer, detail=self._presentable(answer.detail))
        return replace(answer, request_id=reply.request_id) if reply.request_id else answer

    async def list_generations(self, *, limit: int, offset: int) -> Page | Refusal:
        """Look at one page of the account's generations: `limit` rows from rank `offset` on.

        The provider decides how many rows come, in which order, and how old they are. If it has no
        list call the answer is `Missing`, without a request.
        """
        call = self._provider.list_generations
        if call is None:
            return Missing("this provider has no list of generations")
        path = f"{call.path}?{call.limit}={limit}&{call.offset}={offset}"
        reply = await self._ask(path, cap=MAX_PAGE_BYTES)
        if not isinstance(reply, _Json):
            return reply
        rows = reading.read_rows(
            self._provider, call.rows, reply.value, answered_at=reply.answered_at
        )
        return rows if isinstance(rows, Trouble) else Page(offset, limit, rows)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _ask(self, path: str, *, cap: int = MAX_BODY_BYTES) -> _Json | Refusal:
        reply = _Reply(cap)
        async with self._turns:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._receive(self._account.base_url.rstrip("/") + path, reply)
            except TimeoutError:
                reply.fault = f"no complete answer within {self._timeout_s:g} s"
            except Exception as error:  # noqa: BLE001 - a strange answer trips libraries in strange places
                reply.fault = _in_words(error)
        return self._meaning(reply)

    async def _receive(self, url: str, reply: _Reply) -> None:
        """Fill `reply` as the answer comes in, so that what a hung answer did say still counts."""
        auth, now_s = self._provider.auth, int(time.time())
        query = query_of(auth, self._account, now_s=now_s)
        if query:
            url = f"{url}{'&' if '?' in url else '?'}{query}"
        headers = {**self._headers, **header_of(auth, self._account, now_s=now_s)}
        request = httpx.Request("GET", _without_user(httpx.URL(url)), headers=headers)
        response = await self._transport.handle_async_request(request)
        try:
            response.headers.encoding = "latin-1"  # else httpx guesses it for each header it reads
            reply.headers = response.headers
            reply.status = response.status_code
            cap = reply.cap if response.is_success else MAX_ERROR_BODY_BYTES
            async for chunk in response.aiter_raw():
                reply.raw += chunk
                if len(reply.raw) > cap:
                    reply.fault = f"the body is larger than {cap // 1024} KiB"
                    return
        finally:
            await response.aclose()

    def _meaning(self, reply: _Reply) -> _Json | Refusal:
        status = reply.status
        if status is None:
            return Trouble(self._presentable(reply.fault or "no answer"))
        if not httpx.codes.is_success(status):
            detail = self._presentable(f"{_titled(status)}: {self._complaint(reply)}".rstrip(": "))
            refusal = _refusal(status, detail, _retry_after_s(status, reply.headers))
            return replace(refusal, request_id=self._request_id(reply))
        try:
            answered_at = _instant(reply.headers.get("date"))
            return _Json(_json(reply), answered_at, self._request_id(reply))
        except ValueError as error:
            detail = self._presentable(f"{_titled(status)}: {error}")
            return Trouble(detail, request_id=self._request_id(reply))

    def _request_id(self, reply: _Reply) -> str | None:
        """Find what the provider calls this request, for its support to look up."""
        said = reply.headers.get(self._provider.request_id_header.lower(), "")
        return self._presentable(said)[:MAX_REQUEST_ID_CHARS] or None

    def _complaint(self, reply: _Reply) -> str:
        """Find the provider's own words about an error; a page of HTML has none worth keeping."""
        if httpx.codes.is_redirect(reply.status or 0):
            return "redirects are not followed; check the account's base URL"
        try:
            content = _content(reply)
        except ValueError:
            return ""
        try:
            return reading.read_error(self._provider, reading.parse_json(content)) or ""
        except ValueError:
            text = content.decode("utf-8", "replace").strip()
            return "" if text.startswith("<") else text

    def _presentable(self, text: str) -> str:
        """Make one short line of it, without the API key even if a server echoes that."""
        for key in {self._account.api_key, quote(self._account.api_key, safe="", errors="replace")}:
            text = text.replace(key, "[API key]") if key else text
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        line = " ".join(printable.split())
        return line if len(line) <= MAX_DETAIL_CHARS else line[: MAX_DETAIL_CHARS - 1] + "…"


def _placed(path: str, generation_id: str) -> str | None:
    """Put an ID into its place; None if it would name another resource there."""
    parts = generation_id.split(":") if "{parts}" in path else [generation_id]
    if not {"", ".", ".."}.isdisjoint(parts):
        return None
    quoted = [quote(part, safe="", errors="replace") for part in parts]
    return path.replace("{parts}", "/".join(quoted)).replace("{id}", quoted[0])


def _refusal(status: int, detail: str, retry_after_s: float | None) -> Refusal:
    match status:
        case HTTPStatus.NOT_FOUND:
            return Missing(detail)
        case HTTPStatus.UNAUTHORIZED:
            return Refused(detail)
        case HTTPStatus.FORBIDDEN:
            return Refused(detail, of_account=False)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled(detail, retry_after_s)
        case _:
            return Trouble(detail, retry_after_s)


def _retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """Read how long the provider asks us to stay away; `retry-after-ms` says it more finely."""
    if status not in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) and status < 500:  # noqa: PLR2004 - "5xx"
        return None
    now = int(time.time() * 1000)
    in_ms = parse_retry_after(headers.get("retry-after-ms"), now=now)
    return parse_retry_after(headers.get("retry-after"), now=now) if in_ms is None else in_ms / 1000


@lru_cache(maxsize=64)  # all answers of a second say the same
def _instant(date: str | None) -> int | None:
    """Read an HTTP date (RFC 9110, section 5.6.7) as ms since the epoch."""
    try:
        return None if date is None else int(parsedate_to_datetime(date).timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _json(reply: _Reply) -> Any:
    if reply.fault is not None:
        raise ValueError(reply.fault)
    content = _content(reply).strip()
    if not content:
        raise ValueError("the body is empty")
    try:
        return reading.parse_json(content)
    except ValueError as error:
        kind = "HTML" if content.startswith(b"<") else "not JSON"
        raise ValueError(f"the body is {kind}") from error


def _content(reply: _Reply) -> bytes:
    """Undo the content encoding. httpx would too, but without a limit to what a body swells to."""
    encoding = reply.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return bytes(reply.raw)
    if encoding not in ("gzip", "x-gzip"):
        raise ValueError("the body has an encoding that was not asked for")
    inflater = zlib.decompressobj(wbits=_GZIP)
    try:
        content = inflater.decompress(reply.raw, reply.cap)
    except zlib.error as error:
        raise ValueError("the body is damaged gzip") from error
    if not inflater.eof:
        raise ValueError("the body is truncated gzip, or too large")
    return content


def _is_same(found: str, asked: str) -> bool:
    """Tell whether an answer's ID is the one that was asked for, or the last part of it."""
    one, other = _canonical(found), _canonical(asked)
    return one == other or other.endswith(f":{one}")


def _canonical(generation_id: str) -> str:
    """Spell an ID as providers compare it: UUIDs are the same in any case, with or without "-"."""
    return generation_id.casefold().replace("-", "").replace("/", ":")


def _titled(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _without_user(url: httpx.URL) -> httpx.URL:
    """Drop a user name and password: the account's key is what it has for credentials."""
    return url.copy_with(username=None, password=None) if url.userinfo else url


def _in_words(error: Exception) -> str:
    match error:
        case httpx.ConnectError():
            return f"cannot connect: {_root(error)}"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | UnicodeError():
            return "the account's base URL is not a usable http(s) URL"
        case httpx.LocalProtocolError():
            # Its text quotes the header, and with it the API key.
            return "the request cannot be sent: the API key has characters that no header may have"
        case httpx.HTTPError():
            return f"the connection broke: {error}".rstrip(": ")
        case _:
            return f"the call failed: {type(error).__name__}"


def _root(error: BaseException) -> str:
    """Find what the system said beneath the libraries' "all connection attempts failed"."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            cause: BaseException | None = error.exceptions[0]
        else:
            cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    if isinstance(error, ConnectionError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error)
