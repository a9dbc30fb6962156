"""The gate every API call passes: counted, struck by a fault or checked for its key, let through.

It stands in front of FastAPI as plain ASGI, for two reasons. Faults must come before any routing
and reach down to the socket; and a benchmark polls `GET /generations/{id}` thousands of times a
second, so that one call is answered here, without a framework.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeAlias

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.model import JsonObject
from worker.simulator.faults import Call, Faults, Kind
from worker.simulator.wire import answer, commit, detail, header, origin_of
from worker.simulator.world import Generation, World, shown

BASE_PATH = "/dream-machine/v1"
# A word that Luma has never used, for clients to keep their calm about.
UNHEARD_STATE = "hibernating"

_CALLS = {
    ("GET", "generations"): Call.LIST,
    ("GET", "generations/concepts/list"): Call.CONCEPTS,
    ("GET", "credits"): Call.CREDITS,
    ("GET", "ping"): Call.PING,
}
_CALLS_ON_ONE = {
    ("GET", ""): Call.GET,
    ("DELETE", ""): Call.DELETE,
    ("POST", "upscale"): Call.UPSCALE,
    ("POST", "audio"): Call.AUDIO,
}


Headers: TypeAlias = list[tuple[bytes, bytes]]


class Tongue(Protocol):
    """What a simulated provider's own way of speaking is made of."""

    def call_of(self, scope: Scope) -> tuple[Call, str | None] | None:
        """Name the call that is asked for, and its generation; None if it is none of the API."""

    def key_of(self, scope: Scope) -> str:
        """Find the key that was sent, or nothing."""

    def told(self, generation: Generation, state: str, scope: Scope) -> bytes:
        """Write an answer of the status call."""

    def headers(self, scope: Scope) -> Headers:
        """Give the headers that all answers of the status call have."""


class DreamMachine:
    """Luma's Dream Machine API."""

    def call_of(self, scope: Scope) -> tuple[Call, str | None] | None:
        """See `Tongue`."""
        path: str = scope["path"]
        return call_of(scope["method"], path) if path.startswith(f"{BASE_PATH}/") else None

    def key_of(self, scope: Scope) -> str:
        """See `Tongue`."""
        scheme, _, key = header(scope, b"authorization").partition(b" ")
        return key.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""

    def told(self, generation: Generation, state: str, scope: Scope) -> bytes:
        """See `Tongue`."""
        return orjson.dumps(shown(generation, state, origin=origin_of(scope)))

    def headers(self, _scope: Scope) -> Headers:
        """See `Tongue`."""
        return []


class Tally:
    """What came in: calls by name, GETs by generation ID, faults by kind, sign-in pages fetched."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.gets: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.redirects_followed = 0

    def count(self, call: Call, generation_id: str | None) -> None:
        """Count one call of the API, whatever its answer will be."""
        self.calls[call.value] += 1
        if call is Call.GET and generation_id is not None:
            self.gets[generation_id] += 1

    def snapshot(self) -> JsonObject:
        """Return the figures as JSON."""
        return {
            "calls": dict(self.calls),
            "gets": dict(self.gets),
            "faults": dict(self.faults),
            "redirects_followed": self.redirects_followed,
        }


class Gate:
    """An ASGI application: the simulated API, with `inner` for what the gate does not answer.

    Args:
        inner: answers all calls but the status call, and all paths outside the API.
        world: the generations.
        faults: the faults in force; may be changed while running.
        tally: where calls are counted.
        keys: the accepted keys; when empty, any key will do.
        tongue: how the provider speaks.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        world: World,
        faults: Faults,
        tally: Tally,
        keys: Iterable[str],
        tongue: Tongue,
    ) -> None:
        self._inner = inner
        self._world = world
        self._faults = faults
        self._tally = tally
        self._keys = frozenset(keys)
        self._tongue = tongue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or fail it as a fault says."""
        asked = self._tongue.call_of(scope) if scope["type"] == "http" else None
        if asked is None:
            await self._inner(scope, receive, send)
            return
        call, generation_id = asked
        self._tally.count(call, generation_id)
        fault = self._faults.strike(call, generation_id)
        if fault is not None:
            self._tally.faults[fault.kind.value] += 1
        if fault is not None and fault.kind is Kind.LOST:
            await self._inner(scope, receive, _unheard)
            await commit(fault, scope, receive, send)
            return
        if fault is not None and fault.kind is Kind.SLOW:
            send, fault = _after(fault.seconds or 0, send), None
        if fault is not None and fault.kind is not Kind.UNKNOWN_STATE:
            await commit(fault, scope, receive, send)
        elif not self._admits(scope):
            await answer(send, 401, detail("Invalid API key is provided"))
        elif call is Call.GET and generation_id is not None:
            await self._get(generation_id, scope, send, lie=fault is not None)
        else:
            # The list is FastAPI's to answer; it asks whether to lie about states, and how else.
            habits = self._faults.habits() if call is Call.LIST else []
            self._tally.faults.update(habit.kind.value for habit in habits)
            scope.setdefault("state", {}).update(lie=fault is not None, habits=habits)
            await self._inner(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        key = self._tongue.key_of(scope)
        return bool(key) and (not self._keys or key in self._keys)

    async def _get(self, generation_id: str, scope: Scope, send: Send, *, lie: bool) -> None:
        generation = self._world.find(generation_id)
        if generation is None:
            headers = self._tongue.headers(scope)
            await answer(send, 404, detail("Generation not found"), headers=headers)
            return
        state = UNHEARD_STATE if lie else self._world.state(generation)
        body = self._tongue.told(generation, state, scope)
        await answer(send, 200, body, headers=self._tongue.headers(scope))


async def _unheard(_message: Message) -> None:
    """Send nothing."""


def _after(seconds: float, send: Send) -> Send:
    """Send an answer so much later."""

    async def late(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return late


def call_of(method: str, path: str) -> tuple[Call, str | None]:
    """Name the API call that `path`, which starts with `BASE_PATH`, asks for, and its generation.

    >>> call_of("GET", "/dream-machine/v1/generations/g-1")
    (<Call.GET: 'get'>, 'g-1')
    >>> call_of("POST", "/dream-machine/v1/generations/video/reframe")
    (<Call.CREATE: 'create'>, None)
    """
    below = path.removeprefix(f"{BASE_PATH}/")
    call = _CALLS.get((method, below))
    if call is not None:
        return call, None
    collection, _, rest = below.partition("/")
    generation_id, _, verb = rest.partition("/")
    if collection != "generations":
        return Call.OTHER, None
    on_one = _CALLS_ON_ONE.get((method, verb)) if generation_id else None
    if on_one is not None:
        return on_one, generation_id
    return (Call.CREATE if method == "POST" else Call.OTHER), None
