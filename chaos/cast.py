"""The cast: processes that are started, killed, stopped and started again, each with its log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.evidence import Death
from worker.embedded import OPTIONS, server_binary

HOUSE = Path(__file__).parent.parent
READY_S = 60.0
TEND_S = 0.2
PAUSE_S = 1.0
"""Who ends by himself is started again after so long, as a supervisor does."""

PORTS = (15_000, 32_000)

DREAMHOOK = ("-c", "from worker.cli import main; main()")


def free_port() -> int:
    """Find a free port below those that systems give to outgoing connections.

    One of those could be taken while its owner is away for a moment.
    """
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Actor:
    """A process by name. It is wanted to run, or not."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path = HOUSE
    port: int | None = None
    is_wanted: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's ID, of the last one if it does not run."""
        if self.process is None:
            raise RuntimeError(f"{self.name} has never run")
        return self.process.pid

    def start(self) -> None:
        """Start it, unless it runs."""
        self.is_wanted = True
        if self.process is not None and self.process.poll() is None:
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the director
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it."""
        self.is_wanted = False
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    async def ended(self, within_s: float) -> int:
        """Wait until it has ended; gives its exit code."""
        async with asyncio.timeout(within_s):
            while self.process is None or (code := self.process.poll()) is None:
                await asyncio.sleep(0.02)
        return code

    async def ready(self) -> None:
        """Wait until it listens on its port.

        Raises:
            RuntimeError: it does not; says where its log is.
        """
        if self.port is None:
            return
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.process and self.process.poll() is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen; see {self.log}")


@dataclass
class Cast:
    """All processes of a run, in a folder with their logs and Redis's data.

    Attributes:
        folder: Where their files are.
        clock: Tells the seconds since the run began.
        deaths: Who ended without being told to.
    """

    folder: Path
    clock: Callable[[], float]
    actors: dict[str, Actor] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)

    def add(
        self, name: str, command: Sequence[str], env: Mapping[str, str], port: int | None = None
    ) -> Actor:
        """Add a Python process, given what follows `python`."""
        log = self.folder / f"{name}.log"
        actor = Actor(name, [sys.executable, *command], env, log, port=port)
        self.actors[name] = actor
        return actor

    def add_redis(self, port: int) -> Actor:
        """Add a Redis: the server that the package carries, on a port, with its file."""
        data = self.folder / "redis"
        data.mkdir()
        options = {**OPTIONS, "port": str(port), "bind": "127.0.0.1", "dir": str(data)}
        del options["unixsocketperm"]
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        log = self.folder / "redis.log"
        actor = Actor("redis", [str(server_binary()), *words], {}, log, port=port)
        self.actors["redis"] = actor
        return actor

    async def tend(self) -> None:
        """Start again who ended by himself, without end."""
        while True:
            for actor in self.actors.values():
                code = actor.process.poll() if actor.process and actor.is_wanted else None
                if code is not None:
                    self.deaths.append(Death(round(self.clock(), 2), actor.name, code))
                    await asyncio.sleep(PAUSE_S)
                    if actor.is_wanted and actor.process and actor.process.poll() is not None:
                        actor.start()
            await asyncio.sleep(TEND_S)

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """End everybody at the end, the stopped included."""
        try:
            yield
        finally:
            for actor in self.actors.values():
                actor.is_wanted = False
                actor.send(signal.SIGTERM)
                actor.send(signal.SIGCONT)
            until = time.monotonic() + 5
            for actor in self.actors.values():
                if actor.process is not None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        actor.process.wait(max(0.1, until - time.monotonic()))
                    actor.kill()
