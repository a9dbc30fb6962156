"""The document says what the arithmetic gives."""

from __future__ import annotations

from pathlib import Path

from bench import a_day


def test_the_tables_of_the_document_are_those_of_the_unit_costs() -> None:
    text = (Path(__file__).parents[2] / "docs/scaling.md").read_text()
    assert "\n".join(a_day.tables()) in text, "print them anew: python -m bench.a_day"
