"""The command `dreamhook`: its subcommands, and what becomes of their errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, NoReturn

import typer

from worker.cli import agents, deployment, provider, user, webhooks
from worker.cli.examples import EXAMPLES
from worker.cli.process import Exit, complain
from worker.cli.routes import in_commands
from worker.errors import DreamhookError, InvalidInputError

app = typer.Typer(
    name="dreamhook",
    help="Parcel tracking for AI generations: hand over an ID, get a signed webhook when it is"
    " done.",
    epilog="Settings come from the environment; `dreamhook check` prints what is in effect."
    " Commands exit with 0, or with 1 for an error and 2 for a command line that cannot be used;"
    " `wait` and `track --wait` tell outcomes apart, see their --help.",
    pretty_exceptions_enable=False,
)
endpoints = typer.Typer(invoke_without_command=True)

_COMMANDS: Mapping[str, Sequence[Callable[..., None]]] = {
    "Run it": (deployment.demo, deployment.up, deployment.serve, deployment.work),
    "Track generations": (
        *(user.track, user.get, user.wait, user.list_, user.cancel, user.submissions),
    ),
    "Give agents tools": (agents.mcp,),
    "See to webhooks": (webhooks.deliveries, webhooks.replay),
    "Look after it": (
        user.top,
        user.accounts,
        deployment.check,
        deployment.secret,
        deployment.listen,
        deployment.simulate,
    ),
}

_OF_ENDPOINTS = (
    *(webhooks.list_, webhooks.get, webhooks.put, webhooks.enable, webhooks.disable),
    *(webhooks.rotate, webhooks.test_, webhooks.recover, webhooks.delete),
)


def _add(to: typer.Typer, function: Callable[..., None], path: str, panel: str | None) -> None:
    """Add a command, with its examples below its help."""
    name = function.__name__.rstrip("_")
    lines = [f"  dreamhook {path}{name} {each}".rstrip() for each in EXAMPLES.get(path + name, ())]
    epilog = "\n\n".join(["Examples:", *lines]) if lines else None
    to.command(name, rich_help_panel=panel, epilog=epilog)(function)


for _panel, _functions in _COMMANDS.items():
    for _function in _functions:
        _add(app, _function, "", _panel)
for _function in _OF_ENDPOINTS:
    _add(endpoints, _function, "endpoints ", None)
endpoints.callback(invoke_without_command=True)(webhooks.endpoints)
app.add_typer(endpoints, name="endpoints", rich_help_panel="See to webhooks")
app.add_typer(provider.app, rich_help_panel="Look after it")


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
        complain(f"{what}{'' if what.endswith('?') else '.'} Try: {command} --help")
        return Exit.USAGE
    except typer.Abort:
        return Exit.INTERRUPTED
    except InvalidInputError as error:
        complain(str(error))
        return Exit.USAGE
    except DreamhookError as error:
        complain(in_commands(str(error)))
        return Exit.ERROR
