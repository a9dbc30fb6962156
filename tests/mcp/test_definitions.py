"""What agents are told of the tools: annotations, schemas, descriptions, and a linter's verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from worker.mcp_server.serving import ALONE, INSTRUCTIONS, READING, WITH_SERVER
from worker.mcp_server.tools import Tool

SETS = {"with a server": WITH_SERVER, "for readers": READING, "alone": ALONE}

every_set = pytest.mark.parametrize("tools", SETS.values(), ids=SETS)
every_tool = pytest.mark.parametrize(
    "tool", [*WITH_SERVER, *ALONE], ids=lambda tool: f"{tool.name}: {tool.title}"
)


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for each in node.values():
            yield from walk(each)
    elif isinstance(node, list):
        for each in node:
            yield from walk(each)


@every_tool
def test_every_field_that_goes_in_or_comes_out_is_described(tool: Tool) -> None:
    listed = tool.listed()
    for schema in (listed.input_schema, listed.output_schema):
        assert schema is not None
        assert (schema["type"], schema["additionalProperties"]) == ("object", False)
        for node in walk(schema):
            for name, field in node.get("properties", {}).items():
                assert len(field.get("description", "")) > 10, f"{tool.name}: {name}"


@every_tool
def test_a_description_says_when_to_use_it_what_it_costs_and_what_comes_next(tool: Tool) -> None:
    description = tool.description
    assert "ost" in description or "spends" in description or "requests" in description
    others = {each.name for each in (*WITH_SERVER, *ALONE)} - {tool.name}
    assert any(name in description for name in others)
    assert 150 < len(description) < 700


ANNOTATIONS = {
    # name: (only reads, destroys, the same again changes nothing, reaches out)
    "get_generation": (True, False, True, True),
    "list_generations": (True, False, True, True),
    "wait_for_generation": (True, False, True, True),
    "create_generation": (False, False, False, True),
    "generate_image": (False, False, False, True),
    "track_generation": (False, False, True, True),
    "cancel_tracking": (False, True, True, False),
    "list_deliveries": (True, False, True, False),
    "replay_delivery": (False, False, False, True),
    "get_queue_stats": (True, False, True, False),
}


@every_tool
def test_the_annotations_are_what_the_tool_does(tool: Tool) -> None:
    hints = tool.listed().annotations
    assert hints is not None
    assert (
        *(hints.read_only_hint, hints.destructive_hint),
        *(hints.idempotent_hint, hints.open_world_hint),
    ) == ANNOTATIONS[tool.name]


def test_readers_have_the_tools_that_only_read() -> None:
    assert {tool.name for tool in READING} == {
        name for name, (only_reads, *_) in ANNOTATIONS.items() if only_reads
    }


@every_set
def test_each_set_says_how_to_go_about_it(tools: Sequence[Tool]) -> None:
    instructions = INSTRUCTIONS[tuple(tools)]
    assert "wait_for_generation" in instructions
    assert "never poll" in instructions


@every_set
def test_the_linter_tdqs_finds_nothing(tools: Sequence[Tool], tmp_path: Path) -> None:
    listed = [tool.listed().model_dump(by_alias=True, exclude_none=True) for tool in tools]
    file = tmp_path / "tools.json"
    file.write_text(json.dumps({"tools": listed}))
    lint = subprocess.run(
        [sys.executable, "-m", "tdqs", "lint", "--file", str(file), "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    report = json.loads(lint.stdout)
    assert report["findings"] == []
    assert len(report["tools"]) == len(tools)
