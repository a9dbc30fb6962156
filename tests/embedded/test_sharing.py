"""The embedded Redis with real processes: what survives, what is shared, what ends when."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.embedded import EmbeddedRedis
from worker.errors import UnavailableError

from .conftest import (
    another_user,
    answers,
    client,
    has_ended,
    is_free,
    is_running,
    parent_of,
    until,
)

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
