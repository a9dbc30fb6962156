"""The commands of a user, as they are typed. They speak to the API at `DREAMHOOK_URL` only."""

# ruff: noqa: PLC0415 - what does the work is imported when it is wanted

from __future__ import annotations

from typing import Annotated

import typer

from worker.model import DeliveryState, State

Account = Annotated[
    str, typer.Option("--account", "-a", metavar="NAME", help="The account it belongs to.")
]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON lines; what you get anyway when this is not a terminal."),
]
GenerationId = Annotated[str, typer.Argument(metavar="ID", help="The provider's generation ID.")]
GenerationIds = Annotated[
    list[str], typer.Argument(metavar="ID", help="The provider's generation IDs.")
]


def track(
    *,
    generation_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="The provider's generation IDs.")
    ] = None,
    account: Account = "luma",
    callback_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the webhooks go. Without it, nowhere.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT",
            help="completed, failed, expired or updated; may be repeated. By default the first"
            " three.",
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Comes back in every webhook: key=value or a JSON object; may be repeated.",
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Give up after so long. By default what the provider suggests."
        ),
    ] = None,
    file: Annotated[
        typer.FileText | None,
        typer.Option(
            metavar="FILE",
            encoding="utf-8",
            errors="replace",
            help="Read IDs from a file, one to a line; - is the standard input.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until they are over; see `dreamhook wait`.")
    ] = False,
    json: Json = False,
) -> None:
    """Track generations: a webhook when each is over. The same again changes nothing.

    Exits with 1 if one could not be tracked; the others are.
    """
    from worker.cli import tracking

    terms = tracking.terms_of(callback_url, event or (), metadata or (), deadline)
    ids = tracking.ids_of(generation_ids or (), file)
    raise typer.Exit(tracking.track(account, ids, terms, wait=wait, json=json))


def get(
    *,
    generation_id: GenerationId,
    account: Account = "luma",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Look at the provider first: asset URLs expire.")
    ] = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Show what happened to it instead.")
    ] = False,
    json: Json = False,
) -> None:
    """Show one tracker."""
    from worker.cli import tracking

    if timeline:
        tracking.timeline(account, generation_id, json=json)
    else:
        tracking.get(account, generation_id, fresh=fresh, json=json)


def wait(
    *,
    generation_ids: GenerationIds,
    account: Account = "luma",
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, help="Wait no longer than that. By default until the end."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Wait until tracked generations are over.

    Exits with 0 if all of them completed, otherwise with the code of the first that did not:
    3 failed, 4 expired, 5 canceled, 124 still tracking at the time-out. 1 is any other error.
    """
    from worker.cli import tracking

    raise typer.Exit(tracking.wait(account, generation_ids, timeout, json=json))


def list_(
    *,
    state: Annotated[
        State | None,
        typer.Option(metavar="STATE", help=f"Only those in this state: {', '.join(State)}."),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", "-a", metavar="NAME", help="Only those of this account."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of this model.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="However many there are.")] = False,
    json: Json = False,
) -> None:
    """List trackers, newest first."""
    from worker.cli import tracking

    tracking.list_trackers(state, account, model, None if everything else limit, json=json)


def cancel(
    *,
    generation_ids: GenerationIds,
    account: Account = "luma",
    json: Json = False,
) -> None:
    """Stop tracking; the generations themselves go on. What is over stays as it is."""
    from worker.cli import tracking

    tracking.cancel(account, generation_ids, json=json)


def deliveries(
    *,
    state: Annotated[
        DeliveryState | None,
        typer.Option(
            metavar="STATE", help=f"Only those in this state: {', '.join(DeliveryState)}."
        ),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", "-a", metavar="NAME", help="Only those of this account."),
    ] = None,
    generation: Annotated[
        str | None, typer.Option(metavar="ID", help="Only those of this generation.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of this endpoint.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="However many there are.")] = False,
    json: Json = False,
) -> None:
    """List what receivers are owed or were sent, newest first."""
    from worker.cli import tracking

    tracking.list_deliveries(
        state,
        None if everything else limit,
        account=account,
        generation_id=generation,
        endpoint=endpoint,
        json=json,
    )


def replay(
    *,
    delivery_ids: Annotated[
        list[str], typer.Argument(metavar="ID", help="IDs of deliveries: dlv_…")
    ],
    json: Json = False,
) -> None:
    """Have finished deliveries made again, each under the webhook-id it had."""
    from worker.cli import tracking

    tracking.replay(delivery_ids, json=json)
