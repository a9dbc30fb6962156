"""Reads the metrics of all cells at once, for one scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from worker.api.exposition import Snapshot
from worker.errors import UnavailableError
from worker.status import Status

WITHIN_S = 5.0
"""A cell that has told nothing by then is away: Prometheus waits 10 s for all of them together."""


async def snapshots(
    cells: Mapping[str, Status], is_in: Callable[[str, str], bool]
) -> dict[str, Snapshot | None]:
    """Read the metrics of each cell; None if it does not answer in time.

    Args:
        cells: how each is doing, by name.
        is_in: whether a cell has an account. One that it has not is told of there only if
            something of it is kept there, from a time when it had: or else the budgets of all
            cells would add up to more than there is.
    """
    read = await asyncio.gather(*(_snapshot(*each, is_in) for each in cells.items()))
    return dict(zip(cells, read, strict=True))


async def _snapshot(
    name: str, status: Status, is_in: Callable[[str, str], bool]
) -> Snapshot | None:
    try:
        async with asyncio.timeout(WITHIN_S):
            figures, totals = await status.metrics()
    except (TimeoutError, UnavailableError):
        return None
    budgets = {
        account: rate
        for account, rate in status.budgets().items()
        if is_in(name, account) or any(figures.trackers[account].values())
    }
    return Snapshot(figures, totals, budgets)
