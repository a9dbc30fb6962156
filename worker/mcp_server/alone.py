"""Asks the providers themselves, where there is no Dreamhook server: over stdio alone."""

from __future__ import annotations

import time

from worker.config import Settings
from worker.mcp_server import answers, stdio
from worker.mcp_server.answers import Generation, Generations
from worker.mcp_server.desks import Tell, next_step
from worker.mcp_server.serving import ALONE
from worker.model import JsonObject, Seen
from worker.standalone import Standalone

DEFAULT_ACCOUNT = "luma"


class Alone:
    """The desk of a process that has accounts and no server."""

    def __init__(self, standalone: Standalone) -> None:
        self._standalone = standalone

    def account(self, given: str | None) -> str:
        """Tell which account is meant if none is named: the only one, or the usual one."""
        names = self._standalone.accounts
        return given or (names[0] if len(names) == 1 else DEFAULT_ACCOUNT)

    async def show(self, account: str | None, generation_id: str, *, fresh: bool) -> Generation:
        """Show what the provider shows, which is always fresh."""
        del fresh
        return shown(await self._standalone.one(self.account(account), generation_id))

    async def listed(self, account: str | None, *, limit: int, offset: int) -> Generations:
        """Show a part of the provider's list."""
        page = await self._standalone.page(self.account(account), limit=limit, offset=offset)
        return Generations(items=list(map(shown, page["items"])), next_offset=page["next_offset"])

    async def wait(
        self, account: str | None, generation_id: str, timeout_s: float, tell: Tell
    ) -> Generation:
        """Wait for its end, with looks of our own."""
        began = time.monotonic()

        async def told(seen: Seen | None) -> None:
            await tell(time.monotonic() - began, timeout_s, _progress(seen))

        shape = await self._standalone.wait(
            self.account(account), generation_id, timeout_s=timeout_s, tell=told
        )
        return shown(shape)

    async def create(self, account: str | None, request: JsonObject) -> Generation:
        """Have one created."""
        return shown(await self._standalone.create(self.account(account), request))


async def serve(settings: Settings) -> None:
    """Serve until the agent hangs up, with the accounts of these settings.

    Raises:
        ConfigurationError: a provider cannot be used.
    """
    standalone = Standalone.of(settings)
    try:
        await stdio.serve(ALONE, Alone(standalone))
    finally:
        await standalone.aclose()


def shown(shape: JsonObject) -> Generation:
    """Show what a provider shows of a generation."""
    return answers.generation(shape, next_step(shape, has_server=False))


def _progress(seen: Seen | None) -> str:
    if seen is None:
        return "waiting for an answer that can be used"
    done = "" if seen.fraction is None else f", {seen.fraction:.0%} done"
    return seen.provider_state + done
