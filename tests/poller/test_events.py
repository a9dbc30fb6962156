"""The events that looks make, and what is owed for them."""

from __future__ import annotations

import asyncio

from tests.poller.conftest import COMPLETED, DREAMING, HOOK, QUEUED, Desk
from worker.model import (
    DeliveryState,
    Trouble,
)


async def test_an_event_is_owed_to_the_callback_and_its_lane_is_started(desk: Desk) -> None:
    await desk.track(callback_url=HOOK, headers={"x-tenant": "7"})

    await desk.drain()

    (delivery,) = await desk.owed()
    assert (delivery.state, delivery.url) == (DeliveryState.PENDING, HOOK)
    assert (delivery.type, delivery.headers) == ("generation.completed", {"x-tenant": "7"})
    assert desk.started == ["post:https://hooks.example.com:443"]


async def test_an_event_without_a_callback_is_on_the_stream_and_owed_to_nobody(desk: Desk) -> None:
    await desk.track()

    await desk.drain()

    assert [body["type"] for body in await desk.bodies()] == ["generation.completed"]
    assert (await desk.owed(), desk.started) == ([], [])


async def test_an_event_that_was_not_asked_for_is_on_the_stream_and_owed_to_nobody(
    desk: Desk,
) -> None:
    await desk.track(callback_url=HOOK, events=("generation.failed",))

    await desk.drain()

    assert [body["type"] for body in await desk.bodies()] == ["generation.completed"]
    assert (await desk.owed(), desk.started) == ([], [])


async def test_changes_on_the_way_make_events_only_when_asked_for(desk: Desk, quick: None) -> None:
    events = ("generation.completed", "generation.updated")
    desk.provider.answers = [QUEUED, QUEUED, DREAMING, COMPLETED]
    await desk.track("g-1", events=events)
    await desk.drain()
    desk.provider.asked.clear()
    await desk.track("g-2")
    await desk.drain()

    bodies = await desk.bodies()
    assert [
        (b["data"]["generation_id"], b["type"], b["data"]["provider_state"]) for b in bodies
    ] == [
        ("g-1", "generation.updated", "queued"),
        ("g-1", "generation.updated", "dreaming"),
        ("g-1", "generation.completed", "completed"),
        ("g-2", "generation.completed", "completed"),
    ]


async def test_two_drains_of_one_lane_at_once_make_one_event_each(desk: Desk) -> None:
    names = [f"g-{n}" for n in range(30)]
    await desk.track(*names, callback_url=HOOK)

    await asyncio.gather(desk.drain(), desk.drain(), desk.drain())

    assert sorted(b["data"]["generation_id"] for b in await desk.bodies()) == sorted(names)
    assert len(await desk.owed()) == 30
    assert desk.started == ["post:https://hooks.example.com:443"]


async def test_the_timeline_tells_looks_changes_and_events_in_order(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [QUEUED, Trouble("502 Bad Gateway"), QUEUED, COMPLETED]
    await desk.track()

    await desk.drain()

    entries = await desk.store.trackers.timeline("luma", "g-1")
    assert [entry.kind for entry in entries] == [
        *("tracked", "look", "change", "look", "look", "look", "change", "event")
    ]
    assert entries[3].details["error"] == "502 Bad Gateway"
    assert [e.details["provider_state"] for e in entries if e.kind == "change"] == [
        "queued",
        "completed",
    ]
