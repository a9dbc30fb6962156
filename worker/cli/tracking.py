"""What the commands of a user do: ask the API, print what it says, tell the outcome."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain, islice
from math import isfinite
from time import monotonic
from typing import Any

from worker.cli import tables
from worker.cli.process import Exit, complain, emit, wants_json
from worker.client import ApiError, Client
from worker.config import ClientSettings
from worker.errors import ConfigurationError, InvalidInputError
from worker.model import DeliveryState, EventType, JsonObject, State

PAGE = 500
COMPLAINTS = 10
"""So many refused IDs are named one by one; the others are counted."""

EXIT_OF_STATE = {
    State.COMPLETED: Exit.OK,
    State.FAILED: Exit.FAILED,
    State.EXPIRED: Exit.EXPIRED,
    State.CANCELED: Exit.CANCELED,
    State.TRACKING: Exit.TIMED_OUT,
}


@contextmanager
def _api() -> Iterator[Client]:
    settings = ClientSettings.load()
    key = settings.api_key.get_secret_value() if settings.api_key else None
    with Client(settings.url, key) as client:
        try:
            yield client
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
            raise ConfigurationError(
                f"Dreamhook at {settings.url} wants {'another' if key else 'a'} key: set"
                " DREAMHOOK_API_KEY to one of its DREAMHOOK_API_KEYS."
            ) from error


# --- reading the command line ---------------------------------------------------------------------


def terms_of(
    callback_url: str | None,
    events: Sequence[str],
    metadata: Sequence[str],
    deadline_s: float | None,
) -> JsonObject:
    """Write the options of `track` as the API takes them; what was not given is left out.

    Raises:
        InvalidInputError: An option cannot be read.
    """
    if deadline_s is not None and not isfinite(deadline_s):  # JSON has no word for these
        raise InvalidInputError("--deadline", "must be a number of seconds")
    terms = {
        "callback_url": callback_url,
        "events": sorted({_event(text) for text in events}) or None,
        "metadata": _metadata(metadata) or None,
        "deadline_s": deadline_s,
    }
    return {name: value for name, value in terms.items() if value is not None}


def _event(text: str) -> str:
    """Read `completed` or `generation.completed`."""
    name = text if "." in text else f"generation.{text}"
    try:
        return EventType(name).value
    except ValueError:
        known = ", ".join(each.removeprefix("generation.") for each in EventType)
        raise InvalidInputError("--event", f"{text!r} is none of {known}") from None


def _metadata(texts: Iterable[str]) -> JsonObject:
    """Read `key=value`, where the value is a text, and JSON objects; the later ones win."""
    metadata: JsonObject = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if text.lstrip().startswith("{"):
            metadata |= _json_object(text)
        elif key and equals:
            metadata[key] = value
        else:
            raise InvalidInputError("--metadata", f"{text!r} is not key=value or a JSON object")
    return metadata


def _json_object(text: str) -> JsonObject:
    def refuse(constant: str) -> None:
        raise ValueError(f"it has no {constant}")

    try:
        value: JsonObject = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("--metadata", f"{text[:80]!r} is not JSON: {error}") from None
    return value  # JSON that begins with a brace is an object


def ids_of(arguments: Sequence[str], file: Iterable[str] | None) -> Iterator[str]:
    """Go through the IDs that were typed, then through a file's; blank lines and # are comments.

    Raises:
        InvalidInputError: There is no ID at all.
    """
    lines = (line.strip() for line in file or ())
    wanted = chain(arguments, (line for line in lines if line and not line.startswith("#")))
    first = next(wanted, None)
    if first is None:
        raise InvalidInputError("ID", "give at least one generation ID, or --file with some in it")
    # Bytes that are no text would make JSON that nobody reads; "?" is refused like any bad ID.
    return (each.encode(errors="replace").decode() for each in chain([first], wanted))


# --- the commands ---------------------------------------------------------------------------------


def track(
    account: str, generation_ids: Iterable[str], terms: JsonObject, *, wait: bool, json: bool
) -> Exit:
    """Track generations, then wait for them if that is asked.

    On a pipe there is a line for each: its tracker (with `wait`, when it is over), or
    `{account, generation_id, error}`.
    """
    as_json, refused, outcome = wants_json(asked=json), _Refused(), Exit.OK
    wanted = (
        {"account": account, "generation_id": generation_id} | terms
        for generation_id in generation_ids
    )
    with _api() as client:
        accepted = refused.sort_out(client.track_many(wanted), as_json=as_json)
        if wait:
            names = [str(tracker["generation_id"]) for tracker in accepted]
            outcome = _wait(client, account, names, None, as_json=as_json)
        else:
            _show(accepted, as_json=as_json)
    if refused.count > COMPLAINTS:
        complain(f"{refused.count} in all could not be tracked.")
    return Exit.ERROR if refused.count else outcome


@dataclass(slots=True)
class _Refused:
    """Counts the IDs that could not be tracked, and says why."""

    count: int = 0

    def sort_out(
        self, results: Iterable[Mapping[str, Any]], *, as_json: bool
    ) -> Iterator[JsonObject]:
        """Pass on the trackers of those that could."""
        for result in results:
            if result.get("tracker"):
                yield result["tracker"]
                continue
            self.count += 1
            error = result.get("error") or {}
            if as_json:
                emit({name: result.get(name) for name in ("account", "generation_id", "error")})
            if self.count <= COMPLAINTS:
                name, why = str(result.get("generation_id")), str(error.get("detail") or error)
                complain(why if name in why else f"{name}: {why}")


def get(account: str, generation_id: str, *, fresh: bool, json: bool) -> None:
    """Show one tracker."""
    with _api() as client:
        tracker = client.get(account, generation_id, fresh=fresh)
    if wants_json(asked=json):
        emit(tracker)
    else:
        tables.show_tracker(tracker)


def timeline(account: str, generation_id: str, *, json: bool) -> None:
    """Show what happened to one tracker."""
    with _api() as client:
        entries = client.timeline(account, generation_id)
    if wants_json(asked=json):
        for entry in entries:
            emit(entry)
    else:
        tables.show_timeline(entries)


def list_trackers(
    state: State | None, account: str | None, model: str | None, limit: int | None, *, json: bool
) -> None:
    """List trackers, `limit` at most."""
    as_json = wants_json(asked=json)
    page = PAGE if limit is None else min(PAGE, limit + 1)  # one more tells whether there are more
    with _api() as client:
        found = client.trackers(state=state, account=account, model=model, page=page)
        _show(islice(found, limit), as_json=as_json)
        if not as_json and limit is not None and next(found, None) is not None:
            complain(f"There are more than these {limit}: use --limit or --all.")


def cancel(account: str, generation_ids: Iterable[str], *, json: bool) -> None:
    """Stop tracking."""
    with _api() as client:
        canceled = (client.cancel(account, generation_id) for generation_id in generation_ids)
        _show(canceled, as_json=wants_json(asked=json))


def list_deliveries(
    state: DeliveryState | None, limit: int | None, *, json: bool, **wanted: str | None
) -> None:
    """List deliveries, `limit` at most: those of an account, a generation or an endpoint."""
    as_json = wants_json(asked=json)
    page = PAGE if limit is None else min(PAGE, limit + 1)  # one more tells whether there are more
    with _api() as client:
        found = client.deliveries(state=state, **wanted, page=page)
        _show_deliveries(islice(found, limit), as_json=as_json)
        if not as_json and limit is not None and next(found, None) is not None:
            complain(f"There are more than these {limit}: use --limit or --all.")


def replay(delivery_ids: Iterable[str], *, json: bool) -> None:
    """Have deliveries made again."""
    with _api() as client:
        _show_deliveries(map(client.replay, delivery_ids), as_json=wants_json(asked=json))


def _show_deliveries(deliveries: Iterable[JsonObject], *, as_json: bool) -> None:
    if not as_json:
        tables.show_deliveries(deliveries)
        return
    for delivery in deliveries:
        emit(delivery)


def _show(trackers: Iterable[JsonObject], *, as_json: bool) -> None:
    if not as_json:
        tables.show_trackers(trackers)
        return
    for tracker in trackers:
        emit(tracker)


# --- waiting --------------------------------------------------------------------------------------


def wait(
    account: str, generation_ids: Sequence[str], timeout_s: float | None, *, json: bool
) -> Exit:
    """Wait for the ends of generations, all against one time-out."""
    with _api() as client:
        return _wait(client, account, generation_ids, timeout_s, as_json=wants_json(asked=json))


def _wait(
    client: Client,
    account: str,
    generation_ids: Sequence[str],
    timeout_s: float | None,
    *,
    as_json: bool,
) -> Exit:
    outcome = Exit.OK
    until = None if timeout_s is None else monotonic() + timeout_s
    for number, generation_id in enumerate(generation_ids, 1):
        left = None if until is None else max(0.0, until - monotonic())
        notice = f"waiting for {generation_id} ({number} of {len(generation_ids)})"
        with nullcontext() if as_json else tables.notice(notice):
            tracker = client.wait(account, generation_id, timeout_s=left)
        if as_json:
            emit(tracker)
        else:
            tables.show_end(tracker)
        outcome = outcome or EXIT_OF_STATE.get(tracker["state"], Exit.ERROR)
    return outcome
