"""What a hundred million generations a day take: arithmetic, from unit costs that are measured.

The tables of docs/scaling.md are what this prints, and a test compares them. When a measurement
changes, change its number here and print them anew:

    python -m bench.a_day
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

A_DAY = 100e6
RUNNING_S = 100
LOOKS = 8.0
"""For each generation: the first, and those of the patience that is the default."""
PEAK = 3.0
"""So many times the mean in the busiest hour."""
BUSY = 0.6
"""A core or a Redis that does more than this share of its time makes others wait."""

REGISTRATION_MS = 0.24  # of an API: bench.registrations, single PUTs
LOOK_MS = 0.45  # of a worker: bench.looks
END_MS = 0.83  # of a worker, for the look that ends it: bench.spread
WEBHOOK_MS = 0.5  # of a worker: bench.deliveries, 500 origins

REDIS_LIFE_MS = 0.85  # bench.memory --lives: a life of two looks
REDIS_LOOK_MS = 0.06  # bench.looks: each further one
LIFE_B = 3260  # the same two, in Redis's memory
LOOK_B = 40
RUNNING_B = 926  # bench.capacity
RECEIVED_B, RECEIVED_LOOK_B = 3380, 750
SENT_B, SENT_LOOK_B = 2150, 550
WRITTEN_B, WRITTEN_LOOK_B = 8140, 840  # to the append-only file

CELL_GIB = 32
FILLED = 0.5
"""Of a cell's memory; the rest is for fragments, and for copies while a file is rewritten."""
KEPT_H = (1, 6, 24, 168)

BEYOND = LOOKS - 2
GIB = 2**30


def main() -> None:
    """Print the tables."""
    print("\n".join(tables()))


def tables() -> Iterator[str]:
    """Write the tables in Markdown, line by line."""
    mean, peak = A_DAY / 86400, PEAK * A_DAY / 86400
    look_ms = ((LOOKS - 1) * LOOK_MS + END_MS) / LOOKS
    yield "| | a generation | a second | at the peak | unit cost | takes at the peak |"
    yield "|---|---|---|---|---|---|"
    for name, each, unit_ms, of in (
        ("registrations", 1.0, REGISTRATION_MS, "API"),
        ("looks", LOOKS, look_ms, "worker"),
        ("webhooks", 1.0, WEBHOOK_MS, "worker"),
    ):
        cores = ceil(peak * each * unit_ms / 1000 / BUSY)
        yield (
            f"| {name} | {each:.0f} | {mean * each:,.0f} | {peak * each:,.0f} |"
            f" {unit_ms:.2f} ms of {of} | {cores} cores |"
        )
    redis_ms = REDIS_LIFE_MS + BEYOND * REDIS_LOOK_MS
    yield (
        f"| Redis's one thread | 1 | {mean:,.0f} | {peak:,.0f} | {redis_ms:.2f} ms |"
        f" {ceil(peak * redis_ms / 1000 / BUSY)} cells |"
    )
    for name, life, look in (
        ("Redis's network, in", RECEIVED_B, RECEIVED_LOOK_B),
        ("Redis's network, out", SENT_B, SENT_LOOK_B),
        ("append-only files", WRITTEN_B, WRITTEN_LOOK_B),
    ):
        unit = life + BEYOND * look
        yield (
            f"| {name} | 1 | {mean:,.0f} | {peak:,.0f} | {unit / 1000:.1f} kB |"
            f" {peak * unit / 1e6:.0f} MB/s in all |"
        )
    yield ""
    cell = f"cells of {CELL_GIB} GiB, {FILLED:.0%} filled"
    yield f"| kept for | on record | Redis's memory | {cell} |"
    yield "|---|---|---|---|"
    for hours in KEPT_H:
        days = hours / 24
        kept = A_DAY * max(days, min(PEAK * days, 1))
        used = (kept * (LIFE_B + BEYOND * LOOK_B) + peak * RUNNING_S * RUNNING_B) / GIB
        span = f"{hours} h" if hours < 24 else f"{hours // 24} d"
        cells = ceil(used / (CELL_GIB * FILLED))
        yield f"| {span} | {kept / 1e6:,.0f} million | {used:,.0f} GiB | {cells} |"


if __name__ == "__main__":
    main()
