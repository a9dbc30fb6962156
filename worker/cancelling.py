"""Cancels tasks until they have ended."""

from __future__ import annotations

import asyncio
from typing import Any


async def until_ended(*tasks: asyncio.Task[Any], again_s: float) -> None:
    """Cancel tasks, and those that go on once more after each `again_s`, until all have ended.

    Once may not be enough: the `wait_for` of Python 3.11, with which redis-py sends, can take a
    cancellation for itself, and its task would go on for ever. What they raise is nobody's.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)
    await asyncio.gather(*tasks, return_exceptions=True)
