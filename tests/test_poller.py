"""Looks: what an answer does to its tracker, its account and the events that it owes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from worker import policy, schedule
from worker.errors import NotFoundError, UnavailableError
from worker.model import (
    Account,
    Answer,
    DeliveryState,
    HealthReason,
    JsonObject,
    Missing,
    Progress,
    Reason,
    Refused,
    Seen,
    State,
    Terms,
    Throttled,
    Tracker,
    Trouble,
)
from worker.poller import Poller
from worker.providers.client import MAX_CONNECTIONS, ProviderClient
from worker.providers.spec import load
from worker.simulator import Outcome, Script, World, create_app, running
from worker.store import Store

LANE = "poll:luma"
KEY = "luma-key-hunter2"
HOOK = "https://hooks.example.com/hunter2?token=hunter2"
ASSETS = {"video": "https://a.example/v.mp4"}
SHOWN = {"id": "g-1", "state": "completed", "assets": ASSETS, "new": [1]}

DREAMING = Seen(progress=Progress.RUNNING, provider_state="dreaming", generation={"n": 1})
QUEUED = Seen(progress=Progress.RUNNING, provider_state="queued")
COMPLETED = Seen(
    progress=Progress.COMPLETED,
    provider_state="completed",
    model="ray-2",
    assets=ASSETS,
    generation=SHOWN,
)
FAILED = Seen(progress=Progress.FAILED, provider_state="failed", failure_reason="Too dreamy")


@dataclass
class Provider:
    """Stands in for an account's client: answers the n-th look with the n-th answer, then waits.

    The last answer repeats.
    """

    answers: Sequence[Answer | Exception] = (COMPLETED,)
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    _busy: int = 0

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def get_generation(self, generation_id: str) -> Answer:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(generation_id)
        self._busy += 1
        self.most_at_once = max(self.most_at_once, self._busy)
        async with self.came:
            self.came.notify_all()
        await self.may_answer.wait()
        self._busy -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def was_asked(self, times: int) -> None:
        async with asyncio.timeout(5), self.came:
            await self.came.wait_for(lambda: len(self.asked) >= times)


@dataclass
class Desk:
    """A poller with a stand-in provider and a real store."""

    redis: Redis
    store: Store
    provider: Provider
    account: Account
    started: list[str] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def poller(self, client: ProviderClient | None = None) -> Poller:
        async def start(lane: str) -> None:
            self.started.append(lane)

        clients: Any = {"luma": client or self.provider}
        return Poller(self.store, {"luma": self.account}, clients, start)

    async def track(self, *generation_ids: str, **terms: Any) -> None:
        agreed = Terms(**{"deadline_s": 3600.0, **terms})
        wanted = [(name, agreed) for name in generation_ids or ("g-1",)]
        await self.store.trackers.track("luma", "luma", wanted)

    async def drain(self) -> bool:
        """Look until nothing is due within a couple of seconds."""
        async with asyncio.timeout(10):
            return await self.poller().drain("luma", LANE, self.stopping)

    async def tracker(self, generation_id: str = "g-1") -> Tracker:
        found = await self.store.trackers.get("luma", generation_id)
        assert found is not None
        return found

    async def health(self) -> Any:
        return (await self.store.lanes.health([LANE]))[0]

    async def bodies(self) -> list[JsonObject]:
        """The events on the stream, oldest first, as receivers get them."""
        entries = await self.redis.xrange(self.store._scripts.key("events"))
        names = [entry[b"event_id"].decode() for _, entry in entries]
        keys = [self.store._scripts.key(f"event:{name}") for name in names]
        return [json.loads(await self.redis.hget(key, "body")) for key in keys]

    async def owed(self) -> list[Any]:
        ids = await self.store.deliveries.ids(list(DeliveryState), before=None, limit=100)
        return await self.store.deliveries.get_many([name for _, name in ids])


@pytest.fixture
def desk(redis: Redis, store: Store) -> Desk:
    account = Account(
        name="luma", provider="luma", api_key=KEY, base_url="http://x", polls_per_second=1000
    )
    return Desk(redis, store, Provider(), account)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks, back-offs and the 404 grace in milliseconds."""
    monkeypatch.setattr(schedule, "SHORTEST_GAP_S", 0.01)
    monkeypatch.setattr(schedule, "SHARE_OF_AGE", 0.0)
    monkeypatch.setattr(policy, "BACKOFF_BASE_S", 0.01)
    monkeypatch.setattr(policy, "BACKOFF_FLOOR_S", 0.01)
    monkeypatch.setattr(policy, "HOLD_FLOOR_S", 0.02)
    monkeypatch.setattr(policy, "HOLD_CAP_S", 0.02)
    monkeypatch.setattr(policy, "REFUSED_HOLD_S", 0.1)
    monkeypatch.setattr(policy, "MISSING_GRACE_S", 0.1)
    monkeypatch.setattr(policy, "MISSING_GAPS_S", (0.02, 0.02))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look is far away, so a drain looks once and goes."""
    monkeypatch.setattr(schedule, "SHORTEST_GAP_S", 25.0)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def instant(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


# --- what an answer does to its tracker -----------------------------------------------------------


async def test_a_running_generation_is_looked_at_at_once_and_then_again_later(
    desk: Desk, slow: None
) -> None:
    desk.provider.answers = [DREAMING]
    await desk.track()

    assert await desk.drain() is False

    tracker = await desk.tracker()
    assert desk.provider.asked == ["g-1"]
    assert (tracker.state, tracker.provider_state) == (State.TRACKING, "dreaming")
    assert tracker.looked_at is not None
    assert tracker.looked_at - tracker.tracked_at < 1000
    assert tracker.next_poll_at is not None
    assert tracker.next_poll_at - tracker.looked_at >= 20_000
    assert await desk.bodies() == []


async def test_waiting_costs_no_error_budget(desk: Desk, quick: None) -> None:
    desk.provider.answers = [QUEUED, DREAMING, DREAMING, COMPLETED]
    await desk.track()

    await desk.drain()

    tracker = await desk.tracker()
    assert (tracker.polls, tracker.poll_errors, tracker.last_error) == (4, 0, None)
    assert (await desk.health()).reason is None


async def test_a_completed_generation_makes_one_event_that_says_it_all(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [DREAMING, COMPLETED]
    await desk.track(callback_url=HOOK, metadata={"order": 7})

    await desk.drain()

    (body,) = await desk.bodies()
    tracker = await desk.tracker()
    finished_at = body["data"].pop("finished_at")
    assert (tracker.state, tracker.finished_at) == (State.COMPLETED, instant(finished_at[:-1]))
    assert instant(body["data"].pop("tracked_at")[:-1]) == tracker.tracked_at
    assert instant(body["data"].pop("seen_at")[:-1]) == tracker.finished_at
    assert body == {
        "type": "generation.completed",
        "timestamp": finished_at,
        "data": {
            "account": "luma",
            "provider": "luma",
            "generation_id": "g-1",
            "state": "completed",
            "reason": None,
            "provider_state": "completed",
            "assets": {"video": "https://a.example/v.mp4"},
            "failure_reason": None,
            "metadata": {"order": 7},
            "polls": 2,
            "generation": SHOWN,
        },
    }


async def test_an_event_carries_what_a_real_provider_showed_verbatim(desk: Desk) -> None:
    world = World()
    script = Script(id="g-1", queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
    world.create(
        generation_type="video", model="ray-2", request={"prompt": "déjà vu 🌀"}, script=script
    )
    await desk.track()
    async with running(create_app(world, keys=[KEY])) as base_url:
        account = replace(desk.account, base_url=base_url)
        client = ProviderClient(account, load("luma"))
        await desk.poller(client).drain("luma", LANE, desk.stopping)
        await client.aclose()

    (body,) = await desk.bodies()
    shown = body["data"]["generation"]
    assert shown["request"] == {"prompt": "déjà vu 🌀"}
    assert set(shown) == {
        *("id", "generation_type", "state", "failure_reason", "created_at", "assets", "model"),
        "request",
    }
    assert body["data"]["assets"] == shown["assets"] == (await desk.tracker()).assets
    assert (await desk.tracker()).model == "ray-2"


async def test_a_failed_generation_makes_one_event_with_the_providers_reason(desk: Desk) -> None:
    desk.provider.answers = [FAILED]
    await desk.track()

    await desk.drain()

    (body,) = await desk.bodies()
    assert body["type"] == "generation.failed"
    assert body["data"]["failure_reason"] == "Too dreamy"
    assert (await desk.tracker()).state is State.FAILED


async def test_the_deadline_gets_a_last_look_which_may_still_find_the_end(desk: Desk) -> None:
    await desk.track(deadline_s=0.0)

    await desk.drain()

    assert (await desk.tracker()).state is State.COMPLETED


async def test_a_deadline_ends_it_even_if_the_last_look_fails(desk: Desk) -> None:
    desk.provider.answers = [Trouble("502 Bad Gateway")]
    await desk.track(deadline_s=0.0)

    await desk.drain()

    tracker = await desk.tracker()
    assert (tracker.state, tracker.reason) == (State.EXPIRED, Reason.DEADLINE)
    (body,) = await desk.bodies()
    assert (body["type"], body["data"]["reason"]) == ("generation.expired", "deadline")
    assert tracker.last_error == "502 Bad Gateway"


async def test_an_event_at_the_deadline_carries_what_was_seen_last(desk: Desk, quick: None) -> None:
    desk.provider.answers = [DREAMING, Trouble("502 Bad Gateway")]
    await desk.track(deadline_s=0.2)

    await desk.drain()

    (body,) = await desk.bodies()
    assert body["data"]["generation"] == {"n": 1}
    assert body["data"]["provider_state"] == "dreaming"


async def test_trouble_backs_off_and_never_ends_a_tracker(desk: Desk, quick: None) -> None:
    desk.provider.answers = [*[Trouble("502 Bad Gateway")] * 5, COMPLETED]
    await desk.track()

    await desk.drain()

    tracker = await desk.tracker()
    assert tracker.state is State.COMPLETED
    assert (tracker.polls, tracker.poll_errors) == (6, 5)
    assert tracker.last_error == "502 Bad Gateway"


async def test_a_404_is_believed_after_the_third_within_the_grace(desk: Desk, quick: None) -> None:
    desk.provider.answers = [Missing("404 Not Found")]
    await desk.track()

    await desk.drain()

    tracker = await desk.tracker()
    assert (tracker.state, tracker.reason) == (State.EXPIRED, Reason.NOT_FOUND)
    assert tracker.finished_at is not None
    assert tracker.finished_at - tracker.tracked_at >= 100
    assert tracker.polls >= 3
    (body,) = await desk.bodies()
    assert (body["type"], body["data"]["reason"]) == ("generation.expired", "not_found")


async def test_404s_that_stop_are_forgotten(desk: Desk, quick: None) -> None:
    missing = Missing("404 Not Found")
    desk.provider.answers = [missing, missing, DREAMING, missing, missing, COMPLETED]
    await desk.track()

    await desk.drain()

    assert (await desk.tracker()).state is State.COMPLETED


async def test_an_answer_that_comes_after_the_tracker_was_canceled_changes_nothing(
    desk: Desk,
) -> None:
    desk.provider.may_answer.clear()
    await desk.track()
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(1)
    claimed = await desk.store.trackers.claim_one("luma", "g-1", rate=None)
    canceled = replace(claimed.tracker, state=State.CANCELED)  # type: ignore[union-attr]
    await desk.store.trackers.settle(canceled)

    desk.provider.may_answer.set()
    await drain

    assert (await desk.tracker()).state is State.CANCELED
    assert await desk.bodies() == []


# --- events and what is owed for them -------------------------------------------------------------


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


# --- the account ----------------------------------------------------------------------------------


async def test_a_429_holds_the_whole_account_for_as_long_as_it_says(desk: Desk) -> None:
    desk.provider.answers = [Throttled("429 Too Many Requests", 300.0)]
    await desk.track("g-1")
    await desk.drain()
    await desk.track("g-2")

    assert await desk.drain() is False

    health = await desk.health()
    assert desk.provider.asked == ["g-1"]
    assert (health.reason, health.detail) == (HealthReason.THROTTLED, "429 Too Many Requests")
    assert 290_000 < health.held_until - await desk.store.now() <= 300_000
    assert (await desk.tracker()).state is State.TRACKING


async def test_many_429s_at_once_count_as_one(desk: Desk) -> None:
    desk.provider.may_answer.clear()
    desk.provider.answers = [Throttled("429 Too Many Requests")]
    await desk.track(*[f"g-{n}" for n in range(10)])
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(10)

    desk.provider.may_answer.set()
    await drain

    assert (await desk.health()).streak == 1


async def test_after_a_hold_one_probe_goes_first(desk: Desk, quick: None) -> None:
    desk.provider.answers = [Throttled("429 Too Many Requests", 0.3)]
    await desk.track("g-1")
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(1)
    desk.provider.answers = [COMPLETED]
    desk.provider.may_answer.clear()
    await desk.track("g-2", "g-3", "g-4")
    await desk.provider.was_asked(2)
    await asyncio.wait({drain}, timeout=0.1)

    assert len(desk.provider.asked) == 2
    desk.provider.may_answer.set()
    await drain
    assert len(desk.provider.asked) == 5
    assert (await desk.health()).reason is None


async def test_rejected_credentials_show_and_recover_once_the_key_works(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [Refused("401 Unauthorized: Invalid API key")] * 3 + [COMPLETED]
    await desk.track()
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(2)
    held = await desk.health()

    await drain

    assert held.reason is HealthReason.CREDENTIALS
    assert held.detail == "401 Unauthorized: Invalid API key"
    tracker = await desk.tracker()
    assert (tracker.state, tracker.polls, tracker.poll_errors) == (State.COMPLETED, 4, 3)
    assert (await desk.health()).reason is None


async def test_the_third_look_in_trouble_in_a_row_holds_the_account(
    desk: Desk, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "HOLD_FLOOR_S", 100.0)
    trouble = Trouble("502 Bad Gateway")
    desk.provider.answers = [trouble, trouble, DREAMING, trouble, trouble, trouble, COMPLETED]
    await desk.track()

    await desk.drain()

    health = await desk.health()
    assert len(desk.provider.asked) == 6
    assert (health.reason, health.streak) == (HealthReason.UNREACHABLE, 3)
    assert 90_000 < health.held_until - await desk.store.now() <= 100_000


async def test_a_tracker_ends_at_its_deadline_though_the_account_is_held(desk: Desk) -> None:
    desk.provider.answers = [DREAMING, Refused("401 Unauthorized")]
    await desk.track(deadline_s=0.4, callback_url=HOOK)
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(1)
    await desk.store.trackers.hurry("luma", "g-1")
    await drain

    tracker = await desk.tracker()
    (body,) = await desk.bodies()
    assert len(desk.provider.asked) == 2
    assert (tracker.state, tracker.reason) == (State.EXPIRED, Reason.DEADLINE)
    assert (tracker.last_error, tracker.polls) == ("401 Unauthorized", 2)
    assert body["data"]["generation"] == {"n": 1}
    assert len(await desk.owed()) == 1
    assert (await desk.health()).reason is HealthReason.CREDENTIALS


async def test_what_ends_unseen_says_why_its_account_was_held(desk: Desk) -> None:
    desk.provider.answers = [Refused("401 Unauthorized")]
    await desk.track("g-1")
    await desk.drain()
    await desk.track("g-2", deadline_s=0.05)
    async with asyncio.timeout(5):
        while (await desk.tracker("g-2")).state is State.TRACKING:
            await desk.drain()

    assert desk.provider.asked == ["g-1"]
    assert (await desk.tracker("g-2")).last_error == "401 Unauthorized"


async def test_an_account_that_is_no_longer_configured_keeps_its_trackers(desk: Desk) -> None:
    await desk.store.trackers.track("other", "luma", [("g-1", Terms(deadline_s=60))])

    assert await desk.poller().drain("other", "poll:other", desk.stopping) is False

    kept = await desk.store.trackers.get("other", "g-1")
    assert kept is not None
    assert (kept.state, kept.fence) == (State.TRACKING, 1)
    assert desk.provider.asked == []


async def test_no_claimed_look_waits_for_a_connection_while_its_lease_runs(desk: Desk) -> None:
    desk.provider.may_answer.clear()
    await desk.track(*[f"g-{n}" for n in range(3 * MAX_CONNECTIONS)])
    drain = asyncio.create_task(desk.drain())
    await desk.provider.was_asked(MAX_CONNECTIONS)

    desk.provider.may_answer.set()
    await drain

    assert desk.provider.most_at_once == MAX_CONNECTIONS
    assert len(desk.provider.asked) == 3 * MAX_CONNECTIONS


async def test_an_account_is_asked_no_faster_than_its_budget(desk: Desk) -> None:
    desk.account = replace(desk.account, polls_per_second=10.0)
    await desk.track(*[f"g-{n}" for n in range(14)])
    started = asyncio.get_running_loop().time()

    await desk.drain()

    took = asyncio.get_running_loop().time() - started
    assert len(desk.provider.asked) == 14
    assert took >= 0.35  # ten at once, then one every tenth of a second


# --- a look out of turn ---------------------------------------------------------------------------


async def test_a_look_at_a_finished_tracker_brings_fresh_assets_and_nothing_else(
    desk: Desk,
) -> None:
    await desk.track(callback_url=HOOK)
    await desk.drain()
    before, keys = await desk.tracker(), len(await desk.redis.keys())
    fresh = {**SHOWN, "assets": {"video": "https://a.example/v.mp4?signed=2"}}
    desk.provider.answers = [replace(COMPLETED, assets=fresh["assets"], generation=fresh)]

    await desk.poller().look_now("luma", "g-1")

    after = await desk.tracker()
    assert after.assets == {"video": "https://a.example/v.mp4?signed=2"}
    assert after.generation == fresh
    assert (after.state, after.finished_at) == (before.state, before.finished_at)
    assert after.next_poll_at is None
    assert len(await desk.bodies()) == 1
    assert (len(await desk.owed()), len(await desk.redis.keys())) == (1, keys)
    assert await desk.redis.zcard(desk.store._scripts.key(f"due:{LANE}")) == 0


@pytest.mark.parametrize("answer", [DREAMING, FAILED, Missing("404 Not Found"), Trouble("502")])
async def test_no_later_answer_changes_how_a_tracker_ended(desk: Desk, answer: Answer) -> None:
    await desk.track()
    await desk.drain()
    before = await desk.tracker()
    desk.provider.answers = [answer]

    await desk.poller().look_now("luma", "g-1")

    after = await desk.tracker()
    assert (after.state, after.reason) == (State.COMPLETED, None)
    assert after.finished_at == before.finished_at
    assert len(await desk.bodies()) == 1


async def test_what_a_late_look_shows_is_kept_no_longer_than_its_tracker(
    desk: Desk, quick: None
) -> None:
    desk.provider.answers = [Missing("404 Not Found")]
    await desk.track()
    await desk.drain()
    desk.provider.answers = [COMPLETED]

    await desk.poller().look_now("luma", "g-1")

    tracker = await desk.tracker()
    assert (tracker.state, tracker.generation) == (State.EXPIRED, SHOWN)
    keys = await desk.redis.keys("*:luma:g-1")
    assert keys
    assert [key for key in keys if await desk.redis.pttl(key) < 0] == []


async def test_a_look_out_of_turn_may_find_the_end(desk: Desk, slow: None) -> None:
    desk.provider.answers = [DREAMING, COMPLETED]
    await desk.track(callback_url=HOOK)
    await desk.drain()

    await desk.poller().look_now("luma", "g-1")

    assert (await desk.tracker()).state is State.COMPLETED
    assert desk.started == ["post:https://hooks.example.com:443"]


async def test_a_look_out_of_turn_needs_a_tracker(desk: Desk) -> None:
    with pytest.raises(NotFoundError, match="g-9 is not tracked"):
        await desk.poller().look_now("luma", "g-9")


async def test_a_look_out_of_turn_respects_a_hold_and_says_how_long_it_lasts(desk: Desk) -> None:
    desk.provider.answers = [Throttled("429 Too Many Requests", 300.0)]
    await desk.track()
    await desk.drain()

    with pytest.raises(UnavailableError) as caught:
        await desk.poller().look_now("luma", "g-1")

    assert 290 < caught.value.retry_after <= 300
    assert desk.provider.asked == ["g-1"]


async def test_a_look_out_of_turn_respects_the_budget(desk: Desk, slow: None) -> None:
    desk.account = replace(desk.account, polls_per_second=0.5)
    desk.provider.answers = [DREAMING]
    await desk.track()
    await desk.drain()

    with pytest.raises(UnavailableError) as caught:
        await desk.poller().look_now("luma", "g-1")

    assert 1.5 < caught.value.retry_after <= 2


# --- what is logged -------------------------------------------------------------------------------


async def test_every_look_is_one_line_without_secrets_or_addresses(
    desk: Desk, quick: None, lines: list[Any]
) -> None:
    desk.provider.answers = [DREAMING, Throttled("429 Too Many Requests", 0.05), COMPLETED]
    await desk.track(callback_url=HOOK, headers={"authorization": "hunter2"})

    await desk.drain()

    looks = [line for line in lines if line["event"] == "look"]
    assert [line["answer"] for line in looks] == ["seen", "throttled", "seen"]
    assert [line["event"] for line in lines if line["event"] != "look"] == ["held", "freed"]
    assert "hunter2" not in repr(lines)
    assert "hooks.example.com" not in repr(lines)
