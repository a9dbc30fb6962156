"""Trackers in Redis: tracked, claimed for a look, settled, listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from worker.model import (
    Entry,
    Health,
    NewEvent,
    State,
    Terms,
    Tracker,
    Watched,
)
from worker.store import records, timelines
from worker.store.scripts import ALIVE_S, LEARNED_KEPT_S, REST_S, Clock, Scripts, ms


@dataclass(frozen=True, slots=True)
class ClaimedLooks:
    """Trackers claimed from an account's lane. `wake_at` is None when nothing lies ahead.

    `blind` are past their deadline while the account is held: they end without a look. The first
    `due` of the `looks` are due; with a `page` the others ride along with them. `learned` is
    the version of what is known of the account's kinds, `unlearned` how many ends are to be learned
    from.
    """

    clock: Clock
    wake_at: int | None
    health: Health
    looks: list[Watched]
    blind: list[Tracker]
    due: int = 0
    learned: int = 0
    unlearned: int = 0


@dataclass(frozen=True, slots=True)
class ClaimedTracker:
    """One tracker, claimed out of turn."""

    clock: Clock
    health: Health
    tracker: Tracker


@dataclass(frozen=True, slots=True)
class ClaimedRequest:
    """One request of an account, that is about no tracker in particular."""

    clock: Clock
    health: Health


@dataclass(frozen=True, slots=True)
class Tracked:
    """What came of a request to track: for each ID, in order, `new`, `same` or `conflict`.

    With `must_start` the caller has to start the lane's drain.
    """

    at: int
    outcomes: list[str]
    must_start: bool


class Trackers:
    """What is tracked, and the looks that are due."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.key

    async def track(
        self,
        account: str,
        provider: str,
        wanted: Sequence[tuple[str, Terms]],
        *,
        traceparent: str | None = None,
        now: int | None = None,
    ) -> Tracked:
        """Track up to 1,000 generations of one account, in one atomic step."""
        args: list[Any] = [account, ms(ALIVE_S), records.new_record(provider, traceparent)]
        for generation_id, terms in wanted:
            args += (generation_id, records.terms_to_json(terms), ms(terms.deadline_s))
        at, must_start, outcomes = await self._scripts.run("track", *args, now=now)
        return Tracked(at, [each.decode() for each in outcomes], bool(must_start))

    async def get(self, account: str, generation_id: str) -> Tracker | None:
        """Read a tracker, or None."""
        found = await self.get_many([(account, generation_id)])
        return found[0] if found else None

    async def get_many(self, names: Sequence[tuple[str, str]]) -> list[Tracker]:
        """Read trackers, leaving out those that are no longer kept."""
        pipe = self._redis.pipeline(transaction=False)
        for account, generation_id in names:
            pipe.hgetall(self._key(f"tracker:{account}:{generation_id}"))
        rows = await pipe.execute()
        return [
            records.tracker_from_hash(account, generation_id, row)
            for (account, generation_id), row in zip(names, rows, strict=True)
            if row
        ]

    async def names(
        self, accounts: Iterable[str], states: Iterable[State], *, before: int | None, limit: int
    ) -> list[tuple[int, str, str]]:
        """Name trackers, newest first.

        Returns:
            Up to `limit` of (seq, account, generation ID), with seq below `before`.
        """
        lists = [(account, f"trackers:{account}:{s}") for account in accounts for s in states]
        indexes = [index for _, index in lists]
        found = await self._scripts.newest(indexes, before=before, limit=limit)
        rows = [
            (seq, account, member)
            for (account, _), members in zip(lists, found, strict=True)
            for member, seq in members
        ]
        return sorted(rows, reverse=True)[:limit]

    async def timeline(self, account: str, generation_id: str) -> list[Entry]:
        """Read a tracker's timeline, oldest first."""
        name = f"{account}:{generation_id}"
        pipe = self._redis.pipeline(transaction=True)  # or looks could be in both, or in neither
        pipe.lrange(self._key(f"timeline:{name}"), 0, -1)
        pipe.hget(self._key(f"tracker:{name}"), "watched")
        lines, watched = await pipe.execute()
        entries = [timelines.entry_from_json(each) for each in lines]
        if repeats := records.repeats_from_json(watched):
            entries.append(timelines.of_repeats(repeats))
        # A line of many looks is written after their last, but begins with their first.
        return sorted(entries, key=attrgetter("at"))

    async def hurry(
        self, account: str, generation_id: str, *, now: int | None = None
    ) -> tuple[State | None, bool]:
        """Make a tracker's next look due now.

        Returns:
            Its state (None: no such tracker) and whether the caller must start the lane's drain.
        """
        args = (account, generation_id, ms(ALIVE_S))
        state, must_start = await self._scripts.run("hurry", *args, now=now)
        return (State(state.decode()) if state else None), bool(must_start)

    async def claim(
        self,
        account: str,
        *,
        limit: int,
        rate: float,
        page: int = 0,
        assists: bool = False,
        now: int | None = None,
    ) -> ClaimedLooks:
        """Claim up to `limit` of the looks due in an account's lane, within health and budget.

        Args:
            account: whose lane.
            limit: how many requests may be made.
            rate: the account's budget in requests per second.
            page: if above 0, one request is to do for as many looks as are due, up to so many.
            assists: whether the lane's own drain, of which its marker tells, is another.
            now: stands in for Redis's clock.
        """
        args = (account, limit, self._scripts.lease_ms, rate, ms(ALIVE_S), page, int(assists))
        at, wake_at, health, blind, looks, due, learned, unlearned = await self._scripts.run(
            "claim_looks", *args, now=now
        )
        return ClaimedLooks(
            clock=Clock.at(at),
            wake_at=None if wake_at < 0 else wake_at,
            health=records.health_from_row(health),
            looks=[records.watched_from_row(account, name.decode(), row) for name, row in looks],
            blind=[_claimed(account, row) for row in blind],
            due=due,
            learned=learned,
            unlearned=unlearned,
        )

    async def claim_ends(
        self, account: str, *, limit: int, now: int | None = None
    ) -> tuple[Clock, list[Tracker]]:
        """Claim what is past its deadline in an account that nobody can ask, since it is unknown.

        When nothing is, the lane has been put to sleep, and the account is one of `Store.strays`.
        """
        args = (account, limit, self._scripts.lease_ms, ms(REST_S))
        at, ends = await self._scripts.run("claim_ends", *args, now=now)
        return Clock.at(at), [_claimed(account, row) for row in ends]

    async def claim_one(
        self, account: str, generation_id: str, *, rate: float | None, now: int | None = None
    ) -> ClaimedTracker | float | None:
        """Claim one tracker out of turn; `rate` is None if no request will be made.

        Returns:
            The claim; or in how many seconds the account may be asked; or None: no such tracker.
        """
        args = (account, generation_id, self._scripts.lease_ms, "" if rate is None else rate)
        match await self._scripts.run("claim_tracker", *args, now=now):
            case [at, 0, health, row]:
                tracker = records.tracker_from_row(account, generation_id, row)
                return ClaimedTracker(Clock.at(at), records.health_from_row(health), tracker)
            case [_, wait_ms]:
                return float(wait_ms) / 1000
        return None

    async def claim_request(
        self, account: str, *, rate: float, now: int | None = None
    ) -> ClaimedRequest | float:
        """Claim one request of an account; or get in how many seconds it may be asked."""
        args = (account, self._scripts.lease_ms, rate)
        at, wait_ms, *health = await self._scripts.run("claim_request", *args, now=now)
        if wait_ms:
            return float(wait_ms) / 1000
        return ClaimedRequest(Clock.at(at), records.health_from_row(*health))

    async def settle_waits(
        self, account: str, looks: Sequence[Watched], *, now: int | None = None
    ) -> list[bool]:
        """Write what looks made of trackers that they showed nothing new of.

        Args:
            account: whose trackers.
            looks: each as it is now, with the fence of its claim; its deadline is further away
                than a lease is long.
            now: stands in for Redis's clock, in tests.

        Returns:
            For each whether it was written: it was not, if it was settled meanwhile.
        """
        # One argument, since to send a look as seven cost as much as to decide it.
        lines = b"".join(
            b"%b\n%d\n%d\n%b\n"
            % (
                *(after.generation_id.encode(), after.fence, after.next_poll_at or 0),
                records.watched_to_json(after),
            )
            for after in looks
        )
        args = (account, len(looks), lines)
        return [bool(each) for each in await self._scripts.run("settle_waits", *args, now=now)]

    async def release(self, account: str, looks: Iterable[tuple[str, int, int]]) -> None:
        """Give claimed looks back that were not made: (generation ID, due again at, deadline)."""
        args = [part for each in looks for part in each]
        if args:
            await self._scripts.run("release_looks", account, *args)

    async def tell_health(self, account: str, health: Health) -> None:
        """Write an account's health after an answer that was about no tracker in particular."""
        await self._scripts.run("tell_health", account, *records.account_health_args(health))

    async def listing(self, account: str) -> bytes | None:
        """Read what is known of how a provider lists the account's generations."""
        found: bytes | None = await self._redis.get(self._key(f"listing:{account}"))
        return found

    async def keep_listing(
        self, account: str, listing: bytes, *, next_page_at: int | None = None
    ) -> None:
        """Write that down, and until when first looks wait for the next page; None: they do not."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(self._key(f"listing:{account}"), listing, px=ms(LEARNED_KEPT_S))
        if next_page_at is not None:
            pipe.hset(self._key(f"card:poll:{account}"), "page_at", str(next_page_at))
        await pipe.execute()

    async def settle(
        self,
        after: Tracker,
        *,
        health: Health | None = None,
        entries: Sequence[Entry] = (),
        event: NewEvent | None = None,
        observation: bytes | None = None,
        now: int | None = None,
    ) -> tuple[bool, str]:
        """Write what a look made of a tracker, with its event, unless it was settled meanwhile.

        Args:
            after: the tracker as it is now, with the fence of its claim.
            health: the account's health after the answer, with the version it was claimed under.
            entries: for the timeline.
            event: to be born in the same step.
            observation: what its end teaches, to be learned from once.
            now: stands in for Redis's clock, in tests.

        Returns:
            Whether it was written, and the lane whose drain the caller must start ('' = none).
        """
        if after.repeats:
            entries = [timelines.of_repeats(after.repeats), *entries]
        after = after.but(repeats=None)
        args = [
            *(after.account, after.generation_id, after.fence, after.state.value),
            *(records.tracker_to_record(after), records.watched_to_json(after)),
            after.next_poll_at or 0,
            *(self._scripts.retention_ms, ms(ALIVE_S)),
            *records.account_health_args(health),
            *(observation or "", ms(LEARNED_KEPT_S)),
            *(len(entries), *map(timelines.entry_to_json, entries)),
            *records.event_args(event),
        ]
        applied, lane = await self._scripts.run("settle_look", *args, now=now)
        return bool(applied), lane.decode()


def _claimed(account: str, row: list[Any]) -> Tracker:
    generation_id, fields = row
    return records.tracker_from_row(account, generation_id.decode(), fields)
