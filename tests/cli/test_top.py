"""What `top` draws, and what it leaves of the terminal however it ends."""

from __future__ import annotations

import os
import signal
from collections import deque
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from tests.cli.conftest import (
    ENTER_SCREEN,
    HIDE_CURSOR,
    LEAVE_SCREEN,
    SHOW_CURSOR,
    FakeApi,
    OnScreen,
    Run,
)
from worker.cli.board import LISTINGS, View, bars, board, troubles_of

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
HOSTILE = "[red]bad[/red]\x1b[2J\u202e"

STATS: dict[str, Any] = {
    "trackers": {"tracking": 2, "completed": 40, "failed": 1, "expired": 0, "canceled": 0},
    "deliveries": {"pending": 1, "delivered": 40, "exhausted": 0, "discarded": 0},
    "due": {"looks": 3, "receivers": 0},
    "lag_s": 4.2,
    "workers": 1,
    "troubles": ["account old: it is not configured"],
    "accounts_in_trouble": [
        {
            "name": "luma",
            "reason": "credentials rejected",
            "detail": HOSTILE,
            "held_until": "2026-01-01T00:10:30.000Z",
            "held": {"until": "2026-01-01T00:10:30.000Z"},
        }
    ],
    "endpoints_in_trouble": {
        "total": 30,
        "items": [
            {
                "name": "studio",
                "url": "https://example.com/",
                "since": "2026-01-01T00:00:00.000Z",
                "enabled": False,
                "reason": "it answered 410 Gone",
            }
        ],
    },
    "last_hour": [
        {"at": "2026-01-01T00:09:00.000Z", "completed": 3, "failed": 1, "latency_p95_s": 0.031}
    ],
}


