"""The control surface under /_simulator: for tests, demonstrations and benchmarks, without a key.

    POST   /_simulator/generations              start a scripted generation; 201, the generation.
           {"id", "model", "generation_type", "prompt", "callback_url", "queued_s", "dreaming_s",
           "outcome": "completed" | "failed" | "stuck", "failure_reason"}, all optional; 409 if the
           ID exists
    POST   /_simulator/generations/{id}/finish  end it now; 200, the generation. {"outcome":
           "completed" | "failed", "failure_reason"}, all optional; 409 if it is over
    POST   /_simulator/faults                   put a fault in force; 201, the fault.
           {"call", "kind", "id", "times", "p", "retry_after", "seconds", "rows", "share"}:
           worker.simulator.faults
    DELETE /_simulator/faults                   take all faults out of force; 204
    GET    /_simulator/stats                    what came in since the start: {"generations": 3,
           "calls": {"get": 12, "list": 1}, "gets": {"<id>": 12}, "faults": {"429": 2},
           "redirects_followed": 0}
    GET    /_simulator/sign-in                  where a redirect fault leads; a page, and counted

`queued_s` and `dreaming_s` are simulated seconds, which the world's `speed` shortens; a fault's
`retry_after` and `seconds` are real ones. Calls here are not counted, not struck by faults and not
asked for a key.
"""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, JSONResponse

from worker.errors import ConflictError, InvalidInputError, NotFoundError
from worker.simulator.faults import Fault, Faults
from worker.simulator.gate import Tally
from worker.simulator.requests import ImageRequest, VideoRequest
from worker.simulator.wire import SIGN_IN_PATH, origin_of
from worker.simulator.world import Generation, Outcome, Script, World, shown

_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Scripted(BaseModel):
    """A generation to start, and the life it is told to live."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~:@+=-]{1,200}$")] | None = None
    generation_type: Literal["video", "image"] = "video"
    model: Annotated[str, Field(min_length=1)] | None = None
    prompt: str = "A scripted dream"
    callback_url: str | None = None
    queued_s: _Seconds | None = None
    dreaming_s: _Seconds | None = None
    outcome: Outcome | None = None
    failure_reason: str | None = None


class Ending(BaseModel):
    """How to end a generation now."""

    model_config = ConfigDict(extra="forbid")

    outcome: Literal["completed", "failed"] = "completed"
    failure_reason: str | None = None


def install(app: FastAPI, *, world: World, faults: Faults, tally: Tally) -> None:
    """Add the control surface and its error answers to the app."""
    app.include_router(_generations(world), prefix="/_simulator")
    app.include_router(_faults(faults), prefix="/_simulator")
    app.include_router(_counts(world, tally))
    for error in (NotFoundError, ConflictError, InvalidInputError):
        app.add_exception_handler(error, _explain)


def _generations(world: World) -> APIRouter:
    router = APIRouter()

    @router.post("/generations")
    async def start(request: Request, body: Scripted) -> Response:
        return _show(world, _start(world, body), request, status=201)

    @router.post("/generations/{generation_id}/finish")
    async def finish(request: Request, generation_id: str, body: Ending) -> Response:
        ended = world.finish(generation_id, Outcome(body.outcome), body.failure_reason)
        return _show(world, ended, request, status=200)

    return router


def _faults(faults: Faults) -> APIRouter:
    router = APIRouter()

    @router.post("/faults", status_code=201)
    async def add_fault(fault: Fault) -> Fault:
        faults.add(fault)
        return fault

    @router.delete("/faults")
    async def clear_faults() -> Response:
        faults.clear()
        return Response(status_code=204)

    return router


def _counts(world: World, tally: Tally) -> APIRouter:
    router = APIRouter()

    @router.get("/_simulator/stats")
    async def stats() -> Response:
        figures = {"generations": len(world), **tally.snapshot()}
        return Response(orjson.dumps(figures), media_type="application/json")

    @router.get(SIGN_IN_PATH)
    async def sign_in() -> Response:
        tally.redirects_followed += 1
        return HTMLResponse("<html><body><h1>Sign in</h1></body></html>")

    return router


def _start(world: World, body: Scripted) -> Generation:
    told = Script(
        id=body.id,
        queued_s=body.queued_s,
        dreaming_s=body.dreaming_s,
        outcome=body.outcome,
        failure_reason=body.failure_reason,
    )
    asked: VideoRequest | ImageRequest
    match body.generation_type:
        case "video":
            asked = VideoRequest(model="ray-2", prompt=body.prompt, callback_url=body.callback_url)
        case "image":
            asked = ImageRequest(
                model="photon-1", prompt=body.prompt, callback_url=body.callback_url
            )
        case _:
            assert_never(body.generation_type)
    # A script may name a model that Luma has not got (yet), so it is set past the validation.
    model = body.model or asked.model
    echo = {**asked.model_dump(mode="json"), "model": model}
    return world.create(
        generation_type=body.generation_type, model=model, request=echo, script=told
    )


def _show(world: World, generation: Generation, request: Request, *, status: int) -> Response:
    content = shown(generation, world.state(generation), origin=origin_of(request.scope))
    return Response(orjson.dumps(content), status, media_type="application/json")


async def _explain(_request: Request, error: Exception) -> Response:
    match error:
        case NotFoundError():
            status = 404
        case ConflictError():
            status = 409
        case _:
            status = 422
    return JSONResponse({"detail": str(error)}, status)
