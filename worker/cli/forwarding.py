"""Passes webhooks on to a server under development, as they came: the same headers and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx

from worker.config_values import is_loopback
from worker.errors import InvalidInputError
from worker.listener import Forward, Headers, Passed

ANSWER_S = 14.0
"""Dreamhook gives an attempt up after 15 s; it shall hear from us that the target is too slow."""

MAX_ANSWER_BYTES = 64 * 1024
"""Dreamhook reads 16 KiB."""

_OF_ONE_CONNECTION = {
    *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    *(b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
    *(b"host", b"content-length"),  # made anew: for another host, and of the same bytes
}


def target_of(text: str) -> httpx.URL:
    """Read where to pass webhooks on to; `localhost:3000/hooks` will do.

    Raises:
        InvalidInputError: It is no address that can be called.
    """
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidInputError(
            "--forward-to", "must be an http(s) URL, such as http://127.0.0.1:3000/hooks"
        )
    return url


@asynccontextmanager
async def forwarding(target: httpx.URL) -> AsyncIterator[Forward]:
    """Make what passes webhooks on to `target`; its connections last as long as the context."""
    # A proxy that the environment names for the world cannot reach this machine.
    async with httpx.AsyncClient(trust_env=not is_loopback(target.host)) as http:

        async def forward(headers: Headers, body: bytes) -> Passed:
            request = httpx.Request("POST", target, headers=_kept(headers), content=body)
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await _passed(http, request)
            except (TimeoutError, httpx.TimeoutException):
                why = f"{target} has not answered within {ANSWER_S:g} s"
                return Passed(status=HTTPStatus.GATEWAY_TIMEOUT, reason=why)
            except (httpx.HTTPError, OSError) as error:
                why = f"{target} cannot be reached ({error or type(error).__name__})"
                return Passed(status=HTTPStatus.BAD_GATEWAY, reason=why)

        yield forward


async def _passed(http: httpx.AsyncClient, request: httpx.Request) -> Passed:
    response = await http.send(request, stream=True)
    try:
        body = b""
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) >= MAX_ANSWER_BYTES:
                break
    finally:
        await response.aclose()
    return Passed(
        status=response.status_code,
        headers=[(name.lower(), value) for name, value in _kept(response.headers.raw)],
        body=body[:MAX_ANSWER_BYTES],
    )


def _kept(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [each for each in headers if each[0].lower() not in _OF_ONE_CONNECTION]
