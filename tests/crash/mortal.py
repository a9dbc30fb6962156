"""A Redis client in a process that dies before or after one of its commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline


class KilledError(BaseException):
    """The process is no more. No `except Exception` can save it."""


@dataclass
class Fate:
    """When a process dies: before or after its n-th command. What it does later has no effect."""

    nth: int | None = None
    after: bool = False
    commands: int = 0
    dead: bool = False

    async def meet(self, command: Callable[[], Awaitable[Any]]) -> Any:
        if self.dead:
            raise KilledError
        self.commands += 1
        mine = self.commands == self.nth
        self.dead = mine and not self.after
        answer = None if self.dead else await command()
        self.dead = self.dead or mine
        if self.dead:
            raise KilledError
        return answer


class MortalRedis(Redis):
    """A client in a process that may die."""

    fate: Fate

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return await self.fate.meet(partial(super().execute_command, *args, **options))

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:  # noqa: FBT001, FBT002 - redis-py's
        pipe = super().pipeline(transaction, shard_hint)
        execute = pipe.execute

        async def mortal(raise_on_error: bool = True) -> Any:  # noqa: FBT001, FBT002 - redis-py's
            return await self.fate.meet(partial(execute, raise_on_error))

        pipe.execute = mortal  # type: ignore[method-assign, assignment]
        return pipe
