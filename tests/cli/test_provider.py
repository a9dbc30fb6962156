"""`dreamhook provider check`: what it says of a file, and with which exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from worker.cli import main
from worker.cli.provider import text_of
from worker.providers.spec import built_in
from worker.providers.spec import text_of as built_in_text

RUNWAY = built_in_text("runway")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dreamhook", "provider", "check", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    printed = map(json.loads, capsys.readouterr().out.splitlines())
    return {line.pop("of"): line for line in printed}


@pytest.mark.parametrize("name", built_in())
def test_every_built_in_file_reads_its_own_examples(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / f"{name}.toml"
    file.write_text(built_in_text(name))
    assert run(monkeypatch, str(file)) == 0


def test_it_shows_what_is_read_from_an_example_and_a_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, sample = tmp_path / "mine.toml", tmp_path / "answer.json"
    file.write_text(RUNWAY)
    sample.write_text('{"id": "t-1", "status": "THINKING", "createdAt": "2026-01-31T12:00:00Z"}')
    assert run(monkeypatch, str(file), "--sample", str(sample)) == 0
    printed = lines(capsys)
    assert printed["example failed"] == {
        "fault": None,
        "read": {
            "provider state": "FAILED",
            "means": "failed",
            "id": "example",
            "failure reason": "The prompt was rejected",
            "failure code": "SAFETY.INPUT.TEXT",
            "retryable": "False",
            "created at": "2026-01-01T00:00:00.000Z",
        },
    }
    assert printed["answer.json"] == {
        "fault": None,
        "read": {
            "provider state": "THINKING",
            "means": "running",
            "id": "t-1",
            "created at": "2026-01-31T12:00:00.000Z",
        },
    }


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("<html>", "it is not JSON"),
        ("[]", "the answer is JSON, but not an object"),
        ('{"id": "t-1"}', "the answer has no state"),
    ],
)
def test_a_sample_that_cannot_be_read_is_a_fault(
    answer: str,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, sample = tmp_path / "mine.toml", tmp_path / "answer.json"
    file.write_text(RUNWAY)
    sample.write_text(answer)
    assert run(monkeypatch, str(file), "--sample", str(sample)) == 1
    assert fault in str(lines(capsys)["answer.json"]["fault"])


def test_an_example_that_is_read_as_something_else_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(RUNWAY.replace('"SUCCEEDED"]', '"DONE"]'))
    assert run(monkeypatch, str(file)) == 1
    assert lines(capsys)["example completed"]["fault"] == "it is not read as completed"


def test_a_faulty_file_is_refused_with_the_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("base_url = 7\n" + RUNWAY.partition("\nbase_url")[2].partition("\n")[2])
    assert run(monkeypatch, str(file)) == 1
    assert "mine.toml, line 1: base_url" in capsys.readouterr().err


def test_a_file_or_a_sample_that_is_not_there_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(tmp_path / "no.toml")) == 1
    file = tmp_path / "mine.toml"
    file.write_text(RUNWAY)
    assert run(monkeypatch, str(file), "--sample", str(tmp_path / "no.json")) == 1
    assert capsys.readouterr().err.count("No such file") == 2


def test_the_simulator_is_given_a_file_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(RUNWAY)
    monkeypatch.setenv("DREAMHOOK_PROVIDERS", str(tmp_path))
    assert text_of("mine") == RUNWAY