def drawn(view: View, width: int = 120) -> str:
    console = Console(width=width, height=30, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(board(view, NOW, width))
    return captured.get()


def view(**fields: Any) -> View:
    return View("http://127.0.0.1:8080", STATS, **fields)


# --- the board ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_the_board_shows_figures_troubles_ends_and_a_list(width: int) -> None:
    ended = {
        "type": "generation.failed",
        "timestamp": "2026-01-01T00:09:50.000Z",
        "data": {"generation_id": "g-1", "failure_reason": HOSTILE},
    }
    row = {
        "account": "luma",
        "generation_id": "g-2",
        "state": "tracking",
        "provider_state": "dreaming",
        "tracked_at": "2026-01-01T00:08:00.000Z",
    }
    shown = drawn(view(events=deque([ended]), rows=[row]), width)
    for words in (
        "live",
        "2 tracking",
        "3 looks due",
        "4.2 s behind",
        "40 completed",
        "1 pending",
        "account luma: credentials rejected, held, probe in 30 s",
        "account old: it is not configured",
        "endpoint studio, https://example.com/: off for 10 min (it answered",
        "29 more endpoints",
        "10 s",
        "failed",
        "g-1",
        "2 min",
        "g-2",
        "tracking (dreaming)",
        "Tab another list",
    ):
        assert words in shown
    assert len(shown.splitlines()) == 30


@pytest.mark.parametrize("width", [80, 120, 160])
def test_an_id_is_not_cut(width: int) -> None:
    name = "63c2c9b5-b143-4242-bb3f-f5ab57ba27c2"
    ended = {
        "type": "generation.failed",
        "timestamp": "2026-01-01T00:09:50.000Z",
        "data": {"generation_id": name, "failure_reason": "words " * 20},
    }
    row = {"account": "luma", "generation_id": name, "state": "tracking", "current_error": "e" * 99}
    assert drawn(view(events=deque([ended]), rows=[row]), width).count(name) == 2


def test_no_text_of_others_moves_the_cursor_or_is_markup() -> None:
    event = {"type": HOSTILE, "timestamp": "2026-01-01T00:09:50.000Z", "data": {"reason": HOSTILE}}
    shown = drawn(view(events=deque([event]), problem=HOSTILE))
    assert "[red]bad[/red]" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


def test_deliveries_are_a_list_with_their_last_attempt() -> None:
    row = {
        "id": "dlv_1",
        "generation_id": "g-1",
        "url": "https://example.com/hook",
        "created_at": "2026-01-01T00:08:00.000Z",
        "attempts": [{"status": 500, "error": None}],
    }
    shown = drawn(view(rows=[row], listing=LISTINGS[1]))
    assert "Webhooks pending" in shown
    assert "g-1" in shown
    assert "https://example.com/hook" in shown
    assert "1, HTTP 500" in shown


def test_an_ended_one_is_listed_with_its_webhook() -> None:
    row = {
        "generation_id": "g-1",
        "account": "luma",
        "state": "completed",
        "webhook": {"state": "exhausted", "attempts": 12, "status": 500},
    }
    shown = drawn(view(rows=[row], listing=LISTINGS[-1]))
    assert "completed, webhook exhausted: HTTP 500" in shown


def test_a_bare_url_in_trouble_is_named_by_itself_with_the_cause() -> None:
    endpoint = {"name": "url_0f", "url": "https://example.com/hook", "enabled": True}
    trouble = endpoint | {"since": "2026-01-01T00:00:00.000Z", "failed_with": "HTTP 503"}
    stats = STATS | {"endpoints_in_trouble": {"total": 1, "items": [trouble]}}
    assert "https://example.com/hook: failing for 10 min (HTTP 503)" in troubles_of(stats, NOW)


def test_an_account_is_named_once() -> None:
    stats = STATS | {"troubles": ["account luma: credentials rejected (401)"]}
    assert sum(text.startswith("account luma") for text in troubles_of(stats, NOW)) == 1


def test_bars_tell_nothing_from_little() -> None:
    assert bars([]) == ""
    assert bars([0, 0]) == "  "
    assert bars([0, 1, 1000]) == " ▁█"


# --- on a pipe and on a terminal ------------------------------------------------------------------


@pytest.fixture
def queue(api: FakeApi) -> FakeApi:
    page = {"items": [], "next_cursor": None}
    api.answers |= {
        "GET /v1/stats": (200, STATS),
        "GET /v1/trackers": (200, page),
        "GET /v1/deliveries": (200, page),
    }
    return api


def test_on_a_pipe_the_figures_come_once(queue: FakeApi, run: Run) -> None:
    ended = run("top")
    assert (ended.code, ended.lines) == (0, [STATS])
    assert queue.asked == [("GET /v1/stats", "")]


def test_on_a_pipe_it_waits_for_an_api_that_is_away_and_says_so_once(
    queue: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.cli.watching.PAUSE_S", 0.01)
    away = (503, {"title": "Service Unavailable", "detail": "Redis does not answer."})
    answers = iter([away, (502, {"title": "x"}), away, (200, STATS)])
    queue.answers["GET /v1/stats"] = lambda _: next(answers)
    ended = run("top")
    assert (ended.code, ended.lines) == (0, [STATS])
    assert ended.err == "dreamhook: Redis does not answer. (HTTP 503). Waiting on.\n"


def test_on_a_pipe_it_waits_no_longer_than_its_patience(
    queue: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.cli.watching.PAUSE_S", 0.01)
    monkeypatch.setattr("worker.cli.watching.PATIENCE_S", 0.0)
    queue.answers["GET /v1/stats"] = (503, {"title": "x", "detail": "Redis does not answer."})
    ended = run("top")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("dreamhook: Redis does not answer. (HTTP 503)\n")


@pytest.mark.parametrize("status", [403, 500])
def test_on_a_pipe_a_refusal_ends_it(queue: FakeApi, run: Run, status: int) -> None:
    queue.answers["GET /v1/stats"] = (status, {"title": "x", "detail": "No."})
    assert run("top").code == 1
    assert len(queue.asked) == 1


def test_without_an_api_the_screen_is_not_even_entered(
    monkeypatch: pytest.MonkeyPatch, on_screen: OnScreen
) -> None:
    monkeypatch.setenv("DREAMHOOK_URL", "http://127.0.0.1:1")
    with on_screen("top") as screen:
        screen.until("Is `dreamhook up` running?")
        assert screen.process.wait(10) == 1
    assert ENTER_SCREEN not in screen.raw


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda screen: screen.type("q"), 0),
        (lambda screen: screen.process.send_signal(signal.SIGINT), 130),
        (lambda screen: screen.process.send_signal(signal.SIGTERM), 143),
        (lambda screen: screen.process.send_signal(signal.SIGHUP), 129),
    ],
    ids=["q", "SIGINT", "SIGTERM", "SIGHUP"],
)
def test_however_it_ends_the_terminal_is_as_it_was(
    queue: FakeApi, on_screen: OnScreen, end: Any, code: int
) -> None:
    with on_screen("top") as screen:
        screen.until("2 tracking")
        assert not screen.is_sane, "keys are read one by one"
        end(screen)
        assert screen.process.wait(10) == code
        screen.to_the_end()
        assert screen.is_sane
    assert screen.raw.count(ENTER_SCREEN) == screen.raw.count(LEAVE_SCREEN) == 1
    assert screen.raw.rfind(SHOW_CURSOR) > screen.raw.rfind(HIDE_CURSOR)
    assert "Traceback" not in screen.raw


