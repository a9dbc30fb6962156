"""Redis servers as processes of their own: some with replicas and a Sentinel, some small.

`DREAMHOOK_TEST_REDIS_SERVER` names the binary they run, a `redis-server` or `valkey-server` of any
version from 6.2 on; by default it is the one that Dreamhook embeds. Whoever sets it runs the whole
suite against that server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis as BlockingRedis
from redis.exceptions import AuthenticationError, RedisError

from worker import embedded

CHOSEN = os.environ.get("DREAMHOOK_TEST_REDIS_SERVER")

STRICT = {"save": "", "appendonly": "yes", "appendfsync": "always"}
"""What Dreamhook asks of a Redis."""


def server_binary() -> Path:
    """The server that the tests run."""
    return Path(CHOSEN) if CHOSEN else embedded.server_binary()


def embed_the_chosen(patch: pytest.MonkeyPatch) -> None:
    """Let the embedded Redis be the chosen server, without the options that it may not know."""
    if CHOSEN:
        patch.setattr(embedded, "server_binary", server_binary)
        newer = {"locale-collate", "hash-max-listpack-value"}
        known = {name: value for name, value in embedded.OPTIONS.items() if name not in newer}
        patch.setattr(embedded, "OPTIONS", known)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """A server that runs, or a Sentinel."""

    port: int
    process: subprocess.Popen[bytes]
    command: list[str]
    folder: Path

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **options: str) -> BlockingRedis:
        return BlockingRedis(port=self.port, **options)  # type: ignore[arg-type]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop it where it stands, as if the network to it were cut: nothing is closed."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on as if nothing had been."""
        self.process.send_signal(signal.SIGCONT)

    def start_again(self) -> None:
        """Run it anew, on what it has written."""
        self.process = _run(self.command, self.folder)
        _wait_until_it_answers(self)


def _run(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def _wait_until_it_answers(server: Server) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            with server.client() as client:
                client.execute_command("PING")
        except AuthenticationError:  # it asks for a password, so it answers
            return
        except RedisError:
            assert time.monotonic() < until, (server.folder / "log").read_text()
            assert server.process.poll() is None, (server.folder / "log").read_text()
            time.sleep(0.01)
        else:
            return


@contextmanager
def server(folder: Path, **options: str) -> Iterator[Server]:
    """Run a server on a port of its own; an option's `_` stands for `-`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    words = {"port": str(port), "bind": "127.0.0.1", **STRICT, **options}
    given = [
        each
        for name, value in words.items()
        for each in (f"--{name.replace('_', '-')}", *(value.split() or [""]))
    ]
    with _running([str(server_binary()), *given], port, folder) as running:
        yield running


@contextmanager
def sentinel(
    folder: Path, name: str, primary: Server, *lines: str, quorum: int = 1
) -> Iterator[Server]:
    """Run a Sentinel that watches over `primary` under `name` and is quick to decide."""
    folder.mkdir(parents=True, exist_ok=True)
    port, config = free_port(), folder / "sentinel.conf"
    settings = [
        f"port {port}",
        "bind 127.0.0.1",
        f"dir {folder}",
        f"sentinel monitor {name} 127.0.0.1 {primary.port} {quorum}",
        f"sentinel down-after-milliseconds {name} 500",
        f"sentinel failover-timeout {name} 2000",
        *lines,
    ]
    config.write_text("\n".join([*settings, ""]))
    command = [str(server_binary()), str(config), "--sentinel"]
    with _running(command, port, folder) as running:
        yield running


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[Server]:
    running = Server(port, _run(command, folder), command, folder)
    try:
        _wait_until_it_answers(running)
        yield running
    finally:
        running.kill()


@asynccontextmanager
async def dreamhook(
    command: str, env: Mapping[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `dreamhook up`, `serve` or `work` as a process; killed at the end if it still runs."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("dreamhook")), command),
            env={**os.environ, **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = 60) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.02)
