"""Reads single keys from the terminal, and gives it back as it was."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Read = Callable[[float], str]
"""Waits for so many seconds, and returns the key, or an empty text if there was none."""

HUNG_UP = "hung up"
"""What is returned when nobody will ever type again."""


@contextmanager
def keys() -> Iterator[Read]:
    """Have keys come one by one and unseen; without a terminal there are none."""
    if not sys.stdin.isatty():
        yield _none
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield lambda seconds: _read(terminal, seconds)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def _none(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _read(terminal: int, seconds: float) -> str:
    ready, _, _ = select.select([terminal], [], [], seconds)
    if not ready:
        return ""
    try:
        typed = os.read(terminal, 64)
    except OSError:  # how Linux says that nobody has the other side open any more
        typed = b""
    if not typed:
        return HUNG_UP
    # Several bytes are an arrow or the like, or a letter that is no key here.
    return typed.decode() if len(typed) == 1 and typed.isascii() else ""
