"""The log: which lines there are, what is on them, and what never is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

from worker import telemetry
from worker.model import (
    Delivered,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Exhausted,
    Finish,
    Health,
    HealthReason,
    Progress,
    Reason,
    Replied,
    RetryAt,
    Same,
    Seen,
    State,
    Terms,
    Tracker,
    Trouble,
    Unanswered,
    Wait,
    Watched,
)

TRACKER = Tracker(
    account="luma",
    generation_id="gen-1",
    provider="luma",
    state=State.TRACKING,
    terms=Terms(deadline_s=60),
    tracked_at=0,
    deadline_at=60_000,
    provider_state="dreaming",
    polls=3,
    next_poll_at=5_000,
)
DELIVERY = Delivery(
    id="dlv_1",
    event_id="evt_1",
    type="generation.completed",
    account="luma",
    generation_id="gen-1",
    endpoint="url_1",
    url="https://user:hunter2@hooks.example.com:8443/hunter2?token=hunter2",
    headers={"authorization": "hunter2"},
    state=DeliveryState.PENDING,
    created_at=0,
    next_attempt_at=5_000,
    tries=2,
)
DREAMING = Seen(progress=Progress.RUNNING, provider_state="dreaming")


@pytest.fixture(autouse=True)
def _log_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is configured here holds for the whole process: take it back."""
    monkeypatch.setattr(telemetry, "_least", logging.INFO)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in telemetry._QUIET}
    telemetry.unknown_account.cache_clear()
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


