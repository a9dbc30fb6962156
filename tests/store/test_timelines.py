"""Lines of timelines: what is written comes back, also from other versions, and takes few bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model import Entry
from worker.store import timelines

instants = st.integers(1, 2**42)
words = st.text(min_size=1, max_size=30)
values = st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)


@given(instants, words, st.dictionaries(words, values, max_size=3))
def test_an_entry_comes_back_as_it_was_written(at: int, kind: str, details: Any) -> None:
    entry = Entry(at, kind, details)
    assert timelines.entry_from_json(timelines.entry_to_json(entry)) == entry


def test_an_entry_is_written_without_what_is_not_known() -> None:
    assert timelines.entry_to_json(Entry(5, "attempt", {"status": None})) == b"[5,3]"


def test_an_entry_of_a_version_before_is_read_as_ever() -> None:
    kept = b'[5,"look",{"provider_state":"dreaming","duration_ms":131}]'
    assert timelines.entry_from_json(kept) == Entry(
        5, "look", {"provider_state": "dreaming", "duration_ms": 131}
    )
    assert timelines.entry_from_json(b'[5,"tracked"]') == Entry(5, "tracked")


def test_an_entry_takes_few_bytes() -> None:
    look = Entry(1_700_000_000_000, "look", {"provider_state": "dreaming", "duration_ms": 131})
    assert timelines.entry_to_json(look) == b'[1700000000000,0,[5,"dreaming",6,131]]'


@pytest.mark.parametrize("kept", [b'[5,"look",[1,2],"more"]', b'[5,"look",{"1":2}]'])
def test_an_entry_is_read_without_what_is_new(kept: bytes) -> None:
    found = timelines.entry_from_json(kept)

    assert (found.at, found.kind) == (5, "look")
    assert len(found.details) == 1


def test_a_word_that_got_its_place_later_is_shown_as_its_place() -> None:
    assert timelines.entry_from_json(b"[5,9999]") == Entry(5, "9999")
