"""Finds the account that an ID belongs to, and says what an ID is that is no generation's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import TypeVar

from worker.client import ApiError, Client
from worker.errors import NotFoundError

ACCOUNT = "luma"
"""Where a generation is looked for first."""

_KINDS = {
    "dlv_": "a delivery: `dreamhook deliveries {}` shows it",
    "sub_": "a submission: `dreamhook submissions {}` shows it",
    "url_": "the endpoint of a callback URL: `dreamhook endpoints get {}` shows it",
    "evt_": "an event, the webhook-id of its deliveries: `dreamhook deliveries` lists them, and"
    " `dreamhook get` shows it below its generation",
}

Found = TypeVar("Found")


def in_its_account(
    client: Client, account: str | None, generation_id: str, ask: Callable[[str], Found]
) -> Found:
    """Ask about a generation in the account that was named, or in the one that it is found in.

    Args:
        client: Knows the accounts.
        account: The one that was named; None: `ACCOUNT`, or any.
        generation_id: What is asked about.
        ask: Asks in an account.

    Raises:
        ApiError: The API refuses, or that is not tracked in the account that was named.
        NotFoundError: It is tracked in none, or it is no generation's ID.
    """
    try:
        return ask(account or ACCOUNT)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        kind = _KINDS.get(generation_id[:4])
        if kind is not None:
            raise NotFoundError(f"{generation_id} is {kind.format(generation_id)}.") from error
        others = _others(client) if account is None else []
        if not others:
            raise
    for name in others:
        try:
            return ask(name)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
    names = ", ".join([ACCOUNT, *others])
    raise NotFoundError(f"{generation_id} is tracked in none of the accounts {names}.")


def _others(client: Client) -> list[str]:
    names: list[str] = []
    with suppress(ApiError):  # the one that was asked has said what is wrong
        names = [str(each["name"]) for each in client.accounts()]
    return [name for name in names if name != ACCOUNT]
