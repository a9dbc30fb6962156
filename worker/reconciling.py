"""Finds out what came of create calls that were not answered, or whose maker died.

Nothing is ever created here. The provider's list is searched, more than once over some minutes and
within the account's budget; what it does not show for certain stays unknown, and is told as that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from worker import submissions, telemetry
from worker.health import tell_health
from worker.model import Account, Submission, SubmissionState
from worker.providers.client import ProviderClient
from worker.store import ClaimedRequest, ClaimedSubmission, Store
from worker.submissions import Ambiguous, Found, Intent, NotShown, Row, Search

AT_ONCE = 20
"""Submissions that one round claims."""

MOST_PAGES = 5
"""Pages of the list that are read for them: what was created minutes ago is among the newest."""

CLAIM_S = 60.0
READ_S = 25.0
"""Reading them may take so long in all: a round has to end before its job does."""

TURN_S = 5.0
"""So long the account's budget is waited for before each page: looks may take all it has."""

NO_LIST = "This provider has no list that shows what was asked for, so it cannot be searched"
NOT_CONFIGURED = "The account is not configured, so its list cannot be searched"
NOT_SHOWN = "The provider's list does not show it"
AMBIGUOUS = "The provider's list shows one that may be it or another's, or more than one"
WHAT_TO_DO = (
    "Look for it at the provider: if it is there, PUT /v1/trackers/{account}/{generation_id}; "
    "if not, submit it anew, with another Idempotency-Key."
)


