"""Endpoints as callers see them: made, changed, rotated, tested, recovered, deleted."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from worker import addresses, events
from worker.endpoints import LIVE_SECRETS, Endpoints
from worker.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from worker.model import (
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Endpoint,
    Entry,
    EventType,
    State,
    Terms,
)
from worker.requests import EndpointRequest
from worker.store import Store

URL = "https://hooks.example.com/in"
LANE = "post:https://hooks.example.com:443"
TO_URL = EndpointRequest(url=URL)


@dataclass
class Desk:
    """The use cases, with a store that tells what came of them."""

    redis: Redis
    store: Store
    started: list[str] = field(default_factory=list)
    tracked: int = 0

    async def start(self, lane: str) -> None:
        self.started.append(lane)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(self.store, start=self.start, allow_private=[ip_network("10.0.0.0/8")])

    async def owe(self, to: Endpoint | str = "shop") -> str:
        """Owe an endpoint an event; returns the delivery's ID."""
        self.tracked += 1
        known = await self.store.endpoints.get(to) if isinstance(to, str) else to
        await self.store.trackers.track(
            "luma", "luma", [(f"g-{self.tracked}", Terms(deadline_s=9))]
        )
        claimed = await self.store.trackers.claim_one("luma", f"g-{self.tracked}", rate=None)
        done = replace(claimed.tracker, state=State.COMPLETED)  # type: ignore[union-attr]
        now = await self.store.now()
        event = events.about_tracker(done, EventType.COMPLETED, known, now)
        await self.store.trackers.settle(done, event=event)
        assert event.delivery is not None
        return event.delivery.id

    async def exhaust(self, *, now: int | None = None) -> list[str]:
        """Let all that is due fail for the last time."""
        claimed = await self.store.deliveries.claim(LANE, limit=100, now=now)
        for each in claimed.deliveries:
            over = replace(
                each.delivery,
                state=DeliveryState.EXHAUSTED,
                reason=DeliveryReason.ATTEMPTS,
                tries=each.delivery.tries + 1,
            )
            attempt, entry = Attempt(at=1, duration_ms=1, status=500), Entry(1, "attempt")
            await self.store.deliveries.settle(over, attempt, entry=entry, now=now)
        return [each.delivery.id for each in claimed.deliveries]

    async def delivery(self, delivery_id: str) -> Delivery:
        (found,) = await self.store.deliveries.get_many([delivery_id])
        return found

    async def secrets(self, name: str = "shop") -> list[str]:
        known = await self.store.endpoints.get(name)
        assert known is not None
        return [each.text for each in known.secrets]


@pytest.fixture
def desk(redis: Redis, store: Store) -> Desk:
    return Desk(redis, store)


# --- making and changing --------------------------------------------------------------------------


async def test_a_new_endpoint_is_shown_with_its_secret_which_is_never_shown_again(
    desk: Desk,
) -> None:
    made, created = await desk.endpoints.put("shop", TO_URL)

    secret = made.pop("secret")
    assert created
    assert secret.startswith("whsec_")
    assert await desk.secrets() == [secret]
    assert made == {
        "name": "shop",
        "url": URL,
        "events": [],
        "headers": {},
        "enabled": True,
        "disabled_reason": None,
        "secrets": 1,
        "concurrency": 8,
        "refresh_assets": False,
        "failing_since": None,
    }
    assert await desk.endpoints.get("shop") == made
    assert (await desk.endpoints.list_endpoints()).items == [made]


async def test_every_new_endpoint_has_a_secret_of_its_own(desk: Desk) -> None:
    made = [(await desk.endpoints.put(name, TO_URL))[0]["secret"] for name in ("a", "b")]

    assert len(set(made)) == 2


async def test_a_change_keeps_the_secret_and_the_url_and_sets_all_else(desk: Desk) -> None:
    await desk.endpoints.put("shop", EndpointRequest(url=URL, concurrency=3, refresh_assets=True))
    before = await desk.secrets()
    wanted = EndpointRequest(headers={"X-Shop": "1"}, events=frozenset({EventType.FAILED}))

    changed, created = await desk.endpoints.put("shop", wanted)

    assert not created
    assert "secret" not in changed
    assert (changed["url"], changed["headers"]) == (URL, {"x-shop": "1"})
    assert changed["events"] == ["generation.failed"]
    assert (changed["concurrency"], changed["refresh_assets"]) == (8, False)
    assert await desk.secrets() == before


