"""What `dreamhook up` says to whoever sits at a terminal, and to nobody else."""

from __future__ import annotations

import sys

import pytest

from worker.cli.serving import _greet
from worker.config import Settings

URL = "http://127.0.0.1:8080"


def greeted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    terminal: bool = True,
    **env: str,
) -> str:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    _greet(Settings.load({"DREAMHOOK_DATA": "/srv/dreamhook", **env}), URL)
    return capsys.readouterr().err


def test_a_terminal_is_told_where_everything_is_and_how_to_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = greeted(monkeypatch, capsys, LUMAAI_API_KEY="luma-secret")
    for each in (
        f"dashboard  {URL}/\n",
        f"{URL}/v1\n",
        f"{URL}/docs\n",
        "/srv/dreamhook",
        "luma\n",
        "Ctrl-C",
    ):
        assert each in said
    assert "luma-secret" not in said


def test_without_an_account_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "LUMAAI_API_KEY=" in greeted(monkeypatch, capsys)


def test_the_address_of_a_redis_of_ones_own_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = greeted(monkeypatch, capsys, DREAMHOOK_REDIS_URL="redis://:swordfish@redis/0")
    assert "DREAMHOOK_REDIS_URL" in said
    assert "swordfish" not in said


def test_a_log_gets_its_lines_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert greeted(monkeypatch, capsys, terminal=False) == ""
