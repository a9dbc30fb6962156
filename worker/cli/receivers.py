"""What the commands about endpoints do: ask the API, and print what it says."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus

from worker import addresses
from worker.cli import endpoint_tables, tables
from worker.cli.owed import is_overdue
from worker.cli.process import Exit, complain, emit, wants_json
from worker.cli.session import api, do_to_each, page_of, show_some
from worker.cli.terms import seconds_of
from worker.cli.words import instant_of
from worker.client import ApiError, Client
from worker.errors import DreamhookError
from worker.model import DeliveryState, JsonObject
from worker.off import enabling, is_off, why_off

ASK_AGAIN_S = 0.3

_SETTINGS = ("events", "headers", "concurrency", "refresh_assets")
"""What a PUT that leaves it out sets to its default."""

_EXIT_OF_STATE = {
    DeliveryState.DELIVERED: Exit.OK,
    DeliveryState.EXHAUSTED: Exit.FAILED,
    DeliveryState.DISCARDED: Exit.CANCELED,
}


def list_endpoints(limit: int | None, *, json: bool) -> None:
    """List endpoints, `limit` at most."""
    with api() as client:
        found = client.endpoints(page=page_of(limit))
        show_some(found, limit, endpoint_tables.show_endpoints, as_json=wants_json(asked=json))


def get(name: str, *, json: bool) -> None:
    """Show one endpoint."""
    with api() as client:
        _show(client.endpoint(name), json=json)


def put(name: str, settings: JsonObject, *, reset: bool, json: bool) -> None:
    """Make an endpoint, or give one these settings; the others stay, or get their defaults."""
    with api() as client:
        known = None if reset else _kept(client, name)
        kept = {each: known[each] for each in _SETTINGS if known and known.get(each)}
        _show(client.put_endpoint(name, **kept | settings), json=json)


def switch(names: Sequence[str], *, enabled: bool, json: bool) -> Exit:
    """Switch endpoints on or off."""
    with api() as client:
        return do_to_each(
            names,
            lambda name: _switched(client, name, enabled=enabled),
            endpoint_tables.show_endpoints,
            as_json=wants_json(asked=json),
        )


def _switched(client: Client, name: str, *, enabled: bool) -> JsonObject:
    client.endpoint(name)  # a PUT of a name that there is not would ask for a URL
    return client.put_endpoint(name, enabled=enabled)


def delete(names: Sequence[str], *, json: bool) -> Exit:
    """Delete endpoints."""

    def gone(name: str) -> JsonObject:
        client.delete_endpoint(name)
        return {"name": name, "deleted": True}

    def show(deleted: Iterable[JsonObject]) -> None:
        for each in deleted:
            tables.show_fields([("deleted", each["name"])])

    with api() as client:
        return do_to_each(names, gone, show, as_json=wants_json(asked=json))


def rotate(name: str, overlap_s: float | None, *, json: bool) -> None:
    """Give an endpoint a new secret."""
    with api() as client:
        _show(client.rotate(name, overlap_s=seconds_of("--overlap", overlap_s)), json=json)


def receiver_of(client: Client, owed: JsonObject) -> JsonObject | None:
    """Get the endpoint of a delivery or a webhook that ended since that was off; None: it is gone.

    So too of one that is overdue, since it may be full. Of others nobody needs to know it: None.
    """
    tells = is_off(owed) or is_overdue(owed, datetime.now(UTC))
    if not tells or not owed.get("endpoint"):
        return None
    return _kept(client, owed["endpoint"])


def tell_if_off(client: Client, tracker: JsonObject) -> None:
    """Say beside the output that a tracker's webhooks will not be sent, since nobody is there."""
    url = tracker.get("callback_url")
    name = tracker.get("endpoint") or (addresses.endpoint_name(url) if url else None)
    receiver = None
    with suppress(DreamhookError):  # it is tracked all the same
        receiver = _kept(client, name) if name else None
    if receiver is None or receiver.get("enabled"):
        return
    complain(
        f"endpoint {name} is off ({why_off(receiver)}): what it is owed is not sent until"
        f" {enabling(receiver)}, and then `dreamhook endpoints recover {name} --since 1h`"
    )


def _kept(client: Client, name: str) -> JsonObject | None:
    try:
        return client.endpoint(name)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None


def test(name: str, timeout_s: float, *, json: bool) -> Exit:
    """Send a test event, and wait until it was attempted.

    Returns:
        OK if the receiver took it, FAILED if it did not, TIMED_OUT if nothing was attempted.
    """
    until = time.monotonic() + timeout_s
    with api() as client:
        delivery = client.test_endpoint(name)
        while not delivery.get("attempts") and time.monotonic() < until:
            time.sleep(ASK_AGAIN_S)
            delivery = client.delivery(delivery["id"])
    if wants_json(asked=json):
        emit(delivery)
    else:
        tables.show_delivery(delivery)
    if not delivery.get("attempts"):
        return Exit.TIMED_OUT
    return _EXIT_OF_STATE.get(delivery["state"], Exit.FAILED)


def recover(name: str, since: str, *, json: bool) -> None:
    """Have all that failed since then sent again."""
    at = instant_of("--since", since, datetime.now(UTC))
    with api() as client:
        recovered = client.recover(name, since=at)
    if wants_json(asked=json):
        emit({"name": name, "since": at, "recovered": recovered})
    else:
        tables.show_fields([("endpoint", name), ("since", at), ("owed again", recovered)])


def _show(endpoint: JsonObject, *, json: bool) -> None:
    if wants_json(asked=json):
        emit(endpoint)
    else:
        endpoint_tables.show_endpoint(endpoint)
