"""A Dreamhook process that writes down how many asyncio tasks it has.

    CHAOS_TASKS=<file> python -m chaos.watched <command of dreamhook ...>

Written anew every two seconds, its own task not counted.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from worker.cli import main

EVERY_S = 2.0


async def _counted(part: Coroutine[Any, Any, None], file: Path) -> None:
    def write() -> None:
        file.write_text(f"{len(asyncio.all_tasks()) - 1}")

    async def count() -> None:
        while True:
            write()
            await asyncio.sleep(EVERY_S)

    counting = asyncio.create_task(count())
    try:
        await part
    finally:
        counting.cancel()


if __name__ == "__main__":
    run = uvloop.run
    uvloop.run = lambda part: run(_counted(part, Path(os.environ["CHAOS_TASKS"])))  # type: ignore[assignment, misc]
    main()
