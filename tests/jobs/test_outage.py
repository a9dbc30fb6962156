"""What is said when Redis goes away under a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NotAnsweredError

from worker.jobs_outage import Outage

from .conftest import Fleet, eventually


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_is_over(lines: list[Any]) -> None:
    outage = Outage()
    outage.over()
    for _ in range(3):
        with outage.borne():
            raise NotConnectedError("refused")
    assert outage.goes_on
    for _ in range(3):
        outage.over()

    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("redis is away", "error"),
        ("redis is back", "warning"),
    ]
    assert lines[0]["error"] == "ConnectionError: refused"
    assert not outage.goes_on


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        ResponseError("a script that is wrong"),
        ExceptionGroup("both", [NotConnectedError("refused"), ValueError("a bug")]),
    ],
)
def test_what_is_no_outage_is_not_taken_for_one(error: Exception, lines: list[Any]) -> None:
    outage = Outage()
    with pytest.raises(type(error)), outage.borne():
        raise error
    assert (outage.goes_on, lines) == (False, [])


async def test_drains_that_lose_their_redis_say_so_without_tracebacks(
    fleet: Fleet, lines: list[Any]
) -> None:
    gone: list[Exception] = [ConnectionError("gone"), NotConnectedError("no"), NotAnsweredError()]
    lost = [*gone, ExceptionGroup("of a task group", gone)]

    async def lose(lane: str) -> bool:
        raise lost[int(lane[-1]) % len(lost)]

    fleet.drains.does = lose
    await asyncio.gather(*[fleet.start(f"lane-{n}") for n in range(8)])
    async with fleet.working():
        for n in range(8):
            await fleet.drains.ran(f"lane-{n}")

        async def is_back() -> bool:
            return not fleet.outage.goes_on

        await eventually(is_back)

    assert {line["event"] for line in lines} == {"redis is away", "redis is back"}
    assert [line for line in lines if line.get("exc_info")] == []
