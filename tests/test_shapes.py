"""What is shown of a delivery that may wait for a hold of its receiver's origin."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import shapes
from worker.model import Delivery, DeliveryState, Endpoint, HealthReason, Hold, rfc3339

T = 1_700_000_000_000
HOLD = Hold(
    origin="https://hooks.example.com",
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
    assert shapes.hold_shape(HOLD) == {
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
    shown = shapes.hold_shape(replace(HOLD, is_probing=True, detail=None))
    assert shown["until"] is None
    assert "in a row failed. A probe is under way; " in shown["in_words"]


@pytest.mark.parametrize(("due", "at"), [(T - 9000, T - 1000), (T - 500, T - 500)])
def test_in_a_timeline_a_delivery_is_held_from_when_it_would_have_been_tried(
    due: int, at: int
) -> None:
    line = shapes.hold_entry(HOLD, replace(OWED, created_at=T - 9000, next_attempt_at=due))
    assert (line["at"], line["kind"], line["delivery_id"]) == (rfc3339(at), "hold", OWED.id)


def test_an_endpoint_that_is_off_is_not_held() -> None:
    it = Endpoint(name="mine", url=OWED.url)
    assert shapes.endpoint_shape(it, T, HOLD)["held"] == shapes.hold_shape(HOLD)
    assert shapes.endpoint_shape(replace(it, enabled=False), T, HOLD)["held"] is None
