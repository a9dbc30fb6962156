"""What is shown of a delivery or a tracker that may wait for a hold of its origin or account."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import shapes
from worker.held import account_hold_shape, hold_shape
from worker.model import (
    Delivery,
    DeliveryState,
    Endpoint,
    HealthReason,
    Hold,
    Queue,
    State,
    Terms,
    Tracker,
    rfc3339,
)

T = 1_700_000_000_000
HOLD = Hold(
    name="https://hooks.example.com",
    since=T - 1000,
    until=T + 5000,
    reason=HealthReason.UNREACHABLE,
    detail="HTTP 503",
    streak=3,
)
OWED = Delivery(
    id="dlv_1",
    event_id="evt_1",
    type="generation.completed",
    account="luma",
    generation_id="g-1",
    endpoint="mine",
    url="https://hooks.example.com/x",
    state=DeliveryState.PENDING,
    created_at=T,
    next_attempt_at=T,
)
INSTANTS = st.integers(min_value=0, max_value=4_000_000_000_000)


@given(due=INSTANTS, until=INSTANTS)
def test_what_is_pending_is_tried_when_it_is_due_and_its_hold_is_over(due: int, until: int) -> None:
    owed, hold = replace(OWED, next_attempt_at=due), replace(HOLD, until=until)
    for shown in (shapes.delivery_shape(owed, hold), shapes.webhook_shape(owed, 0, hold)):
        assert shown["next_attempt_at"] == rfc3339(max(due, until))
        assert (shown["held"] is not None) == (due <= until)


@pytest.mark.parametrize("state", [each for each in DeliveryState if each != "pending"])
def test_what_is_over_waits_for_nothing(state: DeliveryState) -> None:
    shown = shapes.delivery_shape(replace(OWED, state=state), HOLD)
    assert (shown["next_attempt_at"], shown["held"]) == (None, None)


def test_a_hold_is_told_in_parts_and_in_words() -> None:
    assert hold_shape(HOLD) == {
        "origin": "https://hooks.example.com",
        "since": "2023-11-14T22:13:19.000Z",
        "until": "2023-11-14T22:13:25.000Z",
        "reason": "unreachable",
        "detail": "HTTP 503",
        "errors_in_a_row": 3,
        "in_words": "https://hooks.example.com is not there: 3 attempts in a row failed (HTTP 503)."
        " A probe goes at 22:13:25 UTC; once it is answered, what waits follows.",
    }


def test_while_a_probe_is_under_way_there_is_no_instant_to_wait_for() -> None:
    shown = hold_shape(replace(HOLD, is_probing=True, detail=None))
    assert shown["until"] is None
    assert "in a row failed. A probe is under way; " in shown["in_words"]


@pytest.mark.parametrize(("due", "at"), [(T - 9000, T - 1000), (T - 500, T - 500)])
def test_in_a_timeline_a_delivery_is_held_from_when_it_would_have_been_tried(
    due: int, at: int
) -> None:
    line = shapes.hold_entry(HOLD, replace(OWED, created_at=T - 9000, next_attempt_at=due))
    assert (line["at"], line["kind"], line["delivery_id"]) == (rfc3339(at), "hold", OWED.id)


RUNNING = Tracker(
    account="luma",
    generation_id="g-1",
    provider="luma",
    state=State.TRACKING,
    terms=Terms(deadline_s=60),
    tracked_at=T,
    deadline_at=T + 60_000,
    next_poll_at=T,
)
REJECTED = replace(HOLD, name="luma", reason=HealthReason.CREDENTIALS, detail="401 Unauthorized")


@given(due=INSTANTS, until=INSTANTS)
def test_what_runs_is_looked_at_when_it_is_due_and_its_account_is_not_held(
    due: int, until: int
) -> None:
    shown = shapes.tracker_shape(RUNNING.but(next_poll_at=due), None, replace(HOLD, until=until))
    assert shown["next_poll_at"] == rfc3339(max(due, until))
    assert shown["held"] is not None
    assert shapes.tracker_shape(RUNNING.but(next_poll_at=due))["held"] is None


@pytest.mark.parametrize("state", [each for each in State if each != "tracking"])
def test_what_has_ended_waits_for_no_account(state: State) -> None:
    shown = shapes.tracker_shape(RUNNING.but(state=state, next_poll_at=None), None, REJECTED)
    assert (shown["next_poll_at"], shown["held"]) == (None, None)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("throttled", "Account luma has asked its provider too often"),
        ("unreachable", "The provider of account luma gives no answer that can be used"),
        ("credentials rejected", "The provider rejects the credentials of account luma"),
    ],
)
def test_a_hold_of_an_account_is_told_in_parts_and_in_words(reason: str, words: str) -> None:
    shown = account_hold_shape(replace(REJECTED, reason=HealthReason(reason)))
    assert shown.pop("in_words").startswith(f"{words} (401 Unauthorized)")
    assert shown == {
        "account": "luma",
        "since": "2023-11-14T22:13:19.000Z",
        "until": "2023-11-14T22:13:25.000Z",
        "reason": reason,
        "detail": "401 Unauthorized",
        "errors_in_a_row": 3,
    }


def test_whose_credentials_are_rejected_is_told_what_to_do_and_when_it_shows() -> None:
    words = account_hold_shape(REJECTED)["in_words"]
    assert ": check its API key. A probe goes at 22:13:25 UTC; " in words


def test_an_endpoint_that_is_off_is_not_held() -> None:
    it = Endpoint(name="mine", url=OWED.url)
    queue = Queue(under_way=0, due=1)
    assert shapes.endpoint_shape(it, T, queue, HOLD)["held"] == hold_shape(HOLD)
    assert shapes.endpoint_shape(replace(it, enabled=False), T, queue, HOLD)["held"] is None
