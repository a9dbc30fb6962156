"""What it means for whoever asked that a provider did not show what was asked for."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from worker.errors import NotFoundError, UnavailableError
from worker.model import Health, Missing, Refused, Throttled, Tracker, Trouble, age

Refusal: TypeAlias = Missing | Refused | Throttled | Trouble

NotSeen: TypeAlias = NotFoundError | UnavailableError

AGAIN_S = 5.0
"""When it is worth asking again, unless the provider has asked for more."""

CREDENTIALS_S = 60.0
"""The same, after credentials were rejected: somebody has to see to it first."""


def in_words(refusal: Refusal, account: str, generation_id: str) -> NotSeen:
    """Say what a provider's refusal means for whoever asked."""
    match refusal:
        case Missing():
            what = generation_id or "the list"
            return NotFoundError(
                f"The provider of account {account} does not know {what} ({refusal.detail}). Check"
                " the ID and the account: it may be another account's, or deleted."
            )
        case Refused():
            return UnavailableError(
                _refused(refusal, account, generation_id), retry_after=CREDENTIALS_S
            )
        case Throttled():
            return UnavailableError(
                f"Account {account} has asked its provider too often ({refusal.detail}).",
                retry_after=refusal.retry_after_s or AGAIN_S,
            )
        case Trouble():
            return UnavailableError(
                f"The provider of account {account} gave no usable answer ({refusal.detail})."
                " That says nothing about the generation: ask again.",
                retry_after=refusal.retry_after_s or AGAIN_S,
            )
        case _:
            assert_never(refusal)


def not_now(account: str, wait_s: float, health: Health, *, now: int) -> UnavailableError:
    """Say why an account must not be asked for `wait_s`: it is held, or its budget is used up."""
    is_held = health.reason is not None and health.held_until > now
    why = f"{health.reason} ({health.detail})" if is_held else "its budget is used up"
    return UnavailableError(
        f"Account {account} must not be asked for another {wait_s:.1f} s: {why}.",
        retry_after=wait_s,
    )


def not_fresh(why: NotSeen, tracker: Tracker, *, now: int) -> UnavailableError:
    """Say that a look out of turn showed nothing, and how old what is stored is."""
    after_s = why.retry_after if isinstance(why, UnavailableError) else AGAIN_S
    stored = "It has not been seen yet."
    if tracker.seen_at is not None:
        ago = age((now - tracker.seen_at) / 1000)
        stored = f"Without `fresh` you get what was seen {ago} ago."
    return UnavailableError(f"{why} {stored}", retry_after=after_s)


def _refused(refusal: Refused, account: str, generation_id: str) -> str:
    if refusal.of_account:
        return (
            f"The provider rejects the credentials of account {account} ({refusal.detail})."
            " Whoever runs this has to check its API key."
        )
    return (
        f"The provider does not show {generation_id or 'the list'} to account {account}"
        f" ({refusal.detail}). It may be another account's, or not for this API key."
    )
