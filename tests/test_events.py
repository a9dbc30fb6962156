"""Events: to whom they are owed, under which IDs, and in which lane."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from worker import events
from worker.addresses import endpoint_name
from worker.model import (
    DeliveryState,
    DisabledReason,
    Endpoint,
    EndpointEvent,
    EventType,
    State,
    Terms,
    Tracker,
)

NOW = 1_800_000_000_000
URL = "https://hooks.example.com/x?y=1"
LANE = "post:https://hooks.example.com:443"
ORDERS = Endpoint(name="orders", url=URL)
TRACKER = Tracker(
    account="luma",
    generation_id="g-1",
    provider="luma",
    state=State.COMPLETED,
    terms=Terms(deadline_s=60, headers={"x-a": "1"}),
    tracked_at=NOW - 9,
    deadline_at=NOW + 9,
    finished_at=NOW,
)


# --- about trackers -------------------------------------------------------------------------------


def test_an_event_is_owed_to_the_endpoint_of_its_tracker() -> None:
    event = events.about_tracker(TRACKER, EventType.COMPLETED, ORDERS, NOW)

    owed = event.delivery
    assert owed is not None
    assert (owed.event_id, owed.type, event.lane) == (event.id, "generation.completed", LANE)
    assert (owed.account, owed.generation_id) == ("luma", "g-1")
    assert (owed.endpoint, owed.url, owed.headers) == ("orders", URL, {"x-a": "1"})
    assert (owed.state, owed.created_at, owed.next_attempt_at) == (DeliveryState.PENDING, NOW, NOW)
    assert json.loads(event.body)["type"] == event.type == "generation.completed"


def test_each_event_and_each_delivery_has_an_id_of_its_own() -> None:
    made = [events.about_tracker(TRACKER, EventType.COMPLETED, ORDERS, NOW) for _ in range(50)]
    assert len({event.id for event in made}) == 50
    assert len({event.delivery.id for event in made if event.delivery}) == 50
    assert made[0].id.startswith("evt_")


def test_without_an_endpoint_an_event_is_owed_to_nobody() -> None:
    event = events.about_tracker(TRACKER, EventType.COMPLETED, None, NOW)
    assert (event.delivery, event.lane) == (None, "")


@pytest.mark.parametrize(
    ("wanted_by_tracker", "wanted_by_endpoint", "owed"),
    [
        (["generation.completed"], [], True),
        (["generation.completed"], ["generation.completed", "endpoint.disabled"], True),
        (["generation.failed"], [], False),
        (["generation.completed"], ["generation.failed"], False),
        (["generation.completed"], ["endpoint.disabled"], False),
        (["generation.failed"], ["generation.completed"], False),
    ],
)
def test_an_event_is_owed_if_tracker_and_endpoint_want_it(
    wanted_by_tracker: list[str], wanted_by_endpoint: list[str], *, owed: bool
) -> None:
    tracker = replace(TRACKER, terms=Terms(deadline_s=60, events=tuple(wanted_by_tracker)))
    endpoint = replace(ORDERS, events=tuple(wanted_by_endpoint))

    event = events.about_tracker(tracker, EventType.COMPLETED, endpoint, NOW)

    assert (event.delivery is not None) is owed
    assert json.loads(event.body)["data"]["generation_id"] == "g-1"  # on record all the same


# --- about endpoints ------------------------------------------------------------------------------


def test_an_event_about_an_endpoint_names_it_and_shows_no_secret() -> None:
    event = events.about_endpoint(ORDERS, EndpointEvent.DISABLED, DisabledReason.GONE, NOW)

    body = json.loads(event.body)
    assert (event.type, event.delivery) == ("endpoint.disabled", None)
    assert (body["type"], body["data"]["endpoint"]) == ("endpoint.disabled", "orders")
    assert DisabledReason.GONE in event.body.decode()
    assert "secret" not in event.body.decode()


def test_one_event_and_one_endpoint_always_give_the_same_delivery() -> None:
    """Whoever tells others of it may die half-way, and whoever goes on starts at the beginning."""
    first, lane = events.owed_notice("evt_1", "endpoint.disabled", ORDERS, NOW)
    again, _ = events.owed_notice("evt_1", "endpoint.disabled", ORDERS, NOW + 5)
    other_event, _ = events.owed_notice("evt_2", "endpoint.disabled", ORDERS, NOW)
    to = replace(ORDERS, name="other")
    other_endpoint, _ = events.owed_notice("evt_1", "endpoint.disabled", to, NOW)

    assert first.id == again.id
    assert len({first.id, other_event.id, other_endpoint.id}) == 3
    assert (first.event_id, first.endpoint, first.url, lane) == ("evt_1", "orders", URL, LANE)
    assert (first.account, first.generation_id) == ("", "")


def test_what_is_owed_for_an_event_is_added_to_it() -> None:
    event = events.about_endpoint(ORDERS, EndpointEvent.TEST, None, NOW)
    owed, lane = events.owed_notice(event.id, event.type, ORDERS, NOW)

    whole = events.owing(event, owed, lane)

    assert whole == replace(event, delivery=owed, lane=LANE)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "lane"),
    [
        ("https://a.example/x", "post:https://a.example:443"),
        ("https://a.example/y?z", "post:https://a.example:443"),
        ("http://a.example/", "post:http://a.example:80"),
        ("https://a.example:8443/", "post:https://a.example:8443"),
        ("http://[2001:db8::1]/", "post:http://[2001:db8::1]:80"),
    ],
)
def test_a_lane_stands_for_an_origin(url: str, lane: str) -> None:
    assert events.lane_of(url) == lane


def test_a_callback_url_stands_for_an_endpoint_of_its_own() -> None:
    made = events.anonymous(URL)

    assert made == Endpoint(name=endpoint_name(URL), url=URL)
    assert made.name.startswith("url_")
    assert made.name != events.anonymous(f"{URL}2").name
