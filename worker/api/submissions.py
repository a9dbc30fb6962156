"""The routes of those who have generations made: submit and track in one step."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from worker import shapes, tracing
from worker.api import schemas, submitted
from worker.api.openapi import IDEMPOTENCY_KEY, SUBMIT_BODY, answer, problems
from worker.api.routing import RawRoute, json_answer, page_answer, router, service_of, shown_to
from worker.requests import SubmitRequest, parse
from worker.submissions import idempotency_key
from worker.submitting import Submitting

submissions = router("generations")
_raw = router("generations", RawRoute)


def submitting_of(request: Request) -> Submitting:
    """Get the use cases that the application was made with."""
    submitting: Submitting = request.app.state.submitting
    return submitting


@_raw.post(
    "/v1/generations",
    status_code=202,
    summary="Submit and track",
    responses={
        202: answer(schemas.Tracker, "It is made and tracked; `Location` is the tracker."),
        200: answer(schemas.Tracker, "It was, by a call with the same `Idempotency-Key`."),
        **problems(400, 402, 404, 409, 413, 415, 422, 429, 502, 504),
    },
    openapi_extra={"parameters": [IDEMPOTENCY_KEY], "requestBody": SUBMIT_BODY},
)
async def submit(request: Request) -> Response:
    """Have the provider make a generation, and track it.

    `request` goes to the provider's create call as it is. No crash between the two loses a
    generation, and none is made twice.
    """
    wanted = parse(SubmitRequest, await request.body())
    made = await submitting_of(request).submit(
        wanted,
        idempotency_key=idempotency_key(request.headers.get("idempotency-key")),
        traceparent=tracing.accepted(request.headers.get("traceparent")),
    )
    tracker = made.tracker
    location = {"Location": f"/v1/trackers/{tracker.account}/{tracker.generation_id}"}
    if made.is_new:
        return json_answer(shapes.tracker_shape(tracker), 202, location)
    shape = (await service_of(request).shapes_of([tracker]))[0]
    return json_answer(shape, 200, location)


submissions.routes.extend(_raw.routes)


@submissions.get(
    "/v1/generations/{submission_id}",
    summary="Get a submission",
    responses={200: answer(submitted.Submission), **problems(404)},
)
async def get_submission(request: Request, submission_id: str) -> Response:
    """Tell what came of it."""
    submission, tracker = await submitting_of(request).get(submission_id)
    if tracker is None:
        return json_answer(shapes.submission_shape(submission))
    shape = (await service_of(request).shapes_of([tracker]))[0]
    return json_answer(shapes.submission_shape(submission, shown_to(request, shape)))


@submissions.get(
    "/v1/generations",
    summary="List submissions",
    responses={200: answer(submitted.SubmissionPage), **problems(422)},
)
async def list_submissions(
    request: Request, query: Annotated[submitted.SubmissionsQuery, Query()]
) -> Response:
    """List them, newest first, each without its tracker."""
    page = await submitting_of(request).list_submissions(**query.model_dump())
    return page_answer(request, page)
