"""The routes that show an account's generations as its provider shows them, tracked or not."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query as InQuery
from fastapi import Request, Response
from pydantic import Field

from worker.api.openapi import answer, problems
from worker.api.problems import Problem
from worker.api.routing import json_answer, may_only_read, router
from worker.api.schemas import Answer, Query
from worker.glances import Glances
from worker.model import JsonObject, Progress

_READS_ONLY = Problem(
    403,
    "This key may only read what is tracked: to ask the provider costs the account a request."
    " GET /v1/trackers, or use one of DREAMHOOK_API_KEYS.",
)

glances = router("generations")


class Glance(Answer):
    """A generation as its provider shows it at this moment."""

    account: str
    generation_id: str
    provider: str
    tracked: bool = Field(description="Whether it is being tracked.")
    state: Progress = Field(description="What the provider's word means.")
    provider_state: str = Field(description="The provider's own word, as it is.")
    model: str | None
    type: str | None
    progress: float | None = Field(description="From 0 to 1, while it runs, if the provider says.")
    assets: dict[str, str] = Field(description="URLs by name.")
    assets_expire_at: datetime | None = Field(description="If the provider promises so long.")
    failure_reason: str | None
    failure_code: str | None = Field(description="The provider's code for it, if it has codes.")
    retryable: bool | None = Field(
        description="Whether the same request may succeed; null if the provider does not say."
    )
    created_at: datetime | None = Field(description="As the provider says.")
    seen_at: datetime
    generation: JsonObject = Field(description="The provider's object, verbatim.")


class GlancePage(Answer):
    """A part of the provider's list, in its order."""

    items: list[Glance]
    next_offset: int | None = Field(description="Where there may be more; null: that was all.")


class GlancesQuery(Query):
    """Which part of the provider's list to show."""

    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    offset: int = Field(0, ge=0, le=1_000_000, description="How many to leave out first.")


def _glances(request: Request) -> Glances:
    found: Glances = request.app.state.glances
    return found


@glances.get(
    "/v1/accounts/{account}/generations/{generation_id}",
    summary="Show a generation as the provider shows it now",
    responses={200: answer(Glance), **problems(403, 404, 422)},
)
async def glance(request: Request, account: str, generation_id: str) -> Response:
    """Ask the provider once, within the account's budget. It need not be tracked, and stays so."""
    if may_only_read(request):
        return _READS_ONLY.response()
    return json_answer(await _glances(request).one(account, generation_id))


@glances.get(
    "/v1/accounts/{account}/generations",
    summary="List an account's generations as the provider lists them",
    responses={200: answer(GlancePage), **problems(403, 404, 422)},
)
async def glance_at_many(
    request: Request, account: str, query: Annotated[GlancesQuery, InQuery()]
) -> Response:
    """Ask the provider once, within the account's budget. 404 if it has no list."""
    if may_only_read(request):
        return _READS_ONLY.response()
    return json_answer(
        await _glances(request).page(account, limit=query.limit, offset=query.offset)
    )
