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
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx

from worker.errors import ConfigurationError
from worker.model import Account, Answer, Missing, Refused, Seen, Throttled, Trouble
from worker.policy import parse_retry_after
from worker.providers import reading
from worker.providers.spec import Provider

Rows: TypeAlias = list[tuple[str, Seen]]
Refusal: TypeAlias = Missing | Refused | Throttled | Trouble

# httpcore's pool costs grow with the square of the calls in flight. Measured on one core: 20
# connections serve 100 calls/s of a provider that takes 200 ms and 660/s of one that takes none;
# 50 serve 240/s and 250/s. Keep-alive must equal the maximum, or idle connections are not reused.
MAX_CONNECTIONS = 20
KEEPALIVE_S = 30.0

MAX_BODY_BYTES = 1024 * 1024
MAX_ERROR_BODY_BYTES = 16 * 1024
MAX_DETAIL_CHARS = 300

_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class _Json:
    """A 2xx whose body is JSON."""

    value: Any


@dataclass(slots=True)
class _Reply:
    """What has come in so far; `fault` says why no more did."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytearray = field(default_factory=bytearray)
    fault: str | None = None


class ProviderClient:
    """Looks up generations for one account.

    At most `MAX_CONNECTIONS` calls are under way at once; further ones wait for their turn, which
    is not counted against their time. Redirects are not followed, no cookies are kept, and the
    usual proxy variables of the environment are honoured.

    Args:
        account: whose generations; its base URL and API key are used as they are.
        provider: where the calls are and how to read their answers.
        timeout_s: the time a call may take as a whole, from connecting to the last byte.

    Raises:
        ConfigurationError: the environment's proxy or certificate settings cannot be used.
    """

    def __init__(self, account: Account, provider: Provider, *, timeout_s: float = 10.0) -> None:
        self.asset_lifetime_s = provider.asset_lifetime_s
        self._account = account
        self._provider = provider
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._http = _http_client(_headers(account, provider))

    async def get_generation(self, generation_id: str) -> Answer:
        """Look at one generation."""
        if generation_id in ("", ".", ".."):
            # In a path these would name another resource, and no generation can be called so.
            return Missing("this cannot be a generation's ID")
        quoted = quote(generation_id, safe="", errors="replace")
        reply = await self._ask(self._provider.get_generation.path.replace("{id}", quoted))
        if not isinstance(reply, _Json):
            return reply
        found = reading.read_id(self._provider, reply.value)
        if found is not None and _canonical(found) != _canonical(generation_id):
            return Trouble("the answer is about another generation")
        return reading.read_generation(self._provider, reply.value)

    async def list_generations(self, *, limit: int, offset: int) -> Rows | Refusal:
        """Look at one page of the account's generations: `limit` rows from row `offset` on."""
        call = self._provider.list_generations
        reply = await self._ask(f"{call.path}?{call.limit}={limit}&{call.offset}={offset}")
        if not isinstance(reply, _Json):
            return reply
        return reading.read_rows(self._provider, reply.value)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, path: str) -> _Json | Refusal:
        reply = _Reply()
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
        async with self._http.stream("GET", url) as response:
            reply.headers = response.headers
            reply.status = response.status_code
            cap = MAX_BODY_BYTES if response.is_success else MAX_ERROR_BODY_BYTES
            async for chunk in response.aiter_raw():
                reply.raw += chunk
                if len(reply.raw) > cap:
                    reply.fault = f"the body is larger than {cap // 1024} KiB"
                    return

    def _meaning(self, reply: _Reply) -> _Json | Refusal:
        status = reply.status
        if status is None:
            return Trouble(self._presentable(reply.fault or "no answer"))
        if not httpx.codes.is_success(status):
            detail = self._presentable(f"{_titled(status)}: {self._complaint(reply)}".rstrip(": "))
            return _refusal(status, detail, _retry_after_s(status, reply.headers))
        try:
            return _Json(_json(reply))
        except ValueError as error:
            return Trouble(self._presentable(f"{_titled(status)}: {error}"))

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
        if self._account.api_key:
            text = text.replace(self._account.api_key, "[API key]")
        printable = "".join(letter if letter.isprintable() else " " for letter in text)
        line = " ".join(printable.split())
        return line if len(line) <= MAX_DETAIL_CHARS else line[: MAX_DETAIL_CHARS - 1] + "…"


def _http_client(headers: Mapping[bytes, bytes]) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            headers=headers,
            # An own (empty) scheme, or a user name in the base URL would replace the API key.
            auth=httpx.Auth(),
            # A server that sets a new cookie with every answer would make the jar grow for ever.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_CONNECTIONS,
                keepalive_expiry=KEEPALIVE_S,
            ),
            timeout=None,  # noqa: S113 - one total timeout stands around each call; these are per read
            follow_redirects=False,
            trust_env=True,
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        # Not the error's own text: a proxy URL may hold a password.
        raise ConfigurationError(
            "the environment's proxy or certificate settings cannot be used; check HTTP_PROXY, "
            f"HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE ({type(error).__name__})"
        ) from error


def _headers(account: Account, provider: Provider) -> dict[bytes, bytes]:
    headers = {
        b"Accept": b"application/json",
        b"Accept-Encoding": b"gzip",
        b"User-Agent": b"dreamhook",
    }
    if account.api_key:
        # Bytes, so that a key with a stray character is for the provider to refuse.
        value = provider.auth.value.replace("{api_key}", account.api_key)
        headers[provider.auth.header.encode()] = value.encode("utf-8", "replace")
    return headers


def _refusal(status: int, detail: str, retry_after_s: float | None) -> Refusal:
    match status:
        case HTTPStatus.NOT_FOUND:
            return Missing(detail)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Refused(detail)
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
        content = inflater.decompress(reply.raw, MAX_BODY_BYTES)
    except zlib.error as error:
        raise ValueError("the body is damaged gzip") from error
    if not inflater.eof:
        raise ValueError("the body is truncated gzip, or too large")
    return content


def _canonical(generation_id: str) -> str:
    """Spell an ID as providers compare it: UUIDs are the same in any case, with or without "-"."""
    return generation_id.casefold().replace("-", "")


def _titled(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


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
