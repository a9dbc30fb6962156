"""What the tests of the command line share: an API that says what it is told to, and a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from worker.cli import main

COMMAND = [sys.executable, "-m", "worker.cli"]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def tracker(generation_id: str = "g-1", **fields: Any) -> dict[str, Any]:
    return {"account": "luma", "generation_id": generation_id, "state": "tracking"} | fields


def signed(body: str, event_id: str = "evt_1") -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(event_id, now, body),
    }


class FakeApi(ThreadingHTTPServer):
    """Answers each `METHOD /path` with what `answers` has for it: (status, JSON) or a function."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        self.authorization: str | None = None

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that has gone."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeApi

    def _answer(self) -> None:
        fake, parts = self.server, urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.loads(raw) if raw else parts.query
        line = f"{self.command} {parts.path}"
        fake.asked.append((line, body))
        fake.authorization = self.headers.get("authorization")
        missing = {"title": "Not Found", "detail": f"There is no {line}."}
        answer = fake.answers.get(line, (404, missing))
        status, value = answer(body) if callable(answer) else answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - as the base class calls them

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An API, and an environment that names it and nothing else."""
    for name in list(os.environ):
        if name.startswith(("DREAMHOOK_", "LUMA")):
            monkeypatch.delenv(name)
    with FakeApi() as fake:
        monkeypatch.setenv("DREAMHOOK_URL", fake.url)
        thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        fake.shutdown()
        thread.join()


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Its output, read as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, which is not a terminal."""

    def run_here(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dreamhook", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(int(code), captured.out, captured.err)

    return run_here


@pytest.fixture
def run_on_terminal(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as a process of its own, on a terminal of 80 columns without colours."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)

    def run_there(*arguments: str) -> Ended:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
        child = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
        )
        os.close(theirs)
        shown = b""
        try:
            while chunk := _read(ours):
                shown += chunk
            _, errors = child.communicate(timeout=10)
        finally:
            os.close(ours)
            child.kill()
            child.wait()
        return Ended(child.returncode, shown.decode().replace("\r\n", "\n"), errors.decode())

    return run_there


HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h", "\x1b[?1049l"

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A command on a terminal that knows colours and moves, and all that it has written there."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int, theirs: int) -> None:
        self.process, self._ours, self._theirs = process, ours, theirs
        self.raw = ""
        self.before = termios.tcgetattr(theirs)

    @property
    def text(self) -> str:
        """What it has written, without colours and moves."""
        return _CONTROLS.sub("", self.raw)

    @property
    def is_sane(self) -> bool:
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self._theirs) == self.before

    def until(self, words: str) -> None:
        """Wait until it has written these words, since the last time it was asked."""
        seen = len(self.text)
        until = time.monotonic() + 20
        while words not in self.text[max(0, seen - len(words)) :]:
            assert time.monotonic() < until, self.text
            assert self._more(), self.text

    def type(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def to_the_end(self) -> None:
        """Read what there is left, once the command has ended."""
        while self._more(0.0):
            pass

    def _more(self, wait_s: float = 1.0) -> bool:
        ready, _, _ = select.select([self._ours], [], [], wait_s)
        if ready:
            self.raw += os.read(self._ours, 65_536).decode(errors="replace")
        return bool(ready) or (wait_s > 0 and self.process.poll() is None)


OnScreen = Callable[..., AbstractContextManager[Screen]]


@pytest.fixture
def on_screen(monkeypatch: pytest.MonkeyPatch) -> OnScreen:
    """Run a command on a terminal of 120 columns and 30 lines, and go on beside it."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    @contextmanager
    def start(*arguments: str) -> Iterator[Screen]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        child = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=dict(os.environ),  # else also what readline, which pytest imports, has put there
        )
        try:
            yield Screen(child, ours, theirs)
        finally:
            child.kill()
            child.wait()
            os.close(ours)
            os.close(theirs)

    return start


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody has it open any more
        return b""


# --- commands as processes of their own ----------------------------------------------------------

PATIENCE_S = 20

Process = subprocess.Popen[str]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing configured, and a data directory of one's own."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DREAMHOOK_", "LUMA"))
    }
    return inherited | {"DREAMHOOK_DATA": str(tmp_path / "data"), "DREAMHOOK_PORT": "0"}


@contextmanager
def started(environment: dict[str, str], *arguments: str) -> Iterator[Process]:
    """Run a command; it is told to stop at the end, and killed if it does not."""
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(PATIENCE_S)
            finally:
                child.kill()


def ended(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def heard(stream: Any, pattern: str) -> re.Match[str]:
    """Read lines until one fits."""
    for line in stream:
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError(f"nothing said {pattern!r}")


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]
