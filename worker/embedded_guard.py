"""Keeps an embedded server running while anyone uses it, and ends it once nobody does.

A script that `worker.embedded` runs by its path, in a session of its own:

    python embedded_guard.py GUARD_LOCK SERVER_LOCK USERS_LOCK SOCKET COMMAND...

The first two are file descriptors, locked already: this process keeps them as long as it lives,
and the server inherits the second. `USERS_LOCK` is a path; every user holds that lock shared, and
the kernel lets go of it however a user ends. So to own it alone is to know that nobody is left.
It stays for as long as the server does, hence the standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

# SIGTERM has been answered by then, or never will be; what was acknowledged is on disk anyway.
KILL_AFTER_S = 30.0


class Guard:
    """Runs one server at a time with `command`, until the last user has gone."""

    def __init__(self, command: Sequence[str], server_lock: int) -> None:
        self._command = command
        self._server_lock = server_lock
        self._server: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()

    def run(self) -> None:
        """Run the server, anew whenever it was killed; return when it is to stay away."""
        while True:
            self._server = subprocess.Popen(  # noqa: S603 - the command is from worker.embedded
                self._command, stdin=subprocess.DEVNULL, pass_fds=[self._server_lock]
            )
            if self._closing.is_set():  # perhaps too late for `close_after` to see this server
                self._server.terminate()
            status = self._server.wait()
            # Above zero it ended by itself and would again: its log says why. Otherwise it was
            # killed, or asked to stop by someone other than us, while there are users.
            if self._closing.is_set() or status > 0:
                return
            time.sleep(0.2)

    def close_after(self, users: int) -> None:
        """Wait for the last user to go, then end the server."""
        fcntl.flock(users, fcntl.LOCK_EX)  # kept: a new user waits until we have gone
        self._closing.set()
        if self._server:
            self._server.terminate()
            time.sleep(KILL_AFTER_S)
            self._server.kill()


def main(arguments: Sequence[str]) -> None:
    """Leave the starter, then guard."""
    _guard_lock, server_lock, users_lock, socket, *command = arguments
    if os.fork():
        os._exit(0)  # the starter need not wait for our end, nor for our guard lock
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        # A service manager that stops a whole group asks us too, but the users, who are asked at
        # the same time, still need the server for their last words. Not SIG_IGN: the server
        # would inherit it.
        signal.signal(number, lambda *_: None)
    guard = Guard(command, int(server_lock))
    users = os.open(users_lock, os.O_RDWR)
    threading.Thread(target=guard.close_after, args=[users], daemon=True).start()
    guard.run()
    with contextlib.suppress(FileNotFoundError):  # a server that ends well takes it away
        os.unlink(socket)  # noqa: PTH108 - pathlib costs start-up time
    os.rmdir(os.path.dirname(socket))  # noqa: PTH106, PTH120


if __name__ == "__main__":
    main(sys.argv[1:])
