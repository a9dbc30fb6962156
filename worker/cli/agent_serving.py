"""What `mcp` does: decide whom to ask, and serve one agent until it hangs up."""

# ruff: noqa: PLC0415 - of two ways one is imported: an agent's program waits for this

from __future__ import annotations

import asyncio

from worker import telemetry
from worker.config import ClientSettings, Settings


def mcp() -> None:
    """Serve: the server that is named goes before accounts of one's own.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    telemetry.configure("warning")
    client = ClientSettings.load()
    settings = None if "url" in client.model_fields_set else Settings.load()
    if settings is not None and settings.accounts:
        from worker.mcp_server import alone

        asyncio.run(alone.serve(settings))
    else:
        from worker.mcp_server import stdio

        asyncio.run(stdio.with_server(client))
