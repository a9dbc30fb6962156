"""The commands about webhooks, as they are typed: what is owed, and to whom."""

# ruff: noqa: PLC0415 - what does the work is imported when it is wanted

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.options import All, EndpointName, Headers, Json, Limit, OfAccount
from worker.model import MAX_CONCURRENCY, DeliveryState, EndpointEvent, EventType

DeliveryIds = Annotated[list[str], typer.Argument(metavar="ID", help="IDs of deliveries: dlv_…")]
EndpointNames = Annotated[list[str], typer.Argument(metavar="NAME", help="Names of endpoints.")]


def deliveries(
    *,
    delivery_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Show these, with every attempt: dlv_…"),
    ] = None,
    state: Annotated[
        DeliveryState | None,
        typer.Option(
            metavar="STATE", help=f"Only those in this state: {', '.join(DeliveryState)}."
        ),
    ] = None,
    account: OfAccount = None,
    generation: Annotated[
        str | None, typer.Option(metavar="ID", help="Only those of this generation.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of this endpoint.")
    ] = None,
    limit: Limit = 50,
    everything: All = False,
    json: Json = False,
) -> None:
    """List what receivers are owed or were sent, newest first; or show some by their IDs."""
    from worker.cli import reading

    if delivery_ids:
        raise typer.Exit(reading.show_deliveries(delivery_ids, json=json))
    reading.list_deliveries(
        state,
        None if everything else limit,
        account=account,
        generation_id=generation,
        endpoint=endpoint,
        json=json,
    )


def replay(*, delivery_ids: DeliveryIds, json: Json = False) -> None:
    """Have finished deliveries made again, each under the webhook-id it had.

    To have all made again that failed at one endpoint: `dreamhook endpoints recover`.
    """
    from worker.cli import reading

    raise typer.Exit(reading.replay(delivery_ids, json=json))


# --- endpoints ------------------------------------------------------------------------------------


def endpoints(context: typer.Context) -> None:
    """See to named receivers: list, get, put, enable, disable, rotate, test, recover, delete."""
    if context.invoked_subcommand is None:
        list_()


def list_(*, limit: Limit = 50, everything: All = False, json: Json = False) -> None:
    """List endpoints, newest first; those of bare callback URLs (url_…) among them."""
    from worker.cli import receivers

    receivers.list_endpoints(None if everything else limit, json=json)


def get(*, name: EndpointName, json: Json = False) -> None:
    """Show one endpoint."""
    from worker.cli import receivers

    receivers.get(name, json=json)


def put(
    *,
    name: EndpointName,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where its webhooks go; needed if it is new.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT",
            help="It gets these alone, such as completed or endpoint.disabled; may be repeated."
            " By default whatever its trackers ask for.",
        ),
    ] = None,
    header: Headers = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=MAX_CONCURRENCY, help="Attempts at a time. By default 8."
        ),
    ] = None,
    refresh_assets: Annotated[
        bool | None,
        typer.Option(
            "--refresh-assets/--no-refresh-assets",
            help="Renew asset URLs that expire, on late attempts.",
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Give what is left out its default, but for the URL.")
    ] = False,
    json: Json = False,
) -> None:
    """Make an endpoint, or change one: what is left out stays as it is.

    A new one's secret is shown this once.
    """
    from worker.cli import receivers
    from worker.cli.terms import events_of, given, headers_of

    settings = {
        "url": url,
        "events": events_of(event or (), (*EventType, *EndpointEvent)),
        "headers": headers_of(header or ()),
        "concurrency": concurrency,
        "refresh_assets": refresh_assets,
    }
    receivers.put(name, given(settings), reset=reset, json=json)


def enable(*, names: EndpointNames, json: Json = False) -> None:
    """Switch endpoints on. What they missed is replayed with `recover`."""
    from worker.cli import receivers

    raise typer.Exit(receivers.switch(names, enabled=True, json=json))


def disable(*, names: EndpointNames, json: Json = False) -> None:
    """Switch endpoints off. What they are owed is exhausted, and can be replayed."""
    from worker.cli import receivers

    raise typer.Exit(receivers.switch(names, enabled=False, json=json))


def rotate(
    *,
    name: EndpointName,
    overlap: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, help="The old secret signs too for so long. By default a day."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make a new secret, and show it this once."""
    from worker.cli import receivers

    receivers.rotate(name, overlap, json=json)


def test_(
    *,
    name: EndpointName,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait no longer for the first attempt.")
    ] = 20.0,  # noqa: PT028 - a command, not a test
    json: Json = False,  # noqa: PT028
) -> None:
    """Send a test event, and show what the receiver answered.

    Exits with 0 if it was taken, 3 if it was not, 124 if nothing was attempted in time.
    """
    from worker.cli import receivers

    raise typer.Exit(receivers.test(name, timeout, json=json))


def recover(
    *,
    name: EndpointName,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="2026-01-31T12:00:00Z, or how long ago: 90min, 2h, 3d."),
    ],
    json: Json = False,
) -> None:
    """Have all that failed since then sent again, each under the webhook-id it had."""
    from worker.cli import receivers

    receivers.recover(name, since, json=json)


def delete(*, names: EndpointNames, json: Json = False) -> None:
    """Delete endpoints with their secrets. What they are still owed is discarded."""
    from worker.cli import receivers

    raise typer.Exit(receivers.delete(names, json=json))
