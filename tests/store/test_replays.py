"""Replays: a finished delivery is owed again, under the same ID, if it still can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Endpoint,
    Entry,
    NewEvent,
    State,
    Terms,
)
from worker.store import LEASE_S, ClaimedTracker, Store

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
RETENTION_MS = 600_000  # as the fixture has it
URL = "https://hooks.example.com/x"
LANE = "post:https://hooks.example.com:443"
ORDERS = Endpoint(name="orders", url=URL)
FINISHED = [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED]
KEYS = ("delivery:dlv_1", "attempts:dlv_1", "event:evt_1")


def owed(name: str, *, endpoint: str = "orders") -> Delivery:
    return Delivery(
        id=f"dlv_{name}",
        event_id=f"evt_{name}",
        type="generation.completed",
        account="luma",
        generation_id="g-1",
        endpoint=endpoint,
        url=URL,
        state=DeliveryState.PENDING,
        created_at=T,
        headers={"x-a": "1"},
    )


async def end(store: Store, name: str = "1", *, endpoint: str = "orders", now: int = T) -> None:
    """Complete a generation, with what is owed for it."""
    await store.endpoints.put(ORDERS, enabled=None, secret="s1")
    await store.trackers.track("luma", "luma", [(f"g-{name}", Terms(deadline_s=60))], now=now)
    claimed = await store.trackers.claim_one("luma", f"g-{name}", rate=None, now=now)
    assert isinstance(claimed, ClaimedTracker)
    delivery = replace(owed(name, endpoint=endpoint), generation_id=f"g-{name}")
    event = NewEvent(
        id=delivery.event_id, type=delivery.type, body=b"{}", delivery=delivery, lane=LANE
    )
    done = replace(claimed.tracker, state=State.COMPLETED)
    await store.trackers.settle(done, event=event, now=now)


async def claim(store: Store, *, now: int = T) -> list[Delivery]:
    claimed = await store.deliveries.claim(LANE, limit=50, now=now)
    return [each.delivery for each in claimed.deliveries]


async def settle(store: Store, it: Delivery, state: DeliveryState, *, now: int = T) -> bool:
    """Settle an attempt; what is tried again is so after nine seconds."""
    pending, exhausted = state is DeliveryState.PENDING, state is DeliveryState.EXHAUSTED
    after = replace(
        it,
        state=state,
        reason=DeliveryReason.ATTEMPTS if exhausted else None,
        tries=it.tries + 1,
        next_attempt_at=now + 9000 if pending else None,
    )
    made = Attempt(at=now, duration_ms=5)
    applied, _ = await store.deliveries.settle(after, made, entry=Entry(now, "attempt"), now=now)
    return applied


async def finish(store: Store, state: DeliveryState) -> Delivery:
    """Bring delivery 1 to its end, which is returned as it is then."""
    await end(store)
    (it,) = await claim(store)
    assert await settle(store, it, state)
    return await get(store)


async def get(store: Store, name: str = "1") -> Delivery:
    (found,) = await store.deliveries.get_many([f"dlv_{name}"])
    return found


async def replay(store: Store, it: Delivery, *, now: int = T) -> tuple[str, str]:
    return await store.deliveries.replay(replace(it, tries=0, next_attempt_at=now), now=now)


# --- what is finished -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_finished_is_owed_again_from_its_first_attempt_on(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    before = await finish(store, state)
    await store.lanes.leave(LANE, now=T)

    assert await replay(store, before, now=T + 5) == (state, LANE)

    after = await get(store)
    assert after == replace(
        before,
        state=DeliveryState.PENDING,
        reason=None,
        finished_at=None,
        tries=0,
        next_attempt_at=T + 5,
        fence=after.fence,
    )
    assert len(after.attempts) == 1  # what happened stays on record
    assert [await redis.pttl(f"test:{key}") for key in KEYS] == [-1] * 3
    (claimed,) = await claim(store, now=T + 5)
    assert (claimed.id, claimed.event_id, claimed.seq) == ("dlv_1", "evt_1", before.seq)


@pytest.mark.parametrize("state", FINISHED)
async def test_what_is_owed_again_is_listed_as_pending_only(
    store: Store, redis: Redis, state: DeliveryState
) -> None:
    await replay(store, await finish(store, state))

    counts = (await store.counts([]))[1]
    assert {name: n for name, n in counts.items() if n} == {"pending": 1}
    assert await store.endpoints.failed("orders", since=0) == []
    assert await redis.zrange("test:owed:orders", 0, -1) == [b"dlv_1"]
    await store.lanes.sweep(now=T + 9 * RETENTION_MS)
    assert (await store.counts([]))[1]["pending"] == 1


async def test_a_replay_is_on_the_timeline_of_its_generation(store: Store) -> None:
    await replay(store, await finish(store, DeliveryState.DELIVERED), now=T + 5)

    newest = (await store.trackers.timeline("luma", "g-1"))[-1]
    assert newest == Entry(T + 5, "replay", {"delivery_id": "dlv_1"})


async def test_a_settle_from_before_the_replay_changes_nothing(store: Store) -> None:
    await end(store)
    (slow,) = await claim(store)
    (quick,) = await claim(store, now=T + LEASE_MS)
    await settle(store, quick, DeliveryState.EXHAUSTED)
    await replay(store, await get(store))

    assert not await settle(store, slow, DeliveryState.DELIVERED)
    assert not await settle(store, quick, DeliveryState.DELIVERED)

    assert (await get(store)).state is DeliveryState.PENDING


async def test_what_was_replayed_ends_like_any_other(store: Store, redis: Redis) -> None:
    await replay(store, await finish(store, DeliveryState.EXHAUSTED))

    (it,) = await claim(store)
    assert await settle(store, it, DeliveryState.DELIVERED)

    assert (await get(store)).tries == 1
    assert -1 not in [await redis.pttl(f"test:{key}") for key in KEYS]
    assert await redis.hget("test:event:evt_1", "pending") == b"0"  # type: ignore[misc]


async def test_a_second_replay_owes_nothing_twice(store: Store, redis: Redis) -> None:
    before = await finish(store, DeliveryState.EXHAUSTED)

    assert (await replay(store, before))[0] == "exhausted"
    assert (await replay(store, before))[0] == "pending"

    assert await redis.hget("test:event:evt_1", "pending") == b"1"  # type: ignore[misc]
    assert len(await claim(store)) == 1


async def test_an_anonymous_endpoint_stays_for_what_is_owed_again(
    store: Store, redis: Redis
) -> None:
    await end(store, endpoint="url_1")
    await settle(store, (await claim(store))[0], DeliveryState.DELIVERED)

    await replay(store, await get(store))

    assert await redis.pttl("test:endpoint:url_1") == -1
    await store.lanes.sweep(now=T + 9 * RETENTION_MS)
    assert len(await store.endpoints.names(before=None, limit=5)) == 2


# --- what is pending ------------------------------------------------------------------------------


async def test_what_waits_for_its_next_attempt_becomes_due_now(store: Store) -> None:
    await end(store)
    await settle(store, (await claim(store))[0], DeliveryState.PENDING)
    before = await get(store)
    await store.lanes.leave(LANE, now=T)

    assert await replay(store, before, now=T + 5) == ("pending", LANE)

    (it,) = await claim(store, now=T + 5)
    assert it.tries == before.tries == 1


async def test_what_is_under_way_is_left_to_whoever_has_it(store: Store) -> None:
    await end(store)
    (it,) = await claim(store)

    assert (await replay(store, it, now=T + 5))[0] == "pending"

    assert await claim(store, now=T + 5) == []
    assert await settle(store, it, DeliveryState.DELIVERED)


# --- what cannot be replayed ----------------------------------------------------------------------


async def test_what_is_not_there_is_not_replayed(store: Store, redis: Redis) -> None:
    assert await replay(store, owed("1")) == ("", "")
    assert await redis.keys() == []


@pytest.mark.parametrize("key", ["event:evt_1", "endpoint:orders"])
async def test_what_has_lost_its_event_or_its_endpoint_is_not_replayed(
    store: Store, redis: Redis, key: str
) -> None:
    before = await finish(store, DeliveryState.EXHAUSTED)
    await redis.delete(f"test:{key}")

    assert await replay(store, before) == ("gone", "")
    assert await get(store) == before


async def test_what_was_owed_to_an_endpoint_that_is_off_is_not_replayed(store: Store) -> None:
    before = await finish(store, DeliveryState.EXHAUSTED)
    await store.endpoints.put(ORDERS, enabled=False, secret="")

    assert await replay(store, before) == ("disabled", "")
    assert await get(store) == before

    await store.endpoints.put(ORDERS, enabled=True, secret="")
    assert (await replay(store, before))[0] == "exhausted"


# --- what is to be recovered ----------------------------------------------------------------------


async def test_what_failed_since_an_instant_is_listed_in_the_order_of_its_end(
    store: Store,
) -> None:
    for name in "123":
        await end(store, name)
    await end(store, "other", endpoint="url_1")
    for late, it in enumerate(reversed(await claim(store))):
        await settle(store, it, DeliveryState.EXHAUSTED, now=T + late)

    assert await store.endpoints.failed("orders", since=0) == ["dlv_3", "dlv_2", "dlv_1"]
    assert await store.endpoints.failed("orders", since=T + 2) == ["dlv_2", "dlv_1"]
    assert await store.endpoints.failed("orders", since=T + 4) == []


async def test_what_is_no_longer_kept_is_not_listed(store: Store) -> None:
    await finish(store, DeliveryState.EXHAUSTED)

    await store.lanes.sweep(now=T + RETENTION_MS)

    assert await store.endpoints.failed("orders", since=0) == []


async def test_what_failed_again_is_kept_from_then_on(store: Store) -> None:
    await replay(store, await finish(store, DeliveryState.EXHAUSTED))
    await settle(store, (await claim(store))[0], DeliveryState.EXHAUSTED, now=T + 9)

    await store.lanes.sweep(now=T + RETENTION_MS)
    assert await store.endpoints.failed("orders", since=0) == ["dlv_1"]
    await store.lanes.sweep(now=T + RETENTION_MS + 9)
    assert await store.endpoints.failed("orders", since=0) == []