class Reconciling:
    """Settles submissions whose outcome nobody knows.

    Args:
        store: where they are kept.
        accounts: by name.
        clients: the accounts' provider clients, by name.
        start: starts the drain of a lane.
    """

    def __init__(
        self,
        store: Store,
        *,
        accounts: Mapping[str, Account],
        clients: Mapping[str, ProviderClient],
        start: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._clients = clients
        self._start = start

    async def round(self) -> None:
        """Look for all that it is time to look for, each account for itself."""
        claimed = await self._store.submissions.claim(
            limit=AT_ONCE,
            lease_s=CLAIM_S,
            window_s=submissions.window_s(),
            most_rivals=submissions.MOST_RIVALS,
        )
        by_account: dict[str, list[ClaimedSubmission]] = {}
        for each in claimed:
            by_account.setdefault(each.submission.account, []).append(each)
        await asyncio.gather(*(self._account(*each) for each in by_account.items()))

    async def _account(self, account: str, claimed: Sequence[ClaimedSubmission]) -> None:
        client = self._clients.get(account)
        if client is None:  # another worker may have it, as while a new one is introduced
            await asyncio.gather(*(self._put_off(each, NOT_CONFIGURED) for each in claimed))
            return
        if not client.shows_requests:
            await asyncio.gather(*(self._give_up(each.submission, NO_LIST) for each in claimed))
            return
        begun_at = min(each.submission.begun_at for each in claimed)
        rows = await self._rows(account, client, begun_at)
        if isinstance(rows, str):
            await asyncio.gather(*(self._put_off(each, rows) for each in claimed))
            return
        tracked = await self._store.submissions.tracked(account, {r.generation_id for r in rows})
        for each in claimed:  # one after the other: what one finds is no longer the next one's
            found = await self._search(each, client, rows, tracked)
            if await self._concluded(each, found) and isinstance(found, Found):
                tracked.add(found.generation_id)

    async def _rows(self, account: str, client: ProviderClient, begun_at: int) -> list[Row] | str:
        """Read the newest pages of an account's list; or say why they cannot be read now."""
        try:
            async with asyncio.timeout(READ_S):
                return await self._pages(account, client, begun_at)
        except TimeoutError:
            return f"The provider's list could not be read within {READ_S:g} s"

    async def _pages(self, account: str, client: ProviderClient, begun_at: int) -> list[Row] | str:
        rows: list[Row] = []
        for page in range(MOST_PAGES):
            leave = await self._leave(account)
            if isinstance(leave, float):
                return f"The account must not be asked for another {leave:.1f} s"
            limit = client.page or 0
            shown = await client.listed(limit=limit, offset=page * limit, clock=leave.clock.now)
            refusal = None if isinstance(shown, list) else shown
            now = leave.clock.now()
            await tell_health(self._store, account, leave.health, refusal, now=now)
            if not isinstance(shown, list):
                return f"The provider's list cannot be read ({shown.detail})"
            rows += shown
            if not shown or _has_passed(shown, begun_at):
                break
        return rows

    async def _leave(self, account: str) -> ClaimedRequest | float:
        """Get leave to make one request; if that takes too long, the seconds that it would take."""
        rate, until = self._accounts[account].polls_per_second, time.monotonic() + TURN_S
        while True:
            leave = await self._store.trackers.claim_request(account, rate=rate)
            is_hold = isinstance(leave, float) and leave > 1.5 / rate
            if not isinstance(leave, float) or is_hold or time.monotonic() + leave > until:
                return leave
            await asyncio.sleep(leave)

    async def _search(
        self,
        claimed: ClaimedSubmission,
        client: ProviderClient,
        rows: Sequence[Row],
        tracked: set[str],
    ) -> Search:
        if len(claimed.rivals) > submissions.MOST_RIVALS:
            return Ambiguous()
        others = await self._store.submissions.get_many(claimed.rivals)
        rivals = [_intent(each, client) for each in others]
        return submissions.search(
            _intent(claimed.submission, client), rows, tracked=tracked, rivals=rivals
        )

    async def _concluded(self, claimed: ClaimedSubmission, found: Search) -> bool:
        """Write down what a search has shown; False if that was not what it seemed."""
        submission = claimed.submission
        match found:
            case Found(generation_id=generation_id, is_certain=is_certain):
                _, must_start, outcome = await self._store.submissions.created(
                    submission, generation_id, is_certain=is_certain
                )
                if must_start:
                    await self._start(f"poll:{submission.account}")
                if outcome != "taken":
                    known = submission.but(
                        state=SubmissionState.CREATED, generation_id=generation_id, detail=None
                    )
                    telemetry.reconciled(known)
                    return True
                await self._search_again(claimed, NOT_SHOWN)
                return False
            case NotShown():
                await self._search_again(claimed, NOT_SHOWN)
            case Ambiguous():
                await self._search_again(claimed, AMBIGUOUS)
        return True

    async def _search_again(self, claimed: ClaimedSubmission, detail: str) -> None:
        submission = claimed.submission
        searched = submission.but(looks=submission.looks + 1, detail=detail)
        since_s = (claimed.clock.now() - submission.begun_at) / 1000
        due_s = submissions.next_search_s(searched.looks, since_s)
        if due_s is None:
            await self._give_up(searched, detail)
        else:
            await self._store.submissions.settle(searched, due_s=due_s)

    async def _put_off(self, claimed: ClaimedSubmission, detail: str) -> None:
        """Search later, if the list may be readable by then."""
        submission = claimed.submission
        if claimed.clock.now() - submission.begun_at > submissions.GIVE_UP_S * 1000:
            await self._give_up(submission, detail)
            return
        later = submission.but(detail=detail)
        await self._store.submissions.settle(later, due_s=submissions.AWAY_S)

    async def _give_up(self, submission: Submission, detail: str) -> None:
        known = submission.but(state=SubmissionState.UNKNOWN, detail=f"{detail}. {WHAT_TO_DO}")
        if await self._store.submissions.settle(known):
            telemetry.reconciled(known)


def _intent(submission: Submission, client: ProviderClient) -> Intent:
    return Intent(
        request=submission.request,
        begun_at=submission.begun_at,
        token=submission.token,
        callback=client.callback,
    )


def _has_passed(shown: Sequence[Row], begun_at: int) -> bool:
    """Tell whether a page that is newest first ends before the one that is searched was begun."""
    times = [row.created_at for row in shown if row.created_at is not None]
    is_newest_first = times == sorted(times, reverse=True)
    return is_newest_first and bool(times) and times[-1] < begun_at - 1000 * submissions.window_s()
