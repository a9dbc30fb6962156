"""Submissions in Redis: begun once, created once, and never at another's expense."""

from __future__ import annotations

from worker.model import State, Submission, SubmissionState, Terms
from worker.store import Store

T = 1_700_000_000_000
TERMS = Terms(deadline_s=60, metadata={"order": 7})
FOX = Submission(
    id="sub_1",
    account="luma",
    provider="luma",
    state=SubmissionState.PENDING,
    terms=TERMS,
    begun_at=T,
    request={"prompt": "a fox"},
)


async def begin(store: Store, submission: Submission = FOX, key: str | None = None) -> str:
    begun = await store.submissions.begin(
        submission, fingerprint="f", idempotency=key, lease_s=10, now=T
    )
    return begun.outcome


async def claimed(store: Store, now: int) -> list[str]:
    found = await store.submissions.claim(limit=10, lease_s=5, window_s=60, most_rivals=10, now=now)
    return [each.submission.id for each in found]


async def test_it_is_read_as_it_was_begun(store: Store) -> None:
    assert await begin(store) == "new"
    found = await store.submissions.get("sub_1")
    assert found
    assert found.but(seq=0) == FOX


async def test_a_key_has_one_submission_though_the_same_command_comes_twice(store: Store) -> None:
    assert [await begin(store, key="k") for _ in range(2)] == ["new", "new"]
    assert await begin(store, FOX.but(id="sub_2"), key="k") == "same"
    assert await store.submissions.get("sub_2") is None


async def test_it_is_claimed_when_its_lease_is_over_and_by_one_at_a_time(store: Store) -> None:
    await begin(store)
    assert await claimed(store, T + 9_999) == []
    assert await claimed(store, T + 10_000) == ["sub_1"]
    assert await claimed(store, T + 14_999) == []
    assert await claimed(store, T + 15_000) == ["sub_1"]


async def test_a_find_that_is_not_certain_takes_nothing_from_anybody(store: Store) -> None:
    await begin(store)
    await store.trackers.track("luma", "luma", [("g-1", Terms(deadline_s=5))], now=T)

    created = await store.submissions.created(FOX, "g-1", is_certain=False, now=T)

    assert created[2] == "taken"
    tracker = await store.trackers.get("luma", "g-1")
    assert tracker
    assert tracker.terms.deadline_s == 5
    found = await store.submissions.get("sub_1")
    assert found
    assert found.state is SubmissionState.PENDING


async def test_what_is_over_is_not_found_again_by_its_looks(store: Store) -> None:
    await begin(store)
    await store.submissions.created(FOX, "g-1", now=T)

    created = await store.submissions.created(FOX, "g-2", is_certain=False, now=T)

    assert created[2] == "taken"
    assert await store.trackers.get("luma", "g-2") is None


async def test_what_was_created_is_tracked_and_stays_created(store: Store) -> None:
    await begin(store)
    at, must_start, outcome = await store.submissions.created(FOX, "g-1", now=T)
    again = await store.submissions.created(FOX, "g-1", now=T)
    gave_up = await store.submissions.settle(FOX.but(state=SubmissionState.UNKNOWN), now=T)

    assert (at, must_start, outcome, again[2], gave_up) == (T, True, "new", "same", False)
    tracker = await store.trackers.get("luma", "g-1")
    assert tracker
    assert (tracker.state, tracker.terms) == (State.TRACKING, TERMS)
    assert await claimed(store, T + 100_000) == []


async def test_what_was_given_up_can_still_turn_out(store: Store) -> None:
    await begin(store)
    await store.submissions.settle(FOX.but(state=SubmissionState.UNKNOWN, detail="?"), now=T)

    assert (await store.submissions.created(FOX, "g-1", now=T))[2] == "new"

    found = await store.submissions.get("sub_1")
    assert found
    assert (found.state, found.generation_id) == (SubmissionState.CREATED, "g-1")


async def test_that_it_was_created_may_be_written_down_twice_and_undoes_nothing(
    store: Store,
) -> None:
    await begin(store)
    await store.submissions.created(FOX, "g-1", now=T)
    claimed = await store.trackers.claim_one("luma", "g-1", rate=None, now=T)
    assert claimed
    assert not isinstance(claimed, float)
    canceled = claimed.tracker.but(state=State.CANCELED, finished_at=T, next_poll_at=None)
    assert (await store.trackers.settle(canceled, now=T))[0]

    again = await store.submissions.created(FOX, "g-1", now=T)

    assert again == (T, False, "same")
    tracker = await store.trackers.get("luma", "g-1")
    assert tracker
    assert tracker.state is State.CANCELED


async def test_who_made_the_call_knows_better_than_who_searched(store: Store) -> None:
    await begin(store)
    await store.submissions.created(FOX, "g-1", is_certain=False, now=T)

    assert (await store.submissions.created(FOX, "g-2", now=T))[2] == "new"

    found = await store.submissions.get("sub_1")
    assert found
    assert found.generation_id == "g-2"


async def test_that_there_are_too_many_rivals_shows_though_not_all_are_named(store: Store) -> None:
    for n in range(1, 6):
        await begin(store, FOX.but(id=f"sub_{n}"))

    for most in (1, 2, 3, 4):
        found = await store.submissions.claim(
            limit=10, lease_s=1, window_s=60, most_rivals=most, now=T + most * 10_000
        )
        assert [len(each.rivals) > most for each in found] == 5 * [most < 4]
