"""Looks at generations for whoever asks, tracked or not, and keeps nothing of what they show.

A glance is one request to the provider. It comes out of the account's budget, waits for no hold,
and what its answer says of the account (too many requests, say) holds for everybody.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeVar

from worker import listing, shapes, telemetry
from worker.disputes import no_account
from worker.errors import NotFoundError
from worker.health import tell_health
from worker.model import (
    Account,
    JsonObject,
    Missing,
    Refused,
    Seen,
    State,
    Throttled,
    Trouble,
)
from worker.providers.client import ProviderClient
from worker.refusals import Refusal, in_words, not_now
from worker.requests import check_generation_id
from worker.store import Store, redis_may_be_away

_Found = TypeVar("_Found", Seen, listing.Page)


class Glances:
    """The use cases. Each raises `UnavailableError` while Redis is away.

    Args:
        store: knows budgets and holds, and what is tracked.
        accounts: by name.
        clients: the accounts' provider clients, by name.
    """

    def __init__(
        self,
        store: Store,
        accounts: Mapping[str, Account],
        clients: Mapping[str, ProviderClient],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clients = clients

    @redis_may_be_away
    async def one(self, account: str, generation_id: str) -> JsonObject:
        """Show a generation as the provider shows it now.

        Raises:
            NotFoundError: no such account; or the provider does not know the generation.
            InvalidInputError: this cannot be a generation's ID.
            UnavailableError: the account must not be asked now, or the provider gives no answer.
        """
        known = self._known(account)
        check_generation_id(generation_id)
        client = self._clients[account]
        seen, now = await self._ask(
            known, "get", lambda: client.get_generation(generation_id), generation_id
        )
        tracked = await self._tracked(account, [generation_id])
        return shapes.glance_shape(
            known, generation_id, seen, tracked=generation_id in tracked, now=now
        )

    @redis_may_be_away
    async def page(self, account: str, *, limit: int, offset: int) -> JsonObject:
        """Show a page of the provider's list: `limit` rows from rank `offset` on.

        Raises:
            NotFoundError: no such account; or its provider has no list.
            UnavailableError: the account must not be asked now, or the provider gives no answer.
        """
        known, client = self._known(account), self._clients[account]
        if client.page is None:
            raise NotFoundError(
                f"{known.provider}, the provider of account {account}, has no list of generations;"
                " GET /v1/trackers lists those that are tracked."
            )
        page, now = await self._ask(
            known, "list", lambda: client.list_generations(limit=limit, offset=offset)
        )
        tracked = await self._tracked(account, [name for name, _ in filter(None, page.rows)])
        return shapes.glances_shape(known, page, tracked=tracked, now=now)

    def _known(self, account: str) -> Account:
        known = self._accounts.get(account)
        if known is None:
            raise no_account(account, self._accounts)
        return known

    async def _tracked(self, account: str, names: list[str]) -> set[str]:
        """Tell which of these are being tracked."""
        found = await self._store.trackers.get_many([(account, name) for name in names])
        return {each.generation_id for each in found if each.state is State.TRACKING}

    async def _ask(
        self,
        account: Account,
        call: Literal["get", "list"],
        ask: Callable[[], Awaitable[_Found | Refusal]],
        generation_id: str | None = None,
    ) -> tuple[_Found, int]:
        """Make one request within the budget, and get what it found, and when."""
        claimed = await self._store.trackers.claim_request(
            account.name, rate=account.polls_per_second
        )
        if isinstance(claimed, float):
            (health,) = await self._store.lanes.health([f"poll:{account.name}"])
            raise not_now(account.name, claimed, health, now=await self._store.now())
        started = time.monotonic()
        found = await ask()
        took_ms = round((time.monotonic() - started) * 1000)
        telemetry.requested(account.name, call, duration_ms=took_ms)
        now = claimed.clock.now()
        refusal = found if isinstance(found, Missing | Refused | Throttled | Trouble) else None
        before = claimed.health
        await tell_health(
            self._store, account.name, before, refusal, generation_id=generation_id, now=now
        )
        if isinstance(found, Missing | Refused | Throttled | Trouble):
            raise in_words(found, account.name, generation_id or "")
        return found, now
