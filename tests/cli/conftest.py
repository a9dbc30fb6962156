"""What the tests of the command line share: an API that says what it is told to, and a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from worker.cli import main

COMMAND = [sys.executable, "-m", "worker.cli"]


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


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody has it open any more
        return b""
