"""Every command has examples, each of which can be typed; the shell completes names and values."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import typer

from tests.cli.conftest import COMMAND
from worker.cli.app import app
from worker.cli.examples import EXAMPLES

WITHOUT = {"up", "serve", "work", "mcp", "secret", "provider"}


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command


COMMANDS = dict(commands(cast("Any", typer.main.get_command(app))))


def test_every_command_with_options_has_examples() -> None:
    named = {name for name in COMMANDS if name.split()[0] not in WITHOUT}
    assert set(EXAMPLES) == named


@pytest.mark.parametrize(
    ("name", "example"),
    [(name, each) for name, some in EXAMPLES.items() for each in some],
    ids=lambda text: text,
)
def test_an_example_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, example: str
) -> None:
    (tmp_path / "ids.txt").write_text("g-1\n")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(example)
    typed = words[: next((n for n, word in enumerate(words) if word in "|>&&"), len(words))]
    COMMANDS[name].make_context(name, typed).close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dreamhook endp", {"endpoints"}),
        ("dreamhook endpoints r", {"rotate", "recover"}),
        ("dreamhook list --state f", {"failed"}),
    ],
)
def test_the_shell_completes(words: str, expected: set[str]) -> None:
    env = os.environ | {
        "_DREAMHOOK_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    ended = subprocess.run(
        COMMAND, env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert set(ended.stdout.split()) == expected
