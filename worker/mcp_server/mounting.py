"""Mounts the tools at `/mcp` of the HTTP API, behind the same keys.

Each call of a tool asks the API itself, in this process, with the key that the agent came with: so
the gate that stands before the API decides about agents too. It also keeps out the pages of other
sites, which is why the SDK's own check of Host and Origin is off.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.api.gate import MAX_BODY_BYTES, MCP_PATH, READ_ONLY, STOPPING, bearer
from worker.client import AsyncClient
from worker.mcp_server.desks import Desk
from worker.mcp_server.remote import Remote, Usual
from worker.mcp_server.serving import READING, WITH_SERVER, Request, create_server

MOST_SESSIONS = 1000

HERE = "http://localhost"
"""How the API is addressed from within; the gate knows it for this machine."""


class _Mounted:
    """The ASGI application: one server for those who may do everything, one for readers."""

    def __init__(
        self, everything: StreamableHTTPSessionManager, reading: StreamableHTTPSessionManager
    ) -> None:
        self._everything = everything
        self._reading = reading
        self.is_open = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.is_open:
            await STOPPING.response()(scope, receive, send)
            return
        reads = scope.get("state", {}).get(READ_ONLY, False)
        manager = self._reading if reads else self._everything
        await manager.handle_request(scope, receive, send)


@asynccontextmanager
async def mounted(app: FastAPI, api: ASGIApp | None = None) -> AsyncIterator[None]:
    """Serve agents at `/mcp` of this API for as long as this lasts.

    Args:
        app: gets the route.
        api: whom the tools ask, if it is not `app` itself.
    """
    logging.getLogger("mcp").setLevel(logging.WARNING)  # it would log every session, with its ID

    usual = Usual()

    @asynccontextmanager
    async def opened(request: Request) -> AsyncIterator[Desk]:
        headers = request.request.headers if request.request else {}
        sent = headers.get("authorization", "").encode()
        key = bearer({b"authorization": sent}).decode("latin-1")
        async with AsyncClient(HERE, key or None, app=api or app) as client:
            yield Remote(client, usual)

    everything = _manager(create_server(WITH_SERVER, opened))
    reading = _manager(create_server(READING, opened))
    application = _Mounted(everything, reading)
    async with everything.run(), reading.run():
        app.router.routes.append(Route(MCP_PATH, endpoint=application))
        try:
            yield
        finally:
            application.is_open = False


def _manager(server: Server) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=MAX_BODY_BYTES,
        max_sessions=MOST_SESSIONS,
    )
