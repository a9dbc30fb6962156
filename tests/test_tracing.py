"""Which trace contexts are passed on, and as what."""

from __future__ import annotations

import pytest

from worker import tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def test_what_is_valid_is_passed_on_as_it_is() -> None:
    assert tracing.accepted(VALID) == VALID
    assert tracing.trace_id(VALID) == TRACE


@pytest.mark.parametrize("header", [f"cc-{TRACE}-{SPAN}-01", f"01-{TRACE}-{SPAN}-01-and-more"])
def test_of_a_later_version_what_is_known_is_passed_on(header: str) -> None:
    assert tracing.accepted(header) == VALID


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-1", f"{VALID}-more"),
        *(f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01"),
        *(VALID.upper(), f" {VALID}", f"{VALID}\n", f"01-{TRACE}-{SPAN}-01more", "x" * 100_000),
    ],
)
def test_what_is_not_valid_is_left_out(header: str | None) -> None:
    assert tracing.accepted(header) is None
    assert tracing.trace_id(header) is None
