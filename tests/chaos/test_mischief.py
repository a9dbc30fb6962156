"""The plan of a run: the same for the same seed, all undone in time, nobody struck twice."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from chaos.callers import errands
from chaos.evidence import Kind
from chaos.mischief import MANNERS, PROVIDER_FAULTS, Company, plan
from worker.simulator import parse_fault

COMPANY = Company(["worker-1", "worker-2"], ["api-1", "api-2"], ["receiver-1", "receiver-2"])
seeds = st.integers(0, 10_000)
lengths = st.floats(4, 300)


@given(seeds, lengths)
def test_the_same_seed_makes_the_same_plan(seed: int, seconds: float) -> None:
    assert plan(seed, seconds, COMPANY) == plan(seed, seconds, COMPANY)


@given(seeds, lengths)
def test_all_is_undone_when_the_time_is_over(seed: int, seconds: float) -> None:
    for deed in plan(seed, seconds, COMPANY):
        assert deed.at >= 0
        assert deed.until <= seconds + 0.02  # both are rounded


@given(seeds, lengths)
def test_nobody_is_struck_while_something_is_done_to_him(seed: int, seconds: float) -> None:
    for one, other in combinations(plan(seed, seconds, COMPANY), 2):
        assert one.whom != other.whom or one.until < other.at or other.until < one.at


@given(seeds)
def test_a_minute_has_mischief_of_every_kind(seed: int) -> None:
    assert {deed.kind for deed in plan(seed, 60, COMPANY)} == set(Kind) - {Kind.RESTART}


@given(seeds)
def test_every_deed_is_done_to_somebody_who_is_there(seed: int) -> None:
    there = {*COMPANY.workers, *COMPANY.apis, *COMPANY.receivers, "redis", "provider", "clock"}

    for deed in plan(seed, 60, COMPANY):
        assert deed.whom in there
        assert deed.kind is not Kind.RECEIVER or deed.how in MANNERS


def test_the_simulator_knows_every_fault() -> None:
    for fault in PROVIDER_FAULTS:
        parse_fault(fault)


def test_errands_are_the_same_for_the_same_seed_and_of_every_sort() -> None:
    made = errands(7, 60, 2000, [("r-1", {"callback_url": "http://127.0.0.1:1/"})])

    assert made == errands(7, 60, 2000, [("r-1", {"callback_url": "http://127.0.0.1:1/"})])
    assert len({each.generation_id for each in made}) == 2000
    outcomes = {each.life["outcome"] for each in made if each.life}
    assert outcomes == {"completed", "failed", "stuck"}
    assert any(each.life is None for each in made)
    assert any(each.cancels_after_s is not None for each in made)
