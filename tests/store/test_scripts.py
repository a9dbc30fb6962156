"""What holds for all scripts: clocks and numbers, forgotten scripts, prefixes, keys that end."""

from __future__ import annotations

import asyncio
import fnmatch
import time
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from worker.errors import ConfigurationError
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
    Tracker,
)
from worker.store import ClaimedTracker, Clock, Store

T = 1_700_000_000_000  # some servers would write it as 1.7e+12
LANE = "post:https://hooks.example.com:443"

PERMANENT = (
    "seq",  # a counter
    "secret",  # receivers know it
    "events",  # a stream, capped
    "card:poll:*",  # health and budget: one for each configured account
    "expiry",  # these empty themselves as their members end
    "lanes",
    "trackers:*",
    "deliveries:*",
    "endpoints",
    "failed:*",
    "troubled",  # endpoints, until they do well or are deleted
    "watchers",  # endpoints that somebody has put, and until they are deleted
    "endpoint:orders",
)
FOR_EVER = PERMANENT[:4]


async def life_of(store: Store, name: str, state: State, *, now: int | None = T) -> None:
    """Track a generation, see it dream, end it, and deliver its event on the second attempt."""
    at = T if now is None else now
    await store.trackers.track("luma", "luma", [(name, Terms(deadline_s=60))], now=now)
    dreaming = replace(await claim_one(store, name, now), provider_state="dreaming", polls=1)
    held = Health(reason=HealthReason.THROTTLED, streak=1, held_until=at + 1, detail="429")
    entries = [Entry(at, "look", {"duration_ms": 5})]
    await store.trackers.settle(
        replace(dreaming, next_poll_at=at), health=held, entries=entries, now=now
    )
    await store.trackers.hurry("luma", name, now=now)
    over = replace(await claim_one(store, name, now), state=state, finished_at=at)
    event = None if state is State.CANCELED else event_of(name)
    await store.trackers.settle(replace(over, generation={"id": name}), event=event, now=now)
    if event is None:
        return
    for next_attempt_at in (at, None):
        claimed = await store.deliveries.claim(LANE, limit=5, now=now)
        (it,) = claimed.deliveries
        await attempt(store, it.delivery, next_attempt_at, now)


async def claim_one(store: Store, name: str, now: int | None) -> Tracker:
    claimed = await store.trackers.claim_one("luma", name, rate=None, now=now)
    assert isinstance(claimed, ClaimedTracker)
    return claimed.tracker


async def life_of_endpoints(store: Store) -> None:
    """One that is switched off while it is owed something, and one that is deleted then."""
    for name in ("orders", "old"):
        asks = Endpoint(name=name, url="https://hooks.example.com/x", events=("endpoint.disabled",))
        await store.endpoints.put(asks, enabled=True, secret="s1")
        await store.deliveries.announce(event_of(name, endpoint=name))
        if name == "old":
            await store.endpoints.drop(name)
        else:
            await store.endpoints.put(asks, enabled=False, secret="s1")
        await store.endpoints.release(name)
        await store.endpoints.settled(name, "")


async def attempt(
    store: Store, delivery: Delivery, next_attempt_at: int | None, now: int | None
) -> None:
    state = DeliveryState.DELIVERED if next_attempt_at is None else DeliveryState.PENDING
    after = replace(delivery, state=state, next_attempt_at=next_attempt_at, tries=1)
    made = Attempt(at=T, duration_ms=5, status=200)
    applied, *_ = await store.deliveries.settle(after, made, entry=Entry(T, "attempt"), now=now)
    assert applied


def event_of(name: str, *, endpoint: str = "url_1", lane: str = LANE) -> NewEvent:
    delivery = Delivery(
        id=f"dlv_{name}",
        event_id=f"evt_{name}",
        type="generation.completed",
        account="luma",
        generation_id=name,
        endpoint=endpoint,
        url="https://hooks.example.com/x",
        state=DeliveryState.PENDING,
        created_at=T,
    )
    return NewEvent(
        id=f"evt_{name}", type="generation.completed", body=b"{}", delivery=delivery, lane=lane
    )


async def keys(redis: Redis) -> list[str]:
    return sorted(key.decode() for key in await redis.keys())


def lasting(names: list[str], allowed: tuple[str, ...]) -> list[str]:
    return [n for n in names if not any(fnmatch.fnmatch(n, f"test:{a}") for a in allowed)]


# --- keys that end --------------------------------------------------------------------------------


async def test_when_all_is_over_every_key_ends_but_the_few_that_are_named(
    store: Store, redis: Redis
) -> None:
    await store.secret("whsec_1")
    for number, state in enumerate(each for each in State if each is not State.TRACKING):
        await life_of(store, f"g-{number}", state)
    await life_of_endpoints(store)
    await store.lanes.stage(now=T)

    without_end = [key for key in await keys(redis) if await redis.pttl(key) == -1]

    assert lasting(without_end, PERMANENT) == []
    assert {"test:tracker:luma:g-0", "test:endpoint:url_1", "test:failed:orders"} <= set(
        await keys(redis)
    )


async def test_after_the_retention_nothing_is_left_but_what_is_for_ever(redis: Redis) -> None:
    store = Store(redis, prefix="test", retention_s=0.05)
    await store.secret("whsec_1")
    for number, state in enumerate(each for each in State if each is not State.TRACKING):
        await life_of(store, f"g-{number}", state, now=None)
    await life_of_endpoints(store)
    await store.endpoints.drop("orders")
    await store.endpoints.settled("orders", "")
    await redis.delete("test:drain:poll:luma", f"test:drain:{LANE}")

    async with asyncio.timeout(5):
        while lasting(await keys(redis), FOR_EVER):
            await store.lanes.sweep()

    assert set(await keys(redis)) == {f"test:{n}" for n in ("seq", "secret", "events")} | {
        "test:card:poll:luma"
    }


