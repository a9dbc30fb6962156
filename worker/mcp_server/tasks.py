"""Waits as tasks: the extension `io.modelcontextprotocol/tasks` (SEP-2663, schema 2026-07-28).

A client that declares the extension gets a handle when it waits, and asks with `tasks/get` until
the generation is over. The handle names the generation, and the tracker is the task's state: it
outlives this process and is the same behind every server, so nothing is kept here. To cancel a task
ends nobody's tracking, as to stop waiting does not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Literal

from mcp.server import Server, ServerRequestContext
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CallToolResult,
    RequestParams,
    Result,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from worker.client import ApiError
from worker.errors import DreamhookError, InvalidInputError, NotFoundError
from worker.mcp_server.answers import Generation
from worker.mcp_server.arguments import WaitForGeneration
from worker.mcp_server.desks import Desk
from worker.mcp_server.texts import NOT_SEEN
from worker.model import JsonObject
from worker.requests import check_generation_id

EXTENSION = "io.modelcontextprotocol/tasks"

SOONEST_MS, LATEST_MS = 1_000, 30_000
"""What clients are told to wait between two questions: until the next look, within these bounds."""

_CAMEL = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class TaskParams(RequestParams):
    """Which task a request is about."""

    model_config = _CAMEL

    task_id: str


class Acknowledged(Result):
    """An empty answer."""


class Tasks:
    """Begins tasks and tells of them."""

    def __init__(
        self,
        open_desk: Callable[[ServerRequestContext[Any, Any]], AbstractAsyncContextManager[Desk]],
        result_of: Callable[[Generation], CallToolResult],
    ) -> None:
        self._open = open_desk
        self._result_of = result_of

    def install(self, server: Server) -> None:
        """Serve the extension's methods, and say so."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", TaskParams, self.acknowledge)
        server.add_request_handler("tasks/cancel", TaskParams, self.acknowledge)

    @staticmethod
    def are_wanted(request: ServerRequestContext[Any, Any]) -> bool:
        """Tell whether whoever calls a tool can be answered with a task."""
        if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return False
        capabilities = request.session.client_capabilities
        return EXTENSION in ((capabilities and capabilities.extensions) or {})

    async def begin(self, desk: Desk, wanted: WaitForGeneration) -> CallToolResult | JsonObject:
        """Answer a wait: with its result if there is nothing to wait for, else with a task."""
        found = await desk.show(wanted.account, wanted.generation_id, fresh=False)
        if found.is_over:
            return self._result_of(found)
        return self._task(found, "task")

    async def get(self, request: ServerRequestContext[Any, Any], params: TaskParams) -> JsonObject:
        """Tell how a task is."""
        _check(request)
        account, generation_id = _named(params.task_id)
        try:
            async with self._open(request) as desk:
                found = await desk.show(account, generation_id, fresh=False)
        except DreamhookError as error:
            is_unknown = isinstance(error, NotFoundError) or (
                isinstance(error, ApiError) and error.status in {404, 422}
            )
            raise MCPError(INVALID_PARAMS if is_unknown else INTERNAL_ERROR, str(error)) from error
        return self._task(found, "complete")

    async def acknowledge(
        self, request: ServerRequestContext[Any, Any], params: TaskParams
    ) -> Acknowledged:
        """Take note that nobody waits any more, or that there is an answer nobody asked for."""
        _check(request)
        _named(params.task_id)
        return Acknowledged()

    def _task(self, found: Generation, result_type: Literal["task", "complete"]) -> JsonObject:
        """Write a task as it stands. The SDK would leave out a `ttlMs` that is null."""
        now = datetime.now(UTC)
        task: JsonObject = {
            "resultType": result_type,
            "taskId": f"{found.account}/{found.generation_id}",
            "status": "completed" if found.is_over else "working",
            "statusMessage": found.provider_state or NOT_SEEN,
            "createdAt": (found.tracked_at or now).isoformat(),
            "lastUpdatedAt": (found.seen_at or found.tracked_at or now).isoformat(),
            "ttlMs": None,
            "pollIntervalMs": _interval_ms(found, now),
        }
        if found.is_over:
            result = self._result_of(found)
            task["result"] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return task


def _check(request: ServerRequestContext[Any, Any]) -> None:
    """Refuse those who cannot know of tasks: by the protocol's version, or undeclared."""
    if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(METHOD_NOT_FOUND, "Method not found", request.method)
    require_client_extension(request, EXTENSION)


def _named(task_id: str) -> tuple[str, str]:
    account, _, generation_id = task_id.partition("/")
    try:
        check_generation_id(generation_id)
    except InvalidInputError:
        raise MCPError(INVALID_PARAMS, f"There is no task {task_id[:80]!r}.") from None
    return account, generation_id


def _interval_ms(found: Generation, now: datetime) -> int:
    if found.next_look_at is None:
        return 5_000
    ahead = round((found.next_look_at - now).total_seconds() * 1000)
    return min(max(ahead, SOONEST_MS), LATEST_MS)
