"""The commands of whoever runs Dreamhook, as they are typed."""

# ruff: noqa: PLC0415 - what does the work is imported when it is wanted

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.options import Json
from worker.cli.process import Exit

Port = Annotated[
    int, typer.Option(metavar="N", min=0, max=65_535, help="The port; 0 takes a free one.")
]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")]


def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End after the story: 0 if every promise held.")
    ] = False,
) -> None:
    """Show it all on this machine, with a simulated Luma; needs no key and no Redis."""
    from worker import demo as demonstration

    raise typer.Exit(demonstration.main(once=once))


def up() -> None:
    """Run the API and a worker, with an embedded Redis unless DREAMHOOK_REDIS_URL is set.

    Its data stays in DREAMHOOK_DATA. It listens on DREAMHOOK_HOST:DREAMHOOK_PORT.
    """
    from worker.cli import serving

    serving.up()


def serve() -> None:
    """Run the API alone; `dreamhook work`, on any machine with the same Redis, does the rest."""
    from worker.cli import serving

    serving.serve()


def work() -> None:
    """Run a worker alone: it looks at generations and sends webhooks. Run as many as you like."""
    from worker.cli import serving

    serving.work()


def listen(
    *,
    port: Port = 9000,
    host: Host = "127.0.0.1",
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="whsec_…",
            help="What the webhooks are signed with; by default DREAMHOOK_WEBHOOK_SECRET."
            " See `dreamhook secret`.",
        ),
    ] = None,
    status: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=200,
            max=599,
            help="What to answer verified webhooks with; by default 200.",
        ),
    ] = None,
    fail_first: Annotated[
        int, typer.Option(metavar="N", min=0, help="Answer the first N with a 503, to see retries.")
    ] = 0,
    forward_to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Pass verified webhooks on, as they came, and answer what is answered there.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Receive webhooks, verify their signatures, print them, and perhaps pass them on."""
    from worker import telemetry
    from worker.cli import receiving

    telemetry.configure("warning")
    manner = receiving.Manner(
        host=host, port=port, status=status, fail_first=fail_first, forward_to=forward_to
    )
    receiving.listen(secret, manner, json=json)


def simulate(
    *,
    port: Port = 8090,
    host: Host = "127.0.0.1",
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="The same seed makes the same world: IDs, durations, ends. By default any.",
        ),
    ] = None,
    speed: Annotated[float, typer.Option(metavar="X", help="Simulated seconds per second.")] = 1.0,
    failure_rate: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=1, help="The share of generations that fail."),
    ] = 0.02,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CALL:KIND",
            help="What goes wrong, such as get:429:times=3:retry_after=2; may be repeated.",
        ),
    ] = None,
    provider: Annotated[
        str, typer.Option(metavar="NAME", help="Whose API to speak: see docs/providers.md.")
    ] = "luma",
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="An API key to accept; may be repeated. By default any will do."
        ),
    ] = None,
) -> None:
    """Run a simulated Luma Dream Machine, for trying things out without a key."""
    from worker import simulator, telemetry
    from worker.cli.provider import text_of

    telemetry.configure("warning")
    simulator.main(
        host=host,
        port=port,
        seed=seed,
        speed=speed,
        failure_rate=failure_rate,
        faults=fault or (),
        keys=key or (),
        provider=provider,
        text="" if provider == "luma" else text_of(provider),
    )


def secret() -> None:
    """Print the secret that webhooks are signed with, to verify them."""
    from worker.cli import checking

    typer.echo(checking.secret())


def check(
    *,
    online: Annotated[
        bool, typer.Option("--online", help="Ask each provider whether it accepts the key.")
    ] = False,
    worker: Annotated[
        bool,
        typer.Option("--worker", help="Only: does a worker live on this machine? For probes."),
    ] = False,
    json: Json = False,
) -> None:
    """Print the settings in effect, and check Redis and the accounts: 0 if they can be used."""
    from worker.cli import checking

    code: Exit
    code = checking.check_worker(json=json) if worker else checking.check(online=online, json=json)
    raise typer.Exit(code)
