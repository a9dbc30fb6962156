"""Serves one agent over this process's standard input and output. Logs go to standard error."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stdout

from mcp.server.stdio import stdio_server

from worker.client import AsyncClient
from worker.config import ClientSettings
from worker.mcp_server.desks import Desk
from worker.mcp_server.draining import Incoming, Outgoing, Owed
from worker.mcp_server.remote import Remote, Usual
from worker.mcp_server.serving import WITH_SERVER, Request, create_server
from worker.mcp_server.tools import Tool


async def with_server(settings: ClientSettings) -> None:
    """Serve until the agent hangs up, asking a Dreamhook server.

    Raises:
        ConfigurationError: the environment's proxy settings cannot be used.
    """
    key = settings.api_key.get_secret_value() if settings.api_key else None
    async with AsyncClient(settings.url, key) as client:
        await serve(WITH_SERVER, Remote(client, Usual()))


async def serve(tools: Sequence[Tool], desk: Desk) -> None:
    """Serve these tools until the agent hangs up and has the answers to what it asked."""

    @asynccontextmanager
    async def opened(_request: Request) -> AsyncIterator[Desk]:
        yield desk

    server = create_server(tools, opened)
    # The SDK points the descriptor elsewhere while it serves, but what Python has buffered by then
    # would still come out after it.
    async with stdio_server() as (read, write):
        with redirect_stdout(sys.stderr):
            owed = Owed()
            await server.run(
                *(Incoming(read, owed), Outgoing(write, owed)),
                server.create_initialization_options(),
            )
