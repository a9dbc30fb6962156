"""What can be read of a receiver's hold: since when, until when, why, and who waits for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from tests.store.receiving import (
    ELSEWHERE,
    LANE,
    LEASE_MS,
    NEW_LANE,
    URL,
    T,
    attempted,
    claim,
    event_of,
    owe,
    owed,
    put,
)
from worker.deliveries import holds_of, with_hold
from worker.model import (
    Attempt,
    DeliveryState,
    Endpoint,
    Entry,
    Health,
    HealthReason,
    Hold,
    State,
    Terms,
    Tracker,
)
from worker.store import Store

OPEN = Health(
    reason=HealthReason.UNREACHABLE, streak=3, held_until=T + 5000, detail="cannot connect"
)
HELD = Hold(
    name="https://hooks.example.com",
    since=T,
    until=T + 5000,
    reason=HealthReason.UNREACHABLE,
    detail="cannot connect",
    streak=3,
)
AFTER = OPEN.held_until
MADE, ENTRY = Attempt(at=T, duration_ms=3, status=503), Entry(T, "attempt")


async def fail(store: Store, health: Health, *, now: int = T) -> None:
    """Settle an attempt that failed, with what it says of its receiver."""
    (it,) = (await claim(store, limit=1, now=now)).deliveries
    await attempted(store, it.delivery, DeliveryState.PENDING, now=now, health=health)


async def hold_of(store: Store, *, now: int, lane: str = LANE) -> Hold | None:
    return (await store.lanes.holds([lane, lane, NEW_LANE], now=now)).get(lane)


async def test_a_hold_says_since_when_until_when_and_why(store: Store) -> None:
    await owe(store, "1")
    assert await hold_of(store, now=T) is None

    await fail(store, OPEN)

    assert await hold_of(store, now=T + 1) == HELD
    assert await hold_of(store, now=AFTER - 1) == HELD
    assert await hold_of(store, now=AFTER) is None
    assert await store.lanes.holds([], now=T) == {}


async def test_while_a_probe_is_under_way_nobody_knows_until_when(store: Store) -> None:
    for name in ("1", "2"):
        await owe(store, name)
    await fail(store, OPEN)

    await claim(store, now=AFTER)

    probing = replace(HELD, until=AFTER + 7, is_probing=True)
    assert await hold_of(store, now=AFTER + 7) == probing
    assert await hold_of(store, now=AFTER + LEASE_MS) is None


async def test_a_probe_that_fails_holds_on_since_the_same_time(store: Store) -> None:
    for name in ("1", "2"):
        await owe(store, name)
    await fail(store, OPEN)

    later = replace(OPEN, version=1, streak=4, held_until=AFTER + 10_000, detail="HTTP 503")
    await fail(store, later, now=AFTER)

    wanted = replace(HELD, until=AFTER + 10_000, streak=4, detail="HTTP 503")
    assert await hold_of(store, now=AFTER + 1) == wanted


async def test_an_answer_ends_the_hold_and_the_next_begins_at_its_own_time(store: Store) -> None:
    for name in ("1", "2", "3"):
        await owe(store, name)
    await fail(store, OPEN)
    await fail(store, Health(version=1), now=AFTER)
    assert await hold_of(store, now=AFTER) is None

    again = replace(OPEN, version=2, held_until=AFTER + 9000)
    await fail(store, again, now=AFTER + 2)

    assert await hold_of(store, now=AFTER + 3) == replace(HELD, since=AFTER + 2, until=AFTER + 9000)


async def test_what_a_hold_kept_waiting_is_claimed_with_how_long_that_was(store: Store) -> None:
    for name in ("1", "2", "3"):
        await owe(store, name)
    await fail(store, OPEN)
    (probe,) = (await claim(store, now=AFTER + 10)).deliveries
    later = Health(version=1)
    await attempted(store, probe.delivery, now=AFTER + 20, health=later)
    late = owed("late", next_attempt_at=AFTER + 21)
    await store.deliveries.announce(event_of(late), now=AFTER + 21)

    claimed = (await claim(store, now=AFTER + 100)).deliveries

    assert probe.held_ms == AFTER + 10 - T
    held = {each.delivery.id: each.held_ms for each in claimed}
    assert held.pop(late.id) is None
    assert set(held.values()) == {AFTER + 20 - T}


async def test_how_long_it_was_is_not_guessed_where_an_older_version_ended_a_hold(
    store: Store, redis: Redis
) -> None:
    """It wrote no time for that; all that came later would seem to have waited for it."""
    await owe(store, "1")
    await redis.hset(f"test:card:{LANE}", mapping={"held_since": T - 9, "held_until": 0})  # type: ignore[misc]
    (claimed,) = (await claim(store, now=T + 100)).deliveries
    assert claimed.held_ms is None


async def test_of_failures_at_once_one_alone_has_told_the_health(store: Store) -> None:
    for name in ("1", "2"):
        await owe(store, name)
    told = []
    for each in (await claim(store)).deliveries:
        after = replace(each.delivery, tries=1, next_attempt_at=T + 9)
        settled = await store.deliveries.settle(after, MADE, entry=ENTRY, health=OPEN, now=T)
        told.append((settled.applied, settled.told_health))
    assert told == [(True, True), (True, False)]


async def test_a_port_that_goes_without_saying_is_not_said(store: Store, redis: Redis) -> None:
    lanes = {
        "post:http://a.example:80": "http://a.example",
        "post:http://a.example:8080": "http://a.example:8080",
        "post:http://a.example:443": "http://a.example:443",
        "post:https://[2001:db8::1]:443": "https://[2001:db8::1]",
    }
    for lane in lanes:
        fields = {"reason": "unreachable", "streak": 3, "held_until": T + 1}
        await redis.hset(f"test:card:{lane}", mapping=fields)  # type: ignore[misc]
    found = await store.lanes.holds(lanes, now=T)
    assert {lane: each.name for lane, each in found.items()} == lanes


# --- who waits for it -----------------------------------------------------------------------------


@pytest.fixture
async def held(store: Store, redis: Redis) -> int:
    """Hold the origin from now on for a minute; returns until when."""
    until = await store.now() + 60_000
    fields = {"reason": "unreachable", "streak": 3, "held_until": until, "held_since": T}
    await redis.hset(f"test:card:{LANE}", mapping=fields)  # type: ignore[misc]
    return until


async def test_what_is_due_before_a_probe_goes_waits_for_it(store: Store, held: int) -> None:
    waiting, later = owed("1"), owed("2", next_attempt_at=held + 1)
    over = replace(owed("3"), state=DeliveryState.EXHAUSTED)

    found = await holds_of(store, [waiting, later, over])

    assert {name: each.until for name, each in found.items()} == {waiting.id: held}


@pytest.mark.parametrize(("before_probe_ms", "kinds"), [(120_000, ["hold"]), (30_000, [])])
async def test_a_timeline_tells_of_a_hold_once_what_is_owed_is_due_and_not_of_a_time_to_come(
    store: Store, redis: Redis, held: int, before_probe_ms: int, kinds: list[str]
) -> None:
    it = owed("1", next_attempt_at=held - before_probe_ms)
    await store.deliveries.announce(event_of(it))
    await redis.hset("test:tracker:luma:g-1", "webhook", it.id)  # type: ignore[misc]

    over = Tracker(
        account="luma",
        generation_id="g-1",
        provider="luma",
        state=State.COMPLETED,
        terms=Terms(deadline_s=60),
        tracked_at=T,
        deadline_at=T + 60_000,
    )
    lines = await with_hold(store, over, [])

    assert [each["kind"] for each in lines] == kinds


async def test_what_an_endpoint_is_owed_waits_where_the_endpoint_is_now(
    store: Store, held: int
) -> None:
    it = owed("1", endpoint="orders")
    await put(store, Endpoint(name="orders", url=URL))
    assert set(await holds_of(store, [it])) == {it.id}

    await put(store, Endpoint(name="orders", url=ELSEWHERE))

    assert await holds_of(store, [it]) == {}


@pytest.mark.usefixtures("held")
async def test_what_waits_is_found_in_two_readings_however_many_wait(
    store: Store, redis: Redis
) -> None:
    sent = []
    execute = type(redis.pipeline()).execute

    async def counted(self: object, *args: object) -> object:
        sent.append(len(self.command_stack))  # type: ignore[attr-defined]
        return await execute(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(redis.pipeline()), "execute", counted)
        assert len(await holds_of(store, [owed(str(n)) for n in range(500)])) == 500
        assert await holds_of(store, []) == {}

    # One endpoint, and with the time of day one lane.
    assert sent[:2] == [1, 2]


async def receivers_held(store: Store, *, now: int) -> int:
    return (await store.figures.read([], now=now)).receivers_held


async def test_origins_that_are_held_are_counted_as_long_as_they_are(store: Store) -> None:
    await owe(store, "1")
    await fail(store, replace(OPEN, streak=1, held_until=0))
    assert await receivers_held(store, now=T) == 0

    await fail(store, replace(OPEN, version=1, held_until=T + 14_000), now=T + 9000)
    assert await receivers_held(store, now=T + 13_999) == 1
    assert await receivers_held(store, now=T + 14_000) == 0, "what goes next is a probe"

    (probe,) = (await claim(store, now=T + 18_000)).deliveries
    assert await receivers_held(store, now=T + 18_001) == 1, "one is under way"
    await attempted(store, probe.delivery, now=T + 18_001, health=Health(version=2))
    assert await receivers_held(store, now=T + 18_001) == 0


async def test_origins_that_nobody_owes_anything_any_more_do_not_pile_up(
    store: Store, redis: Redis
) -> None:
    await redis.zadd("test:held", {f"post:https://{n}.example.com:443": T - n for n in range(9)})
    await owe(store, "1")
    await fail(store, OPEN)

    assert await redis.zrange("test:held", 0, -1) == [LANE.encode()]
    assert await redis.pttl("test:held") > 0