async def test_a_new_endpoint_needs_a_url(desk: Desk) -> None:
    with pytest.raises(InvalidInputError, match="url: a new endpoint needs"):
        await desk.endpoints.put("shop", EndpointRequest())

    assert (await desk.endpoints.list_endpoints()).items == []


@pytest.mark.parametrize(
    ("url", "why"),
    [("http://127.0.0.1/", "not public"), ("ftp://hooks.example.com/", "http")],
)
async def test_an_address_that_we_will_not_call_is_refused(desk: Desk, url: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why) as caught:
        await desk.endpoints.put("shop", EndpointRequest(url=url))

    assert caught.value.field == "url"


async def test_an_address_that_the_deployment_allows_is_taken_in_its_normal_form(
    desk: Desk,
) -> None:
    made, _ = await desk.endpoints.put("shop", EndpointRequest(url="HTTP://10.1.2.3:80"))

    assert made["url"] == "http://10.1.2.3/"


@pytest.mark.parametrize("name", ["", "Shop", "-shop", "a" * 65, "url_shop", "sh/op"])
async def test_a_name_that_cannot_be_one_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await desk.endpoints.put(name, TO_URL)

    assert caught.value.field == "name"


async def test_a_header_of_ours_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidInputError):
        await desk.endpoints.put("shop", EndpointRequest(url=URL, headers={"webhook-id": "1"}))


async def test_a_bare_callback_urls_name_stands_for_no_other_url(desk: Desk) -> None:
    name = addresses.endpoint_name(URL)

    with pytest.raises(InvalidInputError, match="stands for another URL"):
        await desk.endpoints.put(name, EndpointRequest(url="https://other.example.com/"))


async def test_endpoints_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await desk.endpoints.put(name, TO_URL)

    first = await desk.endpoints.list_endpoints(limit=2)
    rest = await desk.endpoints.list_endpoints(limit=2, cursor=first.next_cursor)

    assert [each["name"] for each in first.items] == ["c", "b"]
    assert [each["name"] for each in rest.items] == ["a"]
    assert rest.next_cursor is None


async def test_an_endpoint_that_is_not_there_cannot_be_asked_for_anything(desk: Desk) -> None:
    endpoints = desk.endpoints
    for asked in (
        endpoints.get("shop"),
        endpoints.delete("shop"),
        endpoints.rotate("shop", overlap_s=0),
        endpoints.test("shop"),
        endpoints.recover("shop", since=0),
    ):
        with pytest.raises(NotFoundError, match="no endpoint 'shop'"):
            await asked


async def test_while_redis_is_away_the_caller_is_told_to_come_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> int:
        raise RedisAway

    monkeypatch.setattr(desk.store, "now", away)

    with pytest.raises(UnavailableError):
        await desk.endpoints.list_endpoints()


# --- switching off and on -------------------------------------------------------------------------


async def test_an_endpoint_that_is_switched_off_gives_up_what_it_is_owed(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()

    shown, _ = await desk.endpoints.put("shop", EndpointRequest(enabled=False))

    delivery = await desk.delivery(owed)
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "it was switched off")
    assert delivery.state is DeliveryState.EXHAUSTED
    assert delivery.reason is DeliveryReason.ENDPOINT_DISABLED
    assert await desk.redis.exists("test:lanes") == 0


