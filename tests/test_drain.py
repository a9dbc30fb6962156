"""The drain of a lane: when it comes and goes, what it has in hand, what becomes of failures."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from redis.asyncio import Redis

from worker import drain, running
from worker.crew import Crew
from worker.drain import Claimed, Drain
from worker.model import State, Terms, Tracker
from worker.store import Store

LANE = "poll:luma"
LEASE_S = 0.3

Work = Callable[[Tracker], Awaitable[None]]


@dataclass
class Lane:
    """One account's lane, worked on by whatever the test says."""

    store: Store
    taken: list[str] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    handing_over: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    crew: Crew = field(default_factory=Crew)

    async def track(self, *names: str) -> bool:
        """Put trackers into the lane, due now; True if the caller must start its drain."""
        wanted = [(name, Terms(deadline_s=3600)) for name in names]
        return (await self.store.trackers.track("luma", "luma", wanted)).must_start

    async def start(self, name: str) -> None:
        assert name == LANE
        self.started.set()

    async def drain(
        self, work: Work | None = None, hands: int = 4, *, assists: bool = False
    ) -> None:
        """Run one drain; whether it has seen to it that another follows, `started` tells."""
        piece = work or self.finish

        async def claim(room: int, *, assists: bool) -> Claimed:
            claimed = await self.store.trackers.claim(
                "luma", limit=room, rate=1000, assists=assists
            )
            self.taken += [each.generation_id for each in claimed.looks]
            return Claimed(
                claimed.clock,
                [partial(piece, each.whole()) for each in claimed.looks],
                claimed.wake_at,
            )

        async with asyncio.timeout(10):
            await Drain(
                self.store,
                LANE,
                claim,
                hands=hands,
                stopping=self.stopping,
                start=self.start,
                crew=self.crew,
                assists=assists,
            ).run()

    async def finish(self, tracker: Tracker) -> None:
        await self.store.trackers.settle(replace(tracker, state=State.COMPLETED))

    async def look_again_in(self, seconds: float, tracker: Tracker) -> None:
        at = await self.store.now() + round(seconds * 1000)
        await self.store.trackers.settle(replace(tracker, next_poll_at=at))

    async def left(self) -> int:
        names = await self.store.trackers.names(["luma"], [State.TRACKING], before=None, limit=1000)
        return len(names)


@pytest.fixture
async def lane(redis: Redis) -> AsyncIterator[Lane]:
    store = Store(redis, prefix="test", retention_s=600, lease_s=LEASE_S)
    listening = asyncio.create_task(store.bell.listen())
    yield Lane(store)
    await running._cancel(listening)


