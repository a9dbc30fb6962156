"""The examples in docstrings say what truly comes out."""

from __future__ import annotations

import doctest
import importlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
EXEMPLARY = [
    ".".join(path.relative_to(HOUSE).with_suffix("").parts)
    for path in sorted((HOUSE / "worker").rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", EXEMPLARY)
def test_examples_come_out_as_they_say(name: str) -> None:
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, extraglobs={"UTC": UTC, "datetime": datetime})

    assert tried
    assert failed == 0
