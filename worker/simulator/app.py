"""A look-alike of Luma's Dream Machine API under /dream-machine/v1, over a simulated world.

Errors are `{"detail": "…"}`; a body that does not validate is a 422 with FastAPI's list of details,
as Luma's own servers answer. Asset URLs lead back here and serve small, valid files. What Luma's
documents leave open is decided so: a list is newest first unless a fault says otherwise, upscale
and audio start a generation of their own, DELETE forgets a running generation, `callback_url` is
echoed but never called.

For tests, demonstrations and benchmarks there is `/_simulator` too: see `worker.simulator.control`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel

from worker.simulator import assets, control
from worker.simulator.faults import Faults
from worker.simulator.gate import BASE_PATH, UNHEARD_STATE, DreamMachine, Gate, Tally
from worker.simulator.pages import page
from worker.simulator.requests import (
    AudioRequest,
    CreateRequest,
    ImageRequest,
    ModifyVideoRequest,
    ReframeImageRequest,
    ReframeVideoRequest,
    UpscaleRequest,
    VideoRequest,
    refusal,
)
from worker.simulator.wire import client_left, origin_of
from worker.simulator.world import Generation, World, asset_names, shown

CREDIT_BALANCE_CENTS = 500_000.0
CONCEPTS = (
    "bolt_cam",
    "crane_down",
    "crane_up",
    "dolly_zoom",
    "handheld",
    "orbit_left",
    "orbit_right",
    "pan_left",
    "pan_right",
    "pull_out",
    "push_in",
    "static",
    "tilt_down",
    "tilt_up",
    "zoom_in",
    "zoom_out",
)


def create_app(world: World, *, faults: Faults | None = None, keys: Iterable[str] = ()) -> Gate:
    """Make the simulated Luma, an ASGI application.

    Args:
        world: its generations; the caller may create and finish some directly.
        faults: what goes wrong at first; the caller may change it while the app runs.
        keys: the accepted bearer keys; when empty, any key but an empty one will do.
    """
    faults = Faults() if faults is None else faults
    tally = Tally()
    app = FastAPI(
        title="Simulated Luma Dream Machine", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.include_router(_creations(world), prefix=BASE_PATH)
    app.include_router(_generations(world, faults.rng), prefix=BASE_PATH)
    app.include_router(_account(), prefix=BASE_PATH)
    app.include_router(_assets(world))
    control.install(app, world=world, faults=faults, tally=tally)
    return Gate(app, world=world, faults=faults, tally=tally, keys=keys, tongue=DreamMachine())


def _creations(world: World) -> APIRouter:
    router = APIRouter()

    def create(kind: str, body: CreateRequest) -> Generation:
        detail = refusal(body)
        if detail is not None:
            raise HTTPException(400, detail)
        echo = body.model_dump(mode="json")
        return world.create(generation_type=kind, model=body.model, request=echo)

    @router.post("/generations")
    @router.post("/generations/video")
    async def create_video(request: Request, body: VideoRequest) -> Response:
        return _show(world, create("video", body), request, status=201)

    @router.post("/generations/image")
    async def create_image(request: Request, body: ImageRequest) -> Response:
        generation = create("image", body)
        if body.sync:
            # A hair longer: a timer may fire a clock tick before the generation is over.
            left_s = world.left_s(generation) + 0.001
            await client_left(request.receive, within_s=min(left_s, body.sync_timeout))
            generation = world.find(generation.id) or generation
        return _show(world, generation, request, status=201)

    @router.post("/generations/image/reframe")
    async def reframe_image(request: Request, body: ReframeImageRequest) -> Response:
        return _show(world, create("image", body), request, status=201)

    @router.post("/generations/video/reframe")
    async def reframe_video(request: Request, body: ReframeVideoRequest) -> Response:
        return _show(world, create("video", body), request, status=201)

    @router.post("/generations/video/modify")
    async def modify_video(request: Request, body: ModifyVideoRequest) -> Response:
        return _show(world, create("video", body), request, status=201)

    return router


def _generations(world: World, rng: random.Random) -> APIRouter:
    router = APIRouter()

    def extend(generation_id: str, body: BaseModel) -> Generation:
        source = _existing(world, generation_id)
        echo = body.model_dump(mode="json")
        return world.create(generation_type="video", model=source.model, request=echo)

    @router.get("/generations/concepts/list")
    async def list_concepts() -> Response:
        return json_response(CONCEPTS)

    @router.get("/generations")
    async def list_generations(
        request: Request,
        limit: Annotated[int, Query(ge=1)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        origin, lie, habits = origin_of(request.scope), request.state.lie, request.state.habits
        rows = page(world, habits, rng, limit=limit, offset=offset)
        items = [shown(g, UNHEARD_STATE if lie else state, origin=origin) for g, state in rows]
        return json_response(
            {
                "generations": items,
                "count": len(items),
                "has_more": offset + len(items) < len(world),
                "limit": limit,
                "offset": offset,
            }
        )

    @router.delete("/generations/{generation_id}")
    async def delete_generation(generation_id: str) -> Response:
        if not world.delete(generation_id):
            raise HTTPException(404, "Generation not found")
        return Response(status_code=204)

    @router.post("/generations/{generation_id}/upscale")
    async def upscale(request: Request, generation_id: str, body: UpscaleRequest) -> Response:
        return _show(world, extend(generation_id, body), request, status=200)

    @router.post("/generations/{generation_id}/audio")
    async def add_audio(request: Request, generation_id: str, body: AudioRequest) -> Response:
        return _show(world, extend(generation_id, body), request, status=200)

    return router


def _account() -> APIRouter:
    router = APIRouter()

    @router.get("/credits")
    async def get_credits() -> Response:
        return json_response({"credit_balance": CREDIT_BALANCE_CENTS})

    @router.get("/ping")
    async def ping() -> Response:
        return json_response({"message": "pong"})

    return router


def _assets(world: World) -> APIRouter:
    router = APIRouter()

    @router.api_route("/dream_machine/{generation_id}/{name}", methods=["GET", "HEAD"])
    async def asset(generation_id: str, name: str) -> Response:
        generation = _existing(world, generation_id)
        if world.state(generation) != "completed" or name not in asset_names(generation).values():
            raise HTTPException(404, "Asset not found")
        media_type, data = assets.asset_file(name)
        return Response(data, media_type=media_type)

    return router


def _existing(world: World, generation_id: str) -> Generation:
    generation = world.find(generation_id)
    if generation is None:
        raise HTTPException(404, "Generation not found")
    return generation


def _show(world: World, generation: Generation, request: Request, *, status: int) -> Response:
    state = world.state(generation)
    return json_response(shown(generation, state, origin=origin_of(request.scope)), status)


def json_response(content: Any, status: int = 200) -> Response:
    """Answer with JSON as it is, past FastAPI's serialisation."""
    return Response(orjson.dumps(content), status, media_type="application/json")
