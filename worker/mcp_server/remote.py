"""Asks a Dreamhook server, over its API."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus

from worker.client import ApiError, AsyncClient, UnreachableError, is_away
from worker.errors import DreamhookError
from worker.mcp_server import answers
from worker.mcp_server.answers import Deliveries, Delivery, Generation, Generations, QueueStats
from worker.mcp_server.arguments import ListDeliveries
from worker.mcp_server.desks import Tell, next_step
from worker.model import JsonObject

STEP_S = 5.0
"""The API is asked to wait for so long at a time, and whoever waits is told that it goes on."""

PAUSE_S = 1.0
"""Before the API is asked again, when it was away."""

PAGE = 1000
"""Trackers that the API shows at a time, at most."""

DEFAULT_ACCOUNT = "luma"

_NOTHING_MADE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}

ASKED_EVERY_S = 60.0
"""The server is asked so often which accounts it has, at most."""


class Usual:
    """Which account is meant if none is named: the only one, or `luma`. Asked for now and then."""

    def __init__(self) -> None:
        self._name = DEFAULT_ACCOUNT
        self._until = 0.0

    async def account(self, client: AsyncClient) -> str:
        """Tell it, asking the server if that was long ago."""
        if time.monotonic() >= self._until:
            names = [each["name"] for each in await client.accounts() if each["configured"]]
            self._name = names[0] if len(names) == 1 else DEFAULT_ACCOUNT
            self._until = time.monotonic() + ASKED_EVERY_S
        return self._name


class Remote:
    """One caller's desk at a Dreamhook server.

    Args:
        client: a connection with the caller's key.
        usual: knows the account that is meant if none is named.
    """

    def __init__(self, client: AsyncClient, usual: Usual) -> None:
        self._client = client
        self._usual = usual

    async def account(self, given: str | None) -> str:
        """Tell which account is meant."""
        return given or await self._usual.account(self._client)

    # --- generations ----------------------------------------------------------------------------

    async def show(self, account: str | None, generation_id: str, *, fresh: bool) -> Generation:
        """Show a tracker, or what the provider shows if there is none or it knows too little."""
        name = await self.account(account)
        try:
            tracker = await self._client.get(name, generation_id, fresh=fresh)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND or error.field == "account":
                raise
            return shown(await self._client.glance(name, generation_id))
        if not fresh and _is_stale(tracker):
            with suppress(ApiError):  # what is known is better than nothing, and tells its time
                tracker = await self._client.get(name, generation_id, fresh=True)
        return shown(tracker)

    async def listed(self, account: str | None, *, limit: int, offset: int) -> Generations:
        """Show a part of the provider's list."""
        name = await self.account(account)
        try:
            page = await self._client.glances(name, limit=limit, offset=offset)
        except ApiError as error:
            if error.field or error.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
                raise
            raise DreamhookError(
                f"{error.detail} With tracked_only=true this tool lists what is tracked."
            ) from error
        return Generations(items=list(map(shown, page["items"])), next_offset=page["next_offset"])

    async def tracked(self, account: str | None, *, limit: int, offset: int) -> Generations:
        """Show a part of what is tracked, or was, newest first."""
        items: list[JsonObject] = []
        cursor, end = None, offset + limit
        while len(items) <= end:
            most = min(PAGE, end + 1 - len(items))
            page = await self._client.trackers(account=account, limit=most, cursor=cursor)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        more = end if len(items) > end else None
        return Generations(items=list(map(shown, items[offset:end])), next_offset=more)

    async def wait(
        self, account: str | None, generation_id: str, timeout_s: float, tell: Tell
    ) -> Generation:
        """Wait for a tracker's end. An API that is away for a while does not end the wait."""
        name, until = await self.account(account), time.monotonic() + timeout_s
        tracker = await self._tracked(name, generation_id)
        while tracker["state"] == "tracking" and (left_s := until - time.monotonic()) > 0:
            await tell(timeout_s - left_s, timeout_s, progress(tracker))
            asked_at, step_s = time.monotonic(), max(0.1, round(min(STEP_S, left_s), 1))
            try:
                tracker = await self._client.get(name, generation_id, wait=step_s)
            except (ApiError, UnreachableError) as error:
                if not is_away(error):
                    raise
            # Who answers at once, as one that stops does, is not to be asked in a tight loop.
            pause_s = min(left_s, asked_at + PAUSE_S - time.monotonic())
            if tracker["state"] == "tracking" and pause_s > 0:
                await asyncio.sleep(pause_s)
        return shown(tracker)

    async def _tracked(self, account: str, generation_id: str) -> JsonObject:
        try:
            return await self._client.get(account, generation_id)
        except ApiError as error:
            if error.field or error.status != HTTPStatus.NOT_FOUND:
                raise
            raise DreamhookError(f"{error.detail} Call track_generation first.") from error

    async def create(
        self,
        account: str | None,
        request: JsonObject,
        *,
        terms: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> Generation:
        """Have one created and tracked, in one step that no crash can tear apart."""
        key = idempotency_key or uuid.uuid4().hex
        submission = {"account": await self.account(account), "request": request, **(terms or {})}
        try:
            return shown(await self._client.create(key, **submission))
        except (ApiError, UnreachableError) as error:
            if not _may_have_created(error):
                raise
            told = error.detail if isinstance(error, ApiError) else str(error)
            raise DreamhookError(
                f"{told} Whether it was created is not known. Do not create it anew: repeat this"
                f" very call in a minute with idempotency_key={key!r}, which creates nothing twice"
                " and tells what came of it."
            ) from error

    async def track(self, account: str | None, generation_id: str, terms: JsonObject) -> Generation:
        """Track one."""
        return shown(await self._client.track(await self.account(account), generation_id, **terms))

    async def cancel(self, account: str | None, generation_id: str) -> Generation:
        """Stop tracking one."""
        return shown(await self._client.cancel(await self.account(account), generation_id))

    # --- webhooks and the queue -----------------------------------------------------------------

    async def deliveries(self, wanted: ListDeliveries) -> Deliveries:
        """Show the newest deliveries that fit."""
        only = wanted.model_dump(mode="json", exclude={"limit"})
        page = await self._client.deliveries(only, limit=wanted.limit)
        items = list(map(answers.delivery, page["items"]))
        return Deliveries(items=items, has_more=page["next_cursor"] is not None)

    async def replay(self, delivery_id: str) -> Delivery:
        """Make a delivery again."""
        return answers.delivery(await self._client.replay(delivery_id))

    async def stats(self) -> QueueStats:
        """Show the figures of the queue."""
        return answers.queue_stats(await self._client.stats())


def shown(shape: JsonObject) -> Generation:
    """Show a tracker, or what a provider shows of a generation."""
    return answers.generation(shape, next_step(shape, has_server=True))


def progress(shape: JsonObject) -> str:
    """Tell in a line how a generation is going."""
    text = shape["provider_state"] or "waiting for the first look"
    if shape["progress"] is not None:
        text += f", {shape['progress']:.0%} done"
    if shape.get("held"):
        text += f". {shape['held']['in_words']}"
    elif shape.get("next_poll_at"):
        text += f", next look at {shape['next_poll_at']}"
    return text


def _may_have_created(error: ApiError | UnreachableError) -> bool:
    """Tell whether a create call that went wrong may have created something nevertheless.

    A refusal, and that the API is away, say that nothing was made; but not if a proxy says it.
    """
    if not isinstance(error, ApiError):
        return error.was_sent
    if not error.is_stranger and error.status in _NOTHING_MADE:
        return False
    is_refusal = HTTPStatus.MULTIPLE_CHOICES <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return not is_refusal


def _is_stale(tracker: JsonObject) -> bool:
    """Tell whether the provider may know better: nobody watches it, or its URLs have expired."""
    if tracker["state"] in {"expired", "canceled"}:
        return True
    until = tracker["assets_expire_at"]
    return until is not None and datetime.fromisoformat(until) <= datetime.now(UTC)
