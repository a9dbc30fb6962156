"""Records: what is written comes back, equal terms give equal bytes, and none of it is large."""

from __future__ import annotations

import base64
import uuid
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from worker.model import (
    TERMINAL_EVENTS,
    Attempt,
    Delivery,
    DeliveryReason,
    DeliveryState,
    EventType,
    Reason,
    Repeats,
    State,
    Terms,
    Tracker,
)
from worker.store import packing, records

# Written by the first release. It must be readable for ever: it stands in somebody's Redis.
FIRST_RELEASE = "eLtCe3iGIzWFQePPGDW+TI3NjYwMLI0szLHGSjo4X2MxDTkka2sBs34tow=="

instants = st.integers(1, 2**42)
words = st.text(min_size=1, max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=4)
headers = st.dictionaries(words, st.text(), max_size=2)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


terms = st.builds(
    Terms,
    callback_url=maybe(words),
    endpoint=maybe(words),
    events=st.sets(st.sampled_from(EventType), min_size=1).map(lambda s: tuple(sorted(s))),
    metadata=objects,
    deadline_s=st.floats(1, 30 * 86400),
    headers=headers,
)
TRACKER: dict[str, st.SearchStrategy[Any]] = {
    "account": st.just("luma"),
    "generation_id": st.just("g-1"),
    "provider": words,
    "state": st.sampled_from(State),
    "terms": terms,
    "tracked_at": instants,
    "deadline_at": instants,
    "reason": maybe(st.sampled_from(Reason)),
    "provider_state": maybe(words),
    "model": maybe(words),
    "type": maybe(words),
    "assets": headers,
    "assets_expire_at": maybe(instants),
    "failure_reason": maybe(words),
    "failure_code": maybe(words),
    "retryable": maybe(st.booleans()),
    "fraction": maybe(st.floats(0, 1)),
    "polls": st.integers(0, 2**31),
    "poll_errors": st.integers(0, 2**31),
    "last_error": maybe(words),
    "error_streak": st.integers(0, 2**31),
    "turned_away": st.booleans(),
    "missing_count": st.integers(0, 2**31),
    "missing_since": maybe(instants),
    "seen_at": maybe(instants),
    "created_at": maybe(instants),
    "finished_at": maybe(instants),
    "next_poll_at": maybe(instants),
    **dict.fromkeys(("born_at", "entered_at", "queued_at", "running_at"), maybe(instants)),
    "kind": st.lists(words, max_size=3).map(tuple),
    "mark": maybe(words),
    "repeats": maybe(st.builds(Repeats, instants, instants, instants, instants, maybe(words))),
    "traceparent": maybe(words),
    "generation": maybe(objects),
    "seq": st.integers(0, 2**53),
    "fence": st.integers(0, 2**53),
}
attempts = st.builds(
    Attempt,
    at=instants,
    duration_ms=st.integers(0, 10**6),
    status=maybe(st.integers(100, 599)),
    error=maybe(st.text()),
    response=maybe(st.text()),
)
DELIVERY: dict[str, st.SearchStrategy[Any]] = {
    "id": st.just("dlv_1"),
    "event_id": words,
    "type": words,
    "account": words,
    "generation_id": words,
    "endpoint": words,
    "url": words,
    "state": st.sampled_from(DeliveryState),
    "created_at": instants,
    "reason": maybe(st.sampled_from(DeliveryReason)),
    "headers": headers,
    "next_attempt_at": maybe(instants),
    "finished_at": maybe(instants),
    "tries": st.integers(0, 2**31),
    "is_replayed": st.booleans(),
    "attempts": st.lists(attempts, max_size=3).map(tuple),
    "seq": st.integers(0, 2**53),
    "fence": st.integers(0, 2**53),
}


def tracker_row(tracker: Tracker) -> dict[bytes, bytes]:
    apart = ("fence", "seq", "tracked_at", "deadline_at")
    row = {name.encode(): b"%d" % getattr(tracker, name) for name in apart}
    row[b"state"] = tracker.state.value.encode()
    row[b"terms"] = records.terms_to_json(tracker.terms)
    row[b"record"] = records.tracker_to_record(tracker)
    row[b"watched"] = records.watched_to_json(tracker)
    return row


def looked_at(*, finished: bool) -> Tracker:
    """A tracker with a generation as Luma shows it."""
    name, cdn = str(uuid.uuid4()), "https://storage.cdn-luma.com/dream_machine"
    assets = {"progress_video": f"{cdn}/{uuid.uuid4()}/{uuid.uuid4()}_progress.mp4"}
    if finished:
        assets = {
            "video": f"{cdn}/{uuid.uuid4()}/{uuid.uuid4()}_result{uuid.uuid4().hex[:16]}.mp4",
            "image": f"{cdn}/{uuid.uuid4()}/{uuid.uuid4()}_thumb.jpg",
        }
    state = "completed" if finished else "dreaming"
    generation = {
        "id": name,
        "generation_type": "video",
        "state": state,
        "failure_reason": None,
        "created_at": "2026-03-20T12:00:00.731114Z",
        "assets": assets,
        "model": "ray-2",
        "request": {
            "generation_type": "video",
            "model": "ray-2",
            "prompt": "A lighthouse keeper carries a lantern up a spiral staircase while a storm "
            "beats against the windows; slow dolly shot, warm light, shallow depth of field, 35mm",
            "aspect_ratio": "16:9",
            "loop": False,
            "keyframes": None,
            "callback_url": None,
            "resolution": "720p",
            "duration": "5s",
        },
    }
    return Tracker(
        account="luma",
        generation_id=name,
        provider="luma",
        state=State.TRACKING,
        terms=Terms(deadline_s=86400.0),
        tracked_at=1_795_372_209_287,
        deadline_at=1_795_458_609_287,
        provider_state=state,
        model="ray-2",
        type="video",
        assets=assets,
        polls=7,
        seen_at=1_795_372_309_287,
        created_at=1_774_008_000_731,
        next_poll_at=1_795_372_409_287,
        generation=generation,
    )


