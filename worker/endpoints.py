"""What a caller may ask about endpoints: make, change, rotate, test, recover, delete."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from worker import addresses, events, shapes, signing
from worker.deliveries import holds_of
from worker.errors import ConflictError, InvalidInputError, NotFoundError
from worker.model import Delivery, DeliveryState, Endpoint, EndpointEvent, JsonObject, Secret
from worker.paging import Page, page_of
from worker.requests import EndpointRequest, Network, check_endpoint_name
from worker.store import Store, lane_of, redis_may_be_away

LIVE_SECRETS = 5
"""More signatures than these are not sent: the oldest secret stops signing early."""

RECOVERED_PER_STEP = 200


class Endpoints:
    """The use cases.

    Args:
        store: the state.
        start: starts the drain of a lane.
        allow_private: networks that webhooks may reach although they are not public.
    """

    def __init__(
        self,
        store: Store,
        *,
        start: Callable[[str], Awaitable[None]],
        allow_private: Sequence[Network],
    ) -> None:
        self._store = store
        self._start = start
        self._allow_private = tuple(allow_private)

    @redis_may_be_away
    async def put(self, name: str, request: EndpointRequest) -> tuple[JsonObject, bool]:
        """Make an endpoint, or change one; what is left out has its default, but for the URL.

        A request that says nothing but whether it is to be on leaves all else as it is.

        Returns:
            The endpoint, with its secret if it is new and has one of its own, and whether it is.

        Raises:
            InvalidInputError: a field cannot be used.
        """
        check_endpoint_name(name)
        secret = None if _is_bare(name) else signing.new_secret(os.urandom(32))
        if request.model_fields_set == {"enabled"}:
            put = await self._store.endpoints.switch(name, enabled=request.enabled)
        else:
            put = await self._store.endpoints.put(
                self._wanted(name, request), enabled=request.enabled, secret=secret
            )
        if put is None:
            raise InvalidInputError("url", "a new endpoint needs the URL that it stands for")
        await self._started(put.must_start)
        if not put.endpoint.enabled:
            await self._store.endpoints.release(name)
        shape = await self._one(put.endpoint)
        return (shape | {"secret": secret} if put.created and secret else shape), put.created

    def _wanted(self, name: str, request: EndpointRequest) -> Endpoint:
        return Endpoint(
            name=name,
            url=self._url(name, request),
            events=tuple(sorted(request.events or ())),
            headers=addresses.check_headers(request.headers) if request.headers else {},
            concurrency=request.concurrency,
            refresh_assets=request.refresh_assets,
        )

    def _url(self, name: str, request: EndpointRequest) -> str:
        if request.url is None:
            return ""
        url = addresses.check(request.url, self._allow_private, "url")
        if _is_bare(name) and name != addresses.endpoint_name(url):
            raise InvalidInputError("url", f"{name} stands for another URL; leave it out")
        return url

    @redis_may_be_away
    async def get(self, name: str) -> JsonObject:
        """Get an endpoint.

        Raises:
            NotFoundError: there is none.
        """
        return await self._one(await self._known(name))

    @redis_may_be_away
    async def list_endpoints(self, *, limit: int = 100, cursor: str | None = None) -> Page:
        """List endpoints, anonymous ones that have been used lately among them.

        Raises:
            InvalidInputError: the cursor is not one of ours.
        """
        now = await self._store.now()

        async def read(before: int | None, count: int) -> tuple[int | None, list[Endpoint]]:
            names = await self._store.endpoints.names(before=before, limit=count)
            found = await self._store.endpoints.get_many([name for _, name in names])
            return (names[-1][0] if len(names) == count else None), found

        items, next_cursor = await page_of(read, fits=lambda _: True, limit=limit, cursor=cursor)
        return Page(await self._shown(items, now), next_cursor)

    @redis_may_be_away
    async def delete(self, name: str) -> None:
        """Delete an endpoint; what it is still owed is discarded.

        Raises:
            NotFoundError: there is none.
        """
        if not await self._store.endpoints.drop(name):
            raise _no_endpoint(name)
        await self._store.endpoints.release(name)
        await self._store.endpoints.settled(name, "")

    @redis_may_be_away
    async def rotate(self, name: str, *, overlap_s: float) -> JsonObject:
        """Give an endpoint a new secret; the old ones go on signing for `overlap_s`.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is a bare callback URL, which has no secret of its own.
        """
        while True:
            known, now = await self._known(name), await self._store.now()
            if not known.secrets:
                raise _has_no_secret(known)
            fresh = Secret(signing.new_secret(os.urandom(32)))
            after = (fresh, *_overlapping(known.secrets, now, overlap_s))[:LIVE_SECRETS]
            if await self._store.endpoints.set_secrets(known, after):
                shape = await self._one(replace(known, secrets=after))
                return shape | {"secret": fresh.text}

    @redis_may_be_away
    async def secrets(self, name: str) -> tuple[Secret, ...]:
        """Get what signs for an endpoint: for another cell of it, and for nobody else.

        Raises:
            NotFoundError: there is none.
        """
        return tuple((await self._known(name)).secrets)

    @redis_may_be_away
    async def sign_with(self, name: str, secrets: Sequence[Secret]) -> None:
        """Let these secrets sign for an endpoint, and no others.

        Raises:
            NotFoundError: there is none.
        """
        while True:
            known = await self._known(name)
            if tuple(known.secrets) == tuple(secrets):
                return
            if await self._store.endpoints.set_secrets(known, secrets):
                return

    @redis_may_be_away
    async def test(self, name: str) -> JsonObject:
        """Send an endpoint a real, signed event of type `endpoint.test`; returns the delivery.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is off.
        """
        known, now = await self._known(name), await self._store.now()
        if not known.enabled:
            raise _is_off(known)
        event = events.about_endpoint(known, EndpointEvent.TEST, None, now)
        owed, lane = events.owed_notice(event.id, event.type, known, now)
        must_start = await self._store.deliveries.announce(events.owing(event, owed, lane))
        (written,) = await self._store.deliveries.get_many([owed.id])
        await self._started(must_start)
        return await self._owed(written)

    @redis_may_be_away
    async def recover(self, name: str, *, since: int) -> int:
        """Owe an endpoint again all that was exhausted since an instant; returns how many.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is off.
        """
        known, recovered = await self._known(name), 0
        if not known.enabled:
            raise _is_off(known)
        now = await self._store.now()
        failed = self._store.endpoints.failed(name, since=since, until=now, step=RECOVERED_PER_STEP)
        async for some in failed:
            found = await self._store.deliveries.get_many(some)
            before = await asyncio.gather(*(self._owed_again(each, now) for each in found))
            recovered += before.count("exhausted")
        return recovered

    @redis_may_be_away
    async def replay(self, delivery_id: str) -> JsonObject:
        """Owe a finished delivery again, under the same webhook-id; returns it.

        Raises:
            NotFoundError: there is none, or no longer.
            ConflictError: its endpoint is off.
        """
        while found := await self._store.deliveries.get_many([delivery_id]):
            before = await self._owed_again(found[0], await self._store.now())
            if before == "changed":
                continue
            if before == "disabled":
                raise _is_off(await self._known(found[0].endpoint))
            if before in {"", "gone"}:
                break
            (after,) = await self._store.deliveries.get_many([delivery_id])
            return await self._owed(after)
        raise NotFoundError(
            f"There is no delivery {delivery_id!r} that could be replayed: "
            "it, its event or its endpoint is no longer kept."
        )

    async def _owed_again(self, delivery: Delivery, now: int) -> str:
        before, lane = await self._store.deliveries.replay(_again(delivery, now))
        await self._started(lane)
        return before

    async def _shown(self, endpoints: Sequence[Endpoint], now: int) -> list[JsonObject]:
        queues = await self._store.endpoints.queues(endpoints, now=now)
        holds = await self._store.lanes.holds(lane_of(each.url) for each in endpoints)
        return [
            shapes.endpoint_shape(each, now, queues[each.name], holds.get(lane_of(each.url)))
            for each in endpoints
        ]

    async def _one(self, endpoint: Endpoint) -> JsonObject:
        (shown,) = await self._shown([endpoint], await self._store.now())
        return shown

    async def _owed(self, delivery: Delivery) -> JsonObject:
        holds = await holds_of(self._store, [delivery])
        return shapes.delivery_shape(delivery, holds.get(delivery.id))

    async def _known(self, name: str) -> Endpoint:
        found = await self._store.endpoints.get(name)
        if found is None:
            raise _no_endpoint(name)
        return found

    async def _started(self, lane: str) -> None:
        if lane:
            await self._start(lane)


def _overlapping(known: Sequence[Secret], now: int, overlap_s: float) -> list[Secret]:
    """Keep the secrets that still sign, none for longer than the overlap."""
    until = now + round(overlap_s * 1000)
    return [
        Secret(each.text, until if each.until is None else min(each.until, until))
        for each in known
        if each.until is None or each.until > now
    ]


def _again(delivery: Delivery, now: int) -> Delivery:
    """Make it due now, and if it is finished begin with a whole schedule."""
    if delivery.state is DeliveryState.PENDING:
        return replace(delivery, next_attempt_at=now)
    return replace(delivery, tries=0, next_attempt_at=now, is_replayed=True)


def _is_bare(name: str) -> bool:
    """Tell whether a name stands for a bare callback URL; the deployment's secret signs for it."""
    return name.startswith("url_")


def _no_endpoint(name: str) -> NotFoundError:
    return NotFoundError(f"There is no endpoint {name!r}.")


def _has_no_secret(endpoint: Endpoint) -> ConflictError:
    return ConflictError(
        f"Endpoint {endpoint.name} is signed for with the deployment's own secret, which would "
        "stop at once. PUT an endpoint with a name and this URL, and track with that."
    )


def _is_off(endpoint: Endpoint) -> ConflictError:
    return ConflictError(
        f"Endpoint {endpoint.name} is off ({endpoint.disabled_reason}): "
        f'PUT /v1/endpoints/{endpoint.name} with {{"enabled": true}} first.'
    )
