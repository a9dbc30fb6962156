"""The HTTP API under `/v1`, its reference, and the questions of those who keep it running."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json

from worker.api import (
    glancing,
    hints,
    monitoring,
    openapi,
    problems,
    receivers,
    reference,
    refusals,
    routes,
    submissions,
    web,
)
from worker.api.gate import Gate
from worker.deliveries import Deliveries
from worker.endpoints import Endpoints
from worker.glances import Glances
from worker.merging import MergedStream
from worker.model import JsonObject
from worker.service import Service
from worker.status import Status
from worker.stream import EventStream
from worker.submitting import Submitting

__all__ = ["create_app"]


class _App(FastAPI):
    """Describes itself in our words, made once."""

    def openapi(self) -> JsonObject:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(self.routes, version=self.version)
        return self.openapi_schema


def create_app(
    service: Service,
    endpoints: Endpoints,
    deliveries: Deliveries,
    status: Status,
    stream: EventStream | MergedStream,
    *,
    glances: Glances,
    submitting: Submitting,
    api_keys: Sequence[str] = (),
    read_keys: Sequence[str] = (),
) -> FastAPI:
    """Make the API, an ASGI application without a lifespan.

    Args:
        service: the use cases of those who track.
        endpoints: the use cases of those who receive.
        deliveries: what they are owed.
        status: how it is doing.
        stream: what happens. Close it when the server is to stop: it ends the answers that last.
        glances: shows what providers show.
        submitting: the use cases of those who have generations made.
        api_keys: bearer keys that may do everything. Without any key all is open, but only to
            those who address this machine by a loopback name.
        read_keys: bearer keys that may GET, except `fresh`.
    """
    groups = (
        *(routes.busy, routes.trackers, submissions.submissions, hints.hints),
        *(receivers.endpoints, receivers.deliveries),
        *(glancing.glances, monitoring.monitoring, routes.status),
    )
    app = _App(
        title="Dreamhook",
        version=_version(),
        routes=[*web.routes(), *(route for group in groups for route in group.routes)],
        exception_handlers=problems.HANDLERS | refusals.HANDLERS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.endpoints = endpoints
    app.state.deliveries = deliveries
    app.state.status = status
    app.state.stream = stream
    app.state.glances = glances
    app.state.submitting = submitting
    app.add_route("/openapi.json", _openapi)
    app.add_route("/docs", _docs)
    app.add_middleware(Gate, api_keys=api_keys, read_keys=read_keys)
    return app


def _version() -> str:
    try:
        return version("dreamhook")
    except PackageNotFoundError:  # run from a checkout
        return "0"


async def _openapi(request: Request) -> Response:
    return Response(to_json(request.app.openapi()), media_type="application/json")


async def _docs(request: Request) -> Response:
    page = reference.page(request.app.openapi())
    return Response(page, media_type="text/html", headers=reference.HEADERS)
