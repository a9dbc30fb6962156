"""What a caller is told who cannot have what he asked for: what is so, what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields

from worker.errors import ConflictError, KeyReusedError, NotFoundError
from worker.model import State, Submission, Terms, Tracker

SHOWN = 120
"""Of a longer setting only the beginning is shown."""


def no_account(account: str, configured: Iterable[str]) -> NotFoundError:
    """Say that there is no such account, and which there are."""
    names = ", ".join(sorted(configured)) or "none"
    return NotFoundError(f"There is no account {account!r}. Configured: {names}.", field="account")


def not_tracked(account: str, generation_id: str) -> NotFoundError:
    """Say that there is no such tracker."""
    return NotFoundError(
        f"{generation_id} is not tracked in account {account}; "
        "it never was, or it ended so long ago that it is no longer kept."
    )


def other_settings(tracker: Tracker, wanted: Terms) -> ConflictError:
    """Say which settings of a tracker are others than these, and what can be done about it."""
    differing = differences(tracker.terms, wanted)
    told = "; ".join(f"{name}: {words}" for name, words in differing)
    return ConflictError(
        f"{tracker.generation_id} is tracked in account {tracker.account} with other settings. "
        f"{told}. {_what_next(tracker)}",
        differing,
    )


def other_request(
    submission_id: str, first: Submission | None, wanted: Submission
) -> KeyReusedError:
    """Say in what a request differs from the first with its key, and what that one has made."""
    differing = [] if first is None else _differing(first, wanted)
    told = "; ".join(f"{name}: {words}" for name, words in differing)
    made = f"GET /v1/generations/{submission_id} tells what came of that one"
    if first is not None and first.generation_id is not None:
        made += f", GET /v1/trackers/{first.account}/{first.generation_id} how it is"
    return KeyReusedError(
        f"was used for another request. {told}{'. ' if told else ''}{made}. For another generation"
        " send a new key; for the same, what was sent first.",
        submission_id=submission_id,
        differing=differing,
    )


def _differing(first: Submission, wanted: Submission) -> list[tuple[str, str]]:
    found = []
    if first.account != wanted.account:
        found.append(
            ("account", f"it is {_shown(first.account)}, you sent {_shown(wanted.account)}")
        )
    before, after = first.marks, wanted.marks
    for name in sorted({*before, *after} if before and after else ()):
        if name not in before:
            found.append((f"request.{name}", "the first request has none"))
        elif name not in after:
            found.append((f"request.{name}", "you sent none"))
        elif before[name] != after[name]:
            found.append((f"request.{name}", "another value"))
    found += differences(first.terms, wanted.terms)
    return found or [("request", "it is another one")]


def differences(had: Terms, wanted: Terms) -> list[tuple[str, str]]:
    """Name the settings that differ, each with what it is and what was asked for.

    The values of headers are for the receiver alone, so of them only the names are said.
    """
    found = []
    for name in (each.name for each in fields(Terms)):
        before, after = getattr(had, name), getattr(wanted, name)
        if before == after:
            continue
        if name == "headers":
            changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
            found.append((name, f"other values of {', '.join(sorted(changed))}"))
        else:
            found.append((name, f"it is {_shown(before)}, you sent {_shown(after)}"))
    return found


def _what_next(tracker: Tracker) -> str:
    path = f"/v1/trackers/{tracker.account}/{tracker.generation_id}"
    if tracker.state is State.TRACKING:
        return f"To change them, DELETE {path} and track it again; GET shows them all."
    again = ""
    if tracker.terms.endpoint is not None:
        again = (
            f" To have its webhook sent elsewhere, PUT /v1/endpoints/{tracker.terms.endpoint} with"
            " another url, then POST /v1/deliveries/{delivery_id}/replay."
        )
    elif tracker.terms.callback_url is not None:
        again = (
            " To have its webhook sent again to where it was owed, POST"
            " /v1/deliveries/{delivery_id}/replay; that ID is in its `webhook`. For a URL that may"
            " change, track with an `endpoint`."
        )
    return f"It has {tracker.state}, so they stay as they are: GET {path} shows all of it.{again}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
