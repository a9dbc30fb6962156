"""What the tests of the embedded Redis share: data directories, other processes, conditions."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as NoConnectionError

from worker.embedded import EmbeddedRedis

USER = """
import sys
from pathlib import Path
from worker.embedded import EmbeddedRedis

with EmbeddedRedis.start(Path(sys.argv[1])) as server:
    print(server.pid, server.socket_path, flush=True)
    sys.stdin.read()
"""


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def is_free(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def has_ended(data: Path) -> bool:
    """No server and no guard: each holds its lock as long as it lives."""
    return is_free(data / "server.lock") and is_free(data / "guard.lock")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def parent_of(pid: int) -> int:
    out = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True)
    return int(out.stdout)


@contextmanager
def client(server: EmbeddedRedis) -> Iterator[Redis]:
    redis = Redis.from_url(server.url, decode_responses=True)
    try:
        yield redis
    finally:
        redis.close()


def answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except (NoConnectionError, BusyLoadingError):
        return False


def setting(redis: Redis, name: str) -> str:
    return cast("dict[str, str]", redis.config_get(name))[name]


@contextmanager
def another_user(data: Path, **env: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that uses the server; it stops when its standard input is closed."""
    root = str(Path(__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": root} | env,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process, int(process.stdout.readline().split()[0])
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data"
    yield path
    if (path / "guard.lock").exists():
        until(lambda: has_ended(path))
