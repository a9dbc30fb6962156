"""Endpoints as callers see them: their secrets, and events to try them out."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.endpoints.conftest import LANE, TO_URL, URL, Desk
from worker import addresses, events
from worker.endpoints import LIVE_SECRETS
from worker.errors import ConflictError
from worker.model import (
    EventType,
)
from worker.requests import EndpointRequest

# --- secrets --------------------------------------------------------------------------------------


async def test_rotation_makes_a_secret_beside_the_old_one(desk: Desk) -> None:
    made, _ = await desk.endpoints.put("shop", TO_URL)

    rotated = await desk.endpoints.rotate("shop", overlap_s=60)

    known, now = await desk.store.endpoints.get("shop"), await desk.store.now()
    assert known is not None
    new, old = known.secrets
    assert (new.text, new.until) == (rotated["secret"], None)
    assert old.text == made["secret"]
    assert old.until is not None
    assert 59_000 < old.until - now <= 60_000
    assert rotated["secrets"] == 2
    assert (await desk.endpoints.get("shop"))["secrets"] == 2


async def test_a_secret_that_signs_no_more_does_not_count(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)

    rotated = await desk.endpoints.rotate("shop", overlap_s=0)

    assert rotated["secrets"] == 1


async def test_a_second_rotation_lets_no_secret_live_longer_than_was_said_before(
    desk: Desk,
) -> None:
    await desk.endpoints.put("shop", TO_URL)
    await desk.endpoints.rotate("shop", overlap_s=10)
    await desk.endpoints.rotate("shop", overlap_s=1000)

    known, now = await desk.store.endpoints.get("shop"), await desk.store.now()
    assert known is not None
    left = [each.until and each.until - now for each in known.secrets]
    assert left[0] is None
    assert left[1] is not None
    assert left[1] > 900_000
    assert left[2] is not None
    assert left[2] <= 10_000


async def test_only_a_handful_of_secrets_live_at_a_time_the_newest(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    made = [
        (await desk.endpoints.rotate("shop", overlap_s=60))["secret"]
        for _ in range(LIVE_SECRETS + 2)
    ]

    assert await desk.secrets() == made[: -LIVE_SECRETS - 1 : -1]


async def test_of_rotations_at_once_none_is_lost(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)

    rotated = await asyncio.gather(
        *(desk.endpoints.rotate("shop", overlap_s=60) for _ in range(LIVE_SECRETS))
    )

    assert sorted(await desk.secrets()) == sorted(each["secret"] for each in rotated)


async def test_a_bare_callback_url_has_no_secret_of_its_own_to_rotate(desk: Desk) -> None:
    """The deployment's own signs for it, and without an overlap would stop at once."""
    await desk.owe(events.anonymous(URL))

    with pytest.raises(ConflictError, match="the deployment's own secret"):
        await desk.endpoints.rotate(addresses.endpoint_name(URL), overlap_s=60)


# --- test events ----------------------------------------------------------------------------------


async def test_a_test_event_is_owed_like_any_other(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)

    shown = await desk.endpoints.test("shop")

    claimed = await desk.store.deliveries.claim(LANE, limit=9)
    (owed,) = claimed.deliveries
    body = json.loads(owed.body)
    assert desk.started == [LANE]
    assert (shown["id"], shown["event_id"]) == (owed.delivery.id, owed.delivery.event_id)
    assert (shown["type"], shown["state"], shown["endpoint"]) == (
        *("endpoint.test", "pending"),
        "shop",
    )
    assert (body["type"], body["data"]) == (
        "endpoint.test",
        {"endpoint": "shop", "url": URL, "reason": None},
    )


async def test_each_test_is_an_event_of_its_own_and_no_filter_stops_it(desk: Desk) -> None:
    only = EndpointRequest(url=URL, events=frozenset({EventType.FAILED}))
    await desk.endpoints.put("shop", only)

    shown = [await desk.endpoints.test("shop") for _ in range(2)]

    assert len({each["event_id"] for each in shown}) == 2
    assert len((await desk.store.deliveries.claim(LANE, limit=9)).deliveries) == 2
    assert desk.started == [LANE]  # which has its drain then
