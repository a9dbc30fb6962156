"""The commands about generations, as they are typed. They speak to the API at `DREAMHOOK_URL`."""

# ruff: noqa: PLC0415 - what does the work is imported when it is wanted

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.options import (
    Account,
    All,
    AnyAccount,
    Events,
    GenerationId,
    GenerationIds,
    Headers,
    Json,
    Limit,
    OfAccount,
)
from worker.model import State, SubmissionState


def track(
    *,
    generation_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="The provider's generation IDs.")
    ] = None,
    account: Account = "luma",
    callback_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the webhooks go. Without it, nowhere.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The endpoint they go to, instead of --callback-url."),
    ] = None,
    event: Events = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Comes back in every webhook: key=value, the value a string, or a JSON object;"
            " may be repeated.",
        ),
    ] = None,
    header: Headers = None,
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

    Exits with 1 if one could not be tracked; the others are. Of more than 20 there is a summary.
    """
    from worker.cli import tracking
    from worker.cli.terms import terms_of

    terms = terms_of(
        callback_url=callback_url,
        endpoint=endpoint,
        events=event or (),
        metadata=metadata or (),
        headers=header or (),
        deadline_s=deadline,
    )
    ids = tracking.ids_of(generation_ids or (), file)
    raise typer.Exit(tracking.track(account, ids, terms, wait=wait, json=json))


def get(
    *,
    generation_id: GenerationId,
    account: AnyAccount = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Look at the provider first: asset URLs expire.")
    ] = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Only what happened to it, oldest first.")
    ] = False,
    json: Json = False,
) -> None:
    """Show one tracker, and what happened to it: looks, changes, its event, every attempt."""
    from worker.cli import reading

    reading.get(account, generation_id, fresh=fresh, timeline=timeline, json=json)


def wait(
    *,
    generation_ids: GenerationIds,
    account: AnyAccount = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, help="Wait no longer than that. By default until the end."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Wait until tracked generations are over. On a terminal, with how long such ones take.

    Exits with 0 if all of them completed, otherwise with the code of the first that did not:
    3 failed, 4 expired, 5 canceled, 124 still tracking at the time-out. 1 is any other error.
    """
    from worker.cli import waiting

    raise typer.Exit(waiting.wait(account, generation_ids, timeout, json=json))


def list_(
    *,
    state: Annotated[
        State | None,
        typer.Option(metavar="STATE", help=f"Only those in this state: {', '.join(State)}."),
    ] = None,
    account: OfAccount = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of this model.")
    ] = None,
    limit: Limit = 50,
    everything: All = False,
    json: Json = False,
) -> None:
    """List trackers, newest first."""
    from worker.cli import reading

    reading.list_trackers(state, account, model, None if everything else limit, json=json)


def cancel(
    *,
    generation_ids: GenerationIds,
    account: AnyAccount = None,
    json: Json = False,
) -> None:
    """Stop tracking; the generations themselves go on. What is over stays as it is."""
    from worker.cli import reading

    raise typer.Exit(reading.cancel(account, generation_ids, json=json))


def submissions(
    *,
    submission_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Show these, and what became of each: sub_…"),
    ] = None,
    state: Annotated[
        SubmissionState | None,
        typer.Option(
            metavar="STATE", help=f"Only those in this state: {', '.join(SubmissionState)}."
        ),
    ] = None,
    account: OfAccount = None,
    limit: Limit = 50,
    everything: All = False,
    json: Json = False,
) -> None:
    """List what providers were asked to make (POST /v1/generations); or show some by their IDs."""
    from worker.cli import submitted

    if submission_ids:
        raise typer.Exit(submitted.show_submissions(submission_ids, json=json))
    submitted.list_submissions(state, account, None if everything else limit, json=json)


def top(
    *,
    account: OfAccount = None,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.2, help="Ask for new figures so often.")
    ] = 2.0,
    json: Json = False,
) -> None:
    """Watch the queue, live: figures, troubles, what ends, what runs.

    Keys: q quits, p pauses, Tab shows another list. On a pipe: the figures once, a JSON line.
    """
    from worker.cli import watching

    watching.top(account, interval, json=json)


def accounts(
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="By default all of them.")
    ] = None,
    json: Json = False,
) -> None:
    """Show how accounts are doing, and how long their generations take."""
    from worker.cli import reading

    reading.accounts(names or (), json=json)
