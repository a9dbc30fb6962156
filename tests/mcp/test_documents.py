"""The configurations in the documents are ones that start, and the tools in them are the tools."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from worker.config import ClientSettings
from worker.mcp_server.serving import ALONE, WITH_SERVER

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/mcp.md").read_text()
CONFIGS = [
    json.loads(block)
    for page in ("README.md", "docs/mcp.md")
    for block in re.findall(r"```json\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
]
SERVERS = [
    server
    for config in CONFIGS
    for server in (config.get("mcpServers") or config.get("servers", {})).values()
]


def test_there_are_configurations_for_each_way() -> None:
    assert sum("command" in server for server in SERVERS) >= 2
    assert sum("url" in server for server in SERVERS) >= 2


@pytest.mark.parametrize("server", SERVERS)
def test_a_configuration_names_what_there_is(server: dict[str, object]) -> None:
    if "command" in server:
        assert str(server["command"]).endswith("/bin/dreamhook")
        assert server["args"] == ["mcp"]
        known = {field.alias for field in ClientSettings.model_fields.values()}
        assert isinstance(server["env"], dict)
        assert set(server["env"]) <= known
    else:
        assert str(server["url"]).endswith("/mcp")
        assert isinstance(server["headers"], dict)
        assert server["headers"]["Authorization"].startswith("Bearer ")


def test_the_table_has_every_tool_and_tells_which_need_a_server() -> None:
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): row[-1].startswith("yes") for row in rows}
    alone = {tool.name for tool in ALONE}
    assert told == {tool.name: tool.name in alone for tool in WITH_SERVER}
