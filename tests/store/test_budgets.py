"""An account's looks: its budget, its holds, the probe after a hold, and deadlines all along."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import Health, HealthReason, State, Terms, Tracker
from worker.store import LEASE_S, ClaimedLooks, ClaimedRequest, ClaimedTracker, Store

T = 1_700_000_000_000
LEASE_MS = round(LEASE_S * 1000)
HELD = Health(reason=HealthReason.THROTTLED, streak=1, held_until=T + 5000, detail="429")
AFTER = HELD.held_until


async def track(store: Store, *names: str, now: int = T, deadline_s: float = 3600.0) -> None:
    wanted = [(name, Terms(deadline_s=deadline_s)) for name in names]
    await store.trackers.track("luma", "luma", wanted, now=now)


async def claim(store: Store, *, now: int = T, limit: int = 50, rate: float = 1000) -> ClaimedLooks:
    return await store.trackers.claim("luma", limit=limit, rate=rate, now=now)


async def hold(store: Store, health: Health = HELD) -> None:
    """Hold the account by an answer to a look out of turn, whose tracker is canceled."""
    await track(store, "holder")
    claimed = await store.trackers.claim_one("luma", "holder", rate=None, now=T)
    assert isinstance(claimed, ClaimedTracker)
    after = replace(claimed.tracker, state=State.CANCELED)
    told = replace(health, version=claimed.health.version)
    await store.trackers.settle(after, health=told, now=T)


async def answer(store: Store, look: Tracker, health: Health, *, now: int) -> None:
    """Settle a look that goes on in an hour, with what its answer says about the account."""
    after = replace(look, next_poll_at=now + 3_600_000)
    await store.trackers.settle(after, health=health, now=now)


def names(trackers: list[Tracker]) -> list[str]:
    return [each.generation_id for each in trackers]


# --- the budget -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.5, 3.0, 7.3])
async def test_two_workers_together_never_exceed_the_budget(store: Store, rate: float) -> None:
    await track(store, *[f"g-{n}" for n in range(300)])
    other = Store(store._redis, prefix="test", retention_s=600)
    made: list[int] = []

    for step in range(200):  # 20 s, each worker coming by every tenth of a second or so
        for worker, late in ((store, 0), (other, 37)):
            now = T + 100 * step + late
            made += [now] * len((await claim(worker, now=now, limit=9, rate=rate)).looks)

    burst = max(1.0, rate)
    for i, first in enumerate(made):
        for j, last in enumerate(made[i:], start=1):
            assert j <= burst + rate * (last - first) / 1000 + 1e-6
    assert len(made) >= rate * 20 - 1


async def test_a_claim_that_the_budget_cuts_short_says_when_there_is_more(store: Store) -> None:
    await track(store, "g-1", "g-2", "g-3")

    claimed = await claim(store, rate=2)

    assert len(claimed.looks) == 2
    assert claimed.wake_at == T + 500
    assert len((await claim(store, rate=2, now=T + 499)).looks) == 0
    assert len((await claim(store, rate=2, now=T + 500)).looks) == 1


async def test_a_budget_that_was_not_used_is_not_saved_up(store: Store) -> None:
    await track(store, *[f"g-{n}" for n in range(20)])
    await claim(store, rate=4)

    assert len((await claim(store, rate=4, now=T + 3_600_000)).looks) == 4


async def test_a_clock_that_went_back_gives_nothing_away(store: Store) -> None:
    await track(store, *[f"g-{n}" for n in range(20)], now=T - 90_000)
    await claim(store, rate=4, limit=1)

    assert len((await claim(store, rate=4, now=T - 60_000)).looks) == 3
    assert len((await claim(store, rate=4, now=T - 59_750)).looks) == 1


async def test_each_account_has_its_own_budget(store: Store) -> None:
    await track(store, "g-1", "g-2")
    await store.trackers.track("other", "luma", [("g-3", Terms(deadline_s=60))], now=T)
    await claim(store, rate=1)

    other = await store.trackers.claim("other", limit=5, rate=1, now=T)

    assert names(other.looks) == ["g-3"]


# --- holds and probes -----------------------------------------------------------------------------


async def test_a_held_account_is_not_looked_at_until_the_hold_ends(store: Store) -> None:
    await track(store, "g-1")
    await hold(store)

    claimed = await claim(store, now=AFTER - 1)

    assert (claimed.looks, claimed.blind) == ([], [])
    assert (claimed.health, claimed.wake_at) == (replace(HELD, version=1), AFTER)
    assert names((await claim(store, now=AFTER)).looks) == ["g-1"]


async def test_after_a_hold_one_probe_goes_and_the_rest_waits_for_its_answer(
    store: Store,
) -> None:
    await track(store, "g-1", "g-2", "g-3")
    await hold(store)

    probe = await claim(store, now=AFTER)
    waiting = await claim(store, now=AFTER + LEASE_MS - 1)

    assert len(probe.looks) == 1
    assert (waiting.looks, waiting.wake_at) == ([], AFTER + LEASE_MS)


async def test_a_late_answer_that_holds_the_account_also_holds_its_lane(
    store: Store, redis: Redis
) -> None:
    await track(store, "g-1", "g-2")
    look = (await claim(store, limit=1)).looks[0].whole()
    await store.trackers.settle(replace(look, next_poll_at=T), now=T)  # by another look

    await answer(store, look, HELD, now=T)

    assert await redis.zscore("test:lanes", "poll:luma") == HELD.held_until


async def test_a_good_answer_to_the_probe_ends_the_hold(store: Store) -> None:
    await track(store, "g-1", "g-2", "g-3")
    await hold(store)
    probe = await claim(store, now=AFTER)

    await answer(store, probe.looks[0].whole(), Health(version=probe.health.version), now=AFTER + 9)

    assert len((await claim(store, now=AFTER + 9)).looks) == 2


async def test_a_bad_answer_to_the_probe_holds_again_until_the_next(store: Store) -> None:
    await track(store, "g-1", "g-2", "g-3")
    await hold(store)
    probe = await claim(store, now=AFTER)
    longer = replace(probe.health, streak=2, held_until=AFTER + 10_000)
    await answer(store, probe.looks[0].whole(), longer, now=AFTER + 9)

    assert (await claim(store, now=AFTER + 9999)).looks == []
    assert len((await claim(store, now=AFTER + 10_000)).looks) == 1
    assert len((await claim(store, now=AFTER + 10_001)).looks) == 0


async def test_a_probe_that_is_lost_is_followed_by_the_next_when_its_lease_ends(
    store: Store,
) -> None:
    await track(store, "g-1", "g-2")
    await hold(store)
    await claim(store, now=AFTER)

    assert (await claim(store, now=AFTER + LEASE_MS - 1)).looks == []
    assert len((await claim(store, now=AFTER + LEASE_MS)).looks) == 1
    assert (await claim(store, now=AFTER + LEASE_MS + 1)).looks == []


async def test_a_look_out_of_turn_can_be_the_probe(store: Store) -> None:
    await track(store, "g-1", "g-2")
    await hold(store)

    claimed = await store.trackers.claim_one("luma", "g-1", rate=5, now=AFTER)

    assert isinstance(claimed, ClaimedTracker)
    assert (await claim(store, now=AFTER)).looks == []
    second = await store.trackers.claim_one("luma", "g-2", rate=5, now=AFTER)
    assert second == LEASE_MS / 1000


async def test_an_error_before_any_hold_does_not_slow_the_account(store: Store) -> None:
    await track(store, "g-1", "g-2", "g-3")
    await hold(store, Health(reason=HealthReason.UNREACHABLE, streak=1, detail="502"))

    assert len((await claim(store)).looks) == 3


async def test_a_held_account_delays_no_other(store: Store) -> None:
    await hold(store)
    await store.trackers.track("other", "luma", [("g-1", Terms(deadline_s=60))], now=T)

    assert len((await store.trackers.claim("other", limit=5, rate=5, now=T)).looks) == 1


async def test_an_answer_to_an_old_look_says_nothing_new_about_the_account(store: Store) -> None:
    await track(store, "g-1", "g-2")
    looks = [each.whole() for each in (await claim(store)).looks]
    await answer(store, looks[0], HELD, now=T)

    await answer(store, looks[1], Health(version=0), now=T)

    assert await store.lanes.health(["poll:luma"]) == [replace(HELD, version=1)]


async def test_a_429_is_heard_though_another_answer_of_the_same_claim_came_first(
    store: Store,
) -> None:
    await track(store, "g-1", "g-2")
    looks = [each.whole() for each in (await claim(store)).looks]
    blip = Health(reason=HealthReason.UNREACHABLE, streak=1, detail="502")
    await answer(store, looks[0], blip, now=T)
    await answer(store, looks[1], HELD, now=T)

    (health,) = await store.lanes.health(["poll:luma"])

    assert (health.reason, health.held_until) == (HealthReason.THROTTLED, AFTER)


async def test_an_answer_tells_about_the_account_though_its_tracker_was_canceled(
    store: Store,
) -> None:
    await track(store, "g-1")
    look = (await claim(store)).looks[0].whole()
    await store.trackers.settle(replace(look, state=State.CANCELED), now=T)

    await answer(store, look, HELD, now=T)

    assert await store.lanes.health(["poll:luma", "poll:other"]) == [
        replace(HELD, version=1),
        Health(),
    ]


# --- deadlines ------------------------------------------------------------------------------------


async def test_what_is_past_its_deadline_goes_first(store: Store) -> None:
    await track(store, "g-1", "g-2", deadline_s=3600)
    await track(store, "g-3", now=T + 1, deadline_s=10)

    assert names((await claim(store, now=T + 10_001, rate=1)).looks) == ["g-3"]


async def test_a_deadline_is_looked_at_though_the_next_look_was_to_be_later(store: Store) -> None:
    await track(store, "g-1", deadline_s=10)
    look = (await claim(store)).looks[0].whole()
    await answer(store, look, Health(), now=T)

    sleeping = await claim(store, now=T + 9999)

    assert (sleeping.looks, sleeping.wake_at) == ([], T + 10_000)
    assert names((await claim(store, now=T + 10_000)).looks) == ["g-1"]


async def test_what_is_past_its_deadline_in_a_held_account_ends_without_a_look(
    store: Store,
) -> None:
    await track(store, "g-1", "g-2", deadline_s=2)
    await track(store, "g-3")
    await hold(store)
    assert (await claim(store, now=T + 1999)).wake_at == T + 2000

    claimed = await claim(store, now=T + 2000, limit=1)

    assert (claimed.looks, names(claimed.blind)) == ([], ["g-1"])
    assert names((await claim(store, now=T + 2000)).blind) == ["g-2"]


async def test_what_was_claimed_at_its_deadline_is_not_claimed_again_during_its_lease(
    store: Store,
) -> None:
    await track(store, "g-1", deadline_s=2)
    assert names((await claim(store, now=T + 2000)).looks) == ["g-1"]
    await hold(store)

    claimed = await claim(store, now=T + 2000 + LEASE_MS - 1)

    assert (claimed.looks, claimed.blind) == ([], [])
    again = await claim(store, now=T + 2000 + LEASE_MS)
    assert names(again.looks + again.blind) == ["g-1"]


async def test_a_lease_that_began_before_the_deadline_is_respected_after_it(
    store: Store,
) -> None:
    await track(store, "g-1", deadline_s=2)
    assert names((await claim(store, now=T + 1999)).looks) == ["g-1"]

    assert (await claim(store, now=T + 2001)).looks == []


async def test_a_settle_brings_the_deadline_back(store: Store, redis: Redis) -> None:
    await track(store, "g-1", deadline_s=2)
    look = (await claim(store)).looks[0].whole()

    await answer(store, look, Health(), now=T)

    assert await redis.zscore("test:deadlines:luma", "g-1") == T + 2000


# --- requests that are about no tracker -----------------------------------------------------------


async def test_a_request_about_no_tracker_comes_out_of_the_same_budget(store: Store) -> None:
    await track(store, "g-1")
    assert isinstance(await store.trackers.claim_request("luma", rate=1, now=T), ClaimedRequest)
    wait_s = await store.trackers.claim_request("luma", rate=1, now=T + 200)
    assert wait_s == pytest.approx(0.8)
    assert (await claim(store, rate=1, now=T + 200)).looks == []
    assert len((await claim(store, rate=1, now=T + 1000)).looks) == 1


async def test_a_request_about_no_tracker_waits_for_the_end_of_a_hold_and_is_the_probe(
    store: Store,
) -> None:
    await hold(store)
    assert await store.trackers.claim_request("luma", rate=5, now=T) == 5.0
    claimed = await store.trackers.claim_request("luma", rate=5, now=AFTER)
    assert isinstance(claimed, ClaimedRequest)
    assert claimed.health.reason is HealthReason.THROTTLED
    assert await store.trackers.claim_request("luma", rate=5, now=AFTER) == LEASE_S
