"""How a command speaks to the process that started it: lines and exit codes. Standard library only.

Texts from providers and receivers are shown without control characters, which could otherwise
rewrite the terminal.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import Any


class Exit(IntEnum):
    """What a command ends with, for scripts to branch on."""

    OK = 0
    ERROR = 1
    USAGE = 2
    FAILED = 3
    EXPIRED = 4
    CANCELED = 5
    TIMED_OUT = 124
    INTERRUPTED = 130


def wants_json(*, asked: bool) -> bool:
    """Tell whether to print JSON lines: when asked to, or when nobody looks."""
    return asked or not sys.stdout.isatty()


def emit(value: Mapping[str, Any]) -> None:
    """Print one JSON line, at once. In ASCII, since a pipe does not say what it can take."""
    print(json.dumps(value, default=str), flush=True)  # noqa: T201 - the output of a command


def complain(message: str) -> None:
    """Print something for people, beside the output; further lines of it stand below the first."""
    text = printable(message, keep="\n").replace("\n", f"\n{'':11}")
    print(f"dreamhook: {text}", file=sys.stderr, flush=True)  # noqa: T201 - for people


def printable(text: object, *, keep: str = "") -> str:
    """Write anything as text that a terminal only shows: control characters become a mark."""
    return "".join(
        letter if letter.isprintable() or letter in keep else "\N{REPLACEMENT CHARACTER}"
        for letter in str(text)
    )


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind, as Ctrl-C does, so that the terminal is left as it was."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
