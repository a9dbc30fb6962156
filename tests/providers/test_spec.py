"""A provider as data: what is accepted, what is refused and how it says so."""

from __future__ import annotations

from importlib import resources

import pytest
from pydantic import ValidationError

from worker.errors import ConfigurationError
from worker.providers.spec import load, names, parse

LUMA = resources.files("worker.providers").joinpath("luma.toml").read_text("utf-8")


def test_luma_is_known_by_name() -> None:
    assert "luma" in names()


def test_every_provider_loads_under_its_own_name() -> None:
    assert [load(name).name for name in names()] == list(names())


def test_luma_is_dream_machine_with_its_documented_defaults() -> None:
    luma = load("luma")
    assert luma.base_url == "https://api.lumalabs.ai/dream-machine/v1"
    assert luma.deadline_s == 24 * 3600
    assert luma.list_generations.page == 100
    assert luma.auth.value == "Bearer {api_key}"
    assert luma.durations["ray-2"].median_s == 90


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'lumma' is not known; known are: .*luma"):
        load("lumma")


def test_a_provider_name_cannot_reach_another_file() -> None:
    with pytest.raises(ConfigurationError, match="is not known"):
        load("../../pyproject")


def test_a_provider_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load("luma").base_url = "https://elsewhere.example"  # type: ignore[misc]  # that it is one


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ('state = "state"', 'state = "state["', "read.state"),
        ('state = "state"', "", "read.state"),
        ("page = 100", "page = 0", "list_generations.page"),
        ("page = 100", "page = 100\nspeed = 9", "list_generations.speed"),
        ("/generations/{id}", "/generations/", "get_generation.path"),
        ("sigma = 0.55", "sigma = -1", "durations.ray-2.sigma"),
        ("deadline_s = 86400", "deadline_s = ", "is not TOML"),
    ],
)
def test_a_faulty_file_is_refused_and_says_where(was: str, becomes: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse("luma", LUMA.replace(was, becomes, 1))
