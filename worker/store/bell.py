"""Wakes those who sleep in this process when Redis says that something has happened.

A bell saves waiting, nothing depends on it: whoever waits looks for himself as well, now and then,
so a lost message or a broken subscription costs time, not work.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

RECONNECT_S = 1.0
QUIET_S = 5.0


class Bell:
    """One subscription for a process, and all who wait for a name to be rung on it.

    Args:
        redis: where messages come from.
        channels: a message on any of them rings its text.
    """

    def __init__(self, redis: Redis, channels: list[str]) -> None:
        self._redis = redis
        self._channels = channels
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.is_closing = False

    def close(self) -> None:
        """Wake all in this process who wait for anything: it is about to end."""
        self.is_closing = True
        for name in list(self._waiting):
            self.ring(name)

    async def listen(self) -> None:
        """Pass messages on until cancelled, subscribing anew when the connection breaks."""
        while True:
            try:
                await self._pass_on()
            except (RedisError, OSError):
                await asyncio.sleep(RECONNECT_S)

    async def _pass_on(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(*self._channels)
            while True:
                message = await subscription.get_message(timeout=QUIET_S)
                if message:
                    self.ring(message["data"].decode(errors="replace"))

    def ring(self, name: str) -> None:
        """Wake all in this process who wait for `name`."""
        for event in self._waiting.get(name, ()):
            event.set()

    @contextmanager
    def expect(self, name: str) -> Iterator[asyncio.Event]:
        """Hear `name` from now on: the event is set when it is rung."""
        event = asyncio.Event()
        self._waiting[name].add(event)
        try:
            yield event
        finally:
            self._waiting[name].discard(event)
            if not self._waiting[name]:
                del self._waiting[name]


async def heard(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until the event is set, but no longer than `timeout_s`; then make it ready again."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
