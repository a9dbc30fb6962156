"""Looks at generations: what a drain does in an account's lane, and a look out of turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from worker import shapes, telemetry
from worker.crew import Crew
from worker.drain import Claimed, Drain
from worker.errors import NotFoundError, UnavailableError
from worker.learner import Learner
from worker.looking import Looking, Start
from worker.model import Account, Delivery, Health, Same, Seen, Watched
from worker.pages import Pages
from worker.providers.client import ProviderClient
from worker.providers.transport import MAX_CONNECTIONS
from worker.refusals import NotSeen, in_words, not_now
from worker.store import Store

LOOKS_AT_ONCE = MAX_CONNECTIONS
"""How many looks of one account a drain has under way at a time.

A claimed look that has to wait for a connection would use up its lease there.
"""


class Poller:
    """Looks, decides, and writes down what came of it, with the event that it makes.

    Args:
        store: where trackers are kept.
        accounts: by name.
        clients: the accounts' provider clients, by name.
        start: starts the drain of a lane.
        learner: says what to expect of generations; by default one that starts from nothing.
        crew: the drains at work in this process.
    """

    def __init__(
        self,
        store: Store,
        accounts: Mapping[str, Account],
        clients: Mapping[str, ProviderClient],
        start: Start,
        learner: Learner | None = None,
        *,
        crew: Crew | None = None,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clients = clients
        self._start = start
        self._learner = learner or Learner(store, {})
        self._crew = crew or Crew()
        self._looking = Looking(store, accounts, clients, self._learner, start)
        self._pages = Pages(store, accounts, clients, self._looking)

    async def drain(
        self, account: str, lane: str, stopping: asyncio.Event, *, assists: bool = False
    ) -> None:
        """Handle the looks due in an account's lane, by itself or to assist another.

        An account that this deployment no longer configures keeps its trackers, unlooked at, until
        their deadlines.
        """
        if account not in self._accounts:
            telemetry.unknown_account(account)
            await self._drain_unknown(account, lane)
            return
        drain = Drain(
            self._store,
            lane,
            partial(self._claim, account),
            hands=LOOKS_AT_ONCE,
            stopping=stopping,
            start=self._start,
            crew=self._crew,
            assists=assists,
        )
        await drain.run()

    async def _drain_unknown(self, account: str, lane: str) -> None:
        """End what is past its deadline."""
        clock, ends = await self._store.trackers.claim_ends(account, limit=LOOKS_AT_ONCE)
        unknown = Health(detail=f"account {account} is not configured")
        async with asyncio.TaskGroup() as ending:
            for each in ends:
                ending.create_task(self._looking.end_unseen(each, unknown, clock))
        if ends:
            await self._start(lane)  # there may be more

    async def _claim(self, account: str, room: int, *, assists: bool) -> Claimed:
        rate = self._accounts[account].polls_per_second
        page = await self._pages.rows(account)
        claimed = await self._store.trackers.claim(
            account, limit=room, rate=rate, page=page, assists=assists
        )
        now, looks = (claimed.health, claimed.clock), claimed.looks
        work: list[Callable[[], Awaitable[None]]]
        if page and len(looks) > 1:
            work = [partial(self._pages.look, account, claimed, page)]
        else:
            work = [partial(self._looking.look_on_time, each, *now) for each in looks]
        work += [partial(self._looking.end_unseen, each, *now) for each in claimed.blind]
        self._learner.heard(account, claimed.learned)
        if claimed.unlearned and self._learner.is_due(account):
            work.append(partial(self._learner.fold, account))
        return Claimed(claimed.clock, work, claimed.wake_at)

    async def look_now(self, account: str, generation_id: str) -> NotSeen | None:
        """Look at one generation out of turn, finished or not, within the account's budget.

        Returns:
            Why the provider has not shown it; None if it has.

        Raises:
            NotFoundError: it is not tracked.
            UnavailableError: the account is held, or its budget is used up.
        """
        rate = self._accounts[account].polls_per_second
        claimed = await self._store.trackers.claim_one(account, generation_id, rate=rate)
        if claimed is None:
            raise NotFoundError(f"{generation_id} is not tracked in account {account}")
        if isinstance(claimed, float):
            (health,) = await self._store.lanes.health([f"poll:{account}"])
            raise not_now(account, claimed, health, now=await self._store.now())
        it = Watched.of(claimed.tracker)
        answer = await self._looking.look(it, claimed.health, claimed.clock)
        return None if isinstance(answer, Seen | Same) else in_words(answer, account, generation_id)

    async def refreshed(self, delivery: Delivery, body: bytes) -> bytes:
        """Renew the assets in an event's bytes, if by now they may have expired.

        If the provider cannot be asked, what was seen last goes out: late news beat none.
        """
        client = self._clients.get(delivery.account)
        lifetime_s = client.asset_lifetime_s if client else None
        if not shapes.has_expired(body, lifetime_s, await self._store.now()):
            return body
        try:
            await self.look_now(delivery.account, delivery.generation_id)
        except (NotFoundError, UnavailableError):
            return body
        known = await self._store.trackers.get(delivery.account, delivery.generation_id)
        return shapes.refreshed(body, known) if known and known.seen_at else body
