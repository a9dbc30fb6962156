"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Account = Annotated[
    str, typer.Option("--account", "-a", metavar="NAME", help="The account it belongs to.")
]
AnyAccount = Annotated[
    str | None,
    typer.Option(
        "--account",
        "-a",
        metavar="NAME",
        help="The account it belongs to. By default luma, or whichever it is found in.",
    ),
]
OfAccount = Annotated[
    str | None,
    typer.Option("--account", "-a", metavar="NAME", help="Only those of this account."),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON lines; what you get anyway when this is not a terminal."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")]
All = Annotated[bool, typer.Option("--all", help="However many there are.")]

GenerationId = Annotated[str, typer.Argument(metavar="ID", help="The provider's generation ID.")]
GenerationIds = Annotated[
    list[str], typer.Argument(metavar="ID", help="The provider's generation IDs.")
]
EndpointName = Annotated[str, typer.Argument(metavar="NAME", help="The endpoint's name.")]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="EVENT",
        help="completed, failed, expired or updated; may be repeated. By default the first three.",
    ),
]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="NAME:VALUE",
        help="A header to send with every webhook; may be repeated.",
    ),
]
