"""The command `dreamhook`: its subcommands, and what becomes of their errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, NoReturn

import typer

from worker.cli import deployment, user
from worker.cli.process import Exit, complain
from worker.errors import DreamhookError, InvalidInputError

app = typer.Typer(
    name="dreamhook",
    help="Parcel tracking for AI generations: hand over an ID, get a signed webhook when it is"
    " done.",
    epilog="Settings come from the environment; `dreamhook check` prints what is in effect."
    " Commands exit with 0, or with 1 for an error and 2 for a command line that cannot be used;"
    " `wait` and `track --wait` tell outcomes apart, see their --help.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

_COMMANDS: Mapping[str, Sequence[Callable[..., None]]] = {
    "Run it": (deployment.demo, deployment.up, deployment.serve, deployment.work),
    "Track generations": (user.track, user.get, user.wait, user.list_, user.cancel),
    "See to webhooks": (user.deliveries, user.replay),
    "Look after it": (
        deployment.check,
        deployment.secret,
        deployment.listen,
        deployment.simulate,
    ),
}

for _panel, _functions in _COMMANDS.items():
    for _function in _functions:
        app.command(_function.__name__.rstrip("_"), rich_help_panel=_panel)(_function)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - what typer calls it with
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - takes a while

    try:
        typer.echo(f"dreamhook {version('dreamhook')}")
    except PackageNotFoundError:
        typer.echo("dreamhook, not installed")
    raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(Exit.USAGE)


def main() -> NoReturn:
    """Run the command that the arguments of this process ask for, and exit as `Exit` says."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows few letters is no error
    try:
        code = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read this has seen enough. Python flushes once more at the end, into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.ERROR
    sys.exit(code)


def _run() -> int:
    try:
        return app(prog_name="dreamhook", standalone_mode=False) or Exit.OK
    except typer.TyperException as error:  # its kinds are about the command line
        command = getattr(getattr(error, "ctx", None), "command_path", "dreamhook")
        what = error.format_message().replace("Value error, ", "").rstrip(".")  # pydantic's own
        complain(f"{what}. Try: {command} --help")
        return Exit.USAGE
    except typer.Abort:
        return Exit.INTERRUPTED
    except InvalidInputError as error:
        complain(str(error))
        return Exit.USAGE
    except DreamhookError as error:
        complain(str(error))
        return Exit.ERROR
