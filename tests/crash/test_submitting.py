"""Submit and track, killed at every point: made once at most, and tracked, or told as unknown."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.crash.mortal import Fate, KilledError, MortalRedis
from worker import reconciling, submissions
from worker.embedded import EmbeddedRedis
from worker.errors import DreamhookError, InvalidInputError, UnderWayError
from worker.model import (
    Account,
    Created,
    Creation,
    DeliveryState,
    InDoubt,
    JsonObject,
    State,
    SubmissionState,
)
from worker.poller import Poller
from worker.reconciling import Reconciling
from worker.requests import SubmitRequest
from worker.service import Service
from worker.simulator.faults import parse_fault
from worker.store import Store
from worker.submissions import Row
from worker.submitting import Submitting

if TYPE_CHECKING:
    from tests.crash.conftest import Scene

# --- processes that are killed --------------------------------------------------------------------

# Whether the generation was made by then, and which fault makes the point be reached at all.
SUBMITTER_DIES = {
    "intent recorded": (False, None),
    "provider has created": (True, None),
    "created and tracked": (True, None),
    "drain queued": (True, None),
    "doubt recorded": (True, "create:lost"),
}
RECONCILER_DIES = ["submissions claimed", "list read", "created and tracked"]


@pytest.mark.parametrize("point", SUBMITTER_DIES)
async def test_a_process_killed_while_it_submits_loses_nothing_and_makes_nothing_twice(
    scene: Scene, point: str
) -> None:
    is_made, fault = SUBMITTER_DIES[point]
    if fault:
        scene.faults.add(parse_fault(fault))
    victim = await scene.process(SUBMIT="a fox", DIE_AFTER=point)
    heir = await scene.process()
    await victim.go()
    assert await victim.ended() == -signal.SIGKILL

    await heir.go()

    await assert_all_is_well(scene, is_made=is_made)


async def test_a_process_killed_while_its_call_is_under_way_loses_nothing(scene: Scene) -> None:
    scene.faults.add(parse_fault("create:slow:seconds=10"))
    victim, heir = await scene.process(SUBMIT="a fox"), await scene.process()
    await victim.go()
    async with asyncio.timeout(10):
        while not len(scene.world):  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.01)
    await victim.kill()

    await heir.go()

    await assert_all_is_well(scene, is_made=True)


@pytest.mark.parametrize("point", RECONCILER_DIES)
async def test_a_process_killed_while_it_searches_loses_nothing(scene: Scene, point: str) -> None:
    scene.faults.add(parse_fault("create:lost"))
    submitter = await scene.process(SUBMIT="a fox", DIE_AFTER="doubt recorded")
    victim, heir = await scene.process(DIE_AFTER=point), await scene.process()
    await submitter.go()
    assert await submitter.ended() == -signal.SIGKILL
    await victim.go()
    assert await victim.ended() == -signal.SIGKILL

    await heir.go()

    await assert_all_is_well(scene, is_made=True)


async def assert_all_is_well(scene: Scene, *, is_made: bool) -> None:
    """It was made once and tracked to its end; or never made, and told as unknown."""
    made = [each.id for each in scene.world.all()]
    assert len(made) == is_made
    async with asyncio.timeout(15):
        while (found := await only(scene.store)).state is SubmissionState.PENDING:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    if not is_made:
        assert found.state is SubmissionState.UNKNOWN
        return
    assert (found.state, found.generation_id) == (SubmissionState.CREATED, made[0])
    await scene.eventually_over()
    assert (await scene.tracker(made[0])).state is State.COMPLETED
    (event,), (delivery,) = await scene.events(), await scene.deliveries()
    assert (delivery.state, delivery.event_id) == (DeliveryState.DELIVERED, event)
    assert scene.webhook_ids() == [event]
    assert await scene.stranded() == []
    assert len(scene.world) == 1


async def only(store: Store) -> Any:
    ((_, name),) = await store.submissions.ids(before=None, limit=10)
    return await store.submissions.get(name)


# --- every command --------------------------------------------------------------------------------

KEY = "k-1"
ASKED = SubmitRequest(account="luma", request={"prompt": "a fox"}, metadata={"order": 7})


@dataclass
class Luma:
    """The provider, who lives through it all; the first answer of `create` may be lost."""

    loses: int = 0
    made: dict[str, JsonObject] = field(default_factory=dict)
    page: int = 100
    callback: str = "callback_url"
    shows_requests: bool = True

    def check(self, _request: JsonObject) -> None:
        """Take any request."""

    async def create_generation(self, request: JsonObject, *, timeout_s: float) -> Creation:
        assert timeout_s
        name = f"g-{len(self.made) + 1}"
        self.made[name] = request
        if self.loses:
            self.loses -= 1
            return InDoubt("the connection broke")
        return Created(name)

    async def listed(self, *, limit: int, offset: int, clock: Callable[[], int]) -> list[Row]:
        assert limit
        now = clock()
        rows = self.made.items() if not offset else ()
        return [Row(generation_id=n, created_at=now, skew_s=60, asked=r) for n, r in rows]


@dataclass
class Process:
    """An API and what a worker does besides, in one."""

    redis: MortalRedis
    luma: Luma
    public_url: str | None

    def __post_init__(self) -> None:
        self.store = Store(self.redis, prefix="test", retention_s=600)
        accounts = {
            "luma": Account(
                name="luma", provider="luma", api_key="", base_url="", polls_per_second=1000
            )
        }
        clients = {"luma": cast("Any", self.luma)}

        async def start(lane: str) -> None:
            """Let the lane be staged."""

        service = Service(
            self.store,
            accounts=accounts,
            deadlines={"luma": 60.0},
            poller=Poller(self.store, accounts, clients, start),
            start=start,
            allow_private=(),
        )
        self.submitting = Submitting(
            *(self.store, service),
            accounts=accounts,
            clients=clients,
            start=start,
            public_url=self.public_url,
        )
        self.reconciling = Reconciling(self.store, accounts=accounts, clients=clients, start=start)

    async def live(self) -> bool:
        """Submit until that is answered, and reconcile until nothing is open; False: it died."""
        try:
            async with asyncio.timeout(10):
                while not await self.is_answered() or await self.store._redis.zcard(
                    "test:unsettled"
                ):
                    await self.reconciling.round()
        except KilledError:
            return False
        return True

    async def is_answered(self) -> bool:
        try:
            await self.submitting.submit(ASKED, idempotency_key=KEY)
        except UnderWayError:
            return False
        except InvalidInputError:
            raise
        except DreamhookError:
            return True
        return True


@pytest.fixture
async def redis(embedded: EmbeddedRedis) -> AsyncIterator[MortalRedis]:
    redis = MortalRedis.from_url(embedded.url)
    redis.fate = Fate()
    await redis.flushall()
    yield redis
    await redis.aclose()


@pytest.mark.parametrize("public_url", [None, "https://dreamhook.example.com"])
@pytest.mark.parametrize("loses", [0, 1], ids=["answered", "unanswered"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_wherever_a_process_dies_it_is_made_once_at_most_and_tracked_or_unknown(
    redis: MortalRedis,
    monkeypatch: pytest.MonkeyPatch,
    public_url: str | None,
    loses: int,
    *,
    after: bool,
) -> None:
    monkeypatch.setattr(submissions, "LOOK_AFTER_S", (0.001, 0.001))
    monkeypatch.setattr(submissions, "LEASE_S", 0.01)
    monkeypatch.setattr(reconciling, "CLAIM_S", 0.01)
    nth, survived = 0, False
    while not survived:
        nth += 1
        redis.fate = Fate()
        await redis.flushall()
        luma = Luma(loses)
        redis.fate = Fate(nth, after=after)
        survived = await Process(redis, luma, public_url).live()

        redis.fate = Fate()
        assert await Process(redis, luma, public_url).live()

        story = f"died {'after' if after else 'before'} {nth}"
        await assert_nothing_is_lost(Store(redis, prefix="test", retention_s=600), luma, story)
    assert nth > (4 if loses else 1)


async def assert_nothing_is_lost(store: Store, luma: Luma, story: str) -> None:
    assert len(luma.made) <= 1, story
    found = await only(store)
    tracked = await store.trackers.get_many([("luma", name) for name in luma.made])
    if luma.made:
        assert (found.state, found.generation_id) == (SubmissionState.CREATED, "g-1"), story
        assert [each.terms.metadata for each in tracked] == [{"order": 7}], story
    else:
        assert found.state is SubmissionState.UNKNOWN, story
