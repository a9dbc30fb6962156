"""Faults that a review of the store found, each with its story."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import (
    Attempt,
    Delivery,
    DeliveryState,
    Endpoint,
    Entry,
    Health,
    HealthReason,
    NewEvent,
    State,
    Terms,
)
from worker.store import LEASE_S, ClaimedTracker, Store

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
URL = "https://hooks.example.com/x"
LANE = "post:https://hooks.example.com:443"


async def owe(store: Store, *names: str, now: int = T) -> list[str]:
    """Owe the shop an event for each name; the lanes whose drain the caller must start."""
    return [
        await store.deliveries.announce(
            NewEvent(id=f"evt_{name}", type="t", body=b"{}", delivery=a_delivery(name), lane=LANE),
            now=now,
        )
        for name in names
    ]


def a_delivery(name: str) -> Delivery:
    return Delivery(
        id=name,
        event_id=f"evt_{name}",
        type="t",
        account="",
        generation_id="",
        endpoint="shop",
        url=URL,
        state=DeliveryState.PENDING,
        created_at=T,
    )


async def put_shop(store: Store, *, enabled: bool = True) -> None:
    shop = Endpoint(name="shop", url=URL)
    assert await store.endpoints.put(shop, enabled=enabled, secret="whsec_1")


async def taken(store: Store, *, limit: int = 50, now: int = T) -> list[Delivery]:
    claimed = await store.deliveries.claim(LANE, limit=limit, now=now)
    return [each.delivery for each in claimed.deliveries]


async def settle(
    store: Store, before: Delivery, *, next_at: int = 0, health: Health | None = None
) -> bool:
    """Settle an attempt: delivered, or due again at `next_at`."""
    state = DeliveryState.PENDING if next_at else DeliveryState.DELIVERED
    after = replace(before, state=state, next_attempt_at=next_at or None)
    made, entry = Attempt(at=T, duration_ms=5), Entry(T, "attempt")
    applied, *_ = await store.deliveries.settle(after, made, entry=entry, health=health, now=T)
    return applied


async def states(store: Store, *names: str) -> list[str]:
    return [each.state.value for each in await store.deliveries.get_many(names)]


# --- drains that had nothing to do ----------------------------------------------------------------


async def test_while_a_receiver_is_held_no_drain_is_started_for_what_comes(store: Store) -> None:
    """A drain was started for every event that a dead receiver was owed, found nothing, and left:
    as many arq jobs as events, for as long as the breaker was open.
    """
    await put_shop(store)
    await owe(store, "d-1")
    (first,) = await taken(store)
    held = Health(
        reason=HealthReason.UNREACHABLE, streak=3, held_until=T + 20_000, detail="refused"
    )
    await settle(store, first, next_at=T + 20_000, health=held)
    assert await store.lanes.leave(LANE, now=T + 1) is True

    assert await owe(store, "d-2", now=T + 2) == [""]
    assert await store.deliveries.replay(a_delivery("d-2"), now=T + 3) == ("pending", "")

    assert await store.lanes.stage(now=T + 19_999) == []
    assert await store.lanes.stage(now=T + 20_000) == [LANE]


# --- what was under way when its endpoint was switched off ----------------------------------------


@pytest.mark.parametrize("gone", [False, True], ids=["off", "deleted"])
async def test_what_is_under_way_when_its_endpoint_goes_may_still_arrive(
    store: Store, *, gone: bool
) -> None:
    """What a receiver had taken with a 200 was on record as exhausted, and recovered a second
    time: it had been released while its attempt was under way, so that its settle came too late.
    """
    await put_shop(store)
    await owe(store, "arrives", "fails", "waits")
    arrives, fails = await taken(store, limit=2)
    if gone:
        await store.endpoints.drop("shop")
    else:
        await put_shop(store, enabled=False)

    await store.endpoints.release("shop", now=T + 1)
    assert await settle(store, arrives)
    assert await settle(store, fails, next_at=T + 5000)
    assert await taken(store, now=T + 5000) == []

    given_up = "discarded" if gone else "exhausted"
    assert await states(store, "arrives", "fails", "waits") == ["delivered", given_up, given_up]


async def test_what_a_worker_died_over_is_given_up_when_its_lease_has_ended(
    store: Store, redis: Redis
) -> None:
    await put_shop(store)
    await owe(store, "d-1")
    await taken(store)
    await store.endpoints.drop("shop")
    await store.endpoints.release("shop", now=T + 1)

    assert await taken(store, now=T + LEASE_MS) == []

    assert await states(store, "d-1") == ["discarded"]
    assert not await redis.exists("test:owed:shop", "test:due:shop", "test:busy:shop")


# --- settles that were sent again -----------------------------------------------------------------


async def test_each_settle_of_a_long_tracking_can_be_sent_again_in_vain(store: Store) -> None:
    """A fence has to be one that nobody has seen: not only other than the last."""
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)
    sent = []
    for look in range(4):
        claimed = await store.trackers.claim_one("luma", "g-1", rate=None, now=T)
        assert isinstance(claimed, ClaimedTracker)
        after = replace(claimed.tracker, polls=look + 1, next_poll_at=T + look)
        assert (await store.trackers.settle(after, now=T))[0]
        sent.append(after)

    event = NewEvent(id="evt_1", type="generation.completed", body=b"{}")
    for after in sent:
        done = replace(after, state=State.COMPLETED)
        assert await store.trackers.settle(done, event=event, now=T) == (False, "")
        assert await store.trackers.settle(after, now=T) == (False, "")


# --- bounds ---------------------------------------------------------------------------------------


async def test_a_timeline_that_only_looks_add_to_keeps_its_newest_200(
    store: Store, redis: Redis
) -> None:
    """Attempts and looks are bounded themselves, not only when tracking begins anew."""
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))], now=T)
    for first in range(0, 300, 150):
        claimed = await store.trackers.claim_one("luma", "g-1", rate=None, now=T)
        assert isinstance(claimed, ClaimedTracker)
        looks = [Entry(T + n, "look") for n in range(first, first + 150)]
        await store.trackers.settle(claimed.tracker, entries=looks, now=T)

    assert await redis.llen("test:timeline:luma:g-1") == 200
    assert (await store.trackers.timeline("luma", "g-1"))[-1].at == T + 299


async def test_a_clock_that_goes_back_takes_no_budget_away(store: Store) -> None:
    """An hour's step of Redis's clock would have cost an account an hour of looks."""
    names = [(f"g-{n}", Terms(deadline_s=60)) for n in range(4)]
    await store.trackers.track("luma", "luma", names, now=T - 3_600_000)
    assert len((await store.trackers.claim("luma", limit=1, rate=3, now=T)).looks) == 1

    claimed = await store.trackers.claim("luma", limit=9, rate=3, now=T - 3_600_000)

    assert len(claimed.looks) == 2
