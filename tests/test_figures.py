"""What is counted under which name, and what it shows when it is read back."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import figures
from worker.figures import LATENCY, LOOKS, METRICS, REQUEST_DURATION, Histogram

SECONDS = st.floats(0, 200_000)


def test_fields_of_one_metric_are_not_those_of_another() -> None:
    assert len({each.field for each in METRICS}) == len({each.name for each in METRICS})
    counts = Counter({LOOKS.times("luma", "seen"): 3}) + REQUEST_DURATION.took(0.2, "luma", "get")
    assert figures.counted(counts, LOOKS) == {("luma", "seen"): 3}
    assert list(figures.histograms(counts, REQUEST_DURATION)) == [("luma", "get")]
    assert figures.histograms(counts, LATENCY) == {}


@given(st.lists(SECONDS, min_size=1, max_size=50))
def test_every_observation_is_in_the_bucket_that_bounds_it(observed: list[float]) -> None:
    counts = sum((LATENCY.took(each) for each in observed), Counter[str]())
    found = figures.histograms(counts, LATENCY)[()]
    for bound, below in zip(LATENCY.buckets, found.cumulative(), strict=False):
        assert below == sum(each <= bound for each in observed)
    assert found.cumulative()[-1] == len(observed)
    assert found.sum_ms == pytest.approx(sum(observed) * 1000, abs=len(observed))


@given(st.lists(SECONDS, min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_percentile_lies_in_the_bucket_of_the_real_one(
    observed: list[float], share: float
) -> None:
    counts = sum((LATENCY.took(each) for each in observed), Counter[str]())
    found = figures.histograms(counts, LATENCY)[()].percentile(LATENCY.buckets, share)
    rank = next(n for n in range(1, len(observed) + 1) if n >= share * len(observed))
    real = sorted(observed)[rank - 1]
    bounds = (0.0, *LATENCY.buckets)
    low = max(each for each in bounds[:-1] if each < real or each == 0)
    high = next((each for each in LATENCY.buckets if each >= real), bounds[-1])
    assert found is not None
    assert min(low, bounds[-1]) - 1e-4 <= found <= high + 1e-4


def test_what_another_version_has_counted_is_read_as_far_as_it_goes() -> None:
    """It may have had more buckets, or other labels; what it counted is still there."""
    above = len(LATENCY.buckets)
    counts = Counter({f"latency:{above}": 1, f"latency:{above + 9}": 2, "latency:ms": 5})
    counts += Counter({"latency:us": 7, "latency:luma:3": 1, "latency": 1, "looks:luma": 4})
    assert figures.histograms(counts, LATENCY) == {(): Histogram((*[0] * above, 3), 5)}
    assert figures.counted(counts, LOOKS) == {}


def test_of_nothing_there_is_no_percentile() -> None:
    assert Histogram((0, 0), 0).percentile((1.0,), 0.5) is None


def test_what_took_less_than_no_time_took_none() -> None:
    assert LATENCY.took(-5) == LATENCY.took(0)
