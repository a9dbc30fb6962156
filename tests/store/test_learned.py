"""What was learned, in Redis: each end is learned from once, whoever learns and whoever dies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from worker.model import State, Terms
from worker.store import ClaimedTracker, Store

T = 1_700_000_000_000


async def ended(store: Store, name: str, observation: bytes | None, state: State) -> bool:
    """Track a generation and settle it with what it teaches."""
    await store.trackers.track("luma", "luma", [(name, Terms(deadline_s=3600))], now=T)
    claimed = await store.trackers.claim_one("luma", name, rate=None, now=T)
    assert isinstance(claimed, ClaimedTracker)
    after = replace(claimed.tracker, state=state, next_poll_at=T + 5000)
    written, _ = await store.trackers.settle(after, observation=observation, now=T)
    again, _ = await store.trackers.settle(after, observation=observation, now=T)
    assert not again
    return written


async def test_what_an_end_teaches_is_written_with_it_and_once(store: Store) -> None:
    assert await ended(store, "g-1", b"seen", State.COMPLETED)

    found = await store.learned.unlearned("luma", 10)

    assert (found.version, found.observations) == (0, [b"seen"])


async def test_what_still_runs_may_teach_too(store: Store) -> None:
    await ended(store, "g-1", b"lasts", State.TRACKING)

    assert (await store.learned.unlearned("luma", 10)).observations == [b"lasts"]


async def test_an_end_that_teaches_nothing_adds_nothing(store: Store) -> None:
    await ended(store, "g-1", None, State.EXPIRED)

    assert (await store.learned.unlearned("luma", 10)).observations == []


async def test_learning_takes_away_what_it_learned_from_and_no_more(store: Store) -> None:
    for n in range(3):
        await ended(store, f"g-{n}", b"%d" % n, State.COMPLETED)

    assert await store.learned.fold("luma", 0, 2, {'["a"]': b"known"})

    found = await store.learned.unlearned("luma", 10)
    assert (found.version, found.observations) == (1, [b"2"])
    assert await store.learned.get("luma", ['["a"]', '["b"]']) == [b"known", None]
    assert await store.learned.all("luma") == {'["a"]': b"known"}


async def test_of_two_who_learned_from_the_same_the_second_changes_nothing(store: Store) -> None:
    for n in range(2):
        await ended(store, f"g-{n}", b"%d" % n, State.COMPLETED)
    read = await store.learned.unlearned("luma", 10)
    assert await store.learned.fold("luma", read.version, 2, {'["a"]': b"first"})
    await ended(store, "g-9", b"9", State.COMPLETED)

    assert not await store.learned.fold("luma", read.version, 2, {'["a"]': b"second"})

    assert await store.learned.all("luma") == {'["a"]': b"first"}
    assert (await store.learned.unlearned("luma", 10)).observations == [b"9"]


async def test_kinds_that_are_forgotten_make_room(store: Store) -> None:
    await store.learned.fold("luma", 0, 0, {'["a"]': b"1", '["b"]': b"2"})
    await store.learned.fold("luma", 1, 0, {'["c"]': b"3"}, ['["a"]'])

    assert await store.learned.all("luma") == {'["b"]': b"2", '["c"]': b"3"}


async def test_a_claim_tells_what_stands_and_how_much_is_to_be_learned(store: Store) -> None:
    await ended(store, "g-1", b"seen", State.COMPLETED)
    await store.learned.fold("luma", 0, 0, {'["a"]': b"1"})

    claimed = await store.trackers.claim("luma", limit=5, rate=10, now=T)

    assert (claimed.learned, claimed.unlearned) == (1, 1)


async def test_what_was_learned_ends_a_month_after_the_last_end(store: Store, redis: Redis) -> None:
    await ended(store, "g-1", b"seen", State.COMPLETED)
    await store.learned.fold("luma", 0, 0, {'["a"]': b"1"})

    for key in ("test:learned:luma", "test:observed:luma"):
        assert 29 * 86_400_000 < await redis.pttl(key) <= 30 * 86_400_000


async def test_ends_that_nobody_learns_from_do_not_pile_up(store: Store, redis: Redis) -> None:
    await redis.rpush("test:observed:luma", *[b"x"] * 10_000)

    await ended(store, "g-1", b"one too many", State.COMPLETED)

    assert await redis.llen("test:observed:luma") == 10_000


# --- looks that show nothing new, and looks that are given back -----------------------------------


@pytest.fixture
async def due(store: Store) -> None:
    wanted = [(f"g-{n}", Terms(deadline_s=3600)) for n in range(6)]
    await store.trackers.track("luma", "luma", wanted, now=T)


@pytest.mark.usefixtures("due")
async def test_one_request_may_stand_for_all_that_is_due_and_what_is_due_next(
    store: Store,
) -> None:
    for n in range(3):
        claimed = await store.trackers.claim_one("luma", f"g-{n}", rate=None, now=T)
        assert isinstance(claimed, ClaimedTracker)
        after = replace(claimed.tracker, next_poll_at=T + 5000)
        await store.trackers.settle(after, now=T)

    page = await store.trackers.claim("luma", limit=5, rate=1, page=5, now=T)

    assert (page.due, len(page.looks)) == (3, 5)
    assert {each.generation_id for each in page.looks[:3]} == {"g-3", "g-4", "g-5"}


@pytest.mark.usefixtures("due")
async def test_what_is_claimed_already_does_not_ride_along(store: Store) -> None:
    first = await store.trackers.claim("luma", limit=2, rate=100, now=T)

    page = await store.trackers.claim("luma", limit=5, rate=100, page=100, now=T)

    names = [each.generation_id for each in (*first.looks, *page.looks)]
    assert sorted(names) == [f"g-{n}" for n in range(6)]


@pytest.mark.usefixtures("due")
async def test_a_page_costs_one_request(store: Store) -> None:
    await store.trackers.claim("luma", limit=5, rate=2, page=3, now=T)
    await store.trackers.claim("luma", limit=5, rate=2, page=3, now=T)

    empty = await store.trackers.claim("luma", limit=5, rate=2, page=3, now=T)

    assert empty.looks == []


@pytest.mark.usefixtures("due")
async def test_after_a_page_first_looks_wait_for_the_next_one(store: Store) -> None:
    await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T)
    await store.trackers.keep_listing("luma", b"{}", next_page_at=T + 1000)
    await store.trackers.track("luma", "luma", [("late", Terms(deadline_s=3600))], now=T + 400)

    early = await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T + 999)
    then = await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T + 1000)

    assert (early.looks, [each.generation_id for each in then.looks]) == ([], ["late"])


@pytest.mark.usefixtures("due")
async def test_a_look_that_was_given_back_is_due_as_it_was(store: Store) -> None:
    claimed = await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T)
    rows = [(each.generation_id, T, each.deadline_at) for each in claimed.looks]

    await store.trackers.release("luma", rows)

    again = await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T)
    assert again.due == 6


@pytest.mark.usefixtures("due")
async def test_without_pages_first_looks_are_at_once(store: Store) -> None:
    await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T)
    await store.trackers.track("luma", "luma", [("late", Terms(deadline_s=3600))], now=T + 400)

    claimed = await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T + 400)

    assert [each.generation_id for each in claimed.looks] == ["late"]


@pytest.mark.usefixtures("due")
async def test_what_was_asked_for_meanwhile_stays_due_when_its_look_is_given_back(
    store: Store,
) -> None:
    claimed = await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T)
    await store.trackers.hurry("luma", "g-1", now=T + 5)

    await store.trackers.release(
        "luma", [(each.generation_id, T + 60_000, each.deadline_at) for each in claimed.looks]
    )

    again = await store.trackers.claim("luma", limit=5, rate=9, now=T + 5)
    assert [each.generation_id for each in again.looks] == ["g-1"]


@pytest.mark.usefixtures("due")
async def test_nothing_rides_along_with_a_tracker_that_has_gone(redis: Redis, store: Store) -> None:
    for name in ("g-1", "g-2", "g-3", "g-4", "g-5"):
        claimed = await store.trackers.claim_one("luma", name, rate=None, now=T)
        assert isinstance(claimed, ClaimedTracker)
        await store.trackers.settle(replace(claimed.tracker, next_poll_at=T + 5000), now=T)
    await redis.delete(store._scripts.key("tracker:luma:g-0"))

    page = await store.trackers.claim("luma", limit=5, rate=9, page=100, now=T)

    assert (page.due, page.looks) == (0, [])
