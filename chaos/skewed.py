"""A Dreamhook process whose wall clock can be put forward and back while it runs.

    python -m chaos.skewed <file> <command of dreamhook ...>

The file holds the step in seconds, a double. `time.time` and `datetime.now` obey it, from before
Dreamhook is imported; the steady clocks do not, as when a machine's time is set.
"""

from __future__ import annotations

import datetime as dt
import mmap
import struct
import sys
import time
from pathlib import Path

_DOUBLE = struct.Struct("d")


def put(file: Path, step_s: float) -> None:
    """Put the clock of the process that reads this file forward, or back if negative."""
    if not file.exists():
        file.write_bytes(_DOUBLE.pack(step_s))
    with file.open("r+b") as opened:  # in place: the process has it mapped
        opened.write(_DOUBLE.pack(step_s))


def obey(file: Path) -> None:
    """Let this process's wall clock follow the file."""
    with file.open("rb") as opened:
        steps = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    true_time, true_datetime = time.time, dt.datetime

    def shifted() -> float:
        return true_time() + float(_DOUBLE.unpack_from(steps)[0])

    class IsDatetime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, true_datetime)

    class Shifted(true_datetime, metaclass=IsDatetime):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return true_datetime.fromtimestamp(shifted(), tz)

    time.time = shifted
    time.time_ns = lambda: int(shifted() * 1e9)
    dt.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    obey(Path(sys.argv[1]))
    del sys.argv[1]
    from worker.cli import main

    main()
