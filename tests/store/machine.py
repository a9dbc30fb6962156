"""What the state machines share: a store whose clock stands still, and the model's bookkeeping."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine
from redis.asyncio import Redis

from worker.store import Store

T = 1_700_000_000_000
LEASE_MS = 30_000
RETENTION_MS = 100_003  # no sum of the pauses, so that nothing ends in the very same instant
LIVES = settings(stateful_step_count=40, deadline=None, derandomize=True)

Result = TypeVar("Result")


class StoreMachine(RuleBasedStateMachine):
    """Random steps, each done to the store and to a model of it, at the time the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T
        self.clock = mock.patch("time.time", self.seconds)  # fakeredis looks there
        self.clock.start()
        self.runner = asyncio.Runner()
        self.redis: Redis = FakeAsyncRedis(server=FakeServer())
        self.store = Store(
            self.redis, prefix="m", retention_s=RETENTION_MS / 1000, lease_s=LEASE_MS / 1000
        )
        self.count = 0

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()
        self.clock.stop()

    def run(self, step: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.get_loop().run_until_complete(step)

    def seconds(self) -> float:
        return self.now / 1000

    def number(self) -> int:
        self.count += 1
        return self.count

    def scores(self, key: str) -> dict[str, float]:
        found = self.run(self.redis.zrange(f"m:{key}", 0, -1, withscores=True))
        return {name.decode(): score for name, score in found}
