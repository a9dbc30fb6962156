"""The health of accounts, after answers that no tracker is settled with: pages, and glances."""

from __future__ import annotations

import random

from worker import policy, telemetry
from worker.model import Health, Missing, Refused
from worker.refusals import Refusal
from worker.store import Store

_ALL_IS_WELL = Missing("")
"""What any answer says that is none of trouble: a 404 is one."""


async def tell_health(
    store: Store,
    account: str,
    before: Health,
    refusal: Refusal | None,
    *,
    generation_id: str | None = None,
    now: int,
) -> None:
    """Take from an answer what it says of the account, and write and tell it if that is new.

    That there is no list, or none for this key, says nothing of it.

    Args:
        store: where it is kept.
        account: which was asked.
        before: its health when the request was claimed.
        refusal: the answer; None: it showed what was asked for.
        generation_id: what was asked for; None: a list.
        now: when the answer came, in ms.
    """
    is_none_for_us = isinstance(refusal, Refused) and not refusal.of_account
    if generation_id is None and (is_none_for_us or isinstance(refusal, Missing)):
        return
    answer, name = refusal or _ALL_IS_WELL, generation_id or ""
    after = policy.next_health(before, answer, generation_id=name, now=now, jitter=random.random())
    if after != before:
        await store.trackers.tell_health(account, after)
        if after.held_until or before.held_until:
            telemetry.held(after, account=account)
