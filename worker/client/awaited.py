"""What can be asked of the API by those who have other things to do meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import httpx

from worker.client.http import (
    ANSWER_S,
    accepted,
    delivery_path,
    object_of,
    reaching,
    segment,
    settings_of,
    tracker_path,
    usable_environment,
)
from worker.model import JsonObject

CREATE_S = 90.0
"""Providers take their time over what they are to create."""


class AsyncClient:
    """A connection to the API, for asyncio. Close it, or use it as a context manager.

    Cancelling a call ends it. Every method raises `ApiError` when the API refuses, and
    `UnreachableError` when nothing answers.

    Args:
        url: Where the API is, without `/v1`.
        key: One of its bearer keys, if it has any.
        app: The API itself, if it is in this process: then no connection is made.

    Raises:
        ConfigurationError: The environment's proxy settings cannot be used.
    """

    def __init__(self, url: str, key: str | None = None, *, app: Any = None) -> None:
        self.url = url.rstrip("/")
        transport = None if app is None else httpx.ASGITransport(app)
        with usable_environment():
            self._http = httpx.AsyncClient(**settings_of(self.url, key), transport=transport)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # --- generations ------------------------------------------------------------------------------

    async def get(
        self, account: str, generation_id: str, *, wait: float = 0.0, fresh: bool = False
    ) -> JsonObject:
        """Get a tracker, as `Client.get` does."""
        params = {"wait": f"{wait:g}"} if wait else {}
        return await self._object(
            "GET",
            tracker_path(account, generation_id),
            params=params | ({"fresh": "true"} if fresh else {}),
            timeout=ANSWER_S + wait,
        )

    async def track(self, account: str, generation_id: str, **terms: Any) -> JsonObject:
        """Track one generation, as `Client.track` does."""
        return await self._object("PUT", tracker_path(account, generation_id), json=terms)

    async def cancel(self, account: str, generation_id: str) -> JsonObject:
        """Stop tracking; get the tracker, which may be over."""
        return await self._object("DELETE", tracker_path(account, generation_id))

    async def trackers(
        self, *, account: str | None, limit: int, cursor: str | None = None
    ) -> JsonObject:
        """Get the newest trackers, or those after `cursor`: `items` and `next_cursor`."""
        return await self._page("/v1/trackers", {"account": account, "cursor": cursor}, limit)

    async def create(self, idempotency_key: str, **submission: Any) -> JsonObject:
        """Have a generation created and tracked; get its tracker.

        Args:
            idempotency_key: The same again creates nothing anew.
            **submission: As the API names it: `account`, `request`, `callback_url`, …
        """
        headers = {"Idempotency-Key": idempotency_key}
        return await self._object(
            "POST", "/v1/generations", json=submission, headers=headers, timeout=CREATE_S
        )

    async def glance(self, account: str, generation_id: str) -> JsonObject:
        """Get a generation as its provider shows it now, tracked or not."""
        name = segment("ID", generation_id)
        return await self._object("GET", f"{_glances_path(account)}/{name}")

    async def glances(self, account: str, *, limit: int, offset: int) -> JsonObject:
        """Get a page of the provider's list: `items` and `next_offset`."""
        params = {"limit": limit, "offset": offset}
        return await self._object("GET", _glances_path(account), list_name="items", params=params)

    # --- webhooks ---------------------------------------------------------------------------------

    async def deliveries(self, wanted: Mapping[str, str | None], *, limit: int) -> JsonObject:
        """Get the newest deliveries that fit, as a page: `items` and `next_cursor`."""
        return await self._page("/v1/deliveries", wanted, limit)

    async def replay(self, delivery_id: str) -> JsonObject:
        """Have a finished delivery made again; get the delivery."""
        return await self._object("POST", f"{delivery_path(delivery_id)}/replay")

    # --- how it is doing --------------------------------------------------------------------------

    async def stats(self) -> JsonObject:
        """Get the figures of the queue."""
        return await self._object("GET", "/v1/stats")

    async def accounts(self) -> list[JsonObject]:
        """Get the accounts, with how they are doing."""
        found: list[JsonObject] = (await self._object("GET", "/v1/accounts", list_name="items"))[
            "items"
        ]
        return found

    async def _page(self, path: str, wanted: Mapping[str, str | None], limit: int) -> JsonObject:
        params = {name: value for name, value in wanted.items() if value is not None}
        params["limit"] = str(limit)
        return await self._object("GET", path, list_name="items", params=params)

    async def _object(
        self, method: str, path: str, *, list_name: str | None = None, **request: Any
    ) -> JsonObject:
        with reaching(self.url):
            response = await self._http.request(method, self.url + path, **request)
        return object_of(self.url, accepted(self.url, response), list_name)


def _glances_path(account: str) -> str:
    return f"/v1/accounts/{segment('account', account)}/generations"
