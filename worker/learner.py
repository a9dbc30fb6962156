"""Keeps what the looks of each account have taught: read when asked for, learned as ends come.

Every worker learns for all: what it puts down is read by the others. Two that learn from the same
ends at once do so once, since the store takes only what extends what stands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.learning import (
    Expectations,
    Known,
    Observation,
    Prior,
    Words,
    bounded,
    fold,
    kind_of,
    lineage,
    name_of,
)
from worker.schedule import Kind
from worker.store import Store

REFRESH_S = 1.0
"""What others have learned is read at most so often, and so often is learned from what came in."""

READ_AT_ONCE = 1000

LEARNED_AT_ONCE = 20
"""Of more ends than so many at a time some are learned from, evenly: the others tell the same."""


@dataclass(slots=True)
class _Account:
    """What this process remembers of an account's kinds, as of one version."""

    expect: Expectations
    known: dict[Words, Known]
    asked: set[Words] = field(default_factory=set)
    version: int | None = None
    read_at: float = -REFRESH_S
    folded_at: float = -REFRESH_S


class Learner:
    """Says what to expect of generations, and learns from how they ended.

    Args:
        store: where it is kept.
        priors: by account, what to expect before anything was learned.
    """

    def __init__(self, store: Store, priors: Mapping[str, Prior]) -> None:
        self._store = store
        self._priors = priors
        self._accounts: dict[str, _Account] = {}

    async def expect(self, account: str, kind: Words) -> Kind:
        """Tell what to expect of a kind in an account."""
        ours = self._remembered(account)
        if kind not in ours.asked:
            missing = [each for each in lineage(kind) if each not in ours.asked]
            found = await self._store.learned.get(account, [name_of(each) for each in missing])
            for each, data in zip(missing, found, strict=True):
                if data is not None:
                    ours.known.setdefault(each, Known.from_bytes(data))
            ours.asked.update(missing)
        return ours.expect[kind]

    def heard(self, account: str, version: int) -> None:
        """Take note of which version stands: if another one, what is remembered is read anew."""
        ours = self._remembered(account)
        if ours.version != version and time.monotonic() - ours.read_at >= REFRESH_S:
            self._accounts[account] = self._fresh(
                account, version=version, read_at=time.monotonic(), folded_at=ours.folded_at
            )

    def is_due(self, account: str) -> bool:
        """Tell whether this process may learn again by now."""
        return time.monotonic() - self._remembered(account).folded_at >= REFRESH_S

    async def fold(self, account: str) -> None:
        """Learn from the ends that nobody has learned from."""
        self._remembered(account).folded_at = time.monotonic()
        found = await self._store.learned.unlearned(account, READ_AT_ONCE)
        if not found.observations:
            return
        every = math.ceil(len(found.observations) / LEARNED_AT_ONCE)
        some = map(Observation.from_bytes, found.observations[::every])
        (known, _), now = await self.known(account), await self._store.now()
        room = bounded(known, filter(None, some), now=now)
        learned = fold(known, self._priors.get(account, Prior()), room.observations, now=now)
        await self._store.learned.fold(
            account,
            found.version,
            len(found.observations),
            {name_of(kind): each.to_bytes() for kind, each in learned.items()},
            [name_of(kind) for kind in room.forgotten],
        )

    async def known(self, account: str) -> tuple[dict[Words, Known], Expectations]:
        """Read what is known of all kinds of an account, and what it makes one expect."""
        found = await self._store.learned.all(account)
        known = {kind_of(name): Known.from_bytes(data) for name, data in found.items()}
        return known, Expectations(self._priors.get(account, Prior()), known)

    def _remembered(self, account: str) -> _Account:
        if account not in self._accounts:
            self._accounts[account] = self._fresh(account)
        return self._accounts[account]

    def _fresh(self, account: str, **noted: Any) -> _Account:
        known: dict[Words, Known] = {}
        prior = self._priors.get(account, Prior())
        return _Account(expect=Expectations(prior, known), known=known, **noted)
