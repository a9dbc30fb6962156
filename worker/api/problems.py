"""Everything that goes wrong for a caller, as RFC 9457 problems.

`type` is always `about:blank`, which says that the status says it all; `title` is its name, unless
a provider said it (`worker.api.refusals`). `detail` is for people. A problem with what was sent
names the `field`, and all of them in `errors`; so does one with settings that are others than those
that were sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import Scope

from worker.errors import (
    ConflictError,
    DreamhookError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from worker.model import JsonObject
from worker.requests import in_words

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

MEDIA_TYPE = "application/problem+json"

_TITLES = {each.value: each.phrase for each in HTTPStatus} | {
    413: "Content Too Large",  # RFC 9110's names, which Python has from 3.13 on
    422: "Unprocessable Content",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem; `errors` are (field, message) of what was sent, `more` extension members."""

    status: int
    detail: str
    errors: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def shape(self) -> JsonObject:
        """Show the problem as its body does."""
        shape: JsonObject = {
            "type": "about:blank",
            "title": self.title or _TITLES[self.status],
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            shape["field"] = self.errors[0][0]
            shape["errors"] = [{"field": name, "message": text} for name, text in self.errors]
        return {**shape, **self.more}

    def response(self) -> Response:
        """Make the whole answer."""
        return Response(
            to_json(self.shape()), self.status, dict(self.headers), media_type=MEDIA_TYPE
        )


def problem_of(error: DreamhookError) -> Problem:
    """Say which problem an error is."""
    match error:
        case InvalidInputError():
            return Problem(422, str(error), [(error.field, error.message)])
        case NotFoundError():
            about = [] if error.field is None else [(error.field, str(error))]
            return Problem(404, str(error), about)
        case ConflictError():
            return Problem(409, str(error), error.differing)
        case UnavailableError():
            seconds = max(1, math.ceil(error.retry_after))
            return Problem(503, str(error), headers={"Retry-After": str(seconds)})
        case _:
            raise error  # nothing that a caller could have caused: the gate logs it


async def _told(_request: Request, error: DreamhookError) -> Response:
    return problem_of(error).response()


async def _unusable_query(_request: Request, error: RequestValidationError) -> Response:
    found: list[Any] = [each | {"loc": each["loc"][1:]} for each in error.errors()]
    errors = in_words(found, known="; /docs lists what is")
    detail = "; ".join(f"{name}: {message}" for name, message in errors)
    return Problem(422, detail, errors).response()


async def _unrouted(request: Request, error: HTTPException) -> Response:
    route = f"{request.method} {request.url.path}"
    match error.status_code:
        case 404:
            return Problem(404, f"There is no route {route}; /docs lists them all.").response()
        case 405:
            allowed = ", ".join(_methods(request.app, request.scope))
            detail = f"There is no route {route}, but there is one for {allowed}."
            return Problem(405, detail, headers={"Allow": allowed}).response()
        case status:
            return Problem(status, error.detail, headers=error.headers or {}).response()


def _methods(app: FastAPI, scope: Scope) -> list[str]:
    """List what the path can be asked for; Starlette names only what its first route takes."""
    matching = (r for r in app.routes if isinstance(r, Route) and r.matches(scope)[0] != Match.NONE)
    methods = {method for route in matching for method in route.methods or ()}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


HANDLERS: dict[int | type[Exception], Handler] = {
    DreamhookError: _told,
    RequestValidationError: _unusable_query,
    HTTPException: _unrouted,
}
