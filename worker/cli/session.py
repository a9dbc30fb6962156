"""What the commands of a user have in common: the API, lists, and doing the same to many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain, islice

from worker.cli.process import Exit, complain, emit
from worker.cli.routes import in_commands
from worker.cli.words import lacks_worker, seems_late
from worker.client import ApiError, Client
from worker.config import ClientSettings
from worker.errors import ConfigurationError, DreamhookError, InvalidInputError, NotFoundError
from worker.figures import NO_WORKER
from worker.model import JsonObject

PAGE = 500

_ABOUT_ONE = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
"""What is refused so says nothing about the others."""


@contextmanager
def api() -> Iterator[Client]:
    """Connect to the API that the environment names.

    Raises:
        ConfigurationError: A setting cannot be used, or the API wants another key.
    """
    settings = ClientSettings.load()
    key = settings.api_key.get_secret_value() if settings.api_key else None
    with Client(settings.url, key) as client:
        try:
            yield client
        except ApiError as error:
            match error.status:
                case HTTPStatus.UNAUTHORIZED:
                    raise ConfigurationError(
                        f"Dreamhook at {settings.url} wants {'another' if key else 'a'} key: set"
                        " DREAMHOOK_API_KEY to one of its DREAMHOOK_API_KEYS."
                    ) from error
                case _:
                    raise


def unserved(client: Client, tracker: JsonObject) -> str | None:
    """Say what to do if nobody does what a tracker waits for; asks only if that seems to be late.

    What cannot be found out is not said: whoever asked wanted to know something else.
    """
    if not seems_late(tracker, datetime.now(UTC)):
        return None
    try:
        return NO_WORKER if lacks_worker(client.stats()) else None
    except DreamhookError:
        return None


def page_of(limit: int | None) -> int:
    """Tell how many to ask for at a time: one more than wanted tells whether there are more."""
    return PAGE if limit is None else min(PAGE, limit + 1)


def show_some(
    found: Iterator[JsonObject],
    limit: int | None,
    show: Callable[[Iterable[JsonObject]], None],
    *,
    as_json: bool,
) -> None:
    """Print a list, `limit` at most, and say so when there are more."""
    if as_json:
        for each in islice(found, limit):
            emit(each)
        return
    show(islice(found, limit))
    if limit is not None and next(found, None) is not None:
        complain(f"There are more than these {limit}: use --limit or --all.")


def do_to_each(
    names: Iterable[str],
    do: Callable[[str], JsonObject],
    show: Callable[[Iterable[JsonObject]], None],
    *,
    as_json: bool,
) -> Exit:
    """Do the same to many and print what each is then; one that is refused harms no other.

    Returns:
        ERROR if one was refused.
    """
    code = Exit.OK

    def results() -> Iterator[JsonObject]:
        nonlocal code
        for name in names:
            try:
                yield do(name)
            except (ApiError, InvalidInputError, NotFoundError) as error:
                if isinstance(error, ApiError) and error.status not in _ABOUT_ONE:
                    raise
                code = Exit.ERROR
                complain_of(name, in_commands(str(error)), as_json=as_json)

    if as_json:
        for result in results():
            emit(result)
        return code
    done = results()
    for first in done:  # of what was refused, all has been said
        show(chain([first], done))
    return code


def complain_of(name: str, why: str, *, as_json: bool) -> None:
    """Say why of one among several there is nothing to show, in the output too if it is read."""
    complain(refusal(name, why))
    if as_json:
        emit({"id": name, "error": {"detail": why}})


def tell_away(error: DreamhookError) -> None:
    """Say that the API is away, and that this does not end the command."""
    complain(f"{error}. Waiting on.")


def refusal(name: str, why: str) -> str:
    """Say what is wrong with which.

    >>> refusal("g-1", "is no ID")
    'g-1: is no ID'
    """
    return why if name in why else f"{name}: {why}"
