"""Receivers for the benchmarks, all in one process: each origin is an address of 127.0.0.0/8.

They answer after a while, or never, and say on another port what they have taken. Of the first
`hung` origins every fifth hangs.

    python -m bench.receivers <port> <control port> <pause in ms> <hung>
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
TAIL = 0.1


def host(n: int) -> str:
    """Name the n-th origin's address; Linux answers on all of them without being told to."""
    return f"127.{1 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}"


def is_hung(n: int) -> bool:
    """Tell which origins hang where some do: every fifth."""
    return n % 5 == 0


class Taken:
    """When the healthy ones took what, and how long after it was due."""

    def __init__(self, hung: set[str]) -> None:
        self.hung = hung
        self.at: list[float] = []
        self.lags: list[float] = []

    def note(self, body: bytes) -> None:
        """Note a webhook; if its body says when it was due, that too."""
        self.at.append(time.monotonic())
        due = body.rpartition(b"due=")[2]
        if due[:1].isdigit():
            self.lags.append(time.time() - float(due[: due.index(b";")]))

    def told(self) -> dict[str, object]:
        """Tell the count, the lags, and the rate without the beginning and the end."""
        some = self.at[int(TAIL * len(self.at)) : int((1 - TAIL) * len(self.at))]
        rate = (len(some) - 1) / (some[-1] - some[0]) if len(some) > 1 else 0.0
        return {"count": len(self.at), "rate": rate, "lags": self.lags}


class Receiver(asyncio.Protocol):
    """One connection."""

    def __init__(self, taken: Taken, pause_s: float) -> None:
        self._taken = taken
        self._pause_s = pause_s
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out which origin was called."""
        self._transport = transport
        self._hangs = transport.get_extra_info("sockname")[0] in self._taken.hung

    def data_received(self, data: bytes) -> None:
        """Answer a complete request after a while."""
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or self._hangs:
            return
        if len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r", 1)[0]):
            return
        self._data = b""
        self._taken.note(body)
        asyncio.get_running_loop().call_later(self._pause_s, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(OK)


async def main() -> None:
    """Serve until killed."""
    port, control, pause_ms, hung = map(int, sys.argv[1:5])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    taken = Taken({host(n) for n in range(hung) if is_hung(n)})

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(taken.told()).encode())
        writer.close()

    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Receiver(taken, pause_ms / 1000), "", port, backlog=4000)
    await (await asyncio.start_server(tell, "127.0.0.1", control)).serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