def test_keys_pause_and_show_another_list(queue: FakeApi, on_screen: OnScreen) -> None:
    with on_screen("top") as screen:
        screen.until("p pause")
        screen.type("p")
        screen.until("p go on")
        screen.type("p")
        screen.until("p pause")
        screen.type("\t")
        screen.until("Webhooks pending")
        screen.type("q")
        assert screen.process.wait(10) == 0


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(
    queue: FakeApi, on_screen: OnScreen
) -> None:
    with on_screen("top") as screen:
        screen.until("2 tracking")
        screen.process.send_signal(signal.SIGTSTP)
        os.waitpid(screen.process.pid, os.WUNTRACED)
        assert screen.is_sane
        screen.process.send_signal(signal.SIGCONT)
        screen.until("2 tracking")
        assert not screen.is_sane
        assert screen.raw.count(ENTER_SCREEN) == 2
        screen.type("q")
        assert screen.process.wait(10) == 0


def test_an_api_that_goes_away_is_told_and_the_figures_stay(
    queue: FakeApi, on_screen: OnScreen
) -> None:
    with on_screen("top", "--interval", "0.2") as screen:
        screen.until("live")
        queue.answers["GET /v1/stats"] = (503, {"title": "x", "detail": "Redis does not answer."})
        screen.until("Redis does not answer.")
        screen.until("2 tracking")
        queue.answers["GET /v1/stats"] = (200, STATS)
        screen.until("live")
        screen.type("q")
        assert screen.process.wait(10) == 0


def test_the_webhook_latency_is_not_cut_off_on_80_columns() -> None:
    minute = {"at": "2026-01-01T00:09:00.000Z", "completed": 1234, "latency_p95_s": 0.031}
    shown = drawn(View("http://127.0.0.1:8080", STATS | {"last_hour": [minute] * 60}), width=80)
    assert "1,234 ends a minute at most   webhook after 31 ms (p95)" in shown


def test_it_waits_for_an_api_that_is_away_when_it_starts(
    queue: FakeApi, on_screen: OnScreen
) -> None:
    queue.answers["GET /v1/stats"] = (503, {"title": "x", "detail": "Redis does not answer."})
    with on_screen("top", "--interval", "0.2") as screen:
        screen.until("Redis does not answer.")
        queue.answers["GET /v1/stats"] = (200, STATS)
        screen.until("2 tracking")
        screen.until("live")
        screen.type("q")
        assert screen.process.wait(10) == 0
