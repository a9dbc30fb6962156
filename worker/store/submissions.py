"""Submissions in Redis: begun before the create call, and settled with what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pydantic_core import from_json, to_json

from worker.model import Declined, Submission, SubmissionState
from worker.store import packing, records
from worker.store.scripts import ALIVE_S, Clock, Scripts, ms, pairs

_REFUSAL_FIELDS = tuple(f.name for f in fields(Declined))


@dataclass(frozen=True, slots=True)
class Begun:
    """The submission that has the idempotency key: the new one, or (`same`, `other`) an older."""

    at: int
    id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class ClaimedSubmission:
    """One whose outcome is to be found out, and the IDs of others that may have a claim to it."""

    clock: Clock
    submission: Submission
    rivals: list[str]


class Submissions:
    """What providers were asked for, until its outcome is known and for a while."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.key

    async def begin(
        self,
        submission: Submission,
        *,
        fingerprint: str,
        idempotency: str | None,
        lease_s: float,
        now: int | None = None,
    ) -> Begun:
        """Put a submission on record, unless its idempotency key has one already.

        Args:
            submission: what is about to be asked; its `begun_at` is not read.
            fingerprint: the same for the same call of our API.
            idempotency: the digest of its idempotency key.
            lease_s: after so long without an outcome whoever makes the call has died.
            now: stands in for Redis's clock, in tests.
        """
        at, holder, outcome = await self._scripts.run(
            "begin_submission",
            *(submission.id, submission.account, _record(submission), ms(lease_s)),
            *(fingerprint, idempotency or "", submission.token or ""),
            now=now,
        )
        return Begun(at, holder.decode(), outcome.decode())

    async def created(
        self,
        submission: Submission,
        generation_id: str,
        *,
        is_certain: bool = True,
        now: int | None = None,
    ) -> tuple[int, bool, str]:
        """Write down that it was created, and track it, in one step.

        Args:
            submission: as it was begun.
            generation_id: what the provider calls it.
            is_certain: that it is this one's. If not, it must be tracked by nobody yet.
            now: stands in for Redis's clock, in tests.

        Returns:
            The time, whether the caller must start the lane's drain, and `new`, `same` or
            `conflict` as for `Trackers.track`, or `taken`: then nothing was written.
        """
        terms = submission.terms
        at, must_start, outcome = await self._scripts.run(
            "settle_created",
            *(submission.id, submission.account, ms(ALIVE_S)),
            records.new_record(submission.provider, submission.traceparent),
            *(self._scripts.retention_ms, int(is_certain)),
            _record(submission.but(request={}, detail=None)),
            *(generation_id, records.terms_to_json(terms), ms(terms.deadline_s)),
            now=now,
        )
        return at, bool(must_start), outcome.decode()

    async def settle(
        self, after: Submission, *, due_s: float = 0.0, now: int | None = None
    ) -> bool:
        """Write down what is known of one that was not created, or not that anyone knows.

        Args:
            after: as it is now: `pending` (in doubt), `refused` or `unknown`.
            due_s: in how many seconds to look for it again, if it is pending.
            now: stands in for Redis's clock, in tests.

        Returns:
            Whether it was written: what has been created meanwhile stays so.
        """
        known = after.state is SubmissionState.REFUSED
        record = _record(after.but(request={}) if known else after)
        args = (after.id, after.state.value, record, after.looks, ms(due_s))
        return bool(
            await self._scripts.run("settle_submission", *args, self._scripts.retention_ms, now=now)
        )

    async def claim(
        self,
        *,
        limit: int,
        lease_s: float,
        window_s: float,
        most_rivals: int,
        now: int | None = None,
    ) -> list[ClaimedSubmission]:
        """Claim those whose outcome is to be found out now.

        Args:
            limit: how many at most.
            lease_s: how long they are this caller's.
            window_s: others within it may be mistaken for them.
            most_rivals: about how many of these are named for each.
            now: stands in for Redis's clock, in tests.
        """
        args = (limit, ms(lease_s), ms(window_s), most_rivals)
        at, rows = await self._scripts.run("claim_submissions", *args, now=now)
        clock = Clock.at(at)
        return [
            ClaimedSubmission(clock, _from_hash(name.decode(), pairs(row)), _texts(rivals))
            for name, row, rivals in rows
        ]

    async def hint(
        self, account: str, token: str, *, gap_s: float, most: int, now: int | None = None
    ) -> bool:
        """Take a push that came with the token of this digest; see `lua/hint.lua`.

        Returns:
            Whether the caller must start the drain of the account's lane.
        """
        args = (account, token, ms(gap_s), most, ms(ALIVE_S))
        return bool(await self._scripts.run("hint", *args, now=now))

    async def get(self, submission_id: str) -> Submission | None:
        """Read a submission, or None."""
        found = await self.get_many([submission_id])
        return found[0] if found else None

    async def get_many(self, names: Sequence[str]) -> list[Submission]:
        """Read submissions, leaving out those that are no longer kept."""
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(self._key(f"submission:{name}"))
        rows = await pipe.execute()
        return [_from_hash(name, row) for name, row in zip(names, rows, strict=True) if row]

    async def ids(self, *, before: int | None, limit: int) -> list[tuple[int, str]]:
        """Name submissions, newest first: up to `limit` of (seq, ID), with seq below `before`."""
        (found,) = await self._scripts.newest(["submissions"], before=before, limit=limit)
        return [(seq, name) for name, seq in found]

    async def tracked(self, account: str, generation_ids: Iterable[str]) -> set[str]:
        """Tell which of these generations are tracked, or were and are kept."""
        names = list(generation_ids)
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.exists(self._key(f"tracker:{account}:{name}"))
        found = await pipe.execute()
        return {name for name, there in zip(names, found, strict=True) if there}


def _texts(names: Iterable[bytes]) -> list[str]:
    return [each.decode() for each in names]


def _record(submission: Submission) -> bytes:
    kept: dict[str, Any] = {
        "provider": submission.provider,
        "terms": from_json(records.terms_to_json(submission.terms)),
        "request": submission.request,
        "marks": submission.marks,
        "traceparent": submission.traceparent,
        "detail": submission.detail,
    }
    if submission.refusal is not None:
        kept["refusal"] = {name: getattr(submission.refusal, name) for name in _REFUSAL_FIELDS}
    return packing.packed_body(to_json({name: each for name, each in kept.items() if each}))


def _from_hash(name: str, row: Mapping[bytes, bytes]) -> Submission:
    kept = from_json(packing.body_of(row[b"record"]))
    generation_id, ended_at = row.get(b"generation_id"), row.get(b"ended_at")
    refusal = kept.get("refusal")
    known = {} if refusal is None else {k: v for k, v in refusal.items() if k in _REFUSAL_FIELDS}
    return Submission(
        id=name,
        account=row[b"account"].decode(),
        provider=kept["provider"],
        state=SubmissionState(row[b"state"].decode()),
        terms=records.terms_from_json(to_json(kept["terms"])),
        begun_at=int(row[b"begun_at"]),
        request=kept.get("request", {}),
        marks=kept.get("marks", {}),
        traceparent=kept.get("traceparent"),
        token=row[b"token"].decode() or None,
        looks=int(row[b"looks"]),
        in_doubt=b"in_doubt" in row,
        detail=kept.get("detail"),
        refusal=Declined(**known) if known else None,
        generation_id=generation_id.decode() if generation_id else None,
        ended_at=int(ended_at) if ended_at else None,
        seq=int(row[b"seq"]),
    )
