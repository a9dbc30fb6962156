"""The command line, `dreamhook …`: parsed by typer, one small module for each kind of command.

`user` and `deployment` say what can be typed, and import what does the work only when it is
wanted, so that `dreamhook --help` answers at once.
"""

from worker.cli.app import main

__all__ = ["main"]
