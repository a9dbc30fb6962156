"""Problems of submitting: refused, not sent, not answered, under way, or another's key.

They name the submission, and have what the provider said as it said it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

from fastapi import Request, Response

from worker.api.problems import Handler, Problem, problem_of
from worker.errors import (
    KeyReusedError,
    NotSentError,
    RefusedError,
    UnansweredError,
    UnderWayError,
)
from worker.model import JsonObject, SubmissionState

_OF_CREDENTIALS = {401, 403}
_PASSED_ON = {400, 402, 409, 413, 415, 422, 429}
"""Statuses of a provider that say to our caller what they said to us."""


_Told: TypeAlias = KeyReusedError | NotSentError | RefusedError | UnansweredError | UnderWayError


async def _told(_request: Request, error: _Told) -> Response:
    match error:
        case NotSentError():
            problem = replace(problem_of(error), more=_about(error.submission.id))
        case KeyReusedError():
            errors = [(error.field, error.message), *error.differing]
            problem = Problem(422, str(error), errors, more=_about(error.submission_id))
        case RefusedError():
            problem = _refused(error)
        case UnansweredError():
            problem = _unanswered(error)
        case UnderWayError():
            after = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
            problem = Problem(409, str(error), headers=after, more=_about(error.submission_id))
    return problem.response()


def _refused(error: RefusedError) -> Problem:
    """Pass a provider's refusal on; that of the account's key must not look like the caller's."""
    refusal, account = error.refusal, error.submission.account
    told = {"provider_status": refusal.status, "provider_body": refusal.body}
    more = {**_about(error.submission.id), **told}
    if refusal.status in _OF_CREDENTIALS:
        return Problem(
            502,
            f"The provider of account {account} does not accept its credentials: {refusal.detail}. "
            "Nothing was made. Your own key is fine.",
            title="Credentials of the Account Rejected",
            more=more,
        )
    detail = f"The provider of account {account} refuses: {refusal.detail}. Nothing was made."
    headers: dict[str, str] = {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(refusal.retry_after_s)))
    return Problem(
        refusal.status if refusal.status in _PASSED_ON else 502,
        detail,
        headers=headers,
        title="Refused by the Provider",
        more=more,
    )


def _unanswered(error: UnansweredError) -> Problem:
    submission = error.submission
    if submission.state is SubmissionState.UNKNOWN:
        detail = str(error)
    else:
        detail = (
            f"The provider of account {submission.account} was asked, and nobody knows yet what "
            f"came of it ({error}). It is being looked for: GET {_address(submission.id)} tells "
            "what was found. Do not submit it anew before."
        )
    return Problem(504, detail, more=_about(submission.id))


def _about(submission_id: str) -> JsonObject:
    return {"submission": submission_id, "instance": _address(submission_id)}


def _address(submission_id: str) -> str:
    return f"/v1/generations/{submission_id}"


HANDLERS: dict[int | type[Exception], Handler] = dict.fromkeys(
    (KeyReusedError, NotSentError, RefusedError, UnansweredError, UnderWayError), _told
)
