"""The embedded Redis with real processes: what survives, what is shared, what ends when."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from arq.connections import RedisSettings
from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as NoConnectionError

from worker.embedded import EmbeddedRedis
from worker.errors import ConfigurationError, UnavailableError

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


# --- what survives --------------------------------------------------------------------------------


def test_what_was_written_is_there_after_a_stop_and_a_start(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        redis.set("key", "value")
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        assert redis.get("key") == "value"


def test_every_acknowledged_write_survives_the_servers_sigkill(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        acknowledged = [redis.rpush("list", number) for number in range(200)]
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: answers(redis))
        assert redis.llen("list") == len(acknowledged)


def test_a_killed_server_is_started_anew_at_the_same_place(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        killed, socket_path = server.pid, server.socket_path
        os.kill(killed, signal.SIGKILL)
        until(lambda: answers(redis))
        assert server.pid != killed
        assert server.socket_path == socket_path


def test_a_server_that_was_shut_down_under_its_users_is_started_anew(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: not server.socket_path.exists())
        until(lambda: answers(redis))


def test_a_signal_to_its_whole_process_group_does_not_take_it_from_its_users(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        redis.set("key", "value")
        asked = server.pid
        os.killpg(os.getpgid(asked), signal.SIGTERM)
        until(lambda: not is_running(asked))
        until(lambda: answers(redis))
        assert redis.get("key") == "value"


def test_ctrl_c_in_our_terminal_does_not_reach_it(data: Path) -> None:
    with EmbeddedRedis.start(data) as server:
        assert os.getsid(server.pid) != os.getsid(0)
        assert os.getpgid(server.pid) != os.getpgid(0)


# --- what ends when -------------------------------------------------------------------------------


def test_stop_returns_when_the_server_has_ended(data: Path) -> None:
    server = EmbeddedRedis.start(data)
    server.stop()
    assert has_ended(data)
    with pytest.raises(UnavailableError):
        _ = server.pid


def test_stop_may_be_called_twice(data: Path) -> None:
    server = EmbeddedRedis.start(data)
    server.stop()
    server.stop()


def test_the_server_does_not_outlive_a_user_that_was_killed(data: Path) -> None:
    with another_user(data) as (process, _):
        process.kill()
        until(lambda: has_ended(data))


def test_after_a_user_was_killed_the_next_start_has_its_data(data: Path) -> None:
    with another_user(data) as (process, _):
        with EmbeddedRedis.start(data) as server, client(server) as redis:
            redis.set("key", "value")
        process.kill()
        process.wait()
        with EmbeddedRedis.start(data) as server, client(server) as redis:
            assert redis.get("key") == "value"


def test_a_start_right_after_the_server_and_its_user_were_killed_works(data: Path) -> None:
    with another_user(data) as (process, pid):
        process.kill()
        os.kill(pid, signal.SIGKILL)
        with EmbeddedRedis.start(data) as server:
            assert server.pid != pid


def test_a_server_that_outlived_its_guard_is_replaced_with_its_data(data: Path) -> None:
    with another_user(data) as (process, pid):
        with EmbeddedRedis.start(data) as server, client(server) as redis:
            redis.set("key", "value")
        os.kill(parent_of(pid), signal.SIGKILL)
        process.kill()
        process.wait()
        until(lambda: is_free(data / "guard.lock"))
        assert not is_free(data / "server.lock")
        with EmbeddedRedis.start(data) as server, client(server) as redis:
            assert server.pid != pid
            assert redis.get("key") == "value"


# --- what is shared -------------------------------------------------------------------------------


def test_two_processes_share_one_server(data: Path) -> None:
    with another_user(data) as (_, first), another_user(data) as (_, second):
        assert first == second


def test_the_server_stays_when_the_one_who_started_it_stops_first(data: Path) -> None:
    starter = EmbeddedRedis.start(data)
    with another_user(data) as (_, pid):
        starter.stop()
        with EmbeddedRedis.start(data) as server:
            assert server.pid == pid


def test_the_server_stays_when_the_one_who_started_it_is_killed(data: Path) -> None:
    with another_user(data) as (process, pid), EmbeddedRedis.start(data) as server:
        process.kill()
        process.wait()
        assert server.pid == pid


def test_many_starts_at_once_make_one_server(data: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        servers = list(pool.map(lambda _: EmbeddedRedis.start(data), range(8)))
    assert len({server.pid for server in servers}) == 1
    for server in servers:
        server.stop()


def test_starts_and_stops_at_once_never_lose_a_write(data: Path) -> None:
    def use(number: int) -> None:
        for _ in range(4):
            with EmbeddedRedis.start(data) as server, client(server) as redis:
                redis.rpush("list", number)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(use, range(3)))
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        assert redis.llen("list") == 12


def test_a_process_with_another_temporary_directory_finds_the_server(
    data: Path, tmp_path: Path
) -> None:
    with EmbeddedRedis.start(data) as server, another_user(data, TMPDIR=str(tmp_path)) as (_, pid):
        assert pid == server.pid


def test_two_directories_have_two_servers(data: Path, tmp_path: Path) -> None:
    with EmbeddedRedis.start(data) as one, EmbeddedRedis.start(tmp_path / "other") as other:
        assert one.pid != other.pid


# --- how it runs ----------------------------------------------------------------------------------


EXPECTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
    "hash-max-listpack-value": "512",
}


def test_it_is_set_up_to_keep_what_it_acknowledged(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        effective = {name: setting(redis, name) for name in EXPECTED}
    assert effective == EXPECTED


def test_nobody_else_can_reach_it(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        assert setting(redis, "port") == "0"
        assert stat.S_IMODE(server.socket_path.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700


def test_nobody_else_can_read_its_data(data: Path) -> None:
    data.mkdir(mode=0o755)
    with EmbeddedRedis.start(data):
        files = [path for path in data.rglob("*") if not path.is_symlink()]
        assert "appendonlydir" in [path.name for path in files]
        assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_redis_py_and_arq_find_it_by_its_url(data: Path) -> None:
    with EmbeddedRedis.start(data) as server, Redis.from_url(server.url) as redis:
        assert redis.ping()
        assert RedisSettings.from_dsn(server.url).unix_socket_path == str(server.socket_path)


@pytest.mark.parametrize("name", ["a" * 150, 'Dätä of "mine"', "-- port 1"])
def test_the_data_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    for value in ("first", "second"):
        with EmbeddedRedis.start(tmp_path / name / "data") as server, client(server) as redis:
            assert len(os.fsencode(server.socket_path)) <= 103
            assert redis.getset("key", value) == (None if value == "first" else "first")


def test_a_temporary_directory_with_a_long_path_is_not_used(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 100)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(long))
    with EmbeddedRedis.start(data) as server, client(server) as redis:
        assert redis.ping()


def test_a_locale_that_the_machine_does_not_have_does_not_matter(data: Path) -> None:
    with another_user(data, LC_ALL="xx_XX.nonsense") as (_, pid):
        assert pid > 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_its_socket_directory_goes_with_it(data: Path, how: signal.Signals) -> None:
    server = EmbeddedRedis.start(data)
    os.kill(server.pid, how)
    server.stop()
    assert not server.socket_path.parent.exists()


# --- when it cannot run ---------------------------------------------------------------------------


@pytest.fixture
def damaged(data: Path) -> Path:
    with EmbeddedRedis.start(data):
        pass
    manifest = data / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("this is no manifest\n")
    return manifest


def test_a_server_that_cannot_start_says_why(data: Path, damaged: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot start") as caught:
        EmbeddedRedis.start(data)
    assert "manifest" in str(caught.value)


def test_a_start_that_failed_leaves_nothing_running(data: Path, damaged: Path) -> None:
    with pytest.raises(ConfigurationError):
        EmbeddedRedis.start(data)
    assert has_ended(data)
    assert is_free(data / "users.lock")


def test_after_a_failed_start_the_next_one_may_succeed(data: Path, damaged: Path) -> None:
    with pytest.raises(ConfigurationError):
        EmbeddedRedis.start(data)
    shutil.rmtree(damaged.parent)
    with EmbeddedRedis.start(data) as server:
        assert server.pid


def test_a_server_that_does_not_answer_is_not_waited_for_without_end(data: Path) -> None:
    with EmbeddedRedis.start(data) as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConfigurationError, match="does not answer"):
                EmbeddedRedis.start(data, timeout_s=0.1)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_file_in_place_of_the_data_directory_is_refused(data: Path) -> None:
    data.write_text("")
    with pytest.raises(ConfigurationError, match="DREAMHOOK_DATA"):
        EmbeddedRedis.start(data)
    data.unlink()


def test_a_data_directory_that_everyone_may_write_to_is_refused(data: Path) -> None:
    data.mkdir()
    data.chmod(0o777)
    with pytest.raises(ConfigurationError, match="everyone may write"):
        EmbeddedRedis.start(data)


def test_a_socket_directory_of_someone_else_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    with pytest.raises(ConfigurationError, match="belongs to someone else") as caught:
        EmbeddedRedis.start(data)
    Path(str(caught.value).split(": ")[1].split(",")[0]).rmdir()


def test_a_link_in_place_of_the_socket_directory_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedRedis.start(data) as server:
        place = server.socket_path.parent
    trap = tmp_path / "trap"
    trap.mkdir()
    place.symlink_to(trap)
    try:
        with pytest.raises(ConfigurationError, match="belongs to someone else"):
            EmbeddedRedis.start(data)
    finally:
        place.unlink()


def test_a_machine_without_a_server_is_told_what_to_set(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="DREAMHOOK_REDIS_URL"):
        EmbeddedRedis.start(data)
