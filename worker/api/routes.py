"""The routes about trackers and about how it is doing: what was sent goes to its use case."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Annotated

from fastapi import Query, Request, Response

from worker import shapes, tracing
from worker.api import schemas, watching
from worker.api.accounts import Accounts
from worker.api.openapi import BATCH_BODY, TRACK_BODY, TRACKER_PATH, answer, problems
from worker.api.problems import Problem, problem_of
from worker.api.routing import (
    RawRoute,
    json_answer,
    may_only_read,
    page_answer,
    router,
    service_of,
    shown_to,
)
from worker.errors import ConfigurationError, UnavailableError
from worker.model import JsonObject, Tracker
from worker.requests import TrackRequest, parse
from worker.service import Outcome, Tracked
from worker.status import Status

READY_WITHIN_S = 3.0
"""Whoever asks whether we are ready asks often, and does not wait long for the answer."""


busy = router("trackers", RawRoute)
trackers = router("trackers")
status = router("status")


def _status(request: Request) -> Status:
    found: Status = request.app.state.status
    return found


# --- trackers -----------------------------------------------------------------------------------


@busy.put(
    "/v1/trackers/{account}/{generation_id}",
    status_code=202,
    summary="Track a generation",
    responses={
        202: answer(schemas.Tracker, "It is tracked from now on; `Location` is where."),
        200: answer(schemas.Tracker, "It was tracked with the same settings; here it is."),
        **problems(404, 409, 413, 422),
    },
    openapi_extra={"parameters": TRACKER_PATH, "requestBody": TRACK_BODY},
)
async def track(request: Request) -> Response:
    """Promise to watch a generation to its end, and to tell `callback_url` of it.

    Asking twice is safe: with the same settings it changes nothing. A tracker that is expired or
    canceled starts anew.
    """
    account = request.path_params["account"]
    generation_id = request.path_params["generation_id"]
    wanted = parse(TrackRequest, await request.body() or b"{}")
    tracked = await service_of(request).track(
        account, generation_id, wanted, traceparent=_traceparent(request)
    )
    if not tracked.created:
        return await _tracker_answer(request, tracked.tracker)
    shape = shapes.tracker_shape(tracked.tracker)
    return json_answer(shape, 202, {"Location": f"/v1/trackers/{account}/{generation_id}"})


@busy.post(
    "/v1/trackers",
    summary="Track up to 1,000 generations",
    responses={
        200: answer(schemas.Outcomes, "An outcome for each item, in order."),
        **problems(413, 422),
    },
    openapi_extra={"requestBody": BATCH_BODY},
)
async def track_many(request: Request) -> Response:
    """Track many in one call. Each item has an outcome of its own; a bad one harms no other."""
    items = parse(schemas.LooseBatch, await request.body()).trackers
    outcomes = await service_of(request).track_many(items, traceparent=_traceparent(request))
    tracked = [each.tracker for each in outcomes if isinstance(each, Tracked)]
    shown = iter(await service_of(request).shapes_of(tracked))
    results = [_result(item, each, shown) for item, each in zip(items, outcomes, strict=True)]
    return json_answer({"results": results})


async def _tracker_answer(request: Request, tracker: Tracker, status_code: int = 200) -> Response:
    shape = (await service_of(request).shapes_of([tracker]))[0]
    return json_answer(shown_to(request, shape), status_code)


def _traceparent(request: Request) -> str | None:
    return tracing.accepted(request.headers.get("traceparent"))


def _result(item: object, outcome: Outcome, shown: Iterator[JsonObject]) -> JsonObject:
    if isinstance(outcome, Tracked):
        tracker = outcome.tracker
        return {
            "account": tracker.account,
            "generation_id": tracker.generation_id,
            "status": 202 if outcome.created else 200,
            "tracker": next(shown),
        }
    sent = item if isinstance(item, dict) else {}
    names = {name: sent.get(name) for name in ("account", "generation_id")}
    problem = problem_of(outcome).shape()
    echo = {name: each if isinstance(each, str) else None for name, each in names.items()}
    return {**echo, "status": problem["status"], "error": problem}


@trackers.get(
    "/v1/trackers/{account}/{generation_id}",
    summary="Get a tracker",
    responses={200: answer(schemas.Tracker), **problems(403, 404, 422)},
)
async def get_tracker(
    request: Request,
    account: str,
    generation_id: str,
    query: Annotated[schemas.TrackerQuery, Query()],
) -> Response:
    """Get it as it stands, or as soon as it is over, or with what the provider says now."""
    service = service_of(request)
    if query.fresh:
        if may_only_read(request):
            return Problem(403, "fresh: this key may only read; leave fresh out.").response()
        await service.fresh(account, generation_id)
    tracker = await service.wait(account, generation_id, query.wait)
    return await _tracker_answer(request, tracker)


@trackers.get(
    "/v1/trackers",
    summary="List trackers",
    responses={200: answer(schemas.TrackerPage), **problems(404, 422)},
)
async def list_trackers(
    request: Request, query: Annotated[schemas.TrackersQuery, Query()]
) -> Response:
    """List them, newest first. A page may hold fewer than `limit`; `next_cursor` tells the end."""
    page = await service_of(request).list_trackers(**query.model_dump())
    return page_answer(request, page, partial(shown_to, request))


@trackers.delete(
    "/v1/trackers/{account}/{generation_id}",
    summary="Cancel tracking",
    responses={200: answer(schemas.Tracker, "What it is now."), **problems(404)},
)
async def cancel(request: Request, account: str, generation_id: str) -> Response:
    """Stop tracking, without an event. What is over stays as it is; the generation goes on."""
    canceled = await service_of(request).cancel(account, generation_id)
    return await _tracker_answer(request, canceled)


@trackers.post(
    "/v1/trackers/{account}/{generation_id}/poll",
    status_code=202,
    summary="Look now",
    responses={
        202: answer(schemas.Tracker, "Its next look is due now."),
        **problems(404, 409),
    },
)
async def poll(request: Request, account: str, generation_id: str) -> Response:
    """Make the next look due now, within the account's budget."""
    tracker = await service_of(request).poll(account, generation_id)
    return await _tracker_answer(request, tracker, 202)


