"""What a caller may ask about trackers: track, get, wait, list, cancel, look now."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from worker import shapes, telemetry
from worker.deliveries import shown, with_hold
from worker.disputes import no_account, not_tracked, other_settings
from worker.errors import ConflictError, DreamhookError, InvalidInputError, UnavailableError
from worker.model import Account, Entry, JsonObject, State, Terms, Tracker
from worker.paging import Page, cursors_after, page_of
from worker.poller import Poller
from worker.refusals import not_fresh
from worker.requests import (
    MAX_BATCH,
    Network,
    TrackItem,
    TrackRequest,
    check_generation_id,
    parse,
    terms_of,
)
from worker.store import Store, heard, redis_may_be_away

MAX_WAIT_S = 60

TRACKED_PER_STEP = 200
"""IDs per atomic step: enough to be cheap, few enough that Redis serves others in between."""

RECHECK_S = 5.0
"""Whoever waits for an end looks for himself this often, in case the bell was not heard."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A tracker, and whether it is new (or begins anew)."""

    tracker: Tracker
    created: bool


Outcome = Tracked | DreamhookError


class Service:
    """The use cases. Each raises `UnavailableError` while Redis is away.

    Args:
        store: the state.
        accounts: by name.
        deadlines: default deadline of each account, in seconds.
        poller: for looks out of turn.
        start: starts the drain of a lane.
        allow_private: networks that webhooks may reach although they are not public.
    """

    def __init__(
        self,
        store: Store,
        *,
        accounts: Mapping[str, Account],
        deadlines: Mapping[str, float],
        poller: Poller,
        start: Callable[[str], Awaitable[None]],
        allow_private: Sequence[Network],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._deadlines = deadlines
        self._poller = poller
        self._start = start
        self._allow_private = tuple(allow_private)

    # --- tracking -----------------------------------------------------------------------------

    @redis_may_be_away
    async def track(
        self,
        account: str,
        generation_id: str,
        request: TrackRequest,
        *,
        traceparent: str | None = None,
    ) -> Tracked:
        """Promise to watch a generation to its end; its webhooks carry `traceparent`.

        Raises:
            NotFoundError: no such account.
            InvalidInputError: a field cannot be used.
            ConflictError: it is tracked with other settings.
        """
        terms = self._terms(account, generation_id, request, await self._endpoints([request]))
        outcome = (await self._track(account, [(generation_id, terms)], traceparent))[0]
        if isinstance(outcome, DreamhookError):
            raise outcome
        return outcome

    @redis_may_be_away
    async def track_many(
        self, items: Sequence[object], *, traceparent: str | None = None
    ) -> list[Outcome]:
        """Track up to 1,000 generations; each item has its own outcome and harms no other.

        Raises:
            InvalidInputError: there are too many.
        """
        if len(items) > MAX_BATCH:
            raise InvalidInputError(
                "trackers", f"{len(items)} are too many for one call; send up to {MAX_BATCH}"
            )
        outcomes: dict[int, Outcome] = {}
        asked: dict[int, TrackItem] = {}
        for place, item in enumerate(items):
            try:
                asked[place] = parse(TrackItem, item)
            except DreamhookError as error:
                outcomes[place] = error
        wanted: dict[str, list[tuple[int, str, Terms]]] = {}
        endpoints = await self._endpoints(asked.values())
        for place, each in asked.items():
            try:
                terms = self._terms(each.account, each.generation_id, each, endpoints)
            except DreamhookError as error:
                outcomes[place] = error
            else:
                wanted.setdefault(each.account, []).append((place, each.generation_id, terms))
        for account, rows in wanted.items():
            for first in range(0, len(rows), TRACKED_PER_STEP):
                some = rows[first : first + TRACKED_PER_STEP]
                ids = [(name, terms) for _, name, terms in some]
                found = await self._track(account, ids, traceparent)
                outcomes.update(zip((place for place, _, _ in some), found, strict=True))
        return [outcomes[place] for place in range(len(items))]

    async def terms(self, account: str, request: TrackRequest) -> Terms:
        """Tell what tracking a generation like this amounts to; raises as `track` does."""
        return self._agreed(account, request, await self._endpoints([request]))

    async def _endpoints(self, requests: Iterable[TrackRequest]) -> set[str]:
        """Find out which of the endpoints that are asked for there are."""
        names = {each.endpoint for each in requests if each.endpoint is not None}
        if not names:
            return names
        return {each.name for each in await self._store.endpoints.get_many(sorted(names))}

    def _terms(
        self, account: str, generation_id: str, request: TrackRequest, endpoints: Container[str]
    ) -> Terms:
        self._known(account)
        check_generation_id(generation_id)
        return self._agreed(account, request, endpoints)

    def _agreed(self, account: str, request: TrackRequest, endpoints: Container[str]) -> Terms:
        self._known(account)
        if request.endpoint is not None and request.endpoint not in endpoints:
            raise InvalidInputError(
                "endpoint",
                f"there is no endpoint {request.endpoint!r}; PUT /v1/endpoints/{{name}} makes one",
            )
        return terms_of(
            request,
            default_deadline_s=self._deadlines[account],
            allow_private=self._allow_private,
        )

    def _known(self, account: str) -> Account:
        known = self._accounts.get(account)
        if known is None:
            raise no_account(account, self._accounts)
        return known

    async def _track(
        self, account: str, wanted: Sequence[tuple[str, Terms]], traceparent: str | None
    ) -> list[Outcome]:
        provider = self._accounts[account].provider
        tracked = await self._store.trackers.track(
            account, provider, wanted, traceparent=traceparent
        )
        if tracked.must_start:
            await self._start(f"poll:{account}")
        found = list(zip(wanted, tracked.outcomes, strict=True))
        known = [(account, name) for (name, _), outcome in found if outcome != "new"]
        kept = {each.generation_id: each for each in await self._store.trackers.get_many(known)}
        outcomes: list[Outcome] = []
        for (generation_id, terms), outcome in found:
            match outcome:
                case "new":
                    new = begun(account, provider, generation_id, terms, tracked.at)
                    outcomes.append(Tracked(new, created=True))
                case _ if generation_id not in kept:  # it has left since
                    outcomes.append(not_tracked(account, generation_id))
                case "same":
                    outcomes.append(Tracked(kept[generation_id], created=False))
                case _:
                    outcomes.append(other_settings(kept[generation_id], terms))
        return outcomes

    @redis_may_be_away
    async def get(self, account: str, generation_id: str) -> Tracker:
        """Get a tracker as it stands.

        Raises:
            NotFoundError: no such account; or it is not tracked, or no longer kept.
        """
        self._known(account)
        found = await self._store.trackers.get(account, generation_id)
        if found is None:
            raise not_tracked(account, generation_id)
        return found

    @redis_may_be_away
    async def shapes_of(self, trackers: Sequence[Tracker]) -> list[JsonObject]:
        """Show trackers, each with how its webhook and its account stand."""
        return await shown(self._store, trackers)

    @redis_may_be_away
    async def wait(self, account: str, generation_id: str, timeout_s: float) -> Tracker:
        """Get a tracker when it is over, or as it is after `timeout_s` (up to 60), or `close`."""
        until = time.monotonic() + min(timeout_s, MAX_WAIT_S)
        with self._store.bell.expect(f"{account}:{generation_id}") as ended:
            while True:
                tracker = await self.get(account, generation_id)
                left = until - time.monotonic()
                if tracker.state is not State.TRACKING or left <= 0 or self._store.bell.is_closing:
                    return tracker
                await heard(ended, min(left, RECHECK_S))

    def close(self) -> None:
        """Answer all who wait: this process is about to end, and another may be asked."""
        self._store.bell.close()

    @redis_may_be_away
    async def fresh(self, account: str, generation_id: str) -> Tracker:
        """Look at the provider first, then get the tracker: asset URLs expire.

        Raises:
            NotFoundError: it is not tracked.
            UnavailableError: the provider must not be asked now, or has not shown it; says how old
                what is stored is.
        """
        self._known(account)
        try:
            why = await self._poller.look_now(account, generation_id)
        except UnavailableError as error:
            why = error
        found = await self.get(account, generation_id)
        if why is not None:
            raise not_fresh(why, found, now=await self._store.now())
        return found

    @redis_may_be_away
    async def poll(self, account: str, generation_id: str) -> Tracker:
        """Make the next look due now.

        Raises:
            NotFoundError: it is not tracked.
            ConflictError: it is over.
        """
        self._known(account)
        state, must_start = await self._store.trackers.hurry(account, generation_id)
        if must_start:
            await self._start(f"poll:{account}")
        if state not in {None, State.TRACKING}:
            raise ConflictError(
                f"{generation_id} is over ({state}); GET it with fresh=true for fresh asset URLs."
            )
        return await self.get(account, generation_id)

    @redis_may_be_away
    async def cancel(self, account: str, generation_id: str) -> Tracker:
        """Stop tracking; what is over stays as it is.

        Raises:
            NotFoundError: it is not tracked.
        """
        self._known(account)
        claimed = await self._store.trackers.claim_one(account, generation_id, rate=None)
        if claimed is not None and not isinstance(claimed, float):
            tracker, now = claimed.tracker, claimed.clock.now()
            if tracker.state is State.TRACKING:
                after = replace(tracker, state=State.CANCELED, finished_at=now, next_poll_at=None)
                entries = [Entry(now, "canceled")]
                if not (await self._store.trackers.settle(after, entries=entries))[0]:
                    return await self.cancel(account, generation_id)
                telemetry.ended(after)
        return await self.get(account, generation_id)

    @redis_may_be_away
    async def timeline(self, account: str, generation_id: str) -> list[JsonObject]:
        """Tell what happened to a tracker, oldest first.

        Raises:
            NotFoundError: it is not tracked.
        """
        tracker = await self.get(account, generation_id)
        entries = await self._store.trackers.timeline(account, generation_id)
        lines = [shapes.entry_shape(each) for each in entries]
        return await with_hold(self._store, tracker, lines)

    # --- lists ----------------------------------------------------------------------------------

    @redis_may_be_away
    async def list_trackers(
        self,
        *,
        state: State | None = None,
        account: str | None = None,
        model: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """List trackers.

        Raises:
            NotFoundError: no such account.
            InvalidInputError: the cursor is not one of ours.
        """
        accounts = [self._known(account).name] if account else list(self._accounts)
        states = [state] if state else list(State)

        async def read(before: int | None, count: int) -> tuple[int | None, list[Tracker]]:
            names = await self._store.trackers.names(accounts, states, before=before, limit=count)
            found = await self._store.trackers.get_many([(a, name) for _, a, name in names])
            return (names[-1][0] if len(names) == count else None), found

        items, next_cursor = await page_of(
            read,
            fits=lambda each: model in {None, each.model},
            limit=limit,
            cursor=cursor,
        )
        return Page(await shown(self._store, items), next_cursor, cursors_after(items))


def begun(account: str, provider: str, generation_id: str, terms: Terms, now: int) -> Tracker:
    """Make the tracker that begins now."""
    return Tracker(
        account=account,
        generation_id=generation_id,
        provider=provider,
        state=State.TRACKING,
        terms=terms,
        tracked_at=now,
        next_poll_at=now,
        deadline_at=now + round(terms.deadline_s * 1000),
    )
