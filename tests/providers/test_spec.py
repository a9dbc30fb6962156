"""A provider as data: what is accepted, what is refused and how it says so."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from worker.errors import ConfigurationError
from worker.providers.spec import built_in, line_of, load, names, parse

LUMA = resources.files("worker.providers").joinpath("luma.toml").read_text("utf-8")


def test_luma_is_known_by_name() -> None:
    assert "luma" in names()


def test_every_provider_loads_under_its_own_name() -> None:
    assert [load(name).name for name in names()] == list(names())


def test_luma_is_dream_machine_with_its_documented_defaults() -> None:
    luma = load("luma")
    assert luma.base_url == "https://api.lumalabs.ai/dream-machine/v1"
    assert luma.deadline_s == 24 * 3600
    assert luma.list_generations is not None
    assert luma.list_generations.page == 100
    assert luma.auth.value == "Bearer {api_key}"
    assert luma.durations["ray-2"].median_s == 90


def test_a_provider_may_have_no_list_call() -> None:
    start, rest = LUMA.split("[list_generations]")
    assert parse("luma", start + rest[rest.index("\n# Every field") :]).list_generations is None


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


@pytest.mark.parametrize(
    ("was", "becomes", "line"),
    [
        ('state = "state"', 'state = "state["', 'state = "state["'),
        ("sigma = 0.55", "sigma = -1", "sigma = -1"),
        ("sigma = 0.55", "", "[durations.ray-2]"),
        ("page = 100", "page = 100\nspeed = 9", "speed = 9"),
        ('    "request.duration",\n', '    "request[",\n', "kind = ["),
        ("deadline_s = 86400", "deadline_s = 0", "deadline_s = 0"),
    ],
)
def test_a_fault_is_told_with_its_line_or_its_tables(was: str, becomes: str, line: str) -> None:
    text = LUMA.replace(was, becomes, 1)
    number = text.splitlines().index(line) + 1
    with pytest.raises(ConfigurationError, match=rf"^luma\.toml, line {number}: "):
        parse("luma", text)


def test_every_fault_has_a_line_of_its_own() -> None:
    text = LUMA.replace("page = 100", "page = 0").replace('value = "Bearer {api_key}"', "")
    with pytest.raises(ConfigurationError) as caught:
        parse("luma", text)
    assert len(str(caught.value).splitlines()) == 2


def test_what_stands_in_a_text_of_many_lines_is_no_key() -> None:
    text = "[examples]\nqueued = '''\n[read]\nstate = 1\n'''\n[read]\nstate = 1\n"
    assert line_of(text, ("read", "state")) == 7


@pytest.mark.parametrize("where", [(), ("nowhere",), ("read", "nowhere", 0)])
def test_a_fault_that_is_nowhere_is_told_with_a_line_all_the_same(where: tuple[Any, ...]) -> None:
    assert line_of(LUMA, where) in (1, LUMA.splitlines().index("[read]") + 1)


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ('header = "Authorization"', "", "say either header or query"),
        (
            'header = "Authorization"',
            'header = "Authorization"\nquery = "key"',
            "say either header or query",
        ),
        ('header = "Authorization"', 'header = "Bad Name"', "auth.header"),
        ('value = "Bearer {api_key}"', 'value = "Bearer\\r\\nX: y"', "auth.value"),
        ("/generations/{id}", "/generations/{id} HTTP", "get_generation.path"),
        ('id = "id"\nstate', "state", "list_generations needs read.id"),
        ("/generations/{call}", "/generations", "needs call"),
        ("queued = '''\n{", "queued = '''\n[{", "examples.queued"),
    ],
)
def test_what_cannot_be_asked_or_read_is_refused(was: str, becomes: str, complaint: str) -> None:
    assert was in LUMA
    with pytest.raises(ConfigurationError, match=complaint):
        parse("luma", LUMA.replace(was, becomes, 1))


# --- the user's own -------------------------------------------------------------------------------


def test_a_file_in_the_users_folder_is_a_provider(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(LUMA)
    (tmp_path / "notes.txt").write_text("not a provider")
    assert load("acme", tmp_path).name == "acme"
    assert set(names(tmp_path)) == {"acme", *built_in()}


def test_beside_ones_own_the_built_in_ones_remain(tmp_path: Path) -> None:
    assert load("luma", tmp_path) == load("luma")


def test_the_name_of_a_built_in_provider_cannot_be_taken(tmp_path: Path) -> None:
    (tmp_path / "luma.toml").write_text(LUMA)
    with pytest.raises(ConfigurationError, match=r"luma\.toml has the name of a built-in provider"):
        load("runway", tmp_path)


def test_a_file_whose_name_no_account_could_give_is_refused(tmp_path: Path) -> None:
    (tmp_path / "My Provider.toml").write_text(LUMA)
    with pytest.raises(ConfigurationError, match=r"a provider's name is"):
        names(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"DREAMHOOK_PROVIDERS: .*No such file"):
        load("luma", tmp_path / "nowhere")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"acme\.toml is not UTF-8"):
        load("acme", tmp_path)
