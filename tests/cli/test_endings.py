"""How a command ends that is interrupted or not listened to, and what help it gives."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, HIDE_CURSOR, SHOW_CURSOR, FakeApi, OnScreen, Run
from tests.cli.test_terminal import ID, KNOWN, tracker


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_wait_that_is_ended_gives_the_cursor_back(
    api: FakeApi, on_screen: OnScreen, number: int, code: int
) -> None:
    api.answers["GET /v1/accounts"] = (200, {"items": [KNOWN]})
    still = tracker(state="tracking", provider_state="dreaming\x1b[2J", type="video")
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, still)

    with on_screen("wait", ID) as screen:
        screen.until("9 in 10 2 min")
        screen.process.send_signal(number)
        assert screen.process.wait(10) == code
        screen.to_the_end()

    assert "half take 88 s" in screen.text
    assert screen.raw.count(HIDE_CURSOR) == screen.raw.count(SHOW_CURSOR) == 1
    assert "\x1b[2J" not in screen.raw


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


@pytest.mark.parametrize(
    "name", ["track", "get", "wait", "list", "cancel", "top", "accounts", "check", "listen"]
)
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
