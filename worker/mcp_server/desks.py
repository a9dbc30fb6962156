"""Whom the tools ask: what every desk can do, and what to tell an agent to do next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from worker.mcp_server.answers import Generation, Generations
from worker.model import JsonObject

Tell = Callable[[float, float, str], Awaitable[None]]
"""Is told of a wait that goes on: the seconds gone by, out of how many, and how it is going."""


class Desk(Protocol):
    """What can be asked about generations, with a Dreamhook server or without.

    `account` may be left out. Each raises `DreamhookError`.
    """

    async def show(self, account: str | None, generation_id: str, *, fresh: bool) -> Generation:
        """Show a generation; `fresh`: as the provider shows it now."""
        ...

    async def listed(self, account: str | None, *, limit: int, offset: int) -> Generations:
        """Show a part of the provider's list."""
        ...

    async def wait(
        self, account: str | None, generation_id: str, timeout_s: float, tell: Tell
    ) -> Generation:
        """Show a generation when it is over, or as it stands after `timeout_s`."""
        ...

    async def create(self, account: str | None, request: JsonObject) -> Generation:
        """Have one created, as the provider's create call takes it."""
        ...


_ENDED = {
    "completed": "It is done: hand on the URLs. If one no longer works, get_generation with"
    " fresh=true brings new ones.",
    "failed": "It will not succeed any more. Read the reason, change the request if it says so, and"
    " create it anew if you want to.",
    "expired": "Nobody watches it any more. Check the ID; track_generation watches it anew.",
    "canceled": "Nobody watches it any more, but it may go on at the provider. track_generation"
    " watches it anew.",
}


def next_step(shape: JsonObject, *, has_server: bool) -> str:
    """Tell an agent what to do now about a generation that is shown so."""
    if shape["state"] in _ENDED:
        return _ENDED[shape["state"]]
    if not has_server:
        return "It goes on: call wait_for_generation, again if need be, and do not ask in a loop."
    if shape["state"] == "tracking":
        return (
            "It is watched to its end, and webhooks are sent without you. If you need the result"
            " yourself, call wait_for_generation, again if need be; do not ask in a loop."
        )
    return "Nobody watches it: call track_generation, then wait_for_generation."
