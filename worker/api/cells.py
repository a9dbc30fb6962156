"""Several cells behind one API: a request goes to the cell it is about, or to all of them.

Each cell has the whole API, as a deployment by itself has. What is about one account is answered by
its cell; what is about all is put together here (`worker.api.adding`). Of what is written to all,
endpoints alone, the first cell's answer counts, and its secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request, Response
from pydantic_core import from_json, to_json
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.api import adding, schemas, scraping
from worker.api.exposition import of_cells
from worker.api.inner import Answer, ask
from worker.api.monitoring import metrics_answer
from worker.api.problems import Problem, problem_of
from worker.api.routing import json_answer
from worker.cells import cell_of
from worker.endpoints import Endpoints
from worker.errors import DreamhookError, InvalidInputError, UnavailableError
from worker.merging import MergedStream
from worker.model import JsonObject
from worker.requests import MAX_BATCH
from worker.status import Status

TIMES = {"trackers": "tracked_at", "deliveries": "created_at", "generations": "begun_at"}
"""The lists that are merged, and by what."""

_AWAY = HTTPStatus.SERVICE_UNAVAILABLE
_MISSING = HTTPStatus.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its whole API, and of its use cases those that no answer of it can stand for."""

    app: ASGIApp
    endpoints: Endpoints
    status: Status


