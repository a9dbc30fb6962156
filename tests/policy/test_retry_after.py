"""How a `Retry-After` is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.conftest import NOW
from worker.policy import parse_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0), ("120", 120), (" 7 ", 7), ("1.5", 1.5), ("007", 7)]
)
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
    ],
)
def test_retry_after_as_each_form_of_http_date(value: str) -> None:
    assert parse_retry_after(value, now=784_111_777_000 - 5_500) == 5.5


def test_a_date_that_has_passed_means_now() -> None:
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now=NOW) == 0


@pytest.mark.parametrize(
    "value",
    [None, "", "-1", "nan", "inf", "1e3", "soon", "5, 5", "٣", "0x10", "9" * 400, "+5", "1 2"],
)
def test_a_retry_after_that_makes_no_sense_is_as_good_as_none(value: str | None) -> None:
    assert parse_retry_after(value, now=NOW) is None


@settings(max_examples=500, deadline=None)
@given(st.text() | st.from_regex(r"[A-Za-z0-9 :,;().+-]{0,40}", fullmatch=True))
def test_no_header_upsets_the_reader(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or 0 <= seconds < 1e13
