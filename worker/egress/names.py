"""Looks names up without letting those that hang hold up the others."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

from worker.egress.words import OwnTroubleError

LOOKUPS = 256  # at once; each has a thread
ZONE_LOOKUPS = 32  # at once for names of one zone, which share their name servers
TURN_S = 5.0  # so long may a look-up wait for a thread
_SUFFIXES = {"ac", "co", "com", "edu", "gov", "net", "org"}  # co.uk, com.br: for everybody


class Names:
    """Looks names up in threads of its own, each name at most once at a time.

    getaddrinfo cannot be cancelled: with a dead name server it holds its thread for half a minute,
    long after the attempt is over. So a name may hold one thread at most, a zone (its last two
    labels tell it well enough, or three under co.uk and the like) a few, and none of the event
    loop's.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="dreamhook-lookup")
        self._room = asyncio.Semaphore(LOOKUPS)
        self._zones: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._pending: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(self, host: str) -> Sequence[str]:
        """Return a host's addresses as text.

        Raises:
            OSError: It cannot be looked up.
            OwnTroubleError: There was no thread for it.
        """
        if host not in self._pending:
            zone = self._zone_of(host)
            await self._turn(zone)
            if host in self._pending:  # somebody else's turn came first
                self._end_turn(zone)
            else:
                self._start(host, zone)
        return await asyncio.shield(self._pending[host])

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _zone_of(self, host: str) -> asyncio.Semaphore:
        labels = host.split(".")
        is_shared = len(labels[-1]) == 2 and labels[-2:][0] in _SUFFIXES  # noqa: PLR2004 - a country
        zone = ".".join(labels[-3 if is_shared else -2 :])
        return self._zones.setdefault(zone, asyncio.Semaphore(ZONE_LOOKUPS))

    async def _turn(self, zone: asyncio.Semaphore) -> None:
        await zone.acquire()
        try:
            async with asyncio.timeout(TURN_S):
                await self._room.acquire()
        except TimeoutError:
            zone.release()
            raise OwnTroubleError("all look-up threads are taken by names that hang") from None
        except BaseException:
            zone.release()
            raise

    def _end_turn(self, zone: asyncio.Semaphore) -> None:
        self._room.release()
        zone.release()

    def _start(self, host: str, zone: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        try:
            pending = loop.run_in_executor(self._threads, _getaddrinfo, host)
        except RuntimeError as failure:  # the system gives this process no more threads
            self._end_turn(zone)
            raise OwnTroubleError(failure) from failure
        self._pending[host] = pending
        pending.add_done_callback(functools.partial(self._ended, host, zone))

    def _ended(self, host: str, zone: asyncio.Semaphore, done: asyncio.Future[list[str]]) -> None:
        del self._pending[host]
        self._end_turn(zone)
        if not done.cancelled():
            done.exception()  # seen, though everyone who waited for it may have gone


def _getaddrinfo(host: str) -> list[str]:
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in answers]