class Gate:
    """Work that says when it has begun and ends when it may."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.begun = 0
        self.changed = asyncio.Condition()
        self.open = asyncio.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.canceled = 0

    async def __call__(self, tracker: Tracker) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun += 1
        async with self.changed:
            self.changed.notify_all()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.canceled += 1
            raise
        await self._work(tracker)
        self.at_once -= 1

    async def has_begun(self, times: int = 1) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.begun >= times)


async def test_a_drain_does_all_that_is_due_and_goes(lane: Lane) -> None:
    names = [f"g-{n}" for n in range(10)]
    assert await lane.track(*names)

    await lane.drain()

    assert not lane.started.is_set()
    assert sorted(lane.taken) == names
    assert await lane.left() == 0


async def test_a_lane_that_a_drain_has_left_must_be_started_anew(lane: Lane) -> None:
    await lane.track("g-1")
    await lane.drain()

    assert await lane.track("g-2") is True


async def test_a_drain_goes_when_nothing_is_due_for_a_while(lane: Lane) -> None:
    await lane.track("g-1")

    await lane.drain(partial(lane.look_again_in, 3600))

    assert not lane.started.is_set()
    assert lane.taken == ["g-1"]


async def test_a_drain_stays_for_what_is_due_soon(lane: Lane) -> None:
    pauses = iter([0.1, 0.1, 3600])
    await lane.track("g-1")

    await lane.drain(lambda tracker: lane.look_again_in(next(pauses), tracker))

    assert lane.taken == ["g-1"] * 3


async def test_a_sleeping_drain_is_woken_by_what_comes_due(lane: Lane) -> None:
    """It would sleep for a second otherwise."""

    async def work(tracker: Tracker) -> None:
        if lane.taken == ["g-1"]:
            await lane.look_again_in(1.2, tracker)
        else:
            await lane.finish(tracker)

    gate = Gate(work)
    gate.open.set()
    await lane.track("g-1")
    draining = asyncio.create_task(lane.drain(gate))
    await gate.has_begun()
    await asyncio.wait({draining}, timeout=0.1)  # it has fallen asleep by then

    assert await lane.track("g-2") is False
    async with asyncio.timeout(0.5):
        await gate.has_begun(2)
    assert lane.taken == ["g-1", "g-2"]
    await draining


async def test_a_drain_has_no_more_in_hand_than_it_has_hands(lane: Lane) -> None:
    gate = Gate(lane.finish)
    await lane.track(*[f"g-{n}" for n in range(9)])
    draining = asyncio.create_task(lane.drain(gate, hands=3))
    await gate.has_begun(3)
    assert len(lane.taken) == 3

    gate.open.set()
    await draining

    assert gate.most_at_once == 3
    assert await lane.left() == 0


async def test_a_drain_whose_time_is_up_hands_its_lane_over(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "BUDGET_S", 0.1)
    await lane.track("g-1")

    await lane.drain(partial(lane.look_again_in, 0.01))

    assert lane.started.is_set()
    assert await lane.track("g-2") is False


async def handing_over(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> asyncio.Task[None]:
    """Begin a drain that has work again and again, and is past its time: the next is queued."""
    monkeypatch.setattr(drain, "BUDGET_S", 0.05)
    monkeypatch.setattr(drain, "OVERLAP_S", 60.0)
    monkeypatch.setattr(drain, "STAY_S", 60.0)
    await lane.track("g-1")
    draining = asyncio.create_task(lane.drain(partial(lane.look_again_in, 0.02)))
    async with asyncio.timeout(5):
        await lane.started.wait()
    return draining


async def test_a_drain_whose_next_is_queued_goes_on_claiming(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one waits in arq's queue meanwhile; whoever begins it finds the lane as it was."""
    draining = await handing_over(lane, monkeypatch)

    assert await lane.track("g-2") is False
    await eventually(lambda: "g-2" in lane.taken)

    assert not draining.done()
    lane.stopping.set()
    async with asyncio.timeout(5):
        await draining


