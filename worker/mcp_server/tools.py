"""What a tool is, and which there are: by what the desk can do, and what the caller may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp_types import Tool as Listed
from mcp_types import ToolAnnotations
from pydantic import BaseModel

from worker.mcp_server.answers import Answer
from worker.mcp_server.arguments import Arguments
from worker.mcp_server.desks import Tell
from worker.model import JsonObject

Run = Callable[[Any, Any, Tell], Awaitable[Answer]]
"""From a desk, the tool's arguments and whoever wants to hear of progress to its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool.

    `changes` says whether it does anything but read; a key that may only read has only those that
    do not. `destroys`, `repeats` (the same call again changes nothing more) and `reaches_out` (to
    a provider or a receiver) are its annotations.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    answer: type[Answer]
    run: Run
    changes: bool = False
    destroys: bool = False
    repeats: bool = True
    reaches_out: bool = False

    def listed(self) -> Listed:
        """Show it as `tools/list` does."""
        return Listed(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=_schema(self.arguments),
            output_schema=_schema(self.answer),
            annotations=ToolAnnotations(
                title=self.title,
                read_only_hint=not self.changes,
                destructive_hint=self.destroys,
                idempotent_hint=self.repeats,
                open_world_hint=self.reaches_out,
            ),
        )


def _schema(model: type[BaseModel]) -> JsonObject:
    """Describe a model, without the names that pydantic makes up of the fields' names."""
    schema: JsonObject = _untitled(model.model_json_schema())
    schema.pop("description", None)
    schema.setdefault("properties", {})
    return schema


def _untitled(node: Any) -> Any:
    match node:
        case {"title": str(), **rest}:
            return _untitled(rest)
        case dict():
            return {name: _untitled(each) for name, each in node.items()}
        case list():
            return [_untitled(each) for each in node]
        case _:
            return node
