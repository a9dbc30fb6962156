"""What people see on a terminal, and how a command ends that is interrupted or not listened to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, FakeApi, Run
from worker.cli.process import printable
from worker.cli.tables import age, state_of

ID = "63c2c9b5-b143-4242-bb3f-f5ab57ba27c2"
URL = f"https://storage.example.com/dream_machine/{ID}/{ID}_video.mp4?token={'x' * 80}"


def tracker(**fields: Any) -> dict[str, Any]:
    return {
        "account": "luma",
        "generation_id": ID,
        "provider": "luma",
        "state": "completed",
        "model": "ray-2",
        "assets": {"video": URL},
        "metadata": {"shot": 12},
        "events": ["generation.completed"],
        "tracked_at": "2026-01-01T00:00:00.000Z",
        "finished_at": "2026-01-01T00:01:00.000Z",
        "polls": 3,
        "poll_errors": 1,
    } | fields


def test_list_is_a_table(api: FakeApi, run_on_terminal: Run) -> None:
    page = {
        "items": [
            tracker(state="tracking", provider_state="dreaming", model=None),
            tracker(state="failed", failure_reason="[red]moderation[/red]\x1b[2J"),
        ],
        "next_cursor": None,
    }
    api.answers["GET /v1/trackers"] = (200, page)

    ended = run_on_terminal("list")

    assert (ended.code, ended.err) == (0, "")
    heading, first, second, *_ = ended.out.splitlines()
    assert heading.split() == ["Generation", "State", "Model", "Age", "Looks"]
    assert first.startswith(f"{ID}  tracking (dreaming)")
    assert second.startswith(f"{ID}  failed")
    assert "[red]moderation" in ended.out
    assert "\x1b" not in ended.out


def test_accounts_are_told_apart_where_they_differ(api: FakeApi, run_on_terminal: Run) -> None:
    page = {"items": [tracker(), tracker(account="studio")], "next_cursor": None}
    api.answers["GET /v1/trackers"] = (200, page)
    heading, first, second, *_ = run_on_terminal("list").out.splitlines()
    assert "Account" in heading
    assert ("luma" in first, "studio" in second) == (True, True)


def test_a_list_that_was_cut_says_so(api: FakeApi, run_on_terminal: Run) -> None:
    api.answers["GET /v1/trackers"] = (200, {"items": [tracker()] * 3, "next_cursor": None})
    ended = run_on_terminal("list", "--limit", "2")
    assert ended.out.count(ID) == 2
    assert "more than these 2" in ended.err


def test_get_shows_each_field_on_a_line_and_no_url_is_broken(
    api: FakeApi, run_on_terminal: Run
) -> None:
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, tracker())

    ended = run_on_terminal("get", ID)

    assert ended.code == 0
    shown = dict(re.split(r" {2,}", line, maxsplit=1) for line in ended.out.splitlines())
    assert shown["video"] == URL
    assert shown["state"] == "completed"
    assert shown["metadata"] == '{"shot": 12}'
    assert shown["looks"] == "3, 1 failed"
    assert "last error" not in shown


def test_wait_shows_the_end_and_the_assets(api: FakeApi, run_on_terminal: Run) -> None:
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, tracker())
    ended = run_on_terminal("wait", ID)
    assert ended.code == 0
    assert ended.out.splitlines() == [f"completed  {ID}", f"  video  {URL}"]


def test_json_is_to_be_had_on_a_terminal(api: FakeApi, run_on_terminal: Run) -> None:
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, tracker())
    assert run_on_terminal("get", ID, "--json").lines == [tracker()]


def test_deliveries_are_a_table(api: FakeApi, run_on_terminal: Run) -> None:
    owed = {
        "id": "dlv_3f0c8b0d5a5e4c0c9f1e2d3c",
        "type": "endpoint.test",
        "generation_id": "",
        "endpoint": "mine",
        "state": "exhausted",
        "reason": "attempts",
        "created_at": "2026-01-01T00:00:00.000Z",
        "attempts": [{"status": 500, "error": None}, {"status": None, "error": "no answer"}],
    }
    api.answers["GET /v1/deliveries"] = (200, {"items": [owed] * 3, "next_cursor": None})

    ended = run_on_terminal("deliveries", "--limit", "2")

    assert ended.code == 0
    heading, first, second = ended.out.splitlines()
    assert heading.split() == ["Delivery", "State", "Event", "Age", "Attempts"]
    assert first == second
    assert first.startswith(f"{owed['id']}  exhausted  endpoint.test  ")
    assert first.rstrip().endswith("2, no answer")
    assert "more than these 2" in ended.err


def test_a_timeline_is_a_table(api: FakeApi, run_on_terminal: Run) -> None:
    entry = {"at": "2026-01-01T00:00:00.000Z", "kind": "look", "error": None, "duration_ms": 12}
    api.answers[f"GET /v1/trackers/luma/{ID}/timeline"] = (200, {"items": [entry]})
    _, line = run_on_terminal("get", ID, "--timeline").out.splitlines()
    assert line.split(maxsplit=2) == ["2026-01-01T00:00:00.000Z", "look", "duration_ms: 12"]


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (2e5, "2 d")],
)
def test_an_age_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    now = datetime.fromtimestamp(1_767_225_600 + seconds, tz=UTC)
    assert age("2026-01-01T00:00:00.000Z", now) == text


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    assert age("2026-01-01T00:00:09.000Z", datetime(2026, 1, 1, tzinfo=UTC)) == "0 s"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "tracking", "provider_state": "queued"}, "tracking (queued)"),
        ({"state": "tracking", "provider_state": None}, "tracking"),
        ({"state": "failed", "failure_reason": "moderation"}, "failed (moderation)"),
        ({"state": "expired", "reason": "deadline"}, "expired (deadline)"),
        ({"state": "completed", "provider_state": "completed"}, "completed"),
    ],
)
def test_a_state_is_told_with_its_reason(fields: dict[str, Any], text: str) -> None:
    assert state_of(fields) == text


def test_control_characters_are_shown_as_what_they_are_not() -> None:
    assert printable("a\x1b[2J\r\n\x9bb\u202eé 你") == "a\ufffd[2J\ufffd\ufffd\ufffdb\ufffdé 你"


# --- how a command ends ---------------------------------------------------------------------------


def test_ctrl_c_ends_a_wait_quietly(api: FakeApi) -> None:
    asked, over = threading.Event(), threading.Event()

    def still_tracking(_: Any) -> tuple[int, Any]:
        asked.set()
        over.wait(10)
        return 200, tracker(state="tracking")

    api.answers[f"GET /v1/trackers/luma/{ID}"] = still_tracking
    with subprocess.Popen(
        [*COMMAND, "wait", ID], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert asked.wait(10)
        child.send_signal(signal.SIGINT)
        output = child.communicate(timeout=10)
    over.set()
    assert output == (b"", b"")
    assert child.returncode == 130


def test_a_reader_that_leaves_early_is_no_reason_to_complain(api: FakeApi) -> None:
    page = {"items": [tracker()] * 500, "next_cursor": "more"}
    api.answers["GET /v1/trackers"] = (200, page)  # without end
    with subprocess.Popen(
        [*COMMAND, "list", "--all"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline().startswith(b'{"account": "luma"')
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(10) == 1


def test_help_comes_at_once_since_nothing_else_is_imported() -> None:
    code = (
        "import sys; from worker.cli import main\n"
        "try: main()\n"
        "finally: print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    ended = subprocess.run(
        [COMMAND[0], "-c", code, "--help"], capture_output=True, text=True, timeout=10, check=True
    )
    assert "Usage: dreamhook" in ended.stdout
    heavy = {"httpx", "redis", "arq", "fastapi", "uvicorn", "structlog"}
    assert not heavy & set(ended.stderr.split())


def test_without_a_command_there_is_help_and_code_2(run: Run) -> None:
    ended = run()
    assert ended.code == 2
    assert "Usage: dreamhook" in ended.out


def test_the_version_is_told(run: Run) -> None:
    ended = run("--version")
    assert ended.code == 0
    assert ended.out.startswith("dreamhook")


@pytest.mark.parametrize("name", ["track", "get", "wait", "list", "cancel", "check", "listen"])
def test_every_command_explains_itself(run: Run, name: str) -> None:
    ended = run(name, "--help")
    assert ended.code == 0
    assert f"Usage: dreamhook {name}" in ended.out


def test_the_exit_codes_of_wait_are_in_its_help(run: Run) -> None:
    words = " ".join(run("wait", "--help").out.split())
    assert "3 failed, 4 expired, 5 canceled, 124 still tracking" in words


def test_a_terminal_that_knows_few_letters_is_no_error(api: FakeApi) -> None:
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (404, {"title": "x", "detail": "“unbekannt” é"})
    ended = subprocess.run(
        [*COMMAND, "get", ID],
        capture_output=True,
        timeout=10,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert ended.returncode == 1
    assert ended.stderr == b"dreamhook: ?unbekannt? ? (HTTP 404)\n"
