"""Waits as tasks, for clients that have the extension io.modelcontextprotocol/tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import anyio
import pytest
from mcp import Client, MCPError
from mcp.client import ClaimContext, ClientExtension, ResultClaim
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from .conftest import WAYS, House, agent, refused, text, told

EXTENSION = "io.modelcontextprotocol/tasks"
CAMEL = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class OfTask(RequestParams):
    model_config = CAMEL

    task_id: str


class Ask(Request[OfTask, str]):
    """A request of the extension, made as its specification says."""

    name_param: ClassVar[str | None] = "taskId"

    method: str
    params: OfTask


class Task(Result):
    """What the specification says that a task is; the whole of it is kept."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int


class Whole(Result):
    model_config = ConfigDict(extra="allow")


class Tasks(ClientExtension):
    """The client's half: a task is asked for until it is over."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.begun: list[Task] = []
        self.asked: list[dict[str, Any]] = []
        self.has_asked = anyio.Event()

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=self.resolve)]

    async def resolve(self, task: Task, context: ClaimContext) -> CallToolResult:
        self.begun.append(task)
        while True:
            self.asked.append(await ask(context.session, "tasks/get", task.task_id))
            self.has_asked.set()
            if self.asked[-1]["status"] != "working":
                return CallToolResult.model_validate(self.asked[-1]["result"])
            await anyio.sleep(self.asked[-1]["pollIntervalMs"] / 1000)


async def ask(session: Any, method: str, task_id: str) -> dict[str, Any]:
    request = Ask(method=method, params=OfTask(task_id=task_id))
    answer: Result = await session.send_request(request, Whole)
    return answer.model_dump(mode="json", by_alias=True)


def image(house: House, name: str = "g-1", *, seconds: float) -> str:
    """Start one that Dreamhook looks at often."""
    return house.dream(name, seconds=seconds, kind="image", model="photon-1")


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_client_that_has_tasks_waits_with_one(house: House, way: str) -> None:
    tasks = Tasks()
    await house.tracked(image(house, seconds=60))
    async with agent(house, way, [tasks]) as client:
        waiting = asyncio.create_task(
            client.call_tool("wait_for_generation", {"generation_id": "g-1"})
        )
        await tasks.has_asked.wait()
        await house.finish("g-1")
        result = await waiting
    assert told(result)["state"] == "completed"
    assert text(result).startswith("Generation ID: g-1\nState: completed\n")
    (begun,) = tasks.begun
    assert (begun.task_id, begun.status) == ("luma/g-1", "working")
    assert 1_000 <= begun.poll_interval_ms <= 30_000
    assert begun.created_at <= begun.last_updated_at
    first, last = tasks.asked[0], tasks.asked[-1]
    assert (first["status"], first["resultType"], first["ttlMs"]) == ("working", "complete", None)
    assert "result" not in first
    assert (last["status"], last["resultType"]) == ("completed", "complete")


async def test_what_is_over_needs_no_task(house: House) -> None:
    tasks = Tasks()
    await house.tracked(house.dream("g-1"))
    await house.over("g-1")
    async with agent(house, "http", [tasks]) as client:
        result = await client.call_tool("wait_for_generation", {"generation_id": "g-1"})
    assert told(result)["state"] == "completed"
    assert tasks.begun == []


async def test_no_other_tool_becomes_a_task(house: House) -> None:
    tasks = Tasks()
    await house.tracked(house.dream("g-1", seconds=60))
    async with agent(house, "http", [tasks]) as client:
        told(await client.call_tool("get_generation", {"generation_id": "g-1"}))
        refused(await client.call_tool("wait_for_generation", {"generation_id": "nope"}))
    assert tasks.begun == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_has_no_tasks_gets_none(house: House, way: str) -> None:
    await house.tracked(house.dream("g-1", seconds=60))
    wanted = {"generation_id": "g-1", "timeout_s": 1}
    async with agent(house, way) as client:
        assert told(await client.call_tool("wait_for_generation", wanted))["is_over"] is False
        with pytest.raises(MCPError) as error:
            await ask(client.session, "tasks/get", "luma/g-1")
    assert error.value.code == (-32601 if way.endswith("legacy") else -32021)


async def test_a_task_outlives_its_server_and_can_be_asked_for_elsewhere(house: House) -> None:
    await house.tracked(image(house, seconds=60))
    async with agent(house, "http", [Tasks()]) as client:
        session = client.session
        begun = await session.call_tool(
            "wait_for_generation", {"generation_id": "g-1"}, allow_claimed=True
        )
        assert isinstance(begun, Task)
    await house.finish("g-1")
    await house.over("g-1")
    async with agent(house, "stdio", [Tasks()]) as other:
        assert (await ask(other.session, "tasks/get", begun.task_id))["status"] == "completed"


async def test_to_cancel_a_task_is_acknowledged_and_ends_nobodys_tracking(house: House) -> None:
    await house.tracked(house.dream("g-1", seconds=60))
    async with agent(house, "http", [Tasks()]) as client:
        assert await acknowledged(client, "tasks/cancel") == "complete"
        assert await acknowledged(client, "tasks/update") == "complete"
        assert (await ask(client.session, "tasks/get", "luma/g-1"))["status"] == "working"
    assert (await house.api.get("/v1/trackers/luma/g-1")).json()["state"] == "tracking"


async def acknowledged(client: Client, method: str) -> str:
    return str((await ask(client.session, method, "luma/g-1"))["resultType"])


@pytest.mark.parametrize("task_id", ["luma/nope", "nobody/g-1", "g-1", "luma/../stats", ""])
async def test_a_task_that_there_is_not_is_an_error_of_the_protocol(
    house: House, task_id: str
) -> None:
    async with agent(house, "http", [Tasks()]) as client:
        with pytest.raises(MCPError) as error:
            await ask(client.session, "tasks/get", task_id)
    assert error.value.code == -32602
