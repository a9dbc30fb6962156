"""One request to a provider and what came back, whatever the network or the provider does.

What a reply means is for those who asked: `client` for looks, `creating` for create calls.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from worker.model import Account
from worker.policy import parse_retry_after
from worker.providers import reading
from worker.providers.credentials import header_of, query_of
from worker.providers.spec import Provider

MAX_BODY_BYTES = 1024 * 1024
MAX_ERROR_BODY_BYTES = 16 * 1024
MAX_DETAIL_CHARS = 300
MAX_REQUEST_ID_CHARS = 100

_GZIP = 16 + zlib.MAX_WBITS
_COMMON_HEADERS = {
    b"Accept": b"application/json",
    b"Accept-Encoding": b"gzip",
    b"User-Agent": b"dreamhook",
}


@dataclass(slots=True)
class Reply:
    """What has come in so far; `fault` says why no more did.

    `cap` is the most bytes that are taken of a body, as it comes and as what it swells to.
    """

    cap: int
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytearray = field(default_factory=bytearray)
    fault: str | None = None


class Exchange:
    """Sends requests with an account's credentials, and reads what answers have in common.

    Args:
        account: whose; its base URL and API key are used as they are.
        provider: how it authenticates and words its errors.
        transport: how requests get there.
    """

    def __init__(
        self, account: Account, provider: Provider, transport: httpx.AsyncBaseTransport
    ) -> None:
        self._account = account
        self._provider = provider
        self._transport = transport
        self._headers = _COMMON_HEADERS | {
            name.encode(): value.encode() for name, value in provider.headers.items()
        }

    async def receive(self, path: str, reply: Reply, *, content: bytes | None = None) -> None:
        """GET, or POST the JSON in `content`; any exception means that no whole answer came.

        The reply is filled as the answer comes in, so that what a hung answer did say still counts.
        """
        url = self._account.base_url.rstrip("/") + path
        auth, now_s = self._provider.auth, int(time.time())
        query = query_of(auth, self._account, now_s=now_s)
        if query:
            url = f"{url}{'&' if '?' in url else '?'}{query}"
        headers = {**self._headers, **header_of(auth, self._account, now_s=now_s)}
        target = _without_user(httpx.URL(url))
        if content is None:
            request = httpx.Request("GET", target, headers=headers)
        else:
            headers[b"Content-Type"] = b"application/json"
            request = httpx.Request("POST", target, headers=headers, content=content)
        response = await self._transport.handle_async_request(request)
        try:
            response.headers.encoding = "latin-1"  # else httpx guesses it for each header it reads
            reply.headers = response.headers
            reply.status = response.status_code
            if not response.is_success:
                reply.cap = MAX_ERROR_BODY_BYTES
            async for chunk in response.aiter_raw():
                reply.raw += chunk
                if len(reply.raw) > reply.cap:
                    reply.fault = f"the body is larger than {reply.cap // 1024} KiB"
                    return
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def request_id(self, reply: Reply) -> str | None:
        """Find what the provider calls this request, for its support to look up."""
        said = reply.headers.get(self._provider.request_id_header.lower(), "")
        return self.presentable(said)[:MAX_REQUEST_ID_CHARS] or None

    def detail(self, reply: Reply) -> str:
        """Say in a line what an error answer says: its status, and the provider's own words."""
        return self.presentable(f"{titled(reply.status)}: {self._complaint(reply)}".rstrip(": "))

    def _complaint(self, reply: Reply) -> str:
        """Find the provider's own words about an error; a page of HTML has none worth keeping."""
        if httpx.codes.is_redirect(reply.status or 0):
            return "redirects are not followed; check the account's base URL"
        try:
            content = content_of(reply)
        except ValueError:
            return ""
        try:
            return reading.read_error(self._provider, reading.parse_json(content)) or ""
        except ValueError:
            text = content.decode("utf-8", "replace").strip()
            return "" if text.startswith("<") else text

    def without_key(self, text: str) -> str:
        """Take the API key out, should a server echo it."""
        for key in {self._account.api_key, quote(self._account.api_key, safe="", errors="replace")}:
            text = text.replace(key, "[API key]") if key else text
        return text

    def presentable(self, text: str) -> str:
        """Make one short line of it, without the API key."""
        text = self.without_key(text)
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        line = " ".join(printable.split())
        return line if len(line) <= MAX_DETAIL_CHARS else line[: MAX_DETAIL_CHARS - 1] + "…"


def retry_after_s(reply: Reply) -> float | None:
    """Read how long the provider asks us to stay away; `retry-after-ms` says it more finely."""
    status, headers = reply.status or 0, reply.headers
    if status not in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) and status < 500:  # noqa: PLR2004 - "5xx"
        return None
    now = int(time.time() * 1000)
    in_ms = parse_retry_after(headers.get("retry-after-ms"), now=now)
    return parse_retry_after(headers.get("retry-after"), now=now) if in_ms is None else in_ms / 1000


@lru_cache(maxsize=64)  # all answers of a second say the same
def instant(date: str | None) -> int | None:
    """Read an HTTP date (RFC 9110, section 5.6.7) as ms since the epoch."""
    try:
        return None if date is None else int(parsedate_to_datetime(date).timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def json_of(reply: Reply) -> Any:
    """Read the JSON of a whole answer.

    Raises:
        ValueError: it is not whole, or not JSON; says why.
    """
    if reply.fault is not None:
        raise ValueError(reply.fault)
    content = content_of(reply).strip()
    if not content:
        raise ValueError("the body is empty")
    try:
        return reading.parse_json(content)
    except ValueError as error:
        kind = "HTML" if content.startswith(b"<") else "not JSON"
        raise ValueError(f"the body is {kind}") from error


def content_of(reply: Reply) -> bytes:
    """Undo the content encoding. httpx would too, but without a limit to what a body swells to.

    Raises:
        ValueError: it cannot be undone; says why.
    """
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


def titled(status: int | None) -> str:
    """Name a status, such as `404 Not Found`."""
    try:
        return f"{status} {HTTPStatus(status or 0).phrase}"
    except ValueError:
        return str(status)


def _without_user(url: httpx.URL) -> httpx.URL:
    """Drop a user name and password: the account's key is what it has for credentials."""
    return url.copy_with(username=None, password=None) if url.userinfo else url


def in_words(error: Exception) -> str:
    """Say for people why no answer came."""
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
