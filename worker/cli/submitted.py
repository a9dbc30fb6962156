"""What `submissions` does: what providers were asked to make, and what came of it."""

from __future__ import annotations

import json as writing
from collections.abc import Iterable
from datetime import UTC, datetime

from worker.cli import tables
from worker.cli.process import Exit, wants_json
from worker.cli.session import api, do_to_each, page_of, show_some
from worker.cli.words import age, state_of
from worker.model import JsonObject, SubmissionState

WIDE = 90


def list_submissions(
    state: SubmissionState | None, account: str | None, limit: int | None, *, json: bool
) -> None:
    """List submissions, `limit` at most."""
    with api() as client:
        found = client.submissions(state=state, account=account, page=page_of(limit))
        show_some(found, limit, _show_table, as_json=wants_json(asked=json))


def show_submissions(submission_ids: Iterable[str], *, json: bool) -> Exit:
    """Show submissions, each with the tracker of what was created."""
    with api() as client:
        return do_to_each(submission_ids, client.submission, _each, as_json=wants_json(asked=json))


def _show_table(submissions: Iterable[JsonObject]) -> None:
    """Print submissions as a table; why one came to nothing is where its generation would be.

    On 80 columns there is no room for ages beside whole IDs.
    """
    now, found = datetime.now(UTC), list(submissions)
    columns: dict[str, list[object]] = {
        "Submission": [each["id"] for each in found],
        "State": [_state_of(each) for each in found],
        "Age": [age(each.get("begun_at"), now) for each in found],
        "Generation": [each.get("generation_id") or each.get("detail") or "" for each in found],
    }
    if tables.screen().width < WIDE:
        del columns["Age"]
    tables.show_table(list(columns), zip(*columns.values(), strict=True))


def _state_of(submission: JsonObject) -> str:
    """Say how it stands; what was refused by nobody has not been sent."""
    is_unsent = submission["state"] == SubmissionState.REFUSED and not submission.get("refusal")
    return "not sent" if is_unsent else str(submission["state"])


def _each(submissions: Iterable[JsonObject]) -> None:
    for submission in submissions:
        _show(submission)


def _show(submission: JsonObject) -> None:
    """Print all that there is to say about one submission."""
    refusal, tracker = submission.get("refusal") or {}, submission.get("tracker")
    body = refusal.get("body")
    tables.show_fields(
        [
            ("submission", submission["id"]),
            ("account", f"{submission['account']} (provider {submission.get('provider')})"),
            ("state", _state_of(submission)),
            ("why", submission.get("detail")),
            ("provider's status", refusal.get("status")),
            ("it said", writing.dumps(body, ensure_ascii=False) if body else None),
            ("generation", submission.get("generation_id")),
            ("tracker", state_of(tracker, datetime.now(UTC)) if tracker else None),
            ("begun at", submission.get("begun_at")),
            ("ended at", submission.get("ended_at")),
            ("searches", submission.get("searches") or None),
        ]
    )
