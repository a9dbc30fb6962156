"""Records of a version that knows more than this one: both work while a deployment is updated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic_core import from_json, to_json

from tests.store.receiving import RETENTION_MS, T, owed
from worker.model import Attempt, Endpoint, Repeats, Secret, State, Terms, Tracker
from worker.store import packing, records

TERMS = Terms(deadline_s=60.0, metadata={"order": 1})
TRACKER = Tracker(
    account="luma",
    generation_id="g-1",
    provider="luma",
    state=State.COMPLETED,
    terms=TERMS,
    tracked_at=T,
    deadline_at=T + RETENTION_MS,
    polls=3,
)


def by_a_newer_version(record: bytes) -> bytes:
    return to_json({**from_json(record), "mood": "good", "nested": {"a": [1]}})


def row(**values: Any) -> dict[bytes, bytes]:
    """A hash as Redis gives it, with a field that is new."""
    known = {"seq": 0, "fence": 0, "novelty": "x", **values}
    return {
        name.encode(): value if isinstance(value, bytes) else str(value).encode()
        for name, value in known.items()
    }


def test_a_tracker_is_read_without_what_is_new() -> None:
    packed = records.tracker_to_record(TRACKER)
    newer = packing.packed(by_a_newer_version(packing.unpacked(packed)))
    terms = by_a_newer_version(records.terms_to_json(TERMS))
    kept = row(
        state="completed", tracked_at=T, deadline_at=T + RETENTION_MS, terms=terms, record=newer
    )

    found = records.tracker_from_hash("luma", "g-1", kept)

    assert found == replace(TRACKER, polls=found.polls)


def test_looks_that_showed_the_same_are_read_without_what_is_new() -> None:
    repeats = Repeats(since=T, until=T + 9, looks=2, duration_ms=5, provider_state="dreaming")
    watched = from_json(records.watched_to_json(replace(TRACKER, repeats=repeats)))
    at = records.WATCHED.index("repeats")
    newer = to_json([*watched[:at], [*watched[at], "novelty"], *watched[at + 1 :], "novelty"])

    assert records.repeats_from_json(newer) == repeats
    found = records.watched_from_row("luma", "g-1", [None] * 7 + [newer])
    assert (found.polls, found.repeats) == (3, repeats)


def test_what_an_earlier_version_saw_counts_if_it_looked_later() -> None:
    watched = records.watched_to_json(replace(TRACKER, provider_state="dreaming", seen_at=T))
    seen = {"provider": "luma", "provider_state": "completed", "seen_at": T + 1, "polls": 1}
    kept = row(
        state="completed",
        tracked_at=T,
        deadline_at=T + RETENTION_MS,
        terms=records.terms_to_json(TERMS),
        record=packing.packed(to_json(seen)),
        watched=watched,
    )

    later = records.tracker_from_hash("luma", "g-1", kept)
    kept[b"watched"] = records.watched_to_json(
        replace(TRACKER, provider_state="upscaling", seen_at=T + 2)
    )
    earlier = records.tracker_from_hash("luma", "g-1", kept)

    assert (later.provider_state, later.seen_at) == ("completed", T + 1)
    assert (earlier.provider_state, earlier.seen_at) == ("upscaling", T + 2)


def test_a_delivery_and_its_attempts_are_read_without_what_is_new() -> None:
    attempt = Attempt(at=T, duration_ms=5, status=500)
    delivery = replace(owed("1"), tries=1, attempts=(attempt,), headers={"x-a": "1"})
    kept = row(
        state="pending",
        event_id="evt_1",
        endpoint="url_1",
        account="",
        generation_id="",
        created_at=T,
        record=by_a_newer_version(records.delivery_to_json(delivery)),
    )
    written = by_a_newer_version(records.attempt_to_json(attempt))

    assert records.delivery_from_hash("dlv_1", kept, [written]) == delivery


def test_an_endpoint_and_its_secrets_are_read_without_what_is_new() -> None:
    endpoint = Endpoint(
        name="orders", url="https://hooks.example.com/x", events=("generation.failed",)
    )
    kept = row(
        url=endpoint.url,
        enabled=1,
        secrets=b'[["s2",null,"ed25519"],["s1",5,"hmac"]]',
        record=by_a_newer_version(records.endpoint_to_json(endpoint)),
    )

    found = records.endpoint_from_hash("orders", kept)

    assert found == replace(endpoint, secrets=(Secret("s2"), Secret("s1", 5)))
