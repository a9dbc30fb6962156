"""The commands about providers as data files: `dreamhook provider check FILE`."""

# ruff: noqa: PLC0415 - what does the work is imported when it is wanted

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.process import Exit

app = typer.Typer(name="provider", help="Providers of your own: see docs/providers.md.")


@app.callback()
def _group() -> None:
    """Keep `check` a command of its own, which a single one would not be."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The provider's TOML file.")],
    *,
    sample: Annotated[
        Path | None,
        typer.Option(metavar="ANSWER.json", help="An answer of the status call, to be read."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Check a provider's file: 0 if it can be used, and reads its examples as what they are."""
    from worker.checkup_providers import examine
    from worker.cli import tables
    from worker.cli.process import emit, wants_json

    readings = examine(file, sample)
    if wants_json(asked=json):
        for each in readings:
            emit({"of": each.of, "read": dict(each.fields), "fault": each.fault})
    else:
        tables.say(f"{file}: it can be used")
        for each in readings:
            verdict = "read" if each.fault is None else each.fault
            tables.say(f"{each.of}: {verdict}")
            tables.show_fields(list(each.fields), indent="  ")
    raise typer.Exit(Exit.OK if all(each.fault is None for each in readings) else Exit.ERROR)


def text_of(name: str) -> str:
    """Find the data file of a provider for the simulator; `DREAMHOOK_PROVIDERS` has the user's own.

    Raises:
        ConfigurationError: There is no such provider, or its file cannot be used.
    """
    from worker import checkup_providers
    from worker.config import Settings

    return checkup_providers.text_of(name, Settings.load().providers)
