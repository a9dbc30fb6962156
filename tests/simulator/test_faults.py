"""Faults as values: their text form, which call they strike, and how often."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InvalidInputError
from worker.simulator.faults import Call, Fault, Faults, Kind, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("get:502", Fault(call=Call.GET, kind=Kind.BAD_GATEWAY)),
        ("any:reset", Fault(call=Call.ANY, kind=Kind.RESET)),
        (
            "get:429:times=3:retry_after=2",
            Fault(call=Call.GET, kind=Kind.THROTTLED, times=3, retry_after=2),
        ),
        ("any:503:p=0.01", Fault(call=Call.ANY, kind=Kind.UNAVAILABLE, p=0.01)),
        (
            "get:hang:id=g-1:seconds=0.5",
            Fault(call=Call.GET, kind=Kind.HANG, id="g-1", seconds=0.5),
        ),
    ],
)
def test_a_fault_reads_from_its_text(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "call: "),
        ("get", "kind: "),
        ("fetch:500", "call: "),
        ("get:418", "kind: "),
        ("get:500:often", "'often' is no option=value"),
        ("get:500:times=0", "times: "),
        ("get:500:times=1:times=2", "'times=2' comes twice"),
        ("get:500:kind=502", "'kind=502' comes twice"),
        ("get:500:p=2", "p: "),
        ("get:500:p=nan", "p: "),
        ("get:500:color=red", "color: "),
        ("get:404:retry_after=2", "retry_after goes with"),
        ("get:500:seconds=2", "seconds goes with hang, stale, slow only"),
        ("create:unknown_state", "unknown_state goes with"),
        ("list:500:id=g-1", "id cannot go with list"),
        ("list:capped", "capped needs rows"),
        ("list:stale:rows=3:seconds=1", "rows goes with capped only"),
        ("list:omission:share=2", "share: "),
        ("any:shuffled", "shuffled goes with list only"),
    ],
)
def test_a_wrong_text_is_refused_with_the_place_and_the_form(text: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_fault(text)
    assert complaint in caught.value.message
    assert repr(text) in caught.value.message
    assert "call:kind[:option=value…]" in caught.value.message


@given(st.text())
def test_any_text_is_a_fault_or_invalid_input(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        assert isinstance(parse_fault(text), Fault)


def test_a_fault_strikes_as_often_as_it_says() -> None:
    faults = Faults([parse_fault("get:500:times=2")])
    struck = [faults.strike(Call.GET, "g") is not None for _ in range(4)]
    assert struck == [True, True, False, False]


def test_a_fault_without_times_strikes_until_cleared() -> None:
    faults = Faults([parse_fault("get:500")])
    assert all(faults.strike(Call.GET, "g") for _ in range(100))
    faults.clear()
    assert faults.strike(Call.GET, "g") is None


def test_a_fault_leaves_other_calls_alone() -> None:
    faults = Faults([parse_fault("list:500")])
    assert [call for call in Call if faults.strike(call, "g")] == [Call.LIST]


def test_any_strikes_every_call() -> None:
    faults = Faults([parse_fault("any:500")])
    assert all(faults.strike(call, None) for call in Call)


def test_a_fault_with_an_id_leaves_other_generations_alone() -> None:
    faults = Faults([parse_fault("any:500:id=g-1")])
    assert faults.strike(Call.GET, "g-1") is not None
    assert faults.strike(Call.GET, "g-2") is None
    assert faults.strike(Call.LIST, None) is None


def test_an_unknown_state_strikes_only_what_shows_states() -> None:
    faults = Faults([parse_fault("any:unknown_state")])
    assert {call for call in Call if faults.strike(call, "g")} == {Call.GET, Call.LIST, Call.ANY}


def test_habits_are_no_faults_of_the_call_and_come_together() -> None:
    faults = Faults(map(parse_fault, ["list:shuffled:times=1", "list:500", "list:capped:rows=3"]))
    assert (struck := faults.strike(Call.LIST, None)) is not None
    assert struck.kind is Kind.BROKEN
    assert [habit.kind for habit in faults.habits()] == [Kind.SHUFFLED, Kind.CAPPED]
    assert [habit.kind for habit in faults.habits()] == [Kind.CAPPED]


def test_the_first_fault_that_strikes_wins_and_the_next_follows() -> None:
    faults = Faults([parse_fault("get:500:times=1"), parse_fault("any:502")])
    kinds = [fault.kind for _ in range(2) if (fault := faults.strike(Call.GET, "g"))]
    assert kinds == [Kind.BROKEN, Kind.BAD_GATEWAY]


def test_probability_is_kept_and_seeded() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults([parse_fault("any:500:p=0.25")], seed=seed)
        return [faults.strike(Call.GET, "g") is not None for _ in range(2000)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert sum(strikes(1)) == pytest.approx(500, rel=0.15)