@trackers.get(
    "/v1/trackers/{account}/{generation_id}/timeline",
    summary="Tell what happened to a tracker",
    responses={200: answer(schemas.Timeline), **problems(404)},
)
async def timeline(request: Request, account: str, generation_id: str) -> Response:
    """List looks, changes, events and attempts in the order they happened."""
    return json_answer({"items": await service_of(request).timeline(account, generation_id)})


# --- how it is doing ----------------------------------------------------------------------------


@status.get("/v1/stats", summary="Figures", responses={200: answer(watching.Stats)})
async def stats(request: Request) -> Response:
    """Count trackers and deliveries by state, and say how late the work is."""
    figures = await _status(request).stats()
    return json_answer({**figures, "may_write": not may_only_read(request)})


@status.get("/v1/accounts", summary="Accounts", responses={200: answer(Accounts)})
async def accounts(request: Request) -> Response:
    """Tell how each account is doing."""
    return json_answer({"items": await _status(request).accounts()})


@status.get("/healthz", summary="Alive?", responses={200: answer(schemas.Alive)})
async def healthz() -> Response:
    """Answer, whatever else may be wrong."""
    return json_answer({"ok": True})


@status.get(
    "/readyz",
    summary="Ready?",
    responses={
        200: answer(schemas.Readiness, "Redis answers and keeps what it is given."),
        503: answer(schemas.Readiness, "It does not: `problems` says why."),
    },
)
async def readyz(request: Request) -> Response:
    """Say whether the work can be done. Warnings (rejected credentials, say) are no obstacle."""
    asked, warnings, found = _status(request), list[str](), list[str]()
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            await asked.check()
            warnings = await asked.warnings()
    except (ConfigurationError, UnavailableError) as error:
        found = [str(error)]
    except TimeoutError:
        found = [f"Redis has not answered within {READY_WITHIN_S:g} s."]
    shape = {"ok": not found, "problems": found, "warnings": warnings}
    return json_answer(shape, 503 if found else 200)
