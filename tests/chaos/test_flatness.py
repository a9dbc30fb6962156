"""A trend is told from noise: what grows is found, what only trembles is not."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from chaos.flatness import trend
from chaos.picture import draw


def wobbling(seed: int, growth: float, noise: float, count: int = 120) -> list[float]:
    dice = random.Random(seed)
    return [100 + growth * n / count + dice.gauss(0, noise) for n in range(count)]


@given(st.integers(0, 999), st.floats(0.1, 5))
def test_noise_alone_is_flat(seed: int, noise: float) -> None:
    assert trend(wobbling(seed, 0, noise)).is_flat


@given(st.integers(0, 999), st.floats(20, 200))
def test_a_steady_growth_is_found_beneath_noise(seed: int, growth: float) -> None:
    found = trend(wobbling(seed, growth, 1))

    assert not found.is_flat
    assert abs(found.growth - growth / 2) < 3  # of the second half


def test_a_growth_that_ends_in_the_first_half_is_none() -> None:
    assert trend([*range(100), *[100.0] * 101]).is_flat


def test_what_shrinks_is_no_growth() -> None:
    assert trend(wobbling(0, -80, 1)).is_flat


def test_a_growth_below_the_floor_is_none() -> None:
    values = [float(n) / 100 for n in range(100)]

    assert not trend(values).is_flat
    assert trend(values, floor=1).is_flat


def test_a_picture_has_a_panel_for_each_figure_and_a_line_for_each_process() -> None:
    lines = {"worker-1": [1.0, 2.0], "worker-2": [0.0, 0.0]}

    drawn = draw("a soak", [0.0, 5.0], {"memory in MiB": lines, "lag in s": lines})

    assert drawn.count("memory in MiB") == drawn.count("lag in s") == 1
    assert drawn.count("worker-1 2") == drawn.count("worker-2 0") == 2
    assert "5 minutes" in drawn
