"""One look for many: a page of the provider's list stands for single looks where that is worth it.

For one request a page shows up to a hundred generations. What is due brings along what will be due
next, and all that a page shows share its price. Nothing is concluded from absence: what a page
should have shown is looked at singly first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker import listing as listings
from worker import policy, telemetry
from worker.health import tell_health
from worker.listing import Listing, Page, Reconciled, Wanted, Window
from worker.looking import Look, Looking
from worker.model import Account, Refused, Same, Seen, Throttled, Watched
from worker.providers.client import ProviderClient
from worker.refusals import Refusal
from worker.schedule import LONGEST_GAP_S
from worker.store import ClaimedLooks, Store

USABLE = 0.2
"""Below this trust pages are not hoped for; a doubt passes after a while (`listing.DOUBT_MS`)."""


FIRST_LOOK_S = (0.5, 3.0)
"""Least and most that a first look waits for the next page, so that one page shows many."""


def first_look_s(patience: float) -> float:
    """Tell how long first looks wait for the next page, given what a request is worth."""
    return min(max(2 * patience, FIRST_LOOK_S[0]), FIRST_LOOK_S[1])


def _overdue_s(tracker: Watched, now: int) -> float:
    """Tell for how long a tracker has been later than any may be; below 0 if it is not.

    A look at it is worth that much at least. What hangs, or was never seen, has no expected delay
    that grows, and would wait for ever behind those that have.
    """
    due_at = tracker.next_poll_at or tracker.tracked_at
    latest = min(due_at + policy.in_ms(LONGEST_GAP_S), tracker.deadline_at)
    return (now - latest) / 1000


@dataclass(slots=True)
class _Known:
    """What this process remembers of an account's list, and whom it is to look at singly."""

    listing: Listing
    singly: set[str] = field(default_factory=set)


