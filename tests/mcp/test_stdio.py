"""`dreamhook mcp` as a process: what it says where, whom it asks, and what it needs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from worker.cli import agents
from worker.errors import ConfigurationError

from .conftest import KEY, LUMA_KEY, House, environment

COMMAND = [sys.executable, "-m", "worker.cli", "mcp"]


def requests(*methods: tuple[str, dict[str, Any]]) -> str:
    """Write requests as lines, after the greeting of the older protocol."""
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    }
    said: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
    ]
    said += [{"id": n, "method": m, "params": p} for n, (m, p) in enumerate(methods, start=1)]
    return "".join(json.dumps({"jsonrpc": "2.0", **each}) + "\n" for each in said)


def run(said: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it until each request has its answer; what is still asked when it ends may have none."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    child = subprocess.Popen(COMMAND, env=environment(**variables), text=True, **pipes)
    patience = threading.Timer(60, child.kill)
    patience.start()
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):  # it has ended by itself
            child.stdin.write(said)
            child.stdin.flush()
        answers = [child.stdout.readline() for _ in range(said.count('"id"'))]
        rest, errors = child.communicate()
    patience.cancel()
    return subprocess.CompletedProcess(COMMAND, child.returncode, "".join(answers) + rest, errors)


def test_nothing_but_the_protocol_reaches_the_standard_output(tmp_path: Path) -> None:
    # Whatever a library prints, and whatever is logged, goes elsewhere.
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, logging\n"
        "atexit.register(lambda: logging.getLogger('late').error('a line of the log'))\n"
        "import worker.mcp_server.remote as remote\n"
        "whole = remote.Remote.stats\n"
        "async def stats(self):\n"
        "    print('a stray print')\n"
        "    logging.getLogger('worker').error('a line of the log')\n"
        "    raise ValueError('a secret')\n"
        "remote.Remote.stats = stats\n"
    )
    paths = f"{tmp_path}:{Path.cwd()}"
    call = ("tools/call", {"name": "get_queue_stats", "arguments": {}})
    ended = run(requests(call), PYTHONPATH=paths, DREAMHOOK_URL="http://127.0.0.1:9")
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {each["id"] for each in answers} == {0, 1}
    assert answers[-1]["result"]["isError"] is True
    assert "a line of the log" in ended.stderr
    assert "a stray print" in ended.stderr
    assert "a secret" in ended.stderr
    assert "a secret" not in ended.stdout
    assert ended.returncode == 0


def piped(said: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it on an input that has ended when it begins."""
    env = environment(**variables)
    return subprocess.run(
        COMMAND, input=said, env=env, capture_output=True, text=True, timeout=40, check=False
    )


async def test_what_was_asked_is_answered_though_the_input_has_ended(house: House) -> None:
    await house.tracked(house.dream("g-1", seconds=600))
    wait = {"name": "wait_for_generation", "arguments": {"generation_id": "g-1", "timeout_s": 1}}
    said = requests(("tools/call", wait), ("tools/list", {}), ("tools/call", wait))

    ended = await asyncio.to_thread(piped, said, DREAMHOOK_URL=house.url, DREAMHOOK_API_KEY=KEY)

    answers = {each["id"]: each for each in map(json.loads, ended.stdout.splitlines())}
    assert set(answers) == {0, 1, 2, 3}
    assert answers[3]["result"]["structuredContent"]["is_over"] is False
    assert (ended.returncode, ended.stderr) == (0, "")


async def test_what_was_given_up_holds_nobody_when_the_input_has_ended(house: House) -> None:
    await house.tracked(house.dream("g-1", seconds=600))
    wait = {"name": "wait_for_generation", "arguments": {"generation_id": "g-1", "timeout_s": 50}}
    gave_up = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    said = requests(("tools/call", wait)) + json.dumps({"jsonrpc": "2.0", **gave_up}) + "\n"

    began = time.monotonic()
    ended = await asyncio.to_thread(piped, said, DREAMHOOK_URL=house.url, DREAMHOOK_API_KEY=KEY)

    assert ended.returncode == 0
    assert time.monotonic() - began < 30


def instructions(**variables: str) -> str:
    ended = run(requests(), **variables)
    (hello,) = map(json.loads, ended.stdout.splitlines())
    text: str = hello["result"]["instructions"]
    return text


BOTH = {"LUMAAI_API_KEY": LUMA_KEY, "DREAMHOOK_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("variables", "alone"),
    [(BOTH, False), ({"LUMAAI_API_KEY": LUMA_KEY}, True), ({}, False)],
    ids=["both", "an account alone", "nothing"],
)
def test_the_server_that_is_named_goes_before_an_account_and_that_before_the_usual_server(
    variables: dict[str, str], *, alone: bool
) -> None:
    assert ("There is no Dreamhook server" in instructions(**variables)) is alone


def test_a_setting_that_cannot_be_used_is_told_before_anything_else() -> None:
    ended = run("", DREAMHOOK_URL="nowhere")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "DREAMHOOK_URL='nowhere'" in ended.stderr


def test_without_the_extra_the_command_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agents, "is_installed", lambda: False)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[mcp\]'"):
        agents.mcp()