@given(st.builds(Tracker, **TRACKER))
def test_a_tracker_comes_back_as_it_was_written(tracker: Tracker) -> None:
    if tracker.state is State.TRACKING and tracker.next_poll_at is None:
        tracker = replace(tracker, next_poll_at=tracker.tracked_at)  # it is due at once

    assert records.tracker_from_hash("luma", "g-1", tracker_row(tracker)) == tracker


@pytest.mark.parametrize(("kind", "tested"), [(Tracker, TRACKER), (Delivery, DELIVERY)])
def test_every_field_is_among_what_comes_back(kind: type, tested: dict[str, Any]) -> None:
    """One that is added to the model and forgotten in the records would be lost without a sound."""
    assert set(tested) == {each.name for each in fields(kind)}


APART = ("event_id", "endpoint", "account", "generation_id")


@given(st.builds(Delivery, **DELIVERY))
def test_a_delivery_comes_back_as_it_was_written(delivery: Delivery) -> None:
    row = {
        b"state": delivery.state.value.encode(),
        **{name.encode(): getattr(delivery, name).encode() for name in APART},
        b"reason": (delivery.reason or "").encode(),
        b"fence": b"%d" % delivery.fence,
        b"seq": b"%d" % delivery.seq,
        b"created_at": b"%d" % delivery.created_at,
        b"record": records.delivery_to_json(delivery),
    }
    if delivery.finished_at:
        row[b"finished_at"] = b"%d" % delivery.finished_at
    written = [records.attempt_to_json(each) for each in delivery.attempts]

    assert records.delivery_from_hash("dlv_1", row, written) == delivery


@given(terms)
def test_terms_come_back_as_they_were_written(these: Terms) -> None:
    assert records.terms_from_json(records.terms_to_json(these)) == these


@given(terms, st.randoms())
def test_terms_that_are_equal_give_equal_bytes(these: Terms, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(k, shuffled(v)) for k, v in value.items()]
            random.shuffle(items)
            return dict(items)
        return [shuffled(v) for v in value] if isinstance(value, list) else value

    same = replace(these, metadata=shuffled(these.metadata), headers=shuffled(these.headers))

    assert same == these
    assert records.terms_to_json(same) == records.terms_to_json(these)


@given(terms, terms)
def test_terms_that_differ_give_other_bytes(these: Terms, those: Terms) -> None:
    same_bytes = records.terms_to_json(these) == records.terms_to_json(those)
    assert these == those or not same_bytes


def test_the_order_of_a_list_in_the_metadata_matters() -> None:
    one, other = ({"a": order} for order in ([1, 2], [2, 1]))
    assert records.terms_to_json(Terms(deadline_s=1, metadata=one)) != records.terms_to_json(
        Terms(deadline_s=1, metadata=other)
    )


def test_terms_written_without_defaults_are_short() -> None:
    terms_ = Terms(deadline_s=86400.0, events=tuple(sorted(TERMINAL_EVENTS)))
    assert records.terms_to_json(terms_) == b'{"deadline_s":86400.0}'


@given(st.dictionaries(st.text(), st.text(), max_size=40))
def test_the_body_of_an_event_comes_back_byte_for_byte(data: dict[str, str]) -> None:
    body = to_json({"type": "generation.completed", "data": data})
    kept = packing.packed_body(body)
    assert packing.body_of(kept) == body
    assert len(kept) <= len(body)


def test_a_body_that_was_written_unpacked_is_read_as_ever() -> None:
    body = b'{"data": "' + b"x" * 5000 + b'"}'
    assert packing.body_of(body) == body


def test_a_long_body_is_kept_in_a_fraction_of_its_bytes() -> None:
    name = str(uuid.uuid4())
    generation = {
        "id": name,
        "generation_type": "video",
        "state": "completed",
        "model": "ray-2",
        "assets": {"video": f"https://storage.cdn-luma.com/dream_machine/{name}_result.mp4"},
        "request": {"prompt": "A paper boat leaves the harbour at dawn, slow dolly forward, mist"},
    }
    data = {"generation_id": name, "assets": generation["assets"], "generation": generation}
    body = to_json({"type": "generation.completed", "data": data})
    assert len(body) > 512
    assert len(packing.packed_body(body)) < len(body) / 2


@pytest.mark.parametrize("finished", [False, True], ids=["running", "finished"])
def test_a_record_fits_into_what_redis_keeps_compact(*, finished: bool) -> None:
    """A hash with a value over 512 bytes (`hash-max-listpack-value`) takes twice the memory."""
    tracker = looked_at(finished=finished)

    assert len(to_json(tracker.generation)) > 600
    assert len(records.tracker_to_record(tracker)) < 420


def test_a_large_generation_is_kept_whole() -> None:
    tracker = replace(looked_at(finished=True), generation={"x": [uuid.uuid4().hex] * 2000})
    row = tracker_row(tracker)

    assert records.tracker_from_hash("luma", tracker.generation_id, row) == tracker


def test_what_the_first_release_has_written_can_be_read() -> None:
    row = tracker_row(looked_at(finished=False))
    row[b"record"] = base64.b64decode(FIRST_RELEASE)
    del row[b"watched"]

    tracker = records.tracker_from_hash("luma", "g-1", row)

    assert (tracker.provider, tracker.provider_state, tracker.polls) == ("luma", "dreaming", 3)
    assert tracker.generation == {"id": "g-1", "state": "dreaming", "assets": None}
