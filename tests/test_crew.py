"""Which lanes are more than a process can carry, and for which it asks for help."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from worker import crew, running
from worker.crew import LATE_S, Crew

IN_TIME, LATE = 0.0, 2 * LATE_S


@dataclass(eq=False)
class Drain:
    lane: str
    in_hand: int = 1
    is_full: bool = False


def overloaded(*drains: Drain, late_s: float) -> set[str]:
    ours = Crew()
    with ExitStack() as stack:
        for each in drains:
            stack.enter_context(ours.at_work(each))
        return ours.overloaded(late_s)


def test_a_process_that_keeps_up_needs_no_help() -> None:
    assert overloaded(Drain("a", 90), Drain("b", 10), late_s=IN_TIME) == set()


def test_the_lane_that_makes_most_of_the_work_is_too_much_when_the_event_loop_is_late() -> None:
    assert overloaded(Drain("a", 90), Drain("b", 10), late_s=LATE) == {"a"}


def test_no_lane_is_too_much_by_itself_where_many_share_the_process() -> None:
    """Their drains move to other workers by themselves, when their time is up."""
    assert overloaded(*[Drain(f"lane-{n}", 10) for n in range(3)], late_s=LATE) == set()


def test_a_lane_that_is_handed_over_counts_as_one_though_two_drains_are_at_it() -> None:
    drains = Drain("a", 5), Drain("a", 5), Drain("b", 9)
    assert overloaded(*drains, late_s=LATE) == {"a"}


def test_idle_drains_are_never_too_much() -> None:
    assert overloaded(Drain("a", 0), Drain("b", 0), late_s=LATE) == set()


def test_a_lane_whose_drain_has_no_hand_free_is_too_much_though_the_process_keeps_up() -> None:
    """It waits for a slow provider, with as many connections as a process makes."""
    assert overloaded(Drain("a", 5), Drain("b", 100, is_full=True), late_s=IN_TIME) == {"b"}


def test_a_lane_is_drained_here_until_its_last_drain_has_ended() -> None:
    ours = Crew()
    with ours.at_work(Drain("a")):
        with ours.at_work(Drain("a")):
            assert ours.drains("a")
        assert ours.drains("a")
    assert not ours.drains("a")


# --- asking ---------------------------------------------------------------------------------------


@dataclass
class Asked:
    lanes: list[str]
    once: asyncio.Event

    async def __call__(self, lane: str) -> None:
        self.lanes.append(lane)
        self.once.set()


async def test_help_is_asked_for_while_the_event_loop_has_too_much_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crew, "LOOK_EVERY_S", 0.001)
    ours, asked = Crew(), Asked([], asyncio.Event())

    async def toil() -> None:
        while not asked.once.is_set():
            time.sleep(2 * LATE_S)  # noqa: ASYNC251 - it holds the event loop up
            await asyncio.sleep(0)

    with ours.at_work(Drain("a")):
        watching = asyncio.create_task(ours.watch(asked))
        async with asyncio.timeout(30):
            await toil()
        await running._cancel(watching)
    assert asked.lanes[0] == "a"


async def test_what_was_too_much_for_a_moment_is_no_reason_to_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crew, "LOOK_EVERY_S", 0.0)
    judged = iter([{"a"}, {"b"}, set(), {"a"}, {"a", "b"}, {"a"}])
    ours, asked = Crew(), Asked([], asyncio.Event())
    monkeypatch.setattr(ours, "overloaded", lambda _: next(judged))

    watching = asyncio.create_task(ours.watch(asked))
    async with asyncio.timeout(5):
        await asked.once.wait()
    await running._cancel(watching)

    assert asked.lanes[0] == "a"
    assert list(judged) in ([{"a"}], [])


async def test_a_process_knows_how_busy_it_has_been(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "LOOK_EVERY_S", 0.005)
    ours, asked = Crew(), Asked([], asyncio.Event())
    watching = asyncio.create_task(ours.watch(asked))

    async def toil() -> None:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        await asyncio.sleep(0)

    async with asyncio.timeout(30):
        while ours.busy < 0.5:
            await toil()
        while ours.busy > 0.3:  # noqa: ASYNC110 - it changes as time goes by
            await asyncio.sleep(0.01)
    await running._cancel(watching)
