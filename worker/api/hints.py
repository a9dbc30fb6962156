"""The route that providers call: a push is a hint that a look is worth while now, and no more."""

from __future__ import annotations

from contextlib import suppress

from fastapi import Request, Response

from worker.api.gate import HINTS
from worker.api.routing import RawRoute, router
from worker.api.submissions import submitting_of
from worker.errors import UnavailableError
from worker.model import JsonObject

hints = router("hints", RawRoute)


def _parameter(name: str, description: str) -> JsonObject:
    shape = {"name": name, "in": "path", "required": True, "description": description}
    return {**shape, "schema": {"type": "string"}}


@hints.post(
    f"{HINTS}{{account}}/{{token:path}}",
    summary="A provider's push",
    responses={200: {"description": "Always, and always empty."}},
    openapi_extra={
        "parameters": [
            _parameter("account", "Whose generation it may be about."),
            _parameter("token", "What Dreamhook gave the provider when it submitted."),
        ]
    },
)
async def hint(request: Request) -> Response:
    """Make the next look happen now, if the token is known; the body is not read.

    For providers that call back, not for you: Dreamhook hands its address out itself.
    """
    with suppress(UnavailableError):  # it was a hint; the next look comes anyway
        await submitting_of(request).hint(**request.path_params)
    return Response()