class Pages:
    """Decides between pages and single looks, and makes either.

    Args:
        store: where trackers are kept.
        accounts: by name.
        clients: the accounts' provider clients, by name.
        looking: concludes looks.
    """

    def __init__(
        self,
        store: Store,
        accounts: Mapping[str, Account],
        clients: Mapping[str, ProviderClient],
        looking: Looking,
    ) -> None:
        self._store = store
        self._patience = {name: each.poll_patience for name, each in accounts.items()}
        self._clients = clients
        self._looking = looking
        self._accounts: dict[str, _Known] = {}

    async def rows(self, account: str) -> int:
        """Tell how many rows a page of an account may have; 0 if pages are of no use."""
        page = self._clients[account].page
        if page is None:
            return 0
        if account not in self._accounts:
            kept = await self._store.trackers.listing(account)
            self._accounts[account] = _Known(listings.load(kept))
        known = self._accounts[account].listing
        if known.doubted_at is None or known.trust >= USABLE:
            return page
        return 0 if await self._store.now() - known.doubted_at < listings.DOUBT_MS else page

    async def look(self, account: str, claimed: ClaimedLooks, page: int) -> None:
        """Make one request for what was claimed, and give back what it did not show."""
        looks, now = claimed.looks, claimed.clock.now()
        known = self._accounts[account]
        gains = await self._gains(claimed, now)
        first = max(looks[: claimed.due], key=lambda each: gains[each.generation_id])
        hoped = [
            Wanted(
                each.generation_id, each.created_at or each.tracked_at, gains[each.generation_id]
            )
            for each in looks
            if not self._is_single(known, each)
        ]
        window = listings.choose(known.listing, hoped, now=now, page=page)
        best = gains[first.generation_id]
        if window is not None and len(window.expected) > 1 and window.worth >= best:
            await self._page(account, claimed, window, gains)
            return
        known.singly.discard(first.generation_id)
        await self._release(claimed, [each for each in looks if each is not first])
        await self._looking.look_on_time(first, claimed.health, claimed.clock)

    async def _gains(self, claimed: ClaimedLooks, now: int) -> dict[str, float]:
        """Tell what a look at each is worth by now; one that was asked for is worth its price."""
        gains: dict[str, float] = {}
        for n, each in enumerate(claimed.looks):
            gain = await self._looking.expected_delay(each, now)
            asked_for = n < claimed.due and (each.next_poll_at or 0) > now
            if gain is None or asked_for:
                gain = self._looking.price(each.account) if n < claimed.due else 0.0
            gains[each.generation_id] = max(gain, _overdue_s(each, now))
        return gains

    def _is_single(self, known: _Known, tracker: Watched) -> bool:
        """Tell whether only a look of its own can help: a list says nothing about what is not."""
        failed = tracker.polls > 0 and tracker.mark is None
        return failed or tracker.generation_id in known.singly

    async def _release(self, claimed: ClaimedLooks, left: list[Watched]) -> None:
        now = claimed.clock.now()
        due = {each.generation_id for each in claimed.looks[: claimed.due]}
        rows = []
        for each in left:
            at = each.next_poll_at or each.tracked_at
            at = min(at, now) if each.generation_id in due else at
            rows.append((each.generation_id, at, each.deadline_at))
        await self._store.trackers.release(claimed.looks[0].account, rows)

    # --- a page ---------------------------------------------------------------------------------

    async def _page(
        self, account: str, claimed: ClaimedLooks, window: Window, gains: Mapping[str, float]
    ) -> None:
        """Ask for a page, conclude what it showed, and give the rest back."""
        known, started = self._accounts[account], time.monotonic()
        await self._pay(claimed, window, gains, claimed.clock.now())
        answer = await self._clients[account].list_generations(
            limit=window.limit,
            offset=window.offset,
            marks={each.generation_id: each.mark for each in claimed.looks},
        )
        took_ms = round((time.monotonic() - started) * 1000)
        telemetry.requested(account, "list", duration_ms=took_ms)
        now = claimed.clock.now()
        refusal = None if isinstance(answer, Page) else answer
        await tell_health(self._store, account, claimed.health, refusal, now=now)
        told = self._reconciled(claimed, window, answer, now)
        known.listing = told.listing
        known.singly |= set(told.absent)
        if len(known.singly) > 10 * window.limit:
            known.singly.clear()  # it only spares requests
        await self._conclude(claimed, told.seen, now, took_ms)
        left = [each for each in claimed.looks if each.generation_id not in told.seen]
        await self._release(claimed, left)
        # Where pages show nothing of ours, first looks need not wait for one.
        soon = now + policy.in_ms(first_look_s(self._patience[account]))
        await self._store.trackers.keep_listing(
            account, listings.dump(told.listing), next_page_at=soon if told.seen else None
        )

    async def _pay(
        self, claimed: ClaimedLooks, window: Window, gains: Mapping[str, float], now: int
    ) -> None:
        """Take note of what a page is worth, if it is for one that a look has shown before."""
        leader = claimed.looks[0]
        if leader.entered_at is not None:
            sighted = {each.generation_id for each in claimed.looks if each.entered_at is not None}
            names = (sighted & window.expected.keys()) | {leader.generation_id}
            await self._looking.paid(leader, now=now, worth=sum(gains[name] for name in names))

    def _reconciled(
        self, claimed: ClaimedLooks, window: Window, answer: Page | Refusal, now: int
    ) -> Reconciled:
        listing = self._accounts[claimed.looks[0].account].listing
        if isinstance(answer, Page):
            at_work = {each.generation_id: each.running_at is not None for each in claimed.looks}
            return listings.reconcile(listing, window, answer, known=at_work, now=now)
        if isinstance(answer, Throttled) or (isinstance(answer, Refused) and answer.of_account):
            return Reconciled(listing, {}, ())
        failed = listings.failed(listing, window, now=now)
        return Reconciled(failed, {}, tuple(window.expected))

    async def _conclude(
        self,
        claimed: ClaimedLooks,
        seen: Mapping[str, Seen | Same],
        now: int,
        took_ms: int,
    ) -> None:
        looks = [
            Look(before=each, answer=seen[each.generation_id], now=now, took_ms=took_ms, paged=True)
            for each in claimed.looks
            if each.generation_id in seen
        ]
        await self._looking.conclude(*looks)
