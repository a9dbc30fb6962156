"""Looks at generations, lists, creates and waits for them without a server and without Redis.

For one process that asks on somebody's behalf, such as an agent's. Nothing is promised here: what
is waited for is forgotten when the process ends. Budgets, holds and the times to look are those of
the rest of the house, kept in memory.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self, TypeVar, assert_never

from worker import policy, shapes
from worker.accounts import configured, prior_of
from worker.config import Settings
from worker.disputes import no_account
from worker.errors import DreamhookError, InvalidInputError, NotFoundError, UnavailableError
from worker.learning import Expectations
from worker.listing import Page
from worker.model import (
    Account,
    Created,
    Declined,
    Health,
    InDoubt,
    JsonObject,
    Missing,
    NotSent,
    Progress,
    Refused,
    Seen,
    State,
    Terms,
    Throttled,
    Tracker,
    Trouble,
)
from worker.providers.client import ProviderClient
from worker.providers.spec import Provider
from worker.refusals import AGAIN_S, Refusal, in_words
from worker.requests import check_generation_id, check_request
from worker.sightings import sighting
from worker.submissions import CALL_S

_Found = TypeVar("_Found", Seen, Page)

Tell = Callable[[Seen | None], Awaitable[None]]
"""Is told how a generation is while it is waited for; None: it has not been seen yet."""

TELL_EVERY_S = 5.0

TROUBLE_PAUSE_S = 1.0
"""After an answer that shows nothing; from the third in a row on the account is held longer."""


def now_ms() -> int:
    """Tell the time, in milliseconds since the epoch."""
    return int(time.time() * 1000)


class _HeldError(UnavailableError):
    """The account must not be asked now."""


@dataclass(slots=True)
class _Line:
    """One account: its connection, what is known of its health, and when it may be asked next."""

    account: Account
    client: ProviderClient
    expect: Expectations
    deadline_s: float
    health: Health = field(default_factory=Health)
    free_at: float = 0.0

    def held_s(self) -> float:
        """Tell for how many seconds the account must not be asked."""
        return max(0.0, (self.health.held_until - now_ms()) / 1000)

    def check(self) -> None:
        """Make sure that the account may be asked now."""
        held_s = self.held_s()
        if held_s > 0:
            raise _HeldError(
                f"Account {self.account.name} must not be asked for another {held_s:.1f} s"
                f" ({self.health.detail}).",
                retry_after=held_s,
            )


class Standalone:
    """The use cases, for the accounts that are configured. Close it after use."""

    def __init__(self, accounts: Mapping[str, Account], providers: Mapping[str, Provider]) -> None:
        self._lines = {
            name: _Line(
                account=account,
                client=ProviderClient(account, providers[name]),
                expect=Expectations(prior_of(providers[name]), {}),
                deadline_s=providers[name].deadline_s,
            )
            for name, account in accounts.items()
        }

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make it from the settings.

        Raises:
            ConfigurationError: a provider cannot be used.
        """
        return cls(*configured(settings))

    @property
    def accounts(self) -> list[str]:
        """The names of the accounts."""
        return list(self._lines)

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(line.client.aclose() for line in self._lines.values()))

    # Each of these raises NotFoundError for an account that there is not, and what `in_words`
    # makes of a provider's refusal.

    async def one(self, account: str, generation_id: str) -> JsonObject:
        """Show a generation as the provider shows it now.

        Raises:
            InvalidInputError: this cannot be a generation's ID.
        """
        line = self._line(account)
        check_generation_id(generation_id)
        seen = await self._ask(line, lambda: line.client.get_generation(generation_id))
        if not isinstance(seen, Seen):
            raise in_words(seen, account, generation_id)
        return self._shown(line, generation_id, seen)

    async def page(self, account: str, *, limit: int, offset: int) -> JsonObject:
        """Show a page of the provider's list: `items` and `next_offset`."""
        line = self._line(account)
        if line.client.page is None:
            raise NotFoundError(
                f"{line.account.provider}, the provider of account {account}, has no list."
            )
        page = await self._ask(
            line, lambda: line.client.list_generations(limit=limit, offset=offset)
        )
        if not isinstance(page, Page):
            raise in_words(page, account, "")
        return shapes.glances_shape(line.account, page, tracked=(), now=now_ms())

    async def wait(
        self, account: str, generation_id: str, *, timeout_s: float, tell: Tell
    ) -> JsonObject:
        """Show a generation when it is over, or as it stands after `timeout_s`.

        A provider that gives no usable answer does not end the wait.

        Raises:
            InvalidInputError: this cannot be a generation's ID.
        """
        line, until = self._line(account), time.monotonic() + timeout_s
        check_generation_id(generation_id)
        watched = _unseen(line, generation_id)
        last: Seen | Throttled | Trouble | None = None
        while (left_s := until - time.monotonic()) > 0:
            with suppress(_HeldError):
                answer = await self._ask(line, lambda: line.client.get_generation(generation_id))
                if isinstance(answer, Missing | Refused):
                    raise in_words(answer, account, generation_id)
                last, watched = answer, _watched(watched, answer)
                if isinstance(last, Seen) and last.progress is not Progress.RUNNING:
                    break
            await _told(tell, last, min(left_s, _pause_s(line, watched, last)))
        if isinstance(last, Seen):
            return self._shown(line, generation_id, last)
        line.check()
        raise in_words(last or Trouble("it was not asked"), account, generation_id)

    async def create(self, account: str, request: JsonObject) -> JsonObject:
        """Have a generation made, as the provider's create call takes it, and show it.

        The call is made once: to make it again would be to pay again.

        Raises:
            InvalidInputError: the request cannot be used; nothing was made.
            UnavailableError: nothing was sent, or the provider makes nothing now.
            DreamhookError: nobody knows whether it was made.
        """
        line = self._line(account)
        check_request(request)
        line.client.check(request)
        creation = await line.client.create_generation(request, timeout_s=CALL_S)
        match creation:
            case Created(generation_id=name):
                with suppress(NotFoundError, UnavailableError):  # it is there all the same
                    return await self.one(account, name)
                unseen = Seen(progress=Progress.RUNNING, provider_state="")
                return self._shown(line, name, unseen)
            case Declined():
                raise _declined(creation, account)
            case NotSent(detail=detail):
                raise UnavailableError(
                    f"The provider of account {account} cannot be reached ({detail}). Nothing was"
                    " sent.",
                    retry_after=AGAIN_S,
                )
            case InDoubt(detail=detail):
                raise DreamhookError(
                    f"The provider of account {account} was asked, and nobody knows what came of it"
                    f" ({detail}). Look for it in the list before you create it again: each call is"
                    " paid for."
                )
            case _:
                assert_never(creation)

    # --- asking ---------------------------------------------------------------------------------

    def _line(self, account: str) -> _Line:
        line = self._lines.get(account)
        if line is None:
            raise no_account(account, self._lines)
        return line

    async def _ask(
        self, line: _Line, ask: Callable[[], Awaitable[_Found | Refusal]]
    ) -> _Found | Refusal:
        """Make one request in its turn, unless the account is held."""
        line.check()
        rate = line.account.polls_per_second * policy.rate_share(line.health, now=now_ms())
        turn = max(line.free_at, time.monotonic() - 1.0)  # a second's worth may go out at once
        line.free_at = turn + 1 / rate
        await asyncio.sleep(max(0.0, turn - time.monotonic()))
        line.check()  # what others were answered meanwhile holds for this one too
        found = await ask()
        answer = Missing("") if isinstance(found, Page) else found
        line.health = policy.next_health(
            line.health, answer, generation_id="", now=now_ms(), jitter=random.random()
        )
        return found

    def _shown(self, line: _Line, generation_id: str, seen: Seen) -> JsonObject:
        return shapes.glance_shape(line.account, generation_id, seen, tracked=False, now=now_ms())