class Cells:
    """The API of several cells, an ASGI application. The gate stands before it.

    Args:
        cells: by name, at least one.
        stream: what happens in all of them.
        spread: the accounts whose generations are divided over all of them.
    """

    def __init__(
        self, cells: Mapping[str, Cell], stream: MergedStream, spread: Collection[str]
    ) -> None:
        self._cells = dict(cells)
        self._stream = stream
        self._spread = frozenset(spread)
        self._first = next(iter(self._cells))
        endpoint = "/v1/endpoints/{name}"
        self._of_all = [
            Route("/v1/trackers", self._track_many, methods=["POST"]),
            Route("/v1/generations", self._submit, methods=["POST"]),
            *(Route(f"/v1/{what}", self._list, methods=["GET"]) for what in TIMES),
            Route("/v1/deliveries/{name}", self._search, methods=["GET"]),
            Route("/v1/generations/{name}", self._search, methods=["GET"]),
            Route(endpoint, self._search, methods=["GET"]),
            Route("/v1/deliveries/{name}/replay", self._search, methods=["POST"]),
            Route("/v1/endpoints", self._search, methods=["GET"]),
            Route(endpoint, self._put_endpoint, methods=["PUT"]),
            Route(endpoint, self._delete_endpoint, methods=["DELETE"]),
            Route(f"{endpoint}/rotate", self._rotate, methods=["POST"]),
            Route(f"{endpoint}/recover", self._recover, methods=["POST"]),
            Route("/v1/stats", self._stats, methods=["GET"]),
            Route("/v1/accounts", self._accounts, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        for route in self._of_all if scope["type"] == "http" else ():
            match, found = route.matches(scope)
            if match is Match.FULL:
                try:
                    await route.handle({**scope, **found}, receive, send)
                except DreamhookError as error:
                    await problem_of(error).response()(scope, receive, send)
                return
        await self._cells[self._cell_for(scope["path"])].app(scope, receive, send)

    def _cell_for(self, path: str) -> str:
        """Name the cell that alone is asked for this; for what all could answer, the first."""
        match path.split("/")[1:]:
            case ["v1", "trackers", account, generation_id, *_]:
                return self._home(account, generation_id)
            case ["v1", "accounts", account, "generations", *more]:
                return self._home(account, "".join(more))
            case ["v1", "hints", account, *_]:
                return self._home(account)
            case _:
                return self._first

    def _home(self, account: str, generation_id: str = "") -> str:
        return cell_of(self._cells, account, generation_id if account in self._spread else None)

    async def _ask(self, name: str, request: Request, body: bytes | None = None) -> Answer:
        sent = await request.body() if body is None else body
        return await ask(self._cells[name].app, request.scope, sent)

    async def _ask_all(self, request: Request) -> dict[str, Answer]:
        body = await request.body()
        answers = await asyncio.gather(*(self._ask(name, request, body) for name in self._cells))
        return dict(zip(self._cells, answers, strict=True))

    # --- reading ----------------------------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        """Merge a page of each cell's list; that of one account is in one cell."""
        query = dict(request.query_params)
        account, cursor = query.get("account"), query.pop("cursor", None)
        if account is not None and account not in self._spread:
            return (await self._ask(self._home(account), request)).response()
        places: dict[str, str | None] = dict.fromkeys(self._cells)
        if cursor is not None:
            places = adding.places_of(cursor)
        queries = {
            name: query if place is None else {**query, "cursor": place}
            for name, place in places.items()
            if name in self._cells
        }
        asked = (ask(self._cells[n].app, request.scope, query=q) for n, q in queries.items())
        answers = dict(zip(queries, await asyncio.gather(*asked), strict=True))
        _all_there(answers, "the list would not be whole. Ask for an account that lives elsewhere")
        for answer in answers.values():
            if not answer.is_ok:
                return answer.response()
        pages = {name: _page(answer, places[name]) for name, answer in answers.items()}
        limit = int(query.get("limit", schemas.PageQuery().limit))
        by = TIMES[request.url.path.rpartition("/")[2]]
        return json_answer(adding.merged(pages, by, limit))

    async def _search(self, request: Request) -> Response:
        """Ask all for what any of them may have; asking changes nothing where it is not."""
        return self._found(await self._ask_all(request)).response()

    @staticmethod
    def _found(answers: Mapping[str, Answer]) -> Answer:
        """Take the answer of who has it; of an endpoint, of who has it off, or owes it the most."""
        name, answer = min(answers.items(), key=lambda row: _rank(row[1]))
        if answer.status == _AWAY:
            _all_there({name: answer}, "what you ask for may be there")
        return answer

    async def _stats(self, request: Request) -> Response:
        answers = await self._ask_all(request)
        told = {name: each.json() for name, each in answers.items() if each.is_ok}
        if not told:
            return self._found(answers).response()
        away = [f"cell {n}: {a.json()['detail']}" for n, a in answers.items() if n not in told]
        shape = adding.stats(told)
        return json_answer({**shape, "troubles": away + shape["troubles"]})

    async def _accounts(self, request: Request) -> Response:
        answers = await self._ask_all(request)
        _all_there(answers, "nobody can tell of its accounts")
        told = [
            [each for each in answer.json()["items"] if self._has(name, each)]
            for name, answer in answers.items()
        ]
        return json_answer({"items": adding.accounts(told)})

    def _has(self, name: str, account: JsonObject) -> bool:
        """Say whether a cell has an account, or a share in it, or trackers that are astray."""
        return not account["configured"] or self._is_in(name, account["name"])

    def _is_in(self, name: str, account: str) -> bool:
        """Say whether a cell has an account, or a share in it."""
        return account in self._spread or self._home(account) == name

    async def _ready(self, request: Request) -> Response:
        told = {name: each.json() for name, each in (await self._ask_all(request)).items()}
        shape = adding.readiness(told)
        return json_answer(shape, HTTPStatus.OK if shape["ok"] else _AWAY)

    async def _metrics(self, request: Request) -> Response:
        """Show those of all cells, or of the one that is named as a deployment by itself."""
        name = request.query_params.get("cell")
        if name is not None and name not in self._cells:
            known = ", ".join(self._cells)
            raise InvalidInputError("cell", f"name one of {known}, or leave it out for all of them")
        if name is not None:
            return (await self._ask(name, request)).response()
        statuses = {name: cell.status for name, cell in self._cells.items()}
        families = of_cells(await scraping.snapshots(statuses, self._is_in))
        return metrics_answer(request, families, self._stream.listeners)

    # --- writing ----------------------------------------------------------------------------------

    async def _track_many(self, request: Request) -> Response:
        """Send each item to its cell, and put the outcomes together in order."""
        given = _object(await request.body())
        items = given.get("trackers")
        if not isinstance(items, list) or not 0 < len(items) <= MAX_BATCH:
            return (await self._ask(self._first, request)).response()  # refuses it, or does nothing
        places: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(self._home_of(item), []).append(place)
        asked = (
            self._ask(name, request, _json({**given, "trackers": [items[n] for n in some]}))
            for name, some in places.items()
        )
        results: dict[int, JsonObject] = {}
        for (name, some), answer in zip(places.items(), await asyncio.gather(*asked), strict=True):
            if answer.status == _AWAY:
                results.update((place, _untracked(items[place], name, answer)) for place in some)
            elif answer.is_ok:
                results.update(zip(some, answer.json()["results"], strict=True))
            else:
                return answer.response()
        return json_answer({"results": [results[place] for place in range(len(items))]})

    def _home_of(self, item: object) -> str:
        """Name the cell of what is to be tracked; what cannot be used any cell refuses."""
        sent = item if isinstance(item, dict) else {}
        return self._home(str(sent.get("account")), str(sent.get("generation_id")))

    async def _submit(self, request: Request) -> Response:
        account = str(_object(await request.body()).get("account"))
        if account in self._spread:
            raise InvalidInputError(
                "account",
                f"{account} is spread over cells, and which of them has a generation is not known"
                " before its ID is. Create it at the provider, and track it with"
                " PUT /v1/trackers/{account}/{generation_id}",
            )
        return (await self._ask(self._home(account), request)).response()

    async def _put_endpoint(self, request: Request) -> Response:
        """Put it in all cells; what fails in between is mended by the next PUT of all of it."""
        await self._see_all(request)
        answers, name = await self._ask_all(request), request.path_params["name"]
        _all_there(answers, "it has the endpoint as it was. PUT it again, with its url")
        if name.startswith("url_"):  # in those cells that have met it, without a secret
            return self._found(answers).response()
        refusal = next((each for each in answers.values() if not each.is_ok), None)
        if refusal is not None:
            return refusal.response()
        await self._share_secrets(name)
        return answers[self._first].response()

    async def _delete_endpoint(self, request: Request) -> Response:
        await self._see_all(request)
        answers = await self._ask_all(request)
        _all_there(answers, "it still has the endpoint")
        return self._found(answers).response()

    async def _rotate(self, request: Request) -> Response:
        await self._see_all(request)
        answer = await self._ask(self._first, request)
        if answer.is_ok:
            await self._share_secrets(request.path_params["name"])
        return answer.response()

    async def _recover(self, request: Request) -> Response:
        answers = await self._ask_all(request)
        _all_there(answers, "what it owes is not recovered; the rest is")
        found = self._found(answers)
        if not found.is_ok:
            return found.response()
        some = [each.json()["recovered"] for each in answers.values() if each.is_ok]
        return json_answer({"recovered": sum(some)}, found.status)

    async def _see_all(self, request: Request) -> None:
        """Make sure that all cells are there before something is written to the first of them."""
        path = f"/v1/endpoints/{request.path_params['name']}"
        scope = {**request.scope, "method": "GET", "path": path, "raw_path": path.encode()}
        answers = await asyncio.gather(*(ask(each.app, scope) for each in self._cells.values()))
        found = dict(zip(self._cells, answers, strict=True))
        _all_there(found, "endpoints are written to all cells, so nothing was changed")

    async def _share_secrets(self, name: str) -> None:
        """Let all cells sign for an endpoint as the first does."""
        secrets = await self._cells[self._first].endpoints.secrets(name)
        for cell in self._cells.values():
            await cell.endpoints.sign_with(name, secrets)


def _object(body: bytes) -> JsonObject:
    """Read a JSON object; what is none is an empty one here, and a cell refuses it."""
    try:
        found = from_json(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _json(value: object) -> bytes:
    """Write what `_object` read, NaN included: a cell says what it thinks of that."""
    return to_json(value, inf_nan_mode="constants")


def _page(answer: Answer, start: str | None) -> adding.CellPage:
    page = answer.json()
    return adding.CellPage(start, page["items"], answer.cursors, page["next_cursor"])


def _rank(answer: Answer) -> tuple[int, int]:
    """Put who did it before who refused it, who is away, and who does not have it."""
    if answer.is_ok:
        told = _object(answer.body)
        return 0 if told.get("enabled") is False else 1, -told.get("due", 0)
    return {int(_AWAY): 3, int(_MISSING): 4}.get(answer.status, 2), 0


def _all_there(answers: Mapping[str, Answer], so: str) -> None:
    """Make sure that all cells can answer.

    Raises:
        UnavailableError: one cannot; says which, what that means, and why it is.
    """
    for name, answer in answers.items():
        if answer.status == _AWAY:
            why = answer.json()["detail"]
            raise UnavailableError(f"Cell {name} cannot answer: {so}. It says: {why}")


def _untracked(item: object, cell: str, answer: Answer) -> JsonObject:
    sent = item if isinstance(item, dict) else {}
    problem = Problem(_AWAY, f"Cell {cell}: {answer.json()['detail']}")
    names = {name: sent.get(name) for name in ("account", "generation_id")}
    echo = {name: each if isinstance(each, str) else None for name, each in names.items()}
    return {**echo, "status": int(_AWAY), "error": problem.shape()}
