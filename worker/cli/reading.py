"""What the commands do that list, show and stop: ask the API, and print what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from worker.cli import account_tables, tables
from worker.cli.finding import in_its_account
from worker.cli.process import Exit, complain, emit, wants_json
from worker.cli.receivers import receiver_of
from worker.cli.session import PAGE, api, do_to_each, page_of, show_some, unserved
from worker.cli.timeline import tree_of
from worker.cli.words import age, state_of
from worker.client import ApiError
from worker.errors import InvalidInputError, NotFoundError
from worker.model import DeliveryState, JsonObject, State

# --- trackers -------------------------------------------------------------------------------------


def get(
    account: str | None, generation_id: str, *, fresh: bool, timeline: bool, json: bool
) -> None:
    """Show one tracker and what happened to it; as JSON one of them."""
    as_json = wants_json(asked=json)
    with api() as client:
        if as_json and timeline:
            for entry in in_its_account(
                client, account, generation_id, lambda it: client.timeline(it, generation_id)
            ):
                emit(entry)
            return
        tracker = in_its_account(
            client, account, generation_id, lambda it: client.get(it, generation_id, fresh=fresh)
        )
        nobody = unserved(client, tracker)
        if as_json:
            emit(tracker)
            _complain_of(nobody)
            return
        account = str(tracker["account"])
        entries = client.timeline(account, generation_id)
        owed = list(client.deliveries(account=account, generation_id=generation_id, page=PAGE))
        receiver = receiver_of(client, tracker.get("webhook") or {})
    if not timeline:
        tables.show_tracker(tracker, receiver)
        tables.screen().print()
    tables.show_tree(tree_of(tracker, entries, owed, datetime.now(UTC)))
    _complain_of(nobody)


def _complain_of(trouble: str | None) -> None:
    if trouble:
        complain(f"{trouble}.")


def list_trackers(
    state: State | None, account: str | None, model: str | None, limit: int | None, *, json: bool
) -> None:
    """List trackers, `limit` at most."""
    with api() as client:
        found = client.trackers(state=state, account=account, model=model, page=page_of(limit))
        show_some(found, limit, tables.show_trackers, as_json=wants_json(asked=json))


def cancel(account: str | None, generation_ids: Iterable[str], *, json: bool) -> Exit:
    """Stop tracking; of what was over before, say so."""
    with api() as client:

        def stop(generation_id: str) -> JsonObject:
            tracker = in_its_account(
                client, account, generation_id, lambda it: client.cancel(it, generation_id)
            )
            if tracker["state"] != State.CANCELED:
                ended = age(tracker.get("finished_at"), datetime.now(UTC))
                complain(
                    f"{generation_id}: there is nothing to cancel: it ended {ended} ago,"
                    f" {state_of(tracker)}."
                )
            return tracker

        return do_to_each(
            generation_ids, stop, tables.show_trackers, as_json=wants_json(asked=json)
        )


# --- deliveries -----------------------------------------------------------------------------------


def list_deliveries(
    state: DeliveryState | None, limit: int | None, *, json: bool, **wanted: str | None
) -> None:
    """List deliveries, `limit` at most: those of an account, a generation or an endpoint."""
    with api() as client:
        found = client.deliveries(state=state, **wanted, page=page_of(limit))
        show_some(found, limit, tables.show_deliveries, as_json=wants_json(asked=json))


def show_deliveries(delivery_ids: Iterable[str], *, json: bool) -> Exit:
    """Show deliveries, with their attempts."""
    with api() as client:

        def show(deliveries: Iterable[JsonObject]) -> None:
            for delivery in deliveries:
                tables.show_delivery(delivery, receiver_of(client, delivery))

        def one(delivery_id: str) -> JsonObject:
            return _a_delivery(client.delivery, delivery_id)

        return do_to_each(delivery_ids, one, show, as_json=wants_json(asked=json))


def replay(delivery_ids: Iterable[str], *, json: bool) -> Exit:
    """Have deliveries made again."""
    with api() as client:

        def again(delivery_id: str) -> JsonObject:
            return _a_delivery(client.replay, delivery_id)

        return do_to_each(
            delivery_ids, again, tables.show_deliveries, as_json=wants_json(asked=json)
        )


def _a_delivery(do: Callable[[str], JsonObject], delivery_id: str) -> JsonObject:
    """Do something to a delivery; say so if that is no ID of one."""
    try:
        return do(delivery_id)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND or delivery_id.startswith("dlv_"):
            raise
        raise InvalidInputError(
            "ID",
            f"{delivery_id} is not that of a delivery, dlv_…; if it is a generation's,"
            f" `dreamhook deliveries --generation {delivery_id}` lists what is owed for it",
        ) from error


# --- accounts -------------------------------------------------------------------------------------


def accounts(names: Sequence[str], *, json: bool) -> None:
    """Show accounts, all unless some are named.

    Raises:
        NotFoundError: There is none of a name.
    """
    with api() as client:
        found = {each["name"]: each for each in client.accounts()}
    missing = [name for name in names if name not in found]
    if missing:
        there = ", ".join(map(str, found)) or "none"
        raise NotFoundError(f"There is no account {missing[0]!r}; there are: {there}.")
    wanted = [found[name] for name in names] if names else list(found.values())
    if not wants_json(asked=json):
        account_tables.show_accounts(wanted)
        return
    for each in wanted:
        emit(each)
