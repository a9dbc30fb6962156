"""How requests reach a provider: `httpx` is the interface, `aiohttp` the engine below it.

httpx's own engine is three to four times slower (`python -m bench.looks`). It is used only where
the environment names proxies, since it knows their rules.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.request import getproxies

import aiohttp
import httpx
from yarl import URL

from worker.errors import ConfigurationError

MAX_CONNECTIONS = 50
KEEPALIVE_S = 30.0
CONNECT_S = 10.0
"""A look has no longer in all."""

MAX_HEADER_BYTES = 64 * 1024


def connect(*, kept_alive: bool = True) -> httpx.AsyncBaseTransport:
    """Make a transport that keeps no cookies, follows no redirects and has no limit to an answer.

    Headers go out as the request has them, and an answer's body comes in as it was sent. Unless
    they are `kept_alive`, each request has a connection of its own.

    Raises:
        ConfigurationError: the environment's proxy or certificate settings cannot be used.
    """
    try:
        return _ThroughProxies(kept_alive) if getproxies().keys() - {"no"} else _Direct(kept_alive)
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        # Not the error's own text: a proxy URL may hold a password.
        raise ConfigurationError(
            "the environment's proxy or certificate settings cannot be used; check HTTP_PROXY, "
            f"HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE ({type(error).__name__})"
        ) from error


class _Direct(httpx.AsyncBaseTransport):
    """Sends requests by aiohttp.

    If a connection closes before any answer, aiohttp sends a GET once more, as RFC 9112
    (section 9.3.1) allows: the provider may just have closed an idle connection.
    """

    def __init__(self, kept_alive: bool) -> None:  # noqa: FBT001 - named where it is asked for
        self._kept_alive = kept_alive
        self._tls = httpx.create_ssl_context()  # honours SSL_CERT_FILE
        self._session: aiohttp.ClientSession | None = None  # needs the event loop to begin

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            self._session = self._begin()
        headers = [(name.decode(), value.decode()) for name, value in request.headers.raw]
        # "Encoded", or yarl would write the path in its own way.
        url = URL(str(request.url), encoded=True)
        try:
            response = await self._session.request(
                request.method,
                url,
                headers=headers,
                data=request.content or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, ValueError) as error:
            raise _translated(error) from error
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response))

    def _begin(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                ssl=self._tls,
                force_close=not self._kept_alive,
                keepalive_timeout=KEEPALIVE_S if self._kept_alive else None,
            ),
            # A server that sets a new cookie with every answer would make the jar grow for ever.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._response.content.readany():
                yield chunk
        except aiohttp.ClientError as error:
            raise _translated(error) from error

    async def aclose(self) -> None:
        self._response.release()  # closes the connection if there is more to come


def _translated(error: Exception) -> httpx.TransportError | httpx.InvalidURL:
    match error:
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return httpx.UnsupportedProtocol("not a usable http(s) URL")
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(f"no connection within {CONNECT_S:g} s")
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(str(error))
        case ValueError():
            return httpx.LocalProtocolError("a header has characters that no header may have")
        case _:
            return httpx.RemoteProtocolError(str(error))


class _ThroughProxies(httpx.AsyncBaseTransport):
    """Chooses the proxy for each request as httpx does."""

    def __init__(self, kept_alive: bool) -> None:  # noqa: FBT001 - as above
        self._client = httpx.AsyncClient(
            auth=httpx.Auth(),  # an own, empty scheme: nothing of the environment becomes a header
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                # Less than the maximum, and idle connections would not be reused.
                max_keepalive_connections=MAX_CONNECTIONS if kept_alive else 0,
                keepalive_expiry=KEEPALIVE_S,
            ),
            # The caller puts one limit around the whole call.
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            follow_redirects=False,
            trust_env=True,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        await self._client.aclose()
