"""What comes of a create call that was not answered, or whose maker died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.submitting.conftest import FOX, PUBLIC_URL
from worker import reconciling, submissions, submitting
from worker.jobs import JOB_TIMEOUT_S
from worker.model import JsonObject, State, SubmissionState
from worker.requests import TrackRequest

if TYPE_CHECKING:
    from tests.submitting.conftest import Site, Town

pytestmark = pytest.mark.usefixtures("quick")

ANSWER_IS_LOST = ["create:lost:times=1", "create:slow:seconds=4:times=1"]


async def settled(site: Site, submission: JsonObject | str) -> JsonObject:
    """Reconcile until nothing is pending, as the cron does."""
    name = submission if isinstance(submission, str) else submission["submission"]
    async with asyncio.timeout(10):
        while True:
            shape: JsonObject = (await site.api.get(f"/v1/generations/{name}")).json()
            if shape["state"] != "pending":
                return shape
            await site.reconciling.round()
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("fault", ANSWER_IS_LOST)
@pytest.mark.parametrize("public_url", [None, PUBLIC_URL])
async def test_what_was_made_without_an_answer_is_found_and_tracked_with_its_settings(
    town: Town, fault: str, public_url: str | None
) -> None:
    town.fault(fault)
    site = town.site(public_url=public_url)

    answer = await site.submit(metadata={"order": 7}, key="k-1")

    assert answer.status_code == 504
    problem = answer.json()
    assert problem["instance"] == f"/v1/generations/{problem['submission']}"
    (made,) = town.made()
    found = await settled(site, problem)
    assert (found["state"], found["generation_id"]) == ("created", made)
    assert found["tracker"]["metadata"] == {"order": 7}
    assert site.started == ["poll:luma"]
    again = await site.submit(metadata={"order": 7}, key="k-1")
    assert (again.status_code, again.json()["generation_id"]) == (200, made)
    assert town.made() == [made]


@pytest.mark.parametrize("fault", ["create:502", "create:500", "create:reset", "create:hang"])
async def test_what_nobody_can_find_is_unknown_and_says_what_to_do(town: Town, fault: str) -> None:
    town.fault(f"{fault}:times=1")
    site = town.site()

    answer = await site.submit(key="k-1")

    assert answer.status_code == 504
    outcome = await settled(site, answer.json())
    assert (outcome["state"], outcome["searches"]) == ("unknown", 3)
    assert "does not show it. Look for it at the provider" in outcome["detail"]
    again = await site.submit(key="k-1")
    assert (again.status_code, again.json()["detail"]) == (504, outcome["detail"])
    assert town.made() == []


@pytest.mark.parametrize("answer", ["create:garbage", "create:truncated"])
async def test_an_answer_that_cannot_be_read_is_none(town: Town, answer: str) -> None:
    town.fault(answer)
    assert (await town.site().submit()).status_code == 504


async def test_a_provider_without_a_list_leaves_it_unknown_at_once(town: Town) -> None:
    site = town.site(provider="replicate", base_url="http://127.0.0.1:9/v1")
    site.client._creator._exchange.receive = _lost  # type: ignore[method-assign]

    answer = await site.submit({"input": {"prompt": "a fox"}})

    assert answer.status_code == 504
    outcome = await settled(site, answer.json())
    assert (outcome["state"], outcome["searches"]) == ("unknown", 0)
    assert "no list" in outcome["detail"]


async def _lost(*_args: object, **_kwargs: object) -> None:
    raise ConnectionResetError


async def test_two_alike_without_a_token_are_not_guessed_at(town: Town) -> None:
    town.fault("create:lost:times=2")
    site = town.site()
    problems = [(await site.submit(metadata={"n": n})).json() for n in range(2)]

    outcomes = [await settled(site, each) for each in problems]

    assert [each["state"] for each in outcomes] == ["unknown", "unknown"]
    assert "may be it or another's" in outcomes[0]["detail"]
    assert len(town.made()) == 2


async def test_two_alike_with_tokens_are_each_found(town: Town) -> None:
    town.fault("create:lost:times=2")
    site = town.site(public_url=PUBLIC_URL)
    problems = [(await site.submit(metadata={"n": n})).json() for n in range(2)]

    outcomes = [await settled(site, each) for each in problems]

    assert [each["state"] for each in outcomes] == ["created", "created"]
    assert {each["generation_id"] for each in outcomes} == set(town.made())
    assert [each["tracker"]["metadata"] for each in outcomes] == [{"n": 0}, {"n": 1}]
    for each in outcomes:  # each has the token of its own
        generation = town.world.find(each["generation_id"])
        assert generation
        token = generation.request["callback_url"].rpartition("/")[2]
        kept = await site.store.submissions.get(each["id"])
        assert kept
        assert kept.token == submissions.digest(token)


async def test_one_that_was_lost_and_one_that_was_not_are_not_mistaken(town: Town) -> None:
    site = town.site()
    await site.submit()
    town.fault("create:lost:times=1")

    outcome = await settled(site, (await site.submit()).json())

    assert outcome["state"] == "created"
    assert {outcome["generation_id"], site_first(town)} == set(town.made())


def site_first(town: Town) -> str:
    return town.made()[-1]


async def test_another_one_that_is_under_way_is_waited_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row may be either's until its own answer is there."""
    monkeypatch.setattr(submissions, "CALL_S", 5.0)
    monkeypatch.setattr(submissions, "LEASE_S", 6.0)
    monkeypatch.setattr(submissions, "LOOK_AFTER_S", (0.01,) * 500)
    town.fault("create:lost:times=1")
    site = town.site()
    lost = (await site.submit(metadata={"n": 0})).json()
    town.fault("create:slow:seconds=0.3:times=1")
    slow = asyncio.create_task(site.submit(metadata={"n": 1}))

    outcome = await settled(site, lost)

    other = (await slow).json()
    assert outcome["state"] == "created"
    assert outcome["generation_id"] != other["generation_id"]
    assert {outcome["generation_id"], other["generation_id"]} == set(town.made())


