"""Records of a version that knows more than this one: both work while a deployment is updated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic_core import from_json, to_json

from tests.store.receiving import RETENTION_MS, T, owed
from worker.model import Attempt, Endpoint, Secret, State, Terms, Tracker
from worker.store import records

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
    newer = records._packed(by_a_newer_version(records._unpacked(packed)))
    terms = by_a_newer_version(records.terms_to_json(TERMS))
    kept = row(
        state="completed", tracked_at=T, deadline_at=T + RETENTION_MS, terms=terms, record=newer
    )

    found = records.tracker_from_hash("luma", "g-1", kept)

    assert found == replace(TRACKER, polls=found.polls)


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
