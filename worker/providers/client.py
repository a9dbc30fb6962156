"""One account's connection to its provider: look-ups go in, answers come out.

Whatever the network or the provider does, the outcome is a value of `worker.model`; nothing here
raises for it. The client knows HTTP; what a body says is read in `worker.providers.reading`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, overload
from urllib.parse import quote

import httpx

from worker.listing import Page
from worker.model import (
    Account,
    Answer,
    Creation,
    JsonObject,
    Missing,
    Refused,
    Same,
    Seen,
    Throttled,
    Trouble,
)
from worker.providers import creating, reading
from worker.providers.exchange import (
    MAX_BODY_BYTES,
    Exchange,
    Reply,
    in_words,
    instant,
    json_of,
    retry_after_s,
    titled,
)
from worker.providers.spec import Provider
from worker.providers.transport import MAX_CONNECTIONS, connect
from worker.refusals import Refusal
from worker.requests import GENERATION_ID
from worker.submissions import Row

MAX_PAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Json:
    """A 2xx whose body is JSON; `answered_at` is what its `Date` says, in ms."""

    value: Any
    answered_at: int | None
    request_id: str | None


class ProviderClient:
    """Looks up generations for one account.

    At most `MAX_CONNECTIONS` calls are under way at once; further ones wait for their turn, which
    is not counted against their time. `page` is the most rows to ask the list call for, None if
    the provider has no such call; it `shows_requests` if each row has what was asked for.
    `callback` is the member of a create request that takes a URL to call, if there is one.
    Redirects are not followed, no cookies are kept, and the usual proxy variables of the
    environment are honoured.

    Args:
        account: whose generations; its base URL and API key are used as they are.
        provider: where the calls are and how to read their answers.
        timeout_s: the time a call may take as a whole, from connecting to the last byte.

    Raises:
        ConfigurationError: the environment's proxy or certificate settings cannot be used.
    """

    def __init__(self, account: Account, provider: Provider, *, timeout_s: float = 10.0) -> None:
        self.asset_lifetime_s = provider.asset_lifetime_s or provider.asset_refresh_s
        listed = provider.list_generations
        self.page = listed.page if listed else None
        created = provider.create_generation
        self.callback = created.callback if created else None
        self.shows_requests = bool(listed and created and created.echo)
        self._account = account
        self._provider = provider
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._exchange = Exchange(account, provider, connect())
        self._creator = creating.Creator(account, provider)

    @overload
    async def get_generation(self, generation_id: str) -> Seen | Refusal: ...

    @overload
    async def get_generation(self, generation_id: str, *, mark: str | None) -> Answer: ...

    async def get_generation(self, generation_id: str, *, mark: str | None = None) -> Answer:
        """Look at one generation; `mark` is what a look has shown before, if it ran then."""
        path = _placed(self._provider.get_generation.path, generation_id)
        if path is None:
            return Missing("this cannot be a generation's ID")
        reply = await self._ask(path)
        if not isinstance(reply, _Json):
            return reply
        found = reading.read_id(self._provider, reply.value)
        answer: Answer
        if found is not None and not _is_same(found, generation_id):
            answer = Trouble("the answer is about another generation")
        else:
            answer = reading.read_again(
                self._provider, reply.value, mark, answered_at=reply.answered_at
            )
        if not isinstance(answer, Seen | Same):
            answer = replace(answer, detail=self._exchange.presentable(answer.detail))
        return replace(answer, request_id=reply.request_id) if reply.request_id else answer

    async def list_generations(
        self, *, limit: int, offset: int, marks: Mapping[str, str | None] | None = None
    ) -> Page | Refusal:
        """Look at one page of the account's generations: `limit` rows from rank `offset` on.

        With `marks` the rows of those IDs alone are read, each with what a look has shown before
        if it ran then.

        The provider decides how many rows come, in which order, and how old they are. If it has no
        list call the answer is `Missing`, without a request.
        """
        call = self._provider.list_generations
        if call is None:
            return Missing("this provider has no list of generations")
        path = f"{call.path}?{call.limit}={limit}&{call.offset}={offset}"
        reply = await self._ask(path, cap=MAX_PAGE_BYTES)
        if not isinstance(reply, _Json):
            return reply
        rows = reading.read_rows(
            self._provider,
            call.rows,
            reply.value,
            answered_at=reply.answered_at,
            marks=marks,
        )
        return rows if isinstance(rows, Trouble) else Page(offset, limit, rows)

    async def listed(
        self, *, limit: int, offset: int, clock: Callable[[], int]
    ) -> list[Row] | Refusal:
        """Look at a page of the account's generations for what each of them was asked for.

        `clock` tells the time in ms that the rows' times are to be told in.
        """
        page = await self.list_generations(limit=limit, offset=offset)
        now = clock()  # the answer's own date is of this moment, not of when it was asked for
        if not isinstance(page, Page):
            return page
        return [
            creating.row(self._provider, name, seen, now=now)
            for name, seen in filter(None, page.rows)
            if isinstance(seen, Seen) and GENERATION_ID.fullmatch(name)  # else it cannot be tracked
        ]

    def check(self, request: JsonObject) -> None:
        """Make sure that there is a create call for this request, and that it can be sent.

        Raises:
            InvalidInputError: there is none, or it cannot; says why.
        """
        creating.path_of(self._provider, request)
        creating.body_of(request)

    async def create_generation(self, request: JsonObject, *, timeout_s: float) -> Creation:
        """Have a generation made; see `creating.Creator`."""
        return await self._creator.create(request, timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchange.aclose()
        await self._creator.aclose()

    async def _ask(self, path: str, *, cap: int = MAX_BODY_BYTES) -> _Json | Refusal:
        reply = Reply(cap)
        async with self._turns:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._exchange.receive(path, reply)
            except TimeoutError:
                reply.fault = f"no complete answer within {self._timeout_s:g} s"
            except Exception as error:  # noqa: BLE001 - a strange answer trips libraries in strange places
                reply.fault = in_words(error)
        return self._meaning(reply)

    def _meaning(self, reply: Reply) -> _Json | Refusal:
        status, request_id = reply.status, self._exchange.request_id(reply)
        if status is None:
            return Trouble(self._exchange.presentable(reply.fault or "no answer"))
        if not httpx.codes.is_success(status):
            refusal = _refusal(status, self._exchange.detail(reply), retry_after_s(reply))
            return replace(refusal, request_id=request_id)
        try:
            return _Json(json_of(reply), instant(reply.headers.get("date")), request_id)
        except ValueError as error:
            detail = self._exchange.presentable(f"{titled(status)}: {error}")
            return Trouble(detail, request_id=request_id)


def _placed(path: str, generation_id: str) -> str | None:
    """Put an ID into its place; None if it would name another resource there."""
    parts = generation_id.split(":") if "{parts}" in path else [generation_id]
    if not {"", ".", ".."}.isdisjoint(parts):
        return None
    quoted = [quote(part, safe="", errors="replace") for part in parts]
    return path.replace("{parts}", "/".join(quoted)).replace("{id}", quoted[0])


def _refusal(status: int, detail: str, retry_after_s: float | None) -> Refusal:
    match status:
        case HTTPStatus.NOT_FOUND:
            return Missing(detail)
        case HTTPStatus.UNAUTHORIZED:
            return Refused(detail)
        case HTTPStatus.FORBIDDEN:
            return Refused(detail, of_account=False)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled(detail, retry_after_s)
        case _:
            return Trouble(detail, retry_after_s)


def _is_same(found: str, asked: str) -> bool:
    """Tell whether an answer's ID is the one that was asked for, or the last part of it."""
    one, other = _canonical(found), _canonical(asked)
    return one == other or other.endswith(f":{one}")


def _canonical(generation_id: str) -> str:
    """Spell an ID as providers compare it: UUIDs are the same in any case, with or without "-"."""
    return generation_id.casefold().replace("-", "").replace("/", ":")
