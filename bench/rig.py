"""What the benchmarks share: real processes, a cheap HTTP load, percentiles, a table."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from worker.embedded import EmbeddedRedis
from worker.store import Store

TURN_S = 0.02


@contextmanager
def redis() -> Iterator[EmbeddedRedis]:
    """Run the embedded server on a new directory, with its append-only file as always."""
    with tempfile.TemporaryDirectory() as data, EmbeddedRedis.start(Path(data)) as server:
        yield server


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(
    *command: str, port: int | None = None, **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python process, given what follows `python`, until the block ends."""
    child = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if port is not None:
            _wait_for(port, child)
        yield child
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def held_to(share: float, pids: Sequence[int]) -> Iterator[None]:
    """Let processes run for a share of the time only, in turn, as on cores so much slower."""
    over = threading.Event()

    def take_turns() -> None:
        while not over.is_set():
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
                time.sleep(share * TURN_S)
                os.kill(pid, signal.SIGSTOP)
            time.sleep((1 - share * len(pids)) * TURN_S)

    turns = threading.Thread(target=take_turns)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    turns.start()
    try:
        yield
    finally:
        over.set()
        turns.join()
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def dreamhook(*arguments: str) -> tuple[str, ...]:
    """Make the command of a Dreamhook process."""
    return ("-c", "from worker.cli import main; main()", *arguments)


def _wait_for(port: int, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}; the process ended: {child.poll()}")


async def at_work(store: Store, workers: int) -> None:
    """Wait until so many workers work."""
    async with asyncio.timeout(60):
        while len(await store.figures.workers(now=await store.now())) < workers:  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.1)


async def load(port: int, requests: Sequence[bytes], *, connections: int) -> float:
    """Send requests over so many connections, each after the answer to the one before.

    Returns:
        How many seconds it took. Anything but a 2xx ends the benchmark.
    """
    pending = iter(requests)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        for request in pending:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if head[9:10] != b"2":
                raise SystemExit(f"unexpected answer: {head!r}")
            length = head.lower().index(b"content-length:") + 15
            await reader.readexactly(int(head[length : head.index(b"\r", length)]))
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as clients:
        for _ in range(connections):
            clients.create_task(client())
    return time.perf_counter() - started


def request(method: str, path: str, body: bytes) -> bytes:
    """Write a request."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def cpu_s(pid: int) -> float:
    """Tell how many seconds of CPU a process has used; as Linux counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rounds(times: int, measure: Callable[[], float]) -> tuple[float, float, float]:
    """Measure several times; returns median, least and greatest."""
    found = [measure() for _ in range(times)]
    return statistics.median(found), min(found), max(found)


def percentile(values: Sequence[float], share: float) -> float:
    """Tell below which value `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """Describe the machine in a line."""
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
