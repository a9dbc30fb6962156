"""Runs the Lua scripts: one file per atomic step, each behind those that all of them share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import DataError, NoScriptError, OutOfMemoryError, ResponseError

COMMON = ("common", "deliveries", "tracking", "submissions")

TAKES_IN = frozenset({"track", "begin_submission", "put_endpoint"})
"""What takes in more, and is refused when Redis is full. All else then goes on."""

LEASE_S = 30.0
"""How long a claim lasts, unless told otherwise: more than a look or an attempt may take."""

REST_S = 60.0
"""How long the lane of an account that is not configured sleeps, unless a deadline comes first."""

LEARNED_KEPT_S = 30 * 86_400.0
"""How long it is remembered what the looks of an account have taught, when none are made."""

ALIVE_S = 3.0
"""How long a drain is believed to be alive after its last sign of life."""

MOST_TOGETHER = 32
"""So many scripts travel together at most: others are served between one load and the next."""


def ms(seconds: float) -> int:
    """Turn seconds into whole milliseconds."""
    return round(seconds * 1000)


def pairs(flat: Iterable[bytes]) -> dict[bytes, bytes]:
    """Turn an HGETALL as a script returns it (field, value, field, …) into a mapping."""
    each = iter(flat)
    return dict(zip(each, each, strict=True))


@dataclass(frozen=True, slots=True)
class Clock:
    """Redis's clock as read with a claim, carried on by this process's steady clock."""

    read_at: int
    started: float

    @classmethod
    def at(cls, now: int) -> Clock:
        """Start a clock that says `now`."""
        return cls(now, time.monotonic())

    def now(self) -> int:
        """Tell the time, in milliseconds since the epoch."""
        return self.read_at + ms(time.monotonic() - self.started)


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    args: Sequence[Any]
    answer: asyncio.Future[Any]

    def settle(self, answer: Any) -> None:
        if self.answer.done():  # whoever asked has been cancelled
            return
        if isinstance(answer, ResponseError) and "OOM command not allowed" in str(answer):
            answer = OutOfMemoryError(str(answer))  # Redis 6.2 gives it no code of its own
        if isinstance(answer, BaseException):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Scripts:
    """The scripts of one deployment: its Redis, its key prefix, its retention and its lease.

    What is asked for in one turn of the event loop travels together, each script still a step of
    its own: with a hundred attempts under way, sending every one by itself was a third of a
    delivery's cost.
    """

    def __init__(self, redis: Redis, *, prefix: str, retention_s: float, lease_s: float) -> None:
        self.redis = redis
        self.prefix = prefix
        self.retention_ms = ms(retention_s)
        self.lease_ms = ms(lease_s)
        folder = files("worker") / "lua"
        texts = {
            file.name.removesuffix(".lua"): file.read_text()
            for file in folder.iterdir()
            if file.name.endswith(".lua")
        }
        common = "".join(map(texts.pop, COMMON))
        self._scripts = {
            name: redis.register_script(
                common + ("" if name in TAKES_IN else "go_on_when_full()\n") + text
            )
            for name, text in texts.items()
        }
        self._waiting: list[_Call] = []
        self._travelling: set[asyncio.Task[None]] = set()

    async def run(self, name: str, *args: Any, now: int | None = None) -> Any:
        """Run `lua/<name>.lua`; `now` stands in for Redis's clock, in tests."""
        loop = asyncio.get_running_loop()
        call = _Call(name, ["" if now is None else now, *args], loop.create_future())
        self._waiting.append(call)
        if len(self._waiting) == 1:
            loop.call_soon(self._depart)
        return await call.answer

    def _depart(self) -> None:
        waiting, self._waiting = iter(self._waiting), []
        while calls := list(islice(waiting, MOST_TOGETHER)):
            travel = asyncio.ensure_future(self._send(calls))
            self._travelling.add(travel)
            travel.add_done_callback(self._travelling.discard)

    async def _send(self, calls: Sequence[_Call]) -> None:
        pipe = self.redis.pipeline(transaction=False)
        for call in calls:
            pipe.evalsha(self._scripts[call.name].sha, 1, self.prefix, *call.args)
        try:
            answers = await pipe.execute(raise_on_error=False)
        except (DataError, ValueError):
            # One of them cannot be written, so none has left: the others must not suffer for it.
            answers = [await self._alone(call) for call in calls]
        except BaseException as error:  # noqa: BLE001 - whoever asked is told, and it is up to them
            answers = [error] * len(calls)
        for call, answer in zip(calls, answers, strict=True):
            # A Redis that was restarted has forgotten the scripts; by itself each is sent anew.
            forgotten = isinstance(answer, NoScriptError)
            call.settle(await self._alone(call) if forgotten else answer)

    async def _alone(self, call: _Call) -> Any:
        """Send a script itself: by its name it could have been forgotten once more meanwhile."""
        try:
            text = self._scripts[call.name].script
            return await self.redis.eval(text, 1, self.prefix, *call.args)  # type: ignore[misc, arg-type]
        except BaseException as error:  # noqa: BLE001 - as above
            return error

    def key(self, name: str) -> str:
        """Put the deployment's prefix before the name of a key or a channel."""
        return f"{self.prefix}:{name}"

    async def newest(
        self, indexes: Iterable[str], *, before: int | None, limit: int
    ) -> list[list[tuple[str, int]]]:
        """Read the newest members of each index, as (member, seq) with seq below `before`."""
        pipe = self.redis.pipeline(transaction=False)
        newest = "+inf" if before is None else f"({before}"
        for index in indexes:
            pipe.zrevrangebyscore(
                self.key(index), newest, "-inf", start=0, num=limit, withscores=True
            )
        found = await pipe.execute()
        return [[(member.decode(), int(seq)) for member, seq in members] for members in found]