async def test_a_list_that_takes_its_time_does_not_shift_the_rows(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are dated by when it was answered, not by when it was asked for."""
    monkeypatch.setattr("worker.providers.creating.SKEW_S", 1.5)
    town.fault("create:lost:times=1")
    town.fault("list:slow:seconds=2.5")
    site = town.site()

    outcome = await settled(site, (await site.submit()).json())

    assert outcome["state"] == "created"


async def test_a_list_that_cannot_be_read_is_asked_again(town: Town) -> None:
    town.fault("create:lost:times=1")
    town.fault("list:500:times=2")
    site = town.site()

    outcome = await settled(site, (await site.submit()).json())

    assert (outcome["state"], outcome["searches"]) == ("created", 0)


async def test_a_list_that_can_never_be_read_leaves_it_unknown(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "GIVE_UP_S", 0.1)
    town.fault("create:lost:times=1")
    town.fault("list:403")
    site = town.site()

    outcome = await settled(site, (await site.submit()).json())

    assert outcome["state"] == "unknown"
    assert "cannot be read (403" in outcome["detail"]


async def test_a_budget_that_is_used_up_is_waited_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks may take all of it for as long as it would be searched for."""
    monkeypatch.setattr(submissions, "AWAY_S", 600.0)
    town.fault("create:lost:times=1")
    site = town.site(polls_per_second=2.0)
    problem = (await site.submit()).json()
    while not isinstance(await site.store.trackers.claim_request("luma", rate=2.0), float):
        pass

    outcome = await settled(site, problem)

    assert (outcome["state"], [outcome["generation_id"]]) == ("created", town.made())


async def test_a_list_that_takes_too_long_ends_the_search_before_its_job_does(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else it would begin anew each time, and never be given up."""
    assert reconciling.TURN_S < reconciling.READ_S < min(reconciling.CLAIM_S, JOB_TIMEOUT_S) - 5
    monkeypatch.setattr(reconciling, "READ_S", 0.05)
    monkeypatch.setattr(submissions, "GIVE_UP_S", 0.2)
    town.fault("create:lost:times=1")
    town.fault("list:slow:seconds=1")
    site = town.site()

    outcome = await settled(site, (await site.submit()).json())

    assert outcome["state"] == "unknown"
    assert "could not be read within 0.05 s" in outcome["detail"]


async def test_a_held_account_is_not_searched_and_its_429_is_heard(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "AWAY_S", 600.0)
    town.fault("create:lost:times=1")
    town.fault("list:429:retry_after=60")
    site = town.site()
    problem = (await site.submit()).json()

    async def is_held() -> bool:
        await site.reconciling.round()
        return bool((await site.store.lanes.health(["poll:luma"]))[0].held_until)

    await town.eventually(is_held)

    shape = (await site.api.get(problem["instance"])).json()
    assert shape["state"] == "pending"
    assert "429" in shape["detail"]


async def test_a_maker_that_wakes_up_after_all_tells_what_was_made(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still for so long that everybody had given up."""
    monkeypatch.setattr(submissions, "LEASE_S", 0.0)
    monkeypatch.setattr(submissions, "CALL_S", 5.0)
    town.fault("create:slow:seconds=0.5")
    town.fault("list:omission:share=1")
    site = town.site()
    slow = asyncio.create_task(site.submit())

    async def is_given_up() -> bool:
        await site.reconciling.round()
        items = (await site.api.get("/v1/generations")).json()["items"]
        return [each["state"] for each in items] == ["unknown"]

    await town.eventually(is_given_up)

    answer = await slow
    assert answer.status_code == 202
    (shape,) = (await site.api.get("/v1/generations")).json()["items"]
    assert (shape["state"], [shape["generation_id"]]) == ("created", town.made())


async def test_the_same_that_somebody_else_tracks_is_not_it(town: Town) -> None:
    site = town.site()
    stranger = town.world.create(generation_type="video", model="ray-2", request=dict(FOX))
    await site.service.track("luma", stranger.id, TrackRequest())
    town.fault("create:500:times=1")

    outcome = await settled(site, (await site.submit()).json())

    assert outcome["state"] == "unknown"


async def test_an_account_that_is_no_longer_configured_leaves_it_unknown(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "GIVE_UP_S", 0.1)
    town.fault("create:lost:times=1")
    site, other = town.site(), town.site()
    problem = (await site.submit()).json()
    other.reconciling._clients = {}

    async def is_over() -> bool:
        await other.reconciling.round()
        found = await site.store.submissions.get(problem["submission"])
        return found is not None and found.state is SubmissionState.UNKNOWN

    await town.eventually(is_over)


async def test_who_stood_still_for_too_long_asks_nobody(town: Town) -> None:
    """By then it may be known as unknown, and made anew."""
    site = town.site()
    begin = site.store.submissions.begin

    async def late(*args: Any, **more: Any) -> Any:
        begun = await begin(*args, **more)
        await asyncio.sleep(submissions.CALL_S)
        return begun

    site.store.submissions.begin = late  # type: ignore[method-assign]

    answer = await site.submit()

    assert (answer.status_code, town.made()) == (503, [])
    (shape,) = (await site.api.get("/v1/generations")).json()["items"]
    assert shape["state"] == "refused"


async def test_who_is_stopped_meanwhile_is_not_told_to_ask_again(town: Town) -> None:
    town.fault("create:slow:seconds=5")
    site = town.site()
    call = asyncio.create_task(site.submit())

    async def is_made() -> bool:
        return len(town.made()) == 1

    await town.eventually(is_made)
    call.cancel()

    answer = await call
    assert (answer.status_code, "stopped" in answer.json()["detail"]) == (504, True)
    found = await settled(site, answer.json())
    assert [found["generation_id"]] == town.made()


async def test_a_process_that_ends_waits_for_the_answers_of_calls_under_way(town: Town) -> None:
    """They alone tell the IDs, where the provider has no list."""
    town.fault("create:slow:seconds=0.5")
    site = town.site()
    call = asyncio.create_task(site.submit())

    async def is_made() -> bool:
        return len(town.made()) == 1

    await town.eventually(is_made)
    call.cancel()

    await site.submitting.aclose()

    found = await site.outcome(await call)
    assert (found["state"], [found["generation_id"]]) == ("created", town.made())


async def test_a_process_that_ends_does_not_wait_for_ever(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "GRACE_S", 0.05)
    monkeypatch.setattr(submissions, "CALL_S", 60.0)
    town.fault("create:hang")
    site = town.site()
    call = asyncio.create_task(site.submit())

    async def is_under_way() -> bool:
        return bool(site.submitting._making)

    await town.eventually(is_under_way)

    await site.submitting.aclose()

    answer = await call
    assert answer.status_code == 504
    kept = await site.store.submissions.get(answer.json()["submission"])
    assert kept
    assert (kept.state, kept.in_doubt) == (SubmissionState.PENDING, True)


async def test_what_was_made_while_redis_was_away_is_written_down_when_it_is_back(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "PAUSES_S", (0.01,) * 5)
    site = town.site()
    created, failures = site.store.submissions.created, [ConnectionError()] * 3

    async def flaky(*args: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return await created(*args, **more)

    site.store.submissions.created = flaky  # type: ignore[method-assign]

    answer = await site.submit()

    assert (answer.status_code, [answer.json()["generation_id"]]) == (202, town.made())


async def test_what_was_made_and_could_not_be_written_down_is_looked_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "PAUSES_S", (0.01,))
    site, other = town.site(), town.site()

    async def away(*_args: Any, **_more: Any) -> Any:
        raise ConnectionError

    site.store.submissions.created = away  # type: ignore[method-assign]

    answer = await site.submit()

    assert answer.status_code == 504
    found = await settled(other, answer.json())
    assert [found["generation_id"]] == town.made()


async def test_its_webhook_comes_as_for_any_other(town: Town) -> None:
    town.fault("create:lost:times=1")
    site = town.site()
    problem = (await site.submit(callback_url="https://hooks.example.com/x")).json()
    found = await settled(site, problem)
    town.finish(found["generation_id"])

    await site.poller.look_now("luma", found["generation_id"])

    tracker = await site.service.get("luma", found["generation_id"])
    assert tracker.state is State.COMPLETED
    deliveries = (await site.api.get("/v1/deliveries")).json()["items"]
    assert [each["generation_id"] for each in deliveries] == town.made()


async def test_submissions_are_listed_newest_first(town: Town) -> None:
    site = town.site()
    await site.submit()
    town.fault("create:422:times=1")
    await site.submit()

    async def states(query: str) -> list[str]:
        page = (await site.api.get(f"/v1/generations{query}")).json()
        return [each["state"] for each in page["items"]]

    assert await states("") == ["refused", "created"]
    assert await states("?state=created") == ["created"]
    assert await states("?account=other") == []
    assert await states("?limit=1") == ["refused"]


async def test_nothing_of_a_submission_stays_for_ever(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    await site.submit(key="k-1")
    town.fault("create:422:times=1")
    await site.submit(key="k-2")
    town.fault("create:500:times=1")
    await settled(site, (await site.submit(key="k-3")).json())

    redis = town.redis
    names = ("submission:*", "idempotency:*", "hint:*", "open:*")
    keys = [key for name in names for key in await redis.keys(f"test:{name}")]
    assert len(keys) >= 3 + 2 + 2
    assert all([await redis.pttl(key) > 0 for key in keys])
    assert not await redis.exists("test:unsettled")
    now = await site.store.now()
    await site.store.lanes.sweep(now=now + 700_000)
    assert not await redis.exists("test:submissions")
