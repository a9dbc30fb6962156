"""What is said when Redis goes away under a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import TimeoutError as NotAnsweredError

from tests.redis_servers import server
from worker import jobs_outage
from worker.jobs_outage import Outage, is_away

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


async def refusals(redis: Redis) -> list[Exception]:
    """Read, and write in each way that we do; gives what was raised."""

    async def in_a_script() -> None:
        await redis.eval("return redis.call('SET', KEYS[1], 1)", 1, "key")

    async def in_a_transaction() -> None:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.set("key", 1)
            await pipe.execute()

    ways = (redis.get("key"), redis.set("key", 1), in_a_script(), in_a_transaction())
    found = await asyncio.gather(*ways, return_exceptions=True)
    return [each for each in found if isinstance(each, Exception)]


@pytest.mark.parametrize(
    "options",
    [
        {"min-replicas-to-write": "1"},  # it has none: it is cut off from them
        {"replicaof": "127.0.0.1 1"},  # it is a replica now
        {"replicaof": "127.0.0.1 1", "replica-serve-stale-data": "no"},
    ],
)
async def test_a_server_that_takes_no_writes_is_away(
    options: dict[str, str], tmp_path: Path
) -> None:
    with server(tmp_path) as one:
        async with Redis(port=one.port) as redis:
            for name, value in options.items():
                if name == "replicaof":
                    await redis.execute_command("REPLICAOF", *value.split())
                else:
                    await redis.config_set(name, value)
            raised = await refusals(redis)
    assert raised
    assert [each for each in raised if not is_away(each)] == []


def test_a_script_that_redis_6_2_refuses_on_a_replica_is_an_outage() -> None:
    refused = "@user_script: 1: -READONLY You can't write against a read only replica."
    assert is_away(ResponseError(f"ERR Error running script (call to f_0): {refused}"))


def test_a_server_that_refuses_writes_is_not_back_because_it_answers_a_question(
    lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage()
    outage.noticed(ExceptionGroup("of a task group", [ReadOnlyError("a replica")]))
    outage.over()
    assert outage.goes_on

    monkeypatch.setattr(jobs_outage, "SETTLED_S", 0.0)
    outage.noticed(ReadOnlyError("a replica"))
    outage.over()
    assert [line["event"] for line in lines] == ["redis is away", "redis is back"]


def test_connections_that_are_all_in_use_are_our_own_trouble_and_told_with_what_to_do(
    lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_outage, "SETTLED_S", 0.0)
    outage, none_free = Outage(), NotConnectedError("No connection available.")
    for _ in range(3):
        with outage.borne():
            raise ExceptionGroup("of a task group", [none_free, none_free])
    outage.over()

    assert [line["event"] for line in lines] == [
        "connections to redis are all in use",
        "connections to redis are free again",
    ]
    assert "run more processes" in lines[0]["remedy"]


async def test_drains_that_lose_their_redis_say_so_without_tracebacks(
    fleet: Fleet, lines: list[Any]
) -> None:
    gone: list[Exception] = [ConnectionError("gone"), NotConnectedError("no"), NotAnsweredError()]
    gone += [BusyLoadingError("its data"), ResponseError("NOREPLICAS Not enough good replicas")]
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
