"""Submit and track: what a caller may ask for, so that no generation that was paid for is lost.

An intent stands in Redis before the provider is asked. What it answers, and the tracker, are
written in one step. If nobody lived to do that, or no answer came, `reconciling` finds out what
came of it; the call is never made again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar, assert_never

from worker import shapes, submissions, telemetry
from worker.disputes import other_request
from worker.errors import (
    NotFoundError,
    NotSentError,
    RefusedError,
    UnansweredError,
    UnavailableError,
    UnderWayError,
)
from worker.model import (
    Account,
    Created,
    Creation,
    Declined,
    InDoubt,
    JsonObject,
    NotSent,
    Submission,
    SubmissionState,
    Tracker,
)
from worker.paging import Page, cursors_after, page_of
from worker.providers.client import ProviderClient
from worker.requests import SubmitRequest, check_request
from worker.service import Service, begun
from worker.store import Begun, Store, redis_may_be_away

PAUSES_S = (0.1, 0.4, 1.0, 3.0, 6.0, 10.0)
"""Between the attempts to write down what came of a call: an ID that was paid for is in hand."""

GRACE_S = 5.0
"""A process that ends waits so long for the create calls under way: their answers name the IDs."""

HUNG_UP = "Dreamhook was stopped, or whoever asked hung up, before there was an answer"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Submitted:
    """The tracker of what was submitted, and whether that was done now or before."""

    tracker: Tracker
    is_new: bool


class Submitting:
    """The use cases of those who have generations made.

    Args:
        store: where submissions are kept.
        service: knows what tracking amounts to.
        accounts: by name.
        clients: the accounts' provider clients, by name.
        start: starts the drain of a lane.
        public_url: where providers reach our API; None: they are given no address to call.
    """

    def __init__(
        self,
        store: Store,
        service: Service,
        *,
        accounts: Mapping[str, Account],
        clients: Mapping[str, ProviderClient],
        start: Callable[[str], Awaitable[None]],
        public_url: str | None = None,
    ) -> None:
        self._store = store
        self._service = service
        self._accounts = accounts
        self._clients = clients
        self._start = start
        self._public_url = public_url
        self._making: set[asyncio.Task[Submitted]] = set()

    async def aclose(self) -> None:
        """Let the create calls under way end; write down that the others are in doubt."""
        for _ in range(2):  # the second time for what has to be written down
            if self._making:
                await asyncio.wait(self._making, timeout=GRACE_S)
            for making in self._making:
                making.cancel()

    @redis_may_be_away
    async def submit(
        self,
        request: SubmitRequest,
        *,
        idempotency_key: str | None = None,
        traceparent: str | None = None,
    ) -> Submitted:
        """Have a generation made, and promise to watch it to its end.

        Args:
            request: what is to be made, and what to do when it is over.
            idempotency_key: of two calls with the same key the second makes nothing.
            traceparent: goes with its webhooks.

        Raises:
            NotFoundError: no such account.
            InvalidInputError: a field cannot be used, or the key was used for something else.
            UnderWayError: the same key's call is being made just now.
            RefusedError: the provider refuses; nothing was made.
            NotSentError: the provider cannot be reached; nothing was sent, and nothing made.
            UnavailableError: Redis is away; nothing was sent, and nothing made.
            UnansweredError: nobody knows yet whether it was made.
        """
        account, asked = request.account, request.request
        terms, client = await self._service.terms(account, request), self._clients[account]
        check_request(asked)
        client.check(asked)
        token = self._token(client, asked)
        submission = Submission(
            id=f"sub_{secrets.token_hex(12)}",
            account=account,
            provider=self._accounts[account].provider,
            state=SubmissionState.PENDING,
            terms=terms,
            begun_at=0,
            request=asked if token is None and client.shows_requests else {},
            traceparent=traceparent,
            token=submissions.digest(token) if token else None,
            marks=submissions.marks(asked) if idempotency_key else {},
        )
        until = time.monotonic() + submissions.CALL_S
        begun = await self._begin(submission, asked, idempotency_key)
        if begun.outcome == "same":
            return await self._again(begun.id)
        if token and client.callback and self._public_url:
            url = submissions.hint_url(self._public_url, account, token)
            asked = {**asked, client.callback: url}
        submission = submission.but(begun_at=begun.at)
        return await self._made(submission, _created(client, asked, until - time.monotonic()))

    async def _made(self, submission: Submission, call: Awaitable[Creation]) -> Submitted:
        """Make the call. It goes on if whoever waits for it does not: it is paid for."""

        async def make() -> Submitted:
            return await self._settled(submission, await call)

        making = asyncio.create_task(make())
        self._making.add(making)
        making.add_done_callback(self._forget)
        try:
            await asyncio.wait({making})
            return making.result()
        except asyncio.CancelledError:  # who is answered all the same must not just ask again
            raise UnansweredError(submission.but(detail=HUNG_UP)) from None

    def _forget(self, making: asyncio.Task[Submitted]) -> None:
        self._making.discard(making)
        if not making.cancelled():
            making.exception()  # or asyncio would tell of one that nobody waits for any more

    async def _begin(
        self, submission: Submission, asked: JsonObject, idempotency_key: str | None
    ) -> Begun:
        begun = await self._store.submissions.begin(
            submission,
            fingerprint=submissions.fingerprint(submission.account, asked, submission.terms),
            idempotency=submissions.digest(idempotency_key) if idempotency_key else None,
            lease_s=submissions.LEASE_S,
        )
        if begun.outcome == "other":
            first = await self._store.submissions.get(begun.id)
            raise other_request(begun.id, first, submission)
        return begun

    def _token(self, client: ProviderClient, asked: JsonObject) -> str | None:
        """Make the secret part of the address that the provider is to call, if it is to."""
        if self._public_url is None or client.callback is None:
            return None
        if asked.get(client.callback) is not None:
            return None  # it is the caller's own
        return secrets.token_urlsafe(32)

    async def _settled(self, submission: Submission, creation: Creation) -> Submitted:
        """Write down what came of the create call, and say it."""
        telemetry.submitted(submission, creation)
        store = self._store.submissions
        match creation:
            case Created(generation_id=generation_id):
                return await self._tracked(submission, generation_id)
            case Declined():
                after = submission.but(state=SubmissionState.REFUSED, refusal=creation)
                await _patiently(after, lambda: store.settle(after))
                raise RefusedError(after, creation)
            case NotSent(detail=detail):
                why = f"Nothing was sent: the provider cannot be reached ({detail})."
                after = submission.but(state=SubmissionState.REFUSED, detail=why)
                await _patiently(after, lambda: store.settle(after))
                raise NotSentError(after, detail)
            case InDoubt(detail=detail):
                after = submission.but(detail=detail, in_doubt=True)
                due_s = submissions.LOOK_AFTER_S[0]
                await _patiently(after, lambda: store.settle(after, due_s=due_s))
                raise UnansweredError(after)
            case _:
                assert_never(creation)

    async def _tracked(self, submission: Submission, generation_id: str) -> Submitted:
        """Begin to track what was created."""
        store = self._store.submissions
        at, must_start, outcome = await _patiently(
            submission, lambda: store.created(submission, generation_id)
        )
        if must_start:
            with suppress(UnavailableError):  # then the lane is staged
                await redis_may_be_away(self._start)(f"poll:{submission.account}")
        if outcome == "new":
            names = (submission.account, submission.provider, generation_id)
            return Submitted(begun(*names, submission.terms, at), is_new=True)
        found = await _patiently(
            submission, lambda: self._service.get(submission.account, generation_id)
        )
        return Submitted(found, is_new=True)

    async def _again(self, submission_id: str) -> Submitted:
        """Answer as the call that had the same key was answered."""
        known = await self._store.submissions.get(submission_id)
        if known is None or known.state is SubmissionState.REFUSED:
            raise UnderWayError(  # it has ended just now, and its key is free
                "The call with this Idempotency-Key is ending; ask again.",
                submission_id=submission_id,
            )
        match known.state:
            case SubmissionState.CREATED:
                tracker = await self._service.get(known.account, known.generation_id or "")
                return Submitted(tracker, is_new=False)
            case SubmissionState.PENDING if not known.in_doubt:
                raise UnderWayError(
                    "The call with this Idempotency-Key is under way; ask again.",
                    submission_id=submission_id,
                )
            case _:
                raise UnansweredError(known)

    @redis_may_be_away
    async def get(self, submission_id: str) -> tuple[Submission, Tracker | None]:
        """Get a submission, with the tracker of what was created.

        Raises:
            NotFoundError: there is no such submission, or no longer.
        """
        found = await self._store.submissions.get(submission_id)
        if found is None or found.account not in self._accounts:
            raise NotFoundError(
                f"There is no submission {submission_id[:80]!r}; it never was, or it ended so long "
                "ago that it is no longer kept."
            )
        if found.generation_id is None:
            return found, None
        return found, await self._store.trackers.get(found.account, found.generation_id)

    @redis_may_be_away
    async def list_submissions(
        self,
        *,
        state: SubmissionState | None = None,
        account: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """List submissions, without their trackers.

        Raises:
            InvalidInputError: the cursor is not one of ours.
        """

        async def read(before: int | None, count: int) -> tuple[int | None, list[Submission]]:
            names = await self._store.submissions.ids(before=before, limit=count)
            found = await self._store.submissions.get_many([name for _, name in names])
            return (names[-1][0] if len(names) == count else None), found

        items, next_cursor = await page_of(
            read,
            fits=lambda each: (
                each.account in self._accounts
                and state in {None, each.state}
                and account in {None, each.account}
            ),
            limit=limit,
            cursor=cursor,
        )
        shown = list(map(shapes.submission_shape, items))
        return Page(shown, next_cursor, cursors_after(items))

    @redis_may_be_away
    async def hint(self, account: str, token: str) -> None:
        """Take a provider's push: it brings the next look forward, and nothing else.

        Whatever it says is not read. A token that nobody knows changes nothing.

        Raises:
            UnavailableError: Redis is away.
        """
        if account not in self._accounts or not submissions.is_token(token):
            return
        must_start = await self._store.submissions.hint(
            account,
            submissions.digest(token),
            gap_s=submissions.HINT_GAP_S,
            most=submissions.MOST_HINTS,
        )
        if must_start:
            await self._start(f"poll:{account}")


async def _created(client: ProviderClient, asked: JsonObject, timeout_s: float) -> Creation:
    """Make the create call, once; if the process ends meanwhile, its outcome is in doubt."""
    try:
        return await client.create_generation(asked, timeout_s=timeout_s)
    except asyncio.CancelledError:
        return InDoubt(HUNG_UP)


async def _patiently(submission: Submission, write: Callable[[], Awaitable[Result]]) -> Result:
    """Write down what came of a create call, though Redis may be away for a while.

    It can be written twice. If it is not written at all, that the call was to be made is on record.
    """
    for pause_s in PAUSES_S:
        try:
            return await redis_may_be_away(write)()
        except UnavailableError:
            await asyncio.sleep(pause_s)
    try:
        return await redis_may_be_away(write)()
    except UnavailableError as error:
        raise UnansweredError(submission.but(detail=str(error))) from error
