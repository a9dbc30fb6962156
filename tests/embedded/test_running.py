"""How the embedded Redis is set up, who can reach it, and what is said when it cannot run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from pathlib import Path

import pytest
from arq.connections import RedisSettings
from redis import Redis

from worker.embedded import START_TIMEOUT_S, EmbeddedRedis
from worker.errors import ConfigurationError

from .conftest import (
    another_user,
    client,
    has_ended,
    is_free,
    setting,
)

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


def test_a_start_that_is_given_up_waits_no_longer(data: Path) -> None:
    given_up = threading.Event()
    given_up.set()
    with EmbeddedRedis.start(data) as server:
        pid, began = server.pid, time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConfigurationError):
                EmbeddedRedis.start(data, given_up=given_up)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - began < START_TIMEOUT_S / 2


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
