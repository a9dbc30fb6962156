"""Dreamhook as tools for agents, after the Model Context Protocol (modelcontextprotocol.io).

The official SDK speaks the protocol, over stdio and over HTTP. Here is what the tools are called,
what they take, do and answer. A tool asks a `Desk`: a Dreamhook server, or, where there is none,
the provider itself.
"""

from importlib.util import find_spec


def is_installed() -> bool:
    """Tell whether the extra `mcp` is: its version 1 had not all that it takes."""
    return all(find_spec(name) is not None for name in ("mcp", "mcp_types"))