async def test_an_endpoint_stays_off_until_it_is_switched_on(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    await desk.endpoints.put("shop", EndpointRequest(enabled=False))

    still, _ = await desk.endpoints.put("shop", EndpointRequest(concurrency=2))
    again, _ = await desk.endpoints.put("shop", EndpointRequest(enabled=True))

    assert (still["enabled"], again["enabled"]) == (False, True)
    assert (again["disabled_reason"], again["failing_since"]) == (None, None)


async def test_an_endpoint_that_is_off_is_neither_tested_nor_recovered_nor_replayed_to(
    desk: Desk,
) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.endpoints.put("shop", EndpointRequest(enabled=False))

    for asked in (
        desk.endpoints.test("shop"),
        desk.endpoints.recover("shop", since=0),
        desk.endpoints.replay(owed),
    ):
        with pytest.raises(ConflictError, match="shop is off \\(it was switched off\\)"):
            await asked


# --- deleting -------------------------------------------------------------------------------------


async def test_what_a_deleted_endpoint_is_still_owed_is_discarded(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()

    await desk.endpoints.delete("shop")

    assert (await desk.delivery(owed)).state is DeliveryState.DISCARDED
    assert await desk.store.endpoints.get("shop") is None
    assert (await desk.endpoints.list_endpoints()).items == []
    assert await desk.redis.exists("test:disabled", "test:lanes") == 0
    with pytest.raises(NotFoundError):
        await desk.endpoints.delete("shop")


async def test_a_delivery_whose_endpoint_was_deleted_cannot_be_replayed(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.endpoints.delete("shop")

    with pytest.raises(NotFoundError, match="no longer kept"):
        await desk.endpoints.replay(owed)


async def test_an_endpoint_that_was_deleted_watches_no_more(desk: Desk) -> None:
    watching = EndpointRequest(url=URL, events=frozenset({"endpoint.disabled"}))
    await desk.endpoints.put("ops", watching)
    await desk.endpoints.delete("ops")

    assert await desk.store.endpoints.watchers() == []


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


# --- replay and recovery --------------------------------------------------------------------------


async def test_a_replay_owes_a_finished_delivery_again(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.exhaust()
    before = await desk.delivery(owed)
    await desk.redis.delete(f"test:drain:{LANE}")

    shown = await desk.endpoints.replay(owed)

    after = await desk.delivery(owed)
    assert (shown["id"], shown["event_id"], shown["state"]) == (owed, before.event_id, "pending")
    assert (after.reason, after.tries, len(after.attempts)) == (None, 0, 1)
    assert desk.started == [LANE]
    kinds = [each.kind for each in await desk.store.trackers.timeline("luma", "g-1")]
    assert kinds[-1] == "replay"


async def test_a_replay_of_what_is_owed_anyway_makes_no_second_one(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()

    for _ in range(3):
        await desk.endpoints.replay(owed)

    claimed = await desk.store.deliveries.claim(LANE, limit=9)
    assert [each.delivery.id for each in claimed.deliveries] == [owed]


async def test_a_replay_while_an_attempt_is_under_way_makes_no_second_one(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    owed = await desk.owe()
    await desk.store.deliveries.claim(LANE, limit=9)

    await desk.endpoints.replay(owed)

    assert (await desk.store.deliveries.claim(LANE, limit=9)).deliveries == []


async def test_what_is_not_there_cannot_be_replayed(desk: Desk) -> None:
    with pytest.raises(NotFoundError, match="no delivery 'dlv_1'"):
        await desk.endpoints.replay("dlv_1")


async def test_a_recovery_owes_again_what_was_exhausted_since_an_instant(desk: Desk) -> None:
    await desk.endpoints.put("shop", TO_URL)
    await desk.endpoints.put("desk", TO_URL)
    now = await desk.store.now()
    early, late, others = await desk.owe(), "", ""
    await desk.exhaust(now=now + 1000)
    late, others = await desk.owe(), await desk.owe("desk")
    await desk.exhaust(now=now + 2000)

    assert await desk.endpoints.recover("shop", since=now + 2000) == 1

    states = {each: (await desk.delivery(each)).state for each in (early, late, others)}
    assert states == {
        early: DeliveryState.EXHAUSTED,
        late: DeliveryState.PENDING,
        others: DeliveryState.EXHAUSTED,
    }


async def test_a_recovery_goes_in_steps_and_leaves_nothing_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.endpoints.RECOVERED_PER_STEP", 2)
    await desk.endpoints.put("shop", EndpointRequest(url=URL, concurrency=64))
    owed = [await desk.owe() for _ in range(5)]
    assert sorted(await desk.exhaust()) == sorted(owed)

    assert await desk.endpoints.recover("shop", since=0) == 5
    assert await desk.endpoints.recover("shop", since=0) == 0

    found: list[Any] = [(await desk.delivery(each)).state for each in owed]
    assert found == [DeliveryState.PENDING] * 5
