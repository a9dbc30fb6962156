"""What the routes share: how they are made, and how they answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import to_json

from worker.api.gate import READ_ONLY
from worker.model import JsonObject
from worker.paging import Page
from worker.service import Service

HIDDEN = "***"


class RawRoute(APIRoute):
    """Hands the request to its endpoint untouched: FastAPI documents it, and costs nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Take the endpoint itself, which reads bytes and answers with bytes."""
        return self.endpoint


def router(tag: str, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """Make a group of routes, each named after the function that answers it."""
    return APIRouter(
        tags=[tag], route_class=route_class, generate_unique_id_function=lambda route: route.name
    )


def service_of(request: Request) -> Service:
    """Get the use cases that the application was made with."""
    service: Service = request.app.state.service
    return service


def may_only_read(request: Request) -> bool:
    """Say whether this came with a read-only key."""
    return bool(getattr(request.state, READ_ONLY, False))


def shown_to(request: Request, shape: JsonObject) -> JsonObject:
    """Show a tracker or an endpoint: to a read-only key the values of its headers are not shown.

    They are for the receiver, and often let whoever has them in there.
    """
    if not may_only_read(request):
        return shape
    return shape | {"headers": dict.fromkeys(shape["headers"], HIDDEN)}


def json_answer(
    content: object, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    return Response(to_json(content), status_code, headers, media_type="application/json")


def page_answer(
    request: Request, page: Page, show: Callable[[JsonObject], JsonObject] = lambda item: item
) -> Response:
    """Answer with a part of a list; the cursors are for whoever merges it with other lists."""
    request.state.cursors = page.cursors
    return json_answer({"items": list(map(show, page.items)), "next_cursor": page.next_cursor})
