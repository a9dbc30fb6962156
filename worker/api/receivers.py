"""The routes about those who receive: endpoints, and the deliveries that they are owed."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Query, Request, Response

from worker.api import schemas
from worker.api.openapi import ENDPOINT_BODY, RECOVER_BODY, ROTATE_BODY, answer, problems
from worker.api.routing import json_answer, page_answer, router, shown_to
from worker.deliveries import Deliveries
from worker.endpoints import Endpoints
from worker.requests import EndpointRequest, RecoverRequest, RotateRequest, parse

_HOLDS_A_SECRET = {"Cache-Control": "no-store"}

endpoints = router("endpoints")
deliveries = router("deliveries")


def _endpoints(request: Request) -> Endpoints:
    found: Endpoints = request.app.state.endpoints
    return found


def _deliveries(request: Request) -> Deliveries:
    found: Deliveries = request.app.state.deliveries
    return found


# --- endpoints ----------------------------------------------------------------------------------


@endpoints.put(
    "/v1/endpoints/{name}",
    status_code=201,
    summary="Make or change an endpoint",
    responses={
        201: answer(schemas.EndpointAndSecret, "It is new; its secret is shown this once."),
        200: answer(schemas.Endpoint, "There was one of this name; this is what it is now."),
        **problems(413, 422),
    },
    openapi_extra={"requestBody": ENDPOINT_BODY},
)
async def put_endpoint(request: Request, name: str) -> Response:
    """Make an endpoint, or give one these settings.

    What is left out has its default, except `url` and `enabled`, which stay as they are. A name
    that begins with `url_` stands for a bare callback URL: it can be changed, but stays with its
    URL.
    """
    wanted = parse(EndpointRequest, await request.body() or b"{}")
    shape, created = await _endpoints(request).put(name, wanted)
    if not created:
        return json_answer(shape)
    return json_answer(shape, 201, {"Location": f"/v1/endpoints/{name}", **_HOLDS_A_SECRET})


@endpoints.get(
    "/v1/endpoints/{name}",
    summary="Get an endpoint",
    responses={200: answer(schemas.Endpoint), **problems(404)},
)
async def get_endpoint(request: Request, name: str) -> Response:
    """Get its settings, and whether it is on. Its secrets are never shown again."""
    return json_answer(shown_to(request, await _endpoints(request).get(name)))


@endpoints.get(
    "/v1/endpoints",
    summary="List endpoints",
    responses={200: answer(schemas.EndpointPage), **problems(422)},
)
async def list_endpoints(
    request: Request, query: Annotated[schemas.EndpointsQuery, Query()]
) -> Response:
    """List them, newest first, those of bare callback URLs that were used lately among them."""
    page = await _endpoints(request).list_endpoints(**query.model_dump())
    return page_answer(request, page, partial(shown_to, request))


@endpoints.delete(
    "/v1/endpoints/{name}",
    status_code=204,
    summary="Delete an endpoint",
    responses={204: {"description": "It is gone."}, **problems(404)},
)
async def delete_endpoint(request: Request, name: str) -> Response:
    """Delete it, with its secrets. What it is still owed is discarded."""
    await _endpoints(request).delete(name)
    return Response(status_code=204)


@endpoints.post(
    "/v1/endpoints/{name}/rotate",
    summary="Make a new secret",
    responses={
        200: answer(schemas.EndpointAndSecret, "The new secret is shown this once."),
        **problems(404, 409, 413, 422),
    },
    openapi_extra={"requestBody": ROTATE_BODY},
)
async def rotate(request: Request, name: str) -> Response:
    """Sign with a new secret from now on, and with the old ones too until the overlap ends.

    At most five secrets sign at a time: the oldest ends early if there would be more.
    """
    wanted = parse(RotateRequest, await request.body() or b"{}")
    shape = await _endpoints(request).rotate(name, overlap_s=wanted.overlap_s)
    return json_answer(shape, headers=_HOLDS_A_SECRET)


@endpoints.post(
    "/v1/endpoints/{name}/test",
    status_code=202,
    summary="Send a test event",
    responses={202: answer(schemas.Delivery, "It is on its way."), **problems(404, 409)},
)
async def send_test(request: Request, name: str) -> Response:
    """Owe it an `endpoint.test`, signed and sent as every webhook is, retries included."""
    return json_answer(await _endpoints(request).test(name), 202)


@endpoints.post(
    "/v1/endpoints/{name}/recover",
    status_code=202,
    summary="Replay all that failed",
    responses={
        202: answer(schemas.Recovered, "So many deliveries are owed again."),
        **problems(404, 409, 413, 422),
    },
    openapi_extra={"requestBody": RECOVER_BODY},
)
async def recover(request: Request, name: str) -> Response:
    """Owe it again whatever was exhausted since an instant, each under its old `webhook-id`."""
    wanted = parse(RecoverRequest, await request.body())
    since = round(wanted.since.timestamp() * 1000)
    recovered = await _endpoints(request).recover(name, since=since)
    return json_answer({"recovered": recovered}, 202)


# --- deliveries ---------------------------------------------------------------------------------


@deliveries.get(
    "/v1/deliveries",
    summary="List deliveries",
    responses={200: answer(schemas.DeliveryPage), **problems(422)},
)
async def list_deliveries(
    request: Request, query: Annotated[schemas.DeliveriesQuery, Query()]
) -> Response:
    """List them, newest first. A page may hold fewer than `limit`; `next_cursor` tells the end."""
    page = await _deliveries(request).list_deliveries(**query.model_dump())
    return page_answer(request, page)


@deliveries.get(
    "/v1/deliveries/{delivery_id}",
    summary="Get a delivery",
    responses={200: answer(schemas.Delivery), **problems(404)},
)
async def get_delivery(request: Request, delivery_id: str) -> Response:
    """Get what is owed, and the attempts so far."""
    return json_answer(await _deliveries(request).get(delivery_id))


@deliveries.post(
    "/v1/deliveries/{delivery_id}/replay",
    status_code=202,
    summary="Replay a delivery",
    responses={202: answer(schemas.Delivery, "It is owed again."), **problems(404, 409)},
)
async def replay(request: Request, delivery_id: str) -> Response:
    """Owe a finished delivery again, under the same `webhook-id`; a pending one is due now."""
    return json_answer(await _endpoints(request).replay(delivery_id), 202)
