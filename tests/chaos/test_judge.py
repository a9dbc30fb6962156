"""The judge detects each way in which a promise can be broken, and nothing where none was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaos.evidence import Born, Death, Deed, Ended, Kind, Owed, Promise, Receipt, Run
from chaos.judge import duplicates, judge, recoveries

TAKEN = Receipt("r-1", "evt_1", "completed", is_signed=True, at=5, status=200, answered_at=5.1)
WELL = Run(
    promises=[Promise("g-1", 1.0, "r-1")],
    truth={"g-1": "completed"},
    trackers={"g-1": Ended("completed")},
    events=[Born("evt_1", "generation.completed", "g-1")],
    heard=["evt_1"],
    owed=[Owed("dlv_1", "evt_1", "delivered")],
    receipts=[TAKEN],
    keys={"tracker:luma:g-1": 604800.0, "seq": None, "trackers:luma:completed": None},
)
KILLED = Deed(4.9, 1.0, Kind.KILL, "worker-1")


def found(run: Run) -> list[tuple[str, str]]:
    return [(finding.what, finding.whom) for finding in judge(run)]


def ended(state: str, reason: str | None = None, truth: dict[str, str] | None = None) -> Run:
    """A run whose one tracker ended like that, with all that belongs to it."""
    return replace(
        WELL,
        truth=WELL.truth if truth is None else truth,
        trackers={"g-1": Ended(state, reason)},
        events=[Born("evt_1", f"generation.{state}", "g-1")],
        receipts=[replace(TAKEN, state=state)],
    )


def test_a_run_that_kept_every_promise_has_no_findings() -> None:
    assert found(WELL) == []


@pytest.mark.parametrize(
    "run",
    [
        ended("failed", truth={"g-1": "failed"}),
        ended("expired", "deadline", truth={"g-1": "dreaming"}),
        ended("expired", "not_found", truth={}),
    ],
)
def test_a_tracker_may_end_in_any_way_that_the_provider_bears_out(run: Run) -> None:
    assert found(run) == []


def test_a_canceled_tracker_has_no_event() -> None:
    canceled = replace(
        WELL,
        promises=[replace(WELL.promises[0], canceled=True)],
        trackers={"g-1": Ended("canceled")},
        events=[],
        heard=[],
        owed=[],
        receipts=[],
    )

    assert found(canceled) == []
    late = replace(canceled, events=WELL.events, heard=WELL.heard, owed=WELL.owed)
    assert ("events", "g-1") in found(late)


# --- what is broken -------------------------------------------------------------------------------


def test_a_request_that_was_refused_is_detected() -> None:
    assert found(replace(WELL, refused={"g-2": "409 Conflict"})) == [("refused", "g-2")]


def test_a_lost_tracker_is_detected() -> None:
    assert ("forgotten", "g-1") in found(replace(WELL, trackers={}))


def test_a_tracker_that_never_ended_is_detected() -> None:
    stuck = replace(WELL, trackers={"g-1": Ended("tracking")}, events=[], heard=[], receipts=[])

    assert {"wrong end", "events"} <= {what for what, _ in found(stuck)}


@pytest.mark.parametrize(
    ("run", "truth"),
    [
        (ended("failed"), "completed"),
        (ended("completed"), "dreaming"),
        (ended("expired", "deadline"), "completed"),
        (ended("expired", "deadline"), None),
    ],
)
def test_an_end_that_the_provider_does_not_bear_out_is_detected(
    run: Run, truth: str | None
) -> None:
    assert ("wrong end", "g-1") in found(replace(run, truth={"g-1": truth} if truth else {}))


@pytest.mark.parametrize(
    "events",
    [
        [],
        [*WELL.events, Born("evt_2", "generation.completed", "g-1")],
        [*WELL.events, Born("evt_2", "generation.expired", "g-1")],
        [*WELL.events, Born("evt_2", "generation.completed", "nobody's")],
    ],
)
def test_a_missing_or_a_second_event_is_detected(events: Sequence[Born]) -> None:
    assert "events" in {what for what, _ in found(replace(WELL, events=events))}


def test_what_has_expired_and_is_asked_for_again_has_an_event_for_each_tracking() -> None:
    """A caller that has not heard of its first request makes another."""
    once = ended("expired", "deadline", truth={"g-1": "dreaming"})
    more = [replace(each, event_id="evt_2") for each in once.events]
    twice = replace(
        once,
        promises=[replace(once.promises[0], asked=2)],
        events=[*once.events, *more],
        heard=["evt_1", "evt_2"],
        owed=[*once.owed, *(replace(each, event_id="evt_2") for each in once.owed)],
        receipts=[*once.receipts, *(replace(each, webhook_id="evt_2") for each in once.receipts)],
        begun={"g-1": 2},
    )

    assert found(twice) == []
    assert ("begun", "g-1") in found(replace(twice, promises=once.promises))
    assert ("events", "g-1") in found(replace(twice, begun={}))


def test_a_listener_that_gave_up_is_told_of() -> None:
    assert ("heard", "the listener") in found(replace(WELL, deaf="nothing answers"))


def test_an_event_that_the_listener_missed_or_heard_twice_is_detected() -> None:
    assert found(replace(WELL, heard=[])) == [("heard", "g-1")]
    assert found(replace(WELL, heard=["evt_1", "evt_1"])) == [("heard", "g-1")]
    assert found(replace(WELL, heard=["evt_1", "evt_2"])) == [("heard", "evt_2")]
    assert found(replace(WELL, heard=[], had_gap=True)) == []


@pytest.mark.parametrize("state", ["pending", "exhausted", "discarded"])
def test_a_delivery_that_was_not_made_is_detected(state: str) -> None:
    owed = [Owed("dlv_1", "evt_1", state)]

    assert found(replace(WELL, owed=owed)) == [("delivery", "g-1")]


def test_a_missing_delivery_is_detected_and_a_second_one_too() -> None:
    assert found(replace(WELL, owed=[])) == [("delivery", "g-1")]
    twice = [*WELL.owed, Owed("dlv_2", "evt_1", "delivered")]
    assert found(replace(WELL, owed=twice)) == [("delivery", "g-1")]


def test_a_delivery_on_record_that_its_receiver_never_took_is_detected() -> None:
    assert found(replace(WELL, receipts=[])) == [("delivery", "g-1")]
    assert found(replace(WELL, receipts=[replace(TAKEN, status=500)])) == [("delivery", "g-1")]


@pytest.mark.parametrize(
    "strange",
    [
        replace(TAKEN, webhook_id="evt_9"),
        replace(TAKEN, receiver="r-2"),
        replace(TAKEN, state="failed"),
    ],
)
def test_a_webhook_that_is_nobodys_or_says_something_else_is_detected(strange: Receipt) -> None:
    assert "webhook" in {what for what, _ in found(replace(WELL, receipts=[TAKEN, strange]))}


def test_a_signature_that_does_not_verify_is_detected() -> None:
    assert found(replace(WELL, receipts=[replace(TAKEN, is_signed=False)])) == [
        ("signature", "evt_1")
    ]


def test_a_key_without_an_end_is_detected() -> None:
    for name in ("tracker:luma:g-1", "event:evt_1", "due:poll:luma", "busy:r-1", "drain:x"):
        assert found(replace(WELL, keys={name: None})) == [("eternal key", name)]


def test_a_process_that_ended_by_itself_is_detected_unless_redis_was_away() -> None:
    dead = replace(WELL, deaths=[Death(20.0, "worker-2", 1)])
    away = Deed(15.0, 2.0, Kind.REDIS_KILL, "redis")

    assert found(dead) == [("process", "worker-2")]
    assert found(replace(dead, deeds=[away])) == []


# --- duplicates -----------------------------------------------------------------------------------


AGAIN = replace(TAKEN, at=35.0, answered_at=35.1)


def test_a_duplicate_without_a_reason_is_detected() -> None:
    far = Deed(25.0, 5.0, Kind.KILL, "worker-1")

    assert found(replace(WELL, receipts=[TAKEN, AGAIN])) == [("duplicate", "evt_1")]
    assert found(replace(WELL, receipts=[TAKEN, AGAIN], deeds=[far])) == [("duplicate", "evt_1")]


@pytest.mark.parametrize(
    "kind", [Kind.KILL, Kind.STOP, Kind.REDIS_KILL, Kind.REDIS_STOP, Kind.RESTART]
)
def test_a_duplicate_near_a_disturbance_is_explained_by_it(kind: Kind) -> None:
    run = replace(WELL, receipts=[TAKEN, AGAIN], deeds=[replace(KILLED, kind=kind)])

    assert found(run) == []
    assert [each.because for each in duplicates(run)] == [f"{kind} worker-1"]


@pytest.mark.parametrize("kind", [Kind.PROVIDER, Kind.RECEIVER, Kind.CLOCK])
def test_trouble_elsewhere_explains_no_duplicate(kind: Kind) -> None:
    run = replace(WELL, receipts=[TAKEN, AGAIN], deeds=[replace(KILLED, kind=kind)])

    assert found(run) == [("duplicate", "evt_1")]


def test_trouble_of_an_api_explains_no_duplicate() -> None:
    """It is the workers who deliver."""
    run = replace(WELL, receipts=[TAKEN, AGAIN], deeds=[replace(KILLED, whom="api-1")])

    assert found(run) == [("duplicate", "evt_1")]


def test_a_duplicate_after_an_answer_that_took_as_long_as_an_attempt_is_explained() -> None:
    slow = replace(TAKEN, answered_at=TAKEN.at + 15)

    assert found(replace(WELL, receipts=[slow, AGAIN])) == []


def test_a_retry_after_a_refusal_or_no_answer_is_no_duplicate() -> None:
    refused = [replace(TAKEN, status=503), replace(TAKEN, status=None, answered_at=None), AGAIN]

    assert duplicates(replace(WELL, receipts=refused)) == []
    assert found(replace(WELL, receipts=refused)) == []


# --- recoveries -----------------------------------------------------------------------------------


def test_a_recovery_is_the_time_from_the_end_of_a_deed_to_what_comes_next() -> None:
    deed = Deed(0.2, 0.3, Kind.KILL, "api-1")
    (recovery,) = recoveries(replace(WELL, deeds=[deed]), {Kind.KILL})

    assert (recovery.acknowledged_s, recovery.delivered_s) == (0.5, 4.5)


def test_nothing_after_a_deed_is_no_recovery() -> None:
    deed = Deed(6.0, 1.0, Kind.REDIS_KILL, "redis")
    (recovery,) = recoveries(replace(WELL, deeds=[deed, KILLED]), {Kind.REDIS_KILL})

    assert (recovery.acknowledged_s, recovery.delivered_s) == (None, None)
