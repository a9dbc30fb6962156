"""Any provider, simulated from its data file: the examples in it are what it answers.

The file is read here on its own, not by the code that reads it for real looks, so the two can
disagree. What it can do is the status call, and the create call if the file describes one: that
takes any request and answers as the status call does. Assets lead back here.
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jmespath
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from starlette.types import Scope

from worker.errors import InvalidInputError
from worker.simulator import assets, control
from worker.simulator.faults import Call, Faults
from worker.simulator.gate import UNHEARD_STATE, Gate, Headers, Tally
from worker.simulator.wire import header, origin_of
from worker.simulator.world import Generation, World

STAGES = ("queued", "running", "completed", "failed")
_STAGE_OF = {"queued": "queued", "completed": "completed", "failed": "failed"}
_OURS = ("/_simulator/", "/assets/")
_PLACES = ("{id}", "{parts}", "{call}")


class Spoken:
    """How the provider of a data file speaks: see `worker.simulator.gate.Tongue`.

    Raises:
        InvalidInputError: the file has no examples to speak from.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._examples: Mapping[str, str] = data.get("examples", {})
        if not self._examples.keys() >= set(STAGES):
            raise InvalidInputError(
                "provider",
                f"its file needs an example of each of {', '.join(STAGES)} under [examples]",
            )
        self.base_path: str = urlsplit(data["base_url"]).path.rstrip("/")
        self._auth: Mapping[str, str] = data["auth"]
        path, _, query = data["get_generation"]["path"].partition("?")
        self._status = _pattern(self.base_path + path)
        self._by_query = next((p.split("=")[0] for p in query.split("&") if "{id}" in p), None)
        self._has_parts = "{parts}" in path
        create = data.get("create_generation")
        self._create = _pattern(self.base_path + create["path"]) if create else None
        self._request_id = data.get("request_id_header", "X-Request-Id").lower().encode()
        self._state: str = data["read"]["state"]

    def call_of(self, scope: Scope) -> tuple[Call, str | None] | None:
        """See `Tongue`."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        if path.startswith(_OURS):
            return None
        found = self._status.fullmatch(path) if scope["method"] == "GET" else None
        if found:
            return Call.GET, self._id(found.groupdict().get("place", ""), scope)
        if scope["method"] == "POST" and self._create and self._create.fullmatch(path):
            return Call.CREATE, None
        return Call.OTHER, None

    def _id(self, place: str, scope: Scope) -> str:
        if self._by_query is not None:
            return _asked(scope, self._by_query)
        return unquote(place.replace("/", ":") if self._has_parts else place)

    def key_of(self, scope: Scope) -> str:
        """See `Tongue`. A signed token is taken as it is: what it says is not looked into."""
        if "query" in self._auth:
            sent = _asked(scope, self._auth["query"])
        else:
            sent = header(scope, self._auth["header"].lower().encode()).decode("latin-1")
        before = re.split(r"\{api_key\}|\{jwt\}", self._auth["value"])[0]
        return sent[len(before) :].strip() if sent.lower().startswith(before.lower()) else ""

    def told(self, generation: Generation, state: str, scope: Scope) -> bytes:
        """See `Tongue`."""
        text = self._examples[_STAGE_OF.get(state, "running")]
        body = filled(text, generation, origin_of(scope))
        return self._strange(body) if state == UNHEARD_STATE else body

    def _strange(self, body: bytes) -> bytes:
        """Put a state that nobody has heard of for the one it has, if it has a word for it."""
        word = jmespath.search(self._state, json.loads(body))
        return body.replace(f'"{word}"'.encode(), f'"{UNHEARD_STATE}"'.encode())

    def headers(self, scope: Scope) -> Headers:
        """See `Tongue`. A request's own ID is given back, as Luma's Agents API does."""
        sent = header(scope, self._request_id)
        return [(self._request_id, sent or str(uuid.uuid4()).encode())]


def filled(example: str, generation: Generation, origin: str) -> bytes:
    """Put a generation into an example: its ID, its birth, and where its assets are."""
    parts = generation.id.split(":")
    born = datetime.fromtimestamp(generation.born, tz=UTC)
    values = {
        "id": generation.id,
        "parts": "/".join(parts),
        "last": parts[-1],
        "origin": origin,
        "created_at": born.isoformat().replace("+00:00", "Z"),
    }
    example = example.replace('"{created_ms}"', str(round(generation.born * 1000)))
    for name, value in values.items():
        example = example.replace(f"{{{name}}}", json.dumps(value)[1:-1])
    return example.strip().encode()


def create_spoken_app(
    text: str, world: World, *, faults: Faults | None = None, keys: Iterable[str] = ()
) -> Gate:
    """Make a simulated provider of the text of its data file, an ASGI application.

    Args:
        text: the file, as `dreamhook provider check` finds nothing wrong with it.
        world: its generations; the caller may create and finish some directly.
        faults: what goes wrong at first; the caller may change it while the app runs.
        keys: the accepted keys; when empty, any key but an empty one will do.

    Raises:
        InvalidInputError: the file has no examples to speak from.
    """
    tongue, faults, tally = Spoken(tomllib.loads(text)), faults or Faults(), Tally()
    app = FastAPI(title="Simulated provider", docs_url=None, redoc_url=None)
    control.install(app, world=world, faults=faults, tally=tally)
    app.include_router(_rest(world, tongue))
    return Gate(app, world=world, faults=faults, tally=tally, keys=keys, tongue=tongue)


def base_path_of(text: str) -> str:
    """Tell the path that the provider's base URL has."""
    return Spoken(tomllib.loads(text)).base_path


def _rest(world: World, tongue: Spoken) -> APIRouter:
    router = APIRouter()

    @router.api_route("/assets/{name}", methods=["GET", "HEAD"])
    async def asset(name: str) -> Response:
        if not name.endswith((".mp4", ".png")):
            raise HTTPException(404, "Asset not found")
        media_type, data = assets.asset_file(name)
        return Response(data, media_type=media_type)

    @router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def create(request: Request, rest: str) -> Response:  # noqa: ARG001 - the gate has read it
        asked = tongue.call_of(request.scope)
        if asked is None or asked[0] is not Call.CREATE:
            raise HTTPException(404, "Not Found")
        sent: Any = await request.json()
        model = str(sent.get("model", "ray-2")) if isinstance(sent, dict) else "ray-2"
        born = world.create(generation_type="video", model=model, request={})
        told = tongue.told(born, world.state(born), request.scope)
        return Response(told, 201, media_type="application/json")

    return router


def _pattern(path: str) -> re.Pattern[str]:
    """Make a pattern of a path in which something stands for an ID or a call."""
    text = re.escape(path)
    for place in _PLACES:
        text = text.replace(
            re.escape(place), "(?P<place>[^/]+)" if place == "{id}" else "(?P<place>.+)"
        )
    return re.compile(text)


def _asked(scope: Scope, name: str) -> str:
    """Find a query parameter, or nothing."""
    query: str = scope["query_string"].decode("latin-1")
    return parse_qs(query).get(name, [""])[0]
