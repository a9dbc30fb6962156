"""The command of agents, as it is typed."""

# ruff: noqa: PLC0415 - what does the work is imported when it is wanted

from __future__ import annotations

from worker.mcp_server import is_installed


def mcp() -> None:
    """Give an agent tools to create, track and wait for generations: MCP over stdin and stdout.

    They ask the Dreamhook server at DREAMHOOK_URL with DREAMHOOK_API_KEY. If DREAMHOOK_URL is not
    set but an account is, by LUMAAI_API_KEY say, they ask the provider itself.
    """
    if not is_installed():
        from worker.errors import ConfigurationError

        raise ConfigurationError(
            "The command mcp needs the package mcp 2.x, which comes with an extra: install"
            " Dreamhook with pip install '.[mcp]', or add it with pip install 'mcp>=2.3,<3'."
        )
    from worker.cli import agent_serving

    agent_serving.mcp()