def _declined(declined: Declined, account: str) -> DreamhookError:
    """Say why a provider has made nothing."""
    match declined.status:
        case 401 | 403:
            return in_words(Refused(declined.detail), account, "")
        case 429:
            return in_words(Throttled(declined.detail, declined.retry_after_s), account, "")
        case _:
            return InvalidInputError(
                "request", f"the provider refuses: {declined.detail}. Nothing was made."
            )


def _unseen(line: _Line, generation_id: str) -> Tracker:
    """Begin to watch a generation, in memory alone."""
    now = now_ms()
    return Tracker(
        account=line.account.name,
        generation_id=generation_id,
        provider=line.account.provider,
        state=State.TRACKING,
        terms=Terms(deadline_s=line.deadline_s),
        tracked_at=now,
        deadline_at=now + policy.in_ms(line.deadline_s),
    )


def _watched(watched: Tracker, answer: Seen | Throttled | Trouble) -> Tracker:
    """Take note of an answer."""
    now = now_ms()
    after = policy.refresh(watched, answer, now=now)
    return after.but(entered_at=after.entered_at or after.seen_at)


def _pause_s(line: _Line, watched: Tracker, answer: Seen | Throttled | Trouble | None) -> float:
    """Tell after how many seconds to look again."""
    seen, now = sighting(watched), now_ms()
    if not isinstance(answer, Seen) or seen is None:
        return max(line.held_s(), TROUBLE_PAUSE_S)
    jitter, expect = random.random(), line.expect[watched.kind]
    at = policy.next_look(seen, expect, line.account.poll_patience, now=now, jitter=jitter)
    return max(line.held_s(), (at - now) / 1000)


async def _told(tell: Tell, answer: Seen | Throttled | Trouble | None, pause_s: float) -> None:
    """Sleep, and tell now and then that it goes on."""
    seen = answer if isinstance(answer, Seen) else None
    while pause_s > 0:
        await tell(seen)
        await asyncio.sleep(min(pause_s, TELL_EVERY_S))
        pause_s -= TELL_EVERY_S
