"""Which of several Sentinels is believed: not one that is cut off with an old primary."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError as NotConnectedError

from tests.redis_servers import sentinel, server
from worker.config import Settings
from worker.wiring_redis import SENTINEL_TIMEOUT_S, _Sentinels, connected

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


async def test_a_sentinel_that_has_missed_a_failover_is_not_believed_though_it_comes_first(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        old = stack.enter_context(server(tmp_path / "old"))
        new = stack.enter_context(server(tmp_path / "new"))
        epoch = ("sentinel config-epoch dream 7", "sentinel current-epoch 7")
        asked = [
            stack.enter_context(sentinel(tmp_path / "s1", "dream", old, quorum=2)),
            stack.enter_context(sentinel(tmp_path / "s2", "dream", new, *epoch, quorum=2)),
            stack.enter_context(sentinel(tmp_path / "s3", "dream", new, *epoch, quorum=2)),
        ]
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in asked)
        async with connected(Settings(redis_url=f"redis+sentinel://{hosts}/dream")) as redis:
            assert (await redis.info("server"))["tcp_port"] == new.port


@dataclass
class Told:
    """Stands for a Sentinel: says what it knows, fails, or says nothing for a minute."""

    address: tuple[str, int] | None = None
    epoch: int = 0
    flags: str = "master"
    fails: bool = False

    async def sentinel_masters(self) -> dict[str, dict[str, Any]]:
        if self.fails:
            raise NotConnectedError("refused")
        if self.address is None:
            await asyncio.sleep(60)
        ip, port = self.address or OLD
        state = {"ip": ip, "port": port, "config-epoch": self.epoch, "flags": self.flags}
        flags = ("master", "s_down", "o_down")
        state |= {f"is_{each.replace('_', '')}": each in self.flags for each in flags}
        return {"dream": {**state, "num-other-sentinels": 2}}


async def believed(*told: Told) -> tuple[str, int]:
    sentinels = _Sentinels([])  # type: ignore[no-untyped-call]
    sentinels.sentinels = list(told)  # type: ignore[arg-type]
    return await sentinels.discover_master("dream")


HUNG, DEAD = Told(), Told(fails=True)


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ([Told(OLD), Told(NEW, 1), Told(NEW, 1)], NEW),
        ([Told(NEW, 1), Told(OLD), DEAD], NEW),
        ([DEAD, DEAD, Told(OLD)], OLD),  # the only one that there is
        ([Told(NEW, 1, "master,s_down"), Told(NEW, 1), DEAD], NEW),  # it alone cannot reach it
        ([Told(OLD, 1, "master,failover_in_progress"), Told(NEW, 1), DEAD], NEW),
        ([Told(OLD, 1, "master,failover_in_progress")], OLD),
    ],
)
async def test_the_newest_of_what_most_say_is_believed(
    told: list[Told], address: tuple[str, int]
) -> None:
    assert await believed(*told) == address


async def test_who_says_nothing_is_not_waited_for_if_most_have_spoken() -> None:
    began = time.monotonic()
    assert await believed(HUNG, Told(OLD), Told(OLD)) == OLD
    assert time.monotonic() - began < SENTINEL_TIMEOUT_S / 10


@pytest.mark.parametrize(
    "told",
    [
        [DEAD, DEAD],
        [Told(OLD), Told(NEW, 1, "master,s_down,o_down"), Told(NEW, 1, "master,s_down")],
    ],
)
async def test_there_is_no_primary_if_the_newest_is_down_whatever_the_others_say(
    told: list[Told],
) -> None:
    with pytest.raises(MasterNotFoundError, match="No master found for 'dream'"):
        await believed(*told)
