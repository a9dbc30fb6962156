"""What the API says of itself: OpenAPI 3.1, with the webhooks it sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from worker.api import bodies, examples, schemas
from worker.api.gate import MAX_BODY_BYTES, OPEN_PATHS
from worker.api.problems import MEDIA_TYPE
from worker.model import EndpointEvent, EventType, JsonObject
from worker.requests import (
    GENERATION_ID,
    EndpointRequest,
    RecoverRequest,
    RotateRequest,
    SubmitRequest,
    TrackRequest,
)
from worker.submissions import MAX_KEY_LENGTH

_SCHEMAS = "#/components/schemas/"

_FASTAPIS_OWN = {"HTTPValidationError", "ValidationError"}

_DESCRIPTION = """
Hand over the ID of a generation that is running; get a signed webhook when it is over.

Times are RFC 3339 in UTC. What is absent is null. Every error is an `application/problem+json`
(RFC 9457) whose `type` is `about:blank`: its status says what it is, `detail` what to do, and
`field` and `errors` what to change in what was sent. Bodies may have up to 1 MiB.

With keys configured, every route under `/v1` needs `Authorization: Bearer <key>`. A read-only key
may GET, without `fresh`. Without keys the server answers on loopback only.
"""

_PROBLEMS = {
    400: "The provider refuses the request.",
    401: "A key is needed, or this one is not known.",
    403: "This key may only read.",
    404: "There is no such thing, or no longer.",
    409: "It has other settings, is over, is off, or has no secret: `detail` says which.",
    402: "The provider says that the account has no credit left.",
    413: f"The body is over {MAX_BODY_BYTES} bytes.",
    415: "The provider takes no such request.",
    422: "`field` cannot be used; `detail` says why.",
    500: "A fault of Dreamhook, which its log describes.",
    429: "The provider takes no more requests just now; `Retry-After` is its own.",
    502: "The provider refuses the account's credentials, or gives an answer that makes no sense.",
    504: "The provider has not answered; `instance` is where to ask what came of it.",
    503: "It cannot be done now; `Retry-After` says when to ask again.",
}

_EVENTS: dict[EventType | EndpointEvent, str] = {
    EventType.COMPLETED: "The generation is done; its assets are in `data`.",
    EventType.FAILED: "The provider says that the generation failed.",
    EventType.EXPIRED: "Dreamhook gave up: `reason` is `deadline` or `not_found`.",
    EventType.UPDATED: "The provider's own state changed. Sent only to those who ask for it.",
    EndpointEvent.DISABLED: (
        "Another endpoint was switched off, for `reason`. Sent to endpoints that ask for it."
    ),
    EndpointEvent.TEST: "Somebody wants to see that this endpoint works; there is nothing to do.",
}


def text_answer(media_type: str, example: str, description: str) -> JsonObject:
    """Describe an answer that is not JSON."""
    content = {media_type: {"schema": {"type": "string"}, "example": example}}
    return {"description": description, "content": content}


def answer(model: type[BaseModel], description: str | None = None) -> JsonObject:
    """Describe an answer."""
    return {
        "description": description or (model.__doc__ or "").partition("\n")[0],
        "content": {"application/json": {"schema": _ref(model)}},
    }


def problems(*statuses: int) -> dict[int | str, JsonObject]:
    """Describe problems."""
    content = {MEDIA_TYPE: {"schema": _ref(schemas.Problem)}}
    return {each: {"description": _PROBLEMS[each], "content": content} for each in statuses}


def _ref(model: type[BaseModel]) -> JsonObject:
    return {"$ref": f"{_SCHEMAS}{model.__name__}"}


def _body(model: type[BaseModel], example: JsonObject, *, required: bool) -> JsonObject:
    content = {"application/json": {"schema": _ref(model), "example": example}}
    return {"required": required, "content": content}


TRACK_BODY = _body(TrackRequest, examples.TRACK, required=False)
SUBMIT_BODY = _body(SubmitRequest, examples.SUBMIT, required=True)
BATCH_BODY = _body(schemas.BatchRequest, examples.BATCH, required=True)
ENDPOINT_BODY = _body(EndpointRequest, examples.ENDPOINT_REQUEST, required=False)
ROTATE_BODY = _body(RotateRequest, examples.ROTATE, required=False)
RECOVER_BODY = _body(RecoverRequest, examples.RECOVER, required=True)
_EVENT_BODY = _body(bodies.Event, examples.EVENT, required=True)
_NOTICE_BODY = _body(bodies.Notice, examples.NOTICE, required=True)
IDEMPOTENCY_KEY: JsonObject = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
    "description": "Of two calls with the same key, such as a UUID, the second makes nothing.",
}
TRACKER_PATH = [
    {"name": "account", "in": "path", "required": True, "schema": {"type": "string"}},
    {
        "name": "generation_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{GENERATION_ID.pattern}$"},
    },
]


def document(routes: Sequence[BaseRoute], *, version: str) -> JsonObject:
    """Write the whole document."""
    spec: JsonObject = get_openapi(
        title="Dreamhook",
        version=version,
        openapi_version="3.1.0",
        summary="Parcel tracking for AI generations",
        description=_DESCRIPTION.strip(),
        routes=routes,
    )
    spec["security"] = [{"key": []}]
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            _complete(operation, is_open=path in OPEN_PATHS)
    components = spec.setdefault("components", {})
    schemas_found = components.get("schemas", {}) | _definitions()
    components["schemas"] = {
        name: schemas_found[name] for name in sorted(schemas_found) if name not in _FASTAPIS_OWN
    }
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "One of the configured keys."}
    }
    spec["webhooks"] = {name.value: {"post": _webhook(name)} for name in _EVENTS}
    return spec


def _complete(operation: JsonObject, *, is_open: bool) -> None:
    """Add what holds for every route of its kind; take out what FastAPI takes for granted."""
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]  # of a route whose parameters are texts of any kind
    if is_open:
        operation["security"] = []
        return
    for status, problem in problems(401, 403, 500, 503).items():
        responses.setdefault(str(status), problem)
    operation["responses"] = dict(sorted(responses.items()))


def _definitions() -> JsonObject:
    """Describe all that is sent and answered."""
    models: list[type[BaseModel]] = [TrackRequest, SubmitRequest, schemas.BatchRequest]
    models += [EndpointRequest, RotateRequest, RecoverRequest]
    models += [*schemas.Answer.__subclasses__(), schemas.EndpointAndSecret]
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=f"{_SCHEMAS}{{model}}"
    )
    definitions: JsonObject = found["$defs"]
    for model, example in examples.OF_ANSWERS.items():
        definitions[model]["examples"] = [example]
    return definitions


def _webhook(name: EventType | EndpointEvent) -> JsonObject:
    def header(header_name: str, description: str) -> JsonObject:
        shape: dict[str, Any] = {"name": header_name, "in": "header", "required": True}
        return {**shape, "schema": {"type": "string"}, "description": description}

    return {
        "operationId": name.value,
        "summary": name.value,
        "description": _EVENTS[name],
        "tags": ["webhooks"],
        "security": [],
        "parameters": [
            header("webhook-id", "The event's ID: the same on every attempt."),
            header("webhook-timestamp", "When this attempt was made, in seconds since 1970."),
            header("webhook-signature", "`v1,` and the base64 of an HMAC-SHA256, per secret."),
        ],
        "requestBody": _EVENT_BODY if isinstance(name, EventType) else _NOTICE_BODY,
        "responses": {
            "2XX": {"description": "Taken."},
            "410": {"description": "No more of these: the endpoint is switched off."},
            "default": {"description": "Not taken: it is tried again, for three days."},
        },
    }