async def test_a_drain_that_goes_on_beside_the_next_gives_no_sign_of_life_for_it(
    lane: Lane, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the next never begin, the lane must be found without a drain before long."""
    draining = await handing_over(lane, monkeypatch)

    await redis.delete(f"test:drain:{LANE}")
    looks = len(lane.taken)
    await eventually(lambda: len(lane.taken) > looks + 2)

    assert await redis.exists(f"test:drain:{LANE}") == 0
    lane.stopping.set()
    await draining


async def test_while_a_lane_is_handed_over_no_more_is_claimed_than_there_are_hands(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To start the next drain takes a hand too, and may hang."""
    monkeypatch.setattr(drain, "BUDGET_S", 0.05)
    monkeypatch.setattr(drain, "OVERLAP_S", 60.0)
    gate, rooms = Gate(lane.finish), []

    async def claim(room: int, *, assists: bool) -> Claimed:
        rooms.append(room)
        claimed = await lane.store.trackers.claim("luma", limit=room, rate=1000, assists=assists)
        work = [partial(gate, each.whole()) for each in claimed.looks]
        return Claimed(claimed.clock, work, claimed.wake_at)

    async def hang(_: str) -> None:
        lane.started.set()
        await gate.open.wait()

    await lane.track("g-1", "g-2")
    one = Drain(
        lane.store, LANE, claim, hands=1, stopping=lane.stopping, start=hang, crew=lane.crew
    )
    draining = asyncio.create_task(one.run())
    async with asyncio.timeout(5):
        await lane.started.wait()
    lane.store.bell.ring(LANE)
    await eventually(lambda: rooms[-1] == 0 and len(rooms) > 2)
    lane.stopping.set()
    gate.open.set()
    await draining

    assert min(rooms) == 0


async def test_a_drain_whose_time_is_up_just_goes_when_nothing_is_due_soon(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "BUDGET_S", 0.0)

    await lane.drain()

    assert not lane.started.is_set()
    assert await lane.track("g-1") is True


async def test_a_drain_that_is_to_stop_ends_what_it_has_in_hand_and_takes_no_more(
    lane: Lane,
) -> None:
    gate = Gate(lane.finish)
    await lane.track("g-1", "g-2", "g-3")
    draining = asyncio.create_task(lane.drain(gate, hands=2))
    await gate.has_begun(2)
    lane.stopping.set()
    lane.store.bell.ring(LANE)
    async with asyncio.timeout(5):
        await lane.started.wait()  # elsewhere, for what is left, and without waiting for the rest

    gate.open.set()
    await draining

    assert len(lane.taken) == 2
    assert await lane.left() == 1


async def test_work_that_fails_fails_the_drain_after_all_other_work_has_ended(lane: Lane) -> None:
    gate = Gate(lane.finish)

    async def work(tracker: Tracker) -> None:
        if tracker.generation_id == "g-1":
            raise RuntimeError("a bug")
        await gate(tracker)

    await lane.track("g-1", "g-2")
    draining = asyncio.create_task(lane.drain(work))
    await gate.has_begun()
    gate.open.set()

    with pytest.raises(RuntimeError, match="a bug"):
        await draining
    assert await lane.left() == 1


async def test_work_that_fails_while_the_lane_is_handed_over_fails_the_drain(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody claims any more by then: it must not be lost with that."""
    monkeypatch.setattr(drain, "BUDGET_S", 0.05)
    hand_over, failed = lane.store.lanes.hand_over, asyncio.Event()

    async def fail(_: Tracker) -> None:
        await lane.handing_over.wait()
        failed.set()
        raise RuntimeError("late")

    async def slowly(name: str) -> bool:
        lane.handing_over.set()
        await failed.wait()
        return await hand_over(name)

    monkeypatch.setattr(lane.store.lanes, "hand_over", slowly)
    await lane.track("g-1")

    with pytest.raises(RuntimeError, match="late"):
        await lane.drain(fail)


async def test_when_much_work_fails_at_once_the_first_failure_stands_for_all(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(tracker: Tracker) -> None:
        raise RuntimeError("Redis is away")

    await lane.track("g-1", "g-2", "g-3")
    with pytest.raises(RuntimeError):
        await lane.drain(fail)

    gc.collect()  # when asyncio complains of what nobody has heard
    assert caplog.text == ""


async def test_work_that_failed_falls_due_again_when_its_lease_ends(lane: Lane) -> None:
    async def fail(tracker: Tracker) -> None:
        raise RuntimeError("a bug")

    await lane.track("g-1")
    with pytest.raises(RuntimeError):
        await lane.drain(fail)

    await lane.drain()

    assert lane.taken == ["g-1", "g-1"]
    assert await lane.left() == 0


async def test_a_drain_that_is_canceled_lets_go_of_its_work_which_falls_due_again(
    lane: Lane,
) -> None:
    gate = Gate(lane.finish)
    await lane.track("g-1")
    draining = asyncio.create_task(lane.drain(gate))
    await gate.has_begun()

    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining

    assert gate.canceled == 1
    assert await lane.left() == 1
    await lane.drain()
    assert await lane.left() == 0


async def test_a_drain_that_is_canceled_while_it_waits_for_its_work_lets_go_of_it_too(
    lane: Lane, redis: Redis
) -> None:
    gate = Gate(lane.finish)
    await lane.track("g-1")
    draining = asyncio.create_task(lane.drain(gate))
    await gate.has_begun()
    lane.stopping.set()
    lane.store.bell.ring(LANE)
    async with asyncio.timeout(5):
        while await redis.exists(f"test:drain:{LANE}"):  # noqa: ASYNC110 - it has handed over then
            await asyncio.sleep(0.002)

    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining

    assert gate.canceled == 1


async def test_work_of_a_drain_outlives_its_time_and_its_lease_without_harm(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim was given to the next drain, whose word counts; its own comes too late."""
    monkeypatch.setattr(drain, "BUDGET_S", 0.05)
    monkeypatch.setattr(drain, "OVERLAP_S", 0.0)
    gate = Gate(partial(lane.look_again_in, 3600))
    await lane.track("g-1")
    first = asyncio.create_task(lane.drain(gate))
    await gate.has_begun()
    monkeypatch.setattr(drain, "BUDGET_S", 5.0)
    await lane.drain()

    gate.open.set()
    await first

    assert lane.taken == ["g-1", "g-1"]
    assert await lane.left() == 0


async def test_a_lane_is_handed_over_before_waiting_for_work_that_hangs(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else nobody would work in the lane for as long as one receiver is slow."""
    monkeypatch.setattr(drain, "BUDGET_S", 0.05)
    may_end = asyncio.Event()

    async def hang(tracker: Tracker) -> None:
        await may_end.wait()
        await lane.finish(tracker)

    async def claim(room: int, *, assists: bool) -> Claimed:
        claimed = await lane.store.trackers.claim(
            "luma", limit=min(room, 1), rate=1000, assists=assists
        )
        work = [partial(hang, each.whole()) for each in claimed.looks]
        return Claimed(claimed.clock, work, claimed.wake_at)

    await lane.track("g-1", "g-2")
    one = Drain(
        lane.store, LANE, claim, hands=1, stopping=lane.stopping, start=lane.start, crew=lane.crew
    )
    draining = asyncio.create_task(one.run())
    async with asyncio.timeout(5):
        await lane.started.wait()
    assert not draining.done()
    may_end.set()
    await draining


async def test_a_drain_that_has_worked_stays_for_more(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "STAY_S", 60.0)
    await lane.track("one")
    draining = asyncio.create_task(lane.drain())
    await eventually(lambda: lane.taken == ["one"])

    assert not await lane.track("two")  # nobody has to start a drain

    await eventually(lambda: lane.taken == ["one", "two"])
    assert not draining.done()
    lane.stopping.set()
    await lane.track("three")  # rings, so that it sees that it is to stop
    await draining


async def test_a_drain_that_finds_nothing_does_not_stay(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "STAY_S", 60.0)
    await lane.drain()
    assert lane.taken == []


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the lane has nothing to wait on
            await asyncio.sleep(0.01)


async def test_a_drain_that_is_canceled_just_as_its_last_work_ends_says_so(lane: Lane) -> None:
    await lane.track("g-1")
    lane.stopping.set()  # it claims nothing and waits for what it has in hand
    loop = asyncio.get_running_loop()

    async def ends_as_its_drain_is_canceled() -> None:
        await lane.started.wait()
        # In turn: this ends, its drain hears of that, is canceled, and goes on.
        loop.call_soon(loop.call_soon, draining.cancel)

    async def claim(_: int) -> Claimed:
        raise AssertionError

    work = Drain(
        lane.store, LANE, claim, hands=4, stopping=lane.stopping, start=lane.start, crew=lane.crew
    )
    work._begin(ends_as_its_drain_is_canceled, asyncio.Event())
    draining = asyncio.create_task(work.run())
    with pytest.raises(asyncio.CancelledError):
        await draining


# --- assisting ------------------------------------------------------------------------------------


async def test_one_that_assists_does_what_is_due_and_goes(lane: Lane) -> None:
    await lane.track("g-1", "g-2", "g-3")
    await lane.drain(assists=True)

    assert sorted(lane.taken) == ["g-1", "g-2", "g-3"]


async def test_one_that_assists_takes_nothing_that_another_has_claimed(lane: Lane) -> None:
    gate = Gate(lane.finish)
    await lane.track(*[f"g-{n}" for n in range(9)])
    first = asyncio.create_task(lane.drain(gate, hands=4))
    await gate.has_begun(4)
    second = asyncio.create_task(lane.drain(gate, hands=4, assists=True))
    await gate.has_begun(8)
    gate.open.set()
    await asyncio.gather(first, second)

    assert len(lane.taken) == len(set(lane.taken)) == 9


async def test_whose_time_is_up_starts_no_other_if_it_only_assists(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be followed by one more, and there would be more and more."""
    monkeypatch.setattr(drain, "BUDGET_S", 0.1)
    await lane.track("g-1")

    await lane.drain(partial(lane.look_again_in, 0.01), assists=True)

    assert not lane.started.is_set()


async def test_one_that_assists_does_not_pass_for_the_drain_of_the_lane(
    lane: Lane, redis: Redis
) -> None:
    """When it goes, nobody would see to what comes due next."""
    await lane.track("g-1")
    await redis.delete(f"test:drain:{LANE}")

    await lane.drain(partial(lane.look_again_in, 3600), assists=True)

    assert await lane.track("g-2") is True


async def test_a_drain_counts_as_at_work_with_what_it_has_in_hand(lane: Lane) -> None:
    gate = Gate(lane.finish)
    await lane.track("g-1", "g-2")
    draining = asyncio.create_task(lane.drain(gate, hands=2))
    await gate.has_begun(2)

    assert lane.crew.drains(LANE)
    assert lane.crew.overloaded(late_s=0.0) == {LANE}
    gate.open.set()
    await draining
    assert not lane.crew.drains(LANE)