class Log:
    """What was written to stderr since it was last read, a JSON object a line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._capsys.readouterr().err.splitlines()]

    def line(self) -> dict[str, Any]:
        """The one line there is, without what every line has."""
        (line,) = self.lines()
        del line["timestamp"], line["logger"]
        return line


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Log:
    telemetry.configure("info", json=True)
    return Log(capsys)


# --- the lines ------------------------------------------------------------------------------------


def test_a_look_is_one_line(log: Log) -> None:
    telemetry.looked(TRACKER, answer=DREAMING, verdict=Wait(5_000), duration_ms=12)
    assert log.line() == {
        "event": "look",
        "level": "info",
        "account": "luma",
        "generation_id": "gen-1",
        "answer": "seen",
        "verdict": "wait",
        "state": "tracking",
        "provider_state": "dreaming",
        "polls": 3,
        "next_poll_at": "1970-01-01T00:00:05.000Z",
        "duration_ms": 12,
    }


def test_a_failed_look_says_what_went_wrong(log: Log) -> None:
    telemetry.looked(TRACKER, answer=Trouble("502"), verdict=Wait(1), duration_ms=1)
    line = log.line()
    assert (line["answer"], line["error"]) == ("trouble", "502")


def test_a_look_that_shows_the_same_is_told_of_like_any_other(log: Log) -> None:
    telemetry.looked(TRACKER, DREAMING, Wait(5_000), duration_ms=12)
    telemetry.looked(Watched.of(TRACKER), Same(), Wait(5_000), duration_ms=12)
    first, second = log.lines()
    assert {**second, "timestamp": ""} == {**first, "timestamp": ""}


def test_the_last_look_says_how_it_ended(log: Log) -> None:
    over = replace(TRACKER, state=State.EXPIRED, reason=Reason.DEADLINE, next_poll_at=None)
    verdict = Finish(State.EXPIRED, Reason.DEADLINE)
    telemetry.looked(over, answer=DREAMING, verdict=verdict, duration_ms=1)
    line = log.line()
    assert (line["verdict"], line["state"], line["reason"]) == ("finish", "expired", "deadline")
    assert "next_poll_at" not in line


def test_an_attempt_is_one_line_with_the_origin_alone(log: Log) -> None:
    reply = Replied(status=500, duration_ms=12)
    telemetry.attempted(delivery=DELIVERY, reply=reply, verdict=RetryAt(5_000))
    assert log.line() == {
        "event": "attempt",
        "level": "info",
        "delivery_id": "dlv_1",
        "event_id": "evt_1",
        "type": "generation.completed",
        "account": "luma",
        "generation_id": "gen-1",
        "endpoint": "url_1",
        "origin": "https://hooks.example.com:8443",
        "attempt": 2,
        "status": 500,
        "verdict": "retry_at",
        "state": "pending",
        "next_attempt_at": "1970-01-01T00:00:05.000Z",
        "duration_ms": 12,
    }


def test_an_attempt_without_an_answer_says_what_went_wrong(log: Log) -> None:
    reply = Unanswered(error="refused", duration_ms=1)
    telemetry.attempted(delivery=DELIVERY, reply=reply, verdict=RetryAt(1))
    line = log.line()
    assert line["error"] == "refused"
    assert "status" not in line


def test_the_last_attempt_says_why_it_is_the_last(log: Log) -> None:
    spent = replace(DELIVERY, state=DeliveryState.EXHAUSTED, reason=DeliveryReason.ATTEMPTS)
    telemetry.attempted(
        delivery=spent,
        reply=Replied(status=500, duration_ms=1),
        verdict=Exhausted(DeliveryReason.ATTEMPTS),
    )
    line = log.line()
    assert (line["state"], line["reason"]) == ("exhausted", "attempts")


@pytest.mark.parametrize("as_json", [True, False])
def test_what_a_receivers_url_and_headers_hold_is_not_written(
    capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    telemetry.configure("debug", json=as_json)
    reply = Replied(status=200, duration_ms=1, response="hunter2")
    telemetry.attempted(delivery=DELIVERY, reply=reply, verdict=Delivered())
    written = capsys.readouterr().err
    assert "dlv_1" in written
    assert "hunter2" not in written


def test_what_a_provider_says_is_cut_short(log: Log) -> None:
    telemetry.looked(TRACKER, answer=Trouble("x" * 10**6), verdict=Wait(1), duration_ms=1)
    assert len(log.line()["error"]) <= 500


def test_what_a_provider_says_cannot_begin_a_line_of_its_own(log: Log) -> None:
    answer = Trouble('x\n{"event": "forged"}')
    telemetry.looked(TRACKER, answer=answer, verdict=Wait(1), duration_ms=1)
    assert [line["event"] for line in log.lines()] == ["look"]


def test_a_hold_is_a_warning_that_says_why_and_until_when(log: Log) -> None:
    health = Health(reason=HealthReason.CREDENTIALS, streak=2, held_until=5_000, detail="401")
    telemetry.held(health, account="luma")
    assert log.line() == {
        "event": "held",
        "level": "warning",
        "account": "luma",
        "reason": "credentials rejected",
        "streak": 2,
        "until": "1970-01-01T00:00:05.000Z",
        "error": "401",
    }


def test_an_account_that_is_well_again_is_freed(log: Log) -> None:
    telemetry.held(Health(), account="luma")
    assert log.line() == {"event": "freed", "level": "info", "account": "luma"}


def test_trouble_that_holds_nothing_yet_is_no_hold(log: Log) -> None:
    telemetry.held(Health(reason=HealthReason.UNREACHABLE, streak=1), account="luma")
    assert log.lines() == []


def test_an_unknown_account_is_told_of_once(log: Log) -> None:
    telemetry.unknown_account("former")
    telemetry.unknown_account("former")
    telemetry.unknown_account("other")
    assert [line["account"] for line in log.lines()] == ["former", "other"]


# --- where they go --------------------------------------------------------------------------------


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("warning", json=True)
    telemetry.looked(TRACKER, answer=DREAMING, verdict=Wait(1), duration_ms=1)
    assert Log(capsys).lines() == []


def test_stdout_is_left_to_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("info")
    telemetry.held(Health(), account="luma")
    assert capsys.readouterr().out == ""


def test_where_stderr_is_no_terminal_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("info")
    telemetry.held(Health(), account="luma")
    assert Log(capsys).line()["event"] == "freed"


def test_lines_for_people_have_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure("info", json=False)
    telemetry.looked(TRACKER, answer=DREAMING, verdict=Wait(1), duration_ms=12)
    written = capsys.readouterr().err
    assert "look" in written
    assert "generation_id=gen-1" in written
    assert "duration_ms=12" in written


def test_configuring_again_does_not_write_lines_twice(log: Log) -> None:
    telemetry.configure("info", json=True)
    telemetry.held(Health(), account="luma")
    assert len(log.lines()) == 1


def test_a_librarys_warning_has_the_same_form(log: Log) -> None:
    logging.getLogger("arq.worker").warning("%d jobs", 3)
    (line,) = log.lines()
    assert (line["event"], line["level"], line["logger"]) == ("3 jobs", "warning", "arq.worker")


def test_no_line_of_a_library_does_anything_to_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry.configure("info", json=False)
    bad = "\x1b[2J\rmark\nnext"
    structlog.get_logger("worker").info("look", error=bad)
    logging.getLogger("uvicorn.error").error("refused %s", bad, exc_info=RuntimeError(bad))
    written = capsys.readouterr().err
    assert written.count(r"\x1b[2J\rmark") == 3
    assert not set(written) & {"\x1b", "\r"}
    assert r"refused \x1b[2J\rmark\nnext" in written


@pytest.mark.parametrize("library", ["arq.worker", "httpx", "httpcore.http11", "uvicorn.access"])
def test_a_librarys_chatter_is_not_written_whatever_the_level(
    capsys: pytest.CaptureFixture[str], library: str
) -> None:
    telemetry.configure("debug", json=True)
    logging.getLogger(library).info("GET https://h/hunter2")
    logging.getLogger(library).debug("authorization: hunter2")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_has_no_local_variables(
    capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    telemetry.configure("info", json=as_json)

    def fail(api_key: str) -> None:
        raise RuntimeError(f"{len(api_key)} characters")

    try:
        fail("hunter" + "2")
    except RuntimeError:
        logging.getLogger("worker").exception("it failed")
    written = capsys.readouterr().err
    assert "7 characters" in written
    assert "hunter2" not in written


def test_a_value_that_json_does_not_know_is_written_as_text(log: Log) -> None:
    structlog.get_logger("worker").info("odd", value={1: object})
    assert log.line()["value"] == {"1": "<class 'object'>"}
