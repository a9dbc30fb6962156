"""How answers and faults look on the wire, as plain ASGI and, where a fault must, on the socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from typing import TypeAlias

import orjson
from starlette.types import Receive, Scope, Send

from worker.simulator.faults import Fault, Kind

SIGN_IN_PATH = "/_simulator/sign-in"
# Where `worker.simulator.server` leaves the connection for a fault that works on the socket.
TRANSPORT = "simulator.transport"

JSON = b"application/json"
_HTML = b"text/html; charset=utf-8"
_TEXT = b"text/plain; charset=utf-8"
_Headers: TypeAlias = list[tuple[bytes, bytes]]


def detail(message: str) -> bytes:
    """Return the body of Luma's errors."""
    return orjson.dumps({"detail": message})


def _html(title: str) -> bytes:
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return page.encode()


# What the faults that do answer say: status, body, content type.
_PAGES: dict[Kind, tuple[int, bytes, bytes]] = {
    Kind.REFUSED: (400, detail("Prompt is required"), JSON),
    Kind.UNPAID: (402, detail("Insufficient credits"), JSON),
    Kind.INVALID: (422, detail("Unknown request type"), JSON),
    Kind.UNAUTHORIZED: (401, detail("Invalid API key is provided"), JSON),
    Kind.FORBIDDEN: (403, detail("Forbidden"), JSON),
    Kind.MISSING: (404, detail("Generation not found"), JSON),
    Kind.THROTTLED: (429, detail("Rate limit exceeded"), JSON),
    Kind.BROKEN: (500, b"Internal Server Error", _TEXT),
    Kind.BAD_GATEWAY: (502, _html("502 Bad Gateway"), _HTML),
    Kind.UNAVAILABLE: (503, _html("503 Service Temporarily Unavailable"), _HTML),
    Kind.REDIRECT: (302, _html("302 Found"), _HTML),
    # Neither UTF-8 nor JSON, and yet it starts like both.
    Kind.GARBAGE: (200, b'{"id": "\xff\xfe", "state": "compl<html>', JSON),
}
_CUT_OFF = b'{"id": "00000000-0000-4000-8000-000000000000", "state": "completed", "assets": {"vid'
_CUT_OFF_CLAIMS = 4 * len(_CUT_OFF)


async def answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = JSON,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send one whole answer."""
    length = str(len(body)).encode()
    all_headers = [(b"content-type", content_type), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def commit(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """Let the fault happen to this request; the request itself has no effect on the world.

    (One that is lost has had its effect already.)

    Raises:
        RuntimeError: the fault needs a real socket, and there is none.
    """
    match fault.kind:
        case Kind.HANG:
            if not await client_left(receive, within_s=fault.seconds):
                await _hang_up(scope, receive)
        case Kind.RESET | Kind.LOST:
            await _hang_up(scope, receive, with_reset=True)
        case Kind.TRUNCATED:
            await _send_half(send)
            await _hang_up(scope, receive)
        case _:
            status, body, content_type = _PAGES[fault.kind]
            await answer(send, status, body, content_type, _fault_headers(fault, scope))


async def client_left(receive: Receive, *, within_s: float | None) -> bool:
    """Wait until the client closes its connection; False when `within_s` seconds pass before."""
    try:
        async with asyncio.timeout(within_s):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of that (lower-case) name, or nothing."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), b"")


def origin_of(scope: Scope) -> str:
    """Return scheme and authority under which the client reached us: its asset URLs start there."""
    return f"{scope['scheme']}://{header(scope, b'host').decode('latin-1')}"


async def _send_half(send: Send) -> None:
    length = str(_CUT_OFF_CLAIMS).encode()
    headers = [(b"content-type", JSON), (b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _CUT_OFF, "more_body": True})


async def _hang_up(scope: Scope, receive: Receive, *, with_reset: bool = False) -> None:
    transport: asyncio.Transport | None = scope.get("state", {}).get(TRANSPORT)
    if transport is None:
        raise RuntimeError("this fault closes the socket: serve with worker.simulator.running")
    if with_reset:
        # Lingering for 0 s makes close() send a RST instead of an orderly FIN (socket(7)).
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    else:
        transport.close()
    # uvicorn takes a return before the connection is known to be lost for an application's bug.
    await client_left(receive, within_s=None)


def _fault_headers(fault: Fault, scope: Scope) -> _Headers:
    headers: _Headers = []
    if fault.retry_after is not None:
        whole = fault.retry_after.is_integer()
        seconds = int(fault.retry_after) if whole else fault.retry_after
        headers.append((b"retry-after", str(seconds).encode()))
    if fault.kind is Kind.REDIRECT:
        headers.append((b"location", f"{origin_of(scope)}{SIGN_IN_PATH}".encode("latin-1")))
    return headers
