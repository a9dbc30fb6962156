"""Serves tools over the SDK: which there are, what a call answers, and what becomes of errors."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)

from worker.client import ApiError
from worker.errors import DreamhookError, UnavailableError
from worker.mcp_server import generations, tracking
from worker.mcp_server.answers import Answer
from worker.mcp_server.desks import Desk
from worker.mcp_server.tasks import Tasks
from worker.mcp_server.texts import text_of
from worker.mcp_server.tools import Tool
from worker.requests import parse

Request = ServerRequestContext[Any, Any]
Open = Callable[[Request], AbstractAsyncContextManager[Desk]]
"""Opens the desk that serves one request."""

WITH_SERVER = (*generations.WITH_SERVER, *tracking.TOOLS)
READING = tuple(tool for tool in WITH_SERVER if not tool.changes)
ALONE = generations.ALONE

_ABOUT = (
    "Dreamhook tracks AI generations (videos, images) at Luma and other providers to their end."
    " Create with create_generation or generate_image, then wait_for_generation; never poll"
    " get_generation in a loop. Generations cost money: do not repeat a create call unless its"
    " answer says that nothing was created."
)
_SERVED = " What is created or tracked here is watched even if you stop asking."
_ONLY_READING = " This key may only read: nothing can be created, tracked or replayed with it."
_NO_SERVER = (
    " There is no Dreamhook server behind this: nothing is watched between calls and no webhooks"
    " are sent. Set DREAMHOOK_URL to have that."
)

INSTRUCTIONS = {
    WITH_SERVER: _ABOUT + _SERVED,
    READING: _ABOUT + _ONLY_READING,
    ALONE: _ABOUT + _NO_SERVER,
}

log = logging.getLogger(__name__)


def create_server(tools: Sequence[Tool], open_desk: Open) -> Server:
    """Make the server of a set of tools, which is one of the three above."""
    handlers = _Handlers(tools, open_desk)
    server: Server = Server(
        "dreamhook",
        title="Dreamhook",
        version=_version(),
        instructions=INSTRUCTIONS[tuple(tools)],
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
    )
    handlers.tasks.install(server)
    return server


class _Handlers:
    def __init__(self, tools: Sequence[Tool], open_desk: Open) -> None:
        self._listed = ListToolsResult(tools=[tool.listed() for tool in tools])
        self._tools = {tool.name: tool for tool in tools}
        self._open = open_desk
        self.tasks = Tasks(open_desk, result_of)

    async def list_tools(
        self, _request: Request, _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return self._listed

    async def call_tool(self, request: Request, params: CallToolRequestParams) -> Any:
        tool = self._tools.get(params.name)
        if tool is None:
            known = ", ".join(self._tools)
            raise MCPError(INVALID_PARAMS, f"There is no tool {params.name!r}; there are: {known}.")
        try:
            return await self._call(request, tool, params.arguments or {})
        except DreamhookError as error:
            return failure(in_words(error))
        except Exception:
            log.exception("tool failed", extra={"tool": tool.name})
            return failure("This is a fault of Dreamhook. Its log says more.")

    async def _call(self, request: Request, tool: Tool, arguments: dict[str, Any]) -> Any:
        wanted: Any = parse(tool.arguments, arguments)

        async def tell(gone_s: float, total_s: float, message: str) -> None:
            await request.session.report_progress(round(gone_s, 1), total_s, message)

        async with self._open(request) as desk:
            if tool.name == generations.WAIT and self.tasks.are_wanted(request):
                return await self.tasks.begin(desk, wanted)
            return result_of(await tool.run(desk, wanted, tell))


def result_of(answer: Answer) -> CallToolResult:
    """Make the result of a call that went well."""
    return CallToolResult(
        content=[TextContent(text=text_of(answer))],
        structured_content=answer.model_dump(mode="json"),
    )


def failure(text: str) -> CallToolResult:
    """Make the result of a call that went wrong, for the agent to read and act on."""
    return CallToolResult(content=[TextContent(text=text)], is_error=True)


def in_words(error: DreamhookError) -> str:
    """Say what went wrong, and what to do about it."""
    match error:
        case ApiError(status=401):
            return (
                "Dreamhook does not accept the key. Whoever configured this has to set"
                " DREAMHOOK_API_KEY to one of the server's DREAMHOOK_API_KEYS."
            )
        case ApiError():
            text, again_s = error.detail or error.title, error.retry_after_s
            if error.field and not text.startswith(error.field):
                text = f"{error.field}: {text}"
        case UnavailableError():
            text, again_s = str(error), error.retry_after
        case _:
            text, again_s = str(error), None
    return text if again_s is None else f"{text} Try again in {math.ceil(again_s)} s."


def _version() -> str:
    try:
        return version("dreamhook")
    except PackageNotFoundError:  # run from a checkout
        return "0"