async def test_receivers_that_were_called_long_ago_leave_nothing_behind(redis: Redis) -> None:
    store = Store(redis, prefix="test", retention_s=0.05)
    for number in range(200):
        lane = f"post:https://r{number}.example.com:443"
        event = event_of(f"{number}", endpoint=f"url_{number}", lane=lane)
        await store.deliveries.announce(event)
        (it,) = (await store.deliveries.claim(lane, limit=5)).deliveries
        await attempt(store, it.delivery, None, None)
        assert await store.lanes.leave(lane)

    async with asyncio.timeout(5):
        while lasting(await keys(redis), FOR_EVER):
            await store.lanes.sweep()

    assert await keys(redis) == ["test:events", "test:seq"]


# --- scripts, clocks, numbers ---------------------------------------------------------------------


async def test_a_redis_that_forgets_the_scripts_is_told_again(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.trackers._scripts.run

    async def forgetful(*args: Any, **more: Any) -> Any:
        await redis.script_flush()
        return await run(*args, **more)

    monkeypatch.setattr(store.trackers._scripts, "run", forgetful)

    await life_of(store, "g-1", State.COMPLETED)
    assert await store.lanes.stage(now=T) == []
    assert await store.lanes.leave(LANE, now=T)
    assert not await store.lanes.hand_over(LANE, now=T)
    assert await store.lanes.sweep(now=T + 600_000) == 3  # tracker, delivery, endpoint


async def test_without_a_given_time_redis_tells_it(store: Store) -> None:
    before = round(time.time() * 1000) - 50

    tracked = await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))])
    claimed = await store.trackers.claim("luma", limit=1, rate=5)

    after = round(time.time() * 1000) + 50
    assert before <= tracked.at <= await store.now() <= after
    assert before <= claimed.clock.read_at <= claimed.clock.now() <= after


def test_a_clock_goes_on_from_what_redis_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.scripts.time.monotonic", lambda: 50.0)
    clock = Clock.at(T)
    monkeypatch.setattr("worker.store.scripts.time.monotonic", lambda: 51.2344)

    assert clock.now() == T + 1234


@pytest.mark.parametrize("now", [T, T + 1, 2_000_000_000_000, 1_795_372_209_287])
async def test_instants_are_written_in_full(store: Store, redis: Redis, now: int) -> None:
    await life_of(store, "g-1", State.COMPLETED, now=now)
    await store.trackers.track("luma", "luma", [("g-2", Terms(deadline_s=0.5))], now=now)
    await store.trackers.claim("luma", limit=1, rate=0.000001, now=now + 1)

    tracker: Any = await redis.hgetall("test:tracker:luma:g-2")  # type: ignore[misc]
    card: Any = await redis.hgetall("test:card:poll:luma")  # type: ignore[misc]

    assert (tracker[b"tracked_at"], tracker[b"deadline_at"]) == (b"%d" % now, b"%d" % (now + 500))
    assert card[b"refilled_at"] == b"%d" % (now + 1)
    assert card[b"held_until"] == b"%d" % (now + 1 + 30_000)  # the probe's
    assert (await store.lanes.health(["poll:luma"]))[0].held_until == now + 30_001
    timeline = await store.trackers.timeline("luma", "g-2")
    assert timeline == [Entry(now, "tracked")]
    found = await store.deliveries.get_many(["dlv_g-1"])
    assert found[0].created_at == now


async def test_a_script_that_fails_says_so(store: Store, redis: Redis) -> None:
    await redis.set("test:lanes", "a string")

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=60))])


# --- deployments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["tes", "test2", "test:eu", "TEST"])
async def test_two_deployments_on_one_redis_see_nothing_of_each_other(
    store: Store, redis: Redis, other: str
) -> None:
    neighbour = Store(redis, prefix=other, retention_s=600)
    await store.trackers.track("luma", "luma", [("g-0", Terms(deadline_s=60))], now=T)
    before = {key: await redis.dump(key) for key in await keys(redis)}

    await neighbour.secret("whsec_theirs")
    await life_of(neighbour, "g-0", State.EXPIRED)
    assert await neighbour.lanes.sweep(now=T + 600_000) == 3  # tracker, delivery, endpoint
    assert await neighbour.lanes.stage(now=T + 600_000) == []

    assert {key: await redis.dump(key) for key in before} == before
    assert await neighbour.lanes.lag_s(now=T + 5) == 0
    assert await store.secret("whsec_ours") == "whsec_ours"


async def test_the_secret_that_was_there_first_stays(store: Store) -> None:
    made = await asyncio.gather(*(store.secret(f"whsec_{n}") for n in range(5)))

    assert len(set(made)) == 1
    assert await store.secret("whsec_9") == made[0]


async def test_counts_are_told_for_each_state(store: Store) -> None:
    await life_of(store, "g-1", State.FAILED)
    await store.trackers.track("other", "luma", [("g-2", Terms(deadline_s=60))])

    found = await store.figures.read(["luma", "other", "unused"], now=T)

    none = dict.fromkeys(State, 0)
    assert found.trackers == {
        "luma": {**none, State.FAILED: 1},
        "other": {**none, State.TRACKING: 1},
        "unused": none,
    }
    assert found.deliveries == {**dict.fromkeys(DeliveryState, 0), DeliveryState.DELIVERED: 1}


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_redis_that_throws_keys_away_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    async def info() -> dict[str, str]:
        return {"maxmemory_policy": policy}

    monkeypatch.setattr(store._redis, "info", info)

    with pytest.raises(ConfigurationError, match=f"{policy}.*noeviction"):
        await store.check()
