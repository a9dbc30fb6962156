"""Attempts that come later than assets last: for an endpoint that asks, they are renewed first."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.courier.conftest import ASSETS, Office, Receiver, answer
from worker import courier
from worker.drain import BUDGET_S, OVERLAP_S
from worker.egress import TIMEOUT_S
from worker.jobs import JOB_TIMEOUT_S
from worker.model import Account, Answer, Delivery, Progress, Seen, State, Throttled, Trouble
from worker.poller import Poller
from worker.store import LEASE_S, packing

LIFETIME_S = 3600.0
FRESH = {"video": "https://a.example/v.mp4?signed=2"}


@dataclass
class Provider:
    """Stands in for an account's client."""

    answer: Answer | None = field(
        default_factory=lambda: Seen(
            progress=Progress.COMPLETED,
            provider_state="completed",
            assets=FRESH,
            generation={"id": "g-1", "again": True},
        )
    )
    asset_lifetime_s: float | None = LIFETIME_S
    asked: list[str] = field(default_factory=list)

    async def get_generation(self, generation_id: str, *, mark: str | None = None) -> Answer:
        self.asked.append(generation_id)
        if self.answer is None:
            await asyncio.Event().wait()
        assert self.answer
        return self.answer


@pytest.fixture
def provider(office: Office) -> Provider:
    provider = Provider()
    account = Account(name="luma", provider="luma", api_key="", base_url="", polls_per_second=100)
    clients: Any = {"luma": provider}
    office.refresh = Poller(office.store, {"luma": account}, clients, office.start).refreshed
    return provider


async def post_late(office: Office, receiver: Receiver, **settings: Any) -> bytes:
    """Post an event whose assets have expired; returns the bytes that it was born with."""
    shop = await office.endpoint("shop", receiver.url, **settings)
    owed = await office.owe(shop, seen_s_ago=2 * LIFETIME_S)
    body = packing.body_of(await office.redis.hget(f"test:event:{owed.event_id}", "body"))
    await office.drain(receiver.lane)
    return body


async def test_a_late_attempt_looks_first_and_posts_the_new_assets(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    began = await office.store.now()

    born = await post_late(office, receiver, refresh_assets=True)

    ((headers, posted),) = receiver.got
    before, after = json.loads(born), json.loads(posted)
    tracker = await office.store.trackers.get("luma", "g-1")
    assert provider.asked == ["g-1"]
    assert (before["data"].pop("assets"), after["data"].pop("assets")) == (ASSETS, FRESH)
    assert after["data"].pop("generation") == {"id": "g-1", "again": True}
    assert after["data"].pop("seen_at") > before["data"].pop("seen_at")
    assert tracker is not None
    assert tracker.seen_at is not None
    assert (tracker.state, tracker.seen_at >= began) == (State.COMPLETED, True)
    del before["data"]["generation"]
    assert after == before
    Webhook((await office.known("shop")).secrets[0].text).verify(posted, headers)


async def test_a_refreshed_event_keeps_its_id_and_its_own_bytes(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    born = await post_late(office, receiver, refresh_assets=True)

    (delivery,) = await office.deliveries()
    assert receiver.webhook_ids == [delivery.event_id]
    kept = await office.redis.hget(f"test:event:{delivery.event_id}", "body")
    assert packing.body_of(kept) == born


async def test_the_change_is_on_the_trackers_record(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    await post_late(office, receiver, refresh_assets=True)

    entries = await office.store.trackers.timeline("luma", "g-1")
    tracker = await office.store.trackers.get("luma", "g-1")
    kinds = [each.kind for each in entries if each.kind in {"look", "attempt"}]
    assert kinds == ["look", "attempt"]
    assert tracker is not None
    assert tracker.assets == FRESH


async def test_an_attempt_that_comes_in_time_does_not_look(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    shop = await office.endpoint("shop", receiver.url, refresh_assets=True)
    await office.owe(shop, seen_s_ago=LIFETIME_S - 60)

    await office.drain(receiver.lane)

    ((_, posted),) = receiver.got
    assert (provider.asked, json.loads(posted)["data"]["assets"]) == ([], ASSETS)


async def test_an_endpoint_that_does_not_ask_gets_the_bytes_that_were_born(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    born = await post_late(office, receiver)

    assert ([body for _, body in receiver.got], provider.asked) == ([born], [])


async def test_where_assets_last_for_ever_nothing_is_renewed(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    provider.asset_lifetime_s = None

    born = await post_late(office, receiver, refresh_assets=True)

    assert ([body for _, body in receiver.got], provider.asked) == ([born], [])


@pytest.mark.parametrize("trouble", [Trouble("502 Bad Gateway"), Throttled("429", 300.0)])
async def test_if_the_provider_is_away_what_was_born_goes_out(
    office: Office, receiver: Receiver, provider: Provider, trouble: Answer
) -> None:
    provider.answer = trouble

    born = await post_late(office, receiver, refresh_assets=True)

    assert ([body for _, body in receiver.got], provider.asked) == ([born], ["g-1"])


async def test_while_the_account_is_held_what_was_born_goes_out_unasked(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    provider.answer = Throttled("429 Too Many Requests", 300.0)
    receiver.answers = [answer(500), answer(200)]

    born = await post_late(office, receiver, refresh_assets=True)

    assert [body for _, body in receiver.got] == [born, born]
    assert provider.asked == ["g-1"]


async def test_a_provider_that_hangs_holds_an_attempt_up_only_for_a_while(
    office: Office, receiver: Receiver, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that began after its claim has ended would be made twice."""
    monkeypatch.setattr(courier, "REFRESH_S", 0.1)
    provider.answer = None

    born = await post_late(office, receiver, refresh_assets=True)

    assert [body for _, body in receiver.got] == [born]


async def test_a_test_event_needs_no_look(
    office: Office, receiver: Receiver, provider: Provider
) -> None:
    await office.endpoint("shop", receiver.url, refresh_assets=True)
    await office.endpoints.test("shop")

    await office.drain(receiver.lane)

    assert (len(receiver.got), provider.asked) == (1, [])


async def test_whatever_goes_wrong_with_a_refresh_the_webhook_goes_out(
    office: Office, receiver: Receiver
) -> None:
    async def broken(_delivery: Delivery, _body: bytes) -> bytes:
        raise ValueError("nested too deep")

    office.refresh = broken

    born = await post_late(office, receiver, refresh_assets=True)

    assert [body for _, body in receiver.got] == [born]


def test_the_longest_attempt_ends_before_its_lease_and_its_job_do() -> None:
    """One that is cut off is not on record, and is made again as if it had not been made."""
    longest_s = courier.REFRESH_S + TIMEOUT_S
    assert longest_s < LEASE_S
    assert BUDGET_S + OVERLAP_S + longest_s < JOB_TIMEOUT_S
