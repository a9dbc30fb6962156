"""What `track` and `wait` send, print and end with, and how errors are told."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import FakeApi, Run, tracker
from worker.cli.terms import terms_of
from worker.cli.tracking import ids_of
from worker.errors import InvalidInputError


def tracked(body: Any) -> tuple[int, Any]:
    """Answer a batch: IDs that begin with "bad" are refused."""

    def outcome(item: dict[str, Any]) -> dict[str, Any]:
        name = item["generation_id"]
        shown = {"account": item["account"], "generation_id": name}
        if name.startswith("bad"):
            return shown | {"status": 422, "error": {"title": "Unusable", "detail": "is no ID"}}
        return shown | {"status": 202, "tracker": tracker(name)}

    return 200, {"results": [outcome(item) for item in body["trackers"]]}


# --- track ----------------------------------------------------------------------------------------


def test_track_sends_what_was_typed_and_prints_a_line_for_each(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/trackers"] = tracked

    ended = run(
        "track", "g-1", "g-2", "--account", "studio", "--callback-url", "https://example.com/hook",
        "--event", "completed", "--event", "generation.updated", "--deadline", "90",
        "--metadata", "shot=12", "--metadata", '{"n": 1}',
    )  # fmt: skip

    assert (ended.code, ended.err) == (0, "")
    assert [each["generation_id"] for each in ended.lines] == ["g-1", "g-2"]
    terms = {
        "account": "studio",
        "callback_url": "https://example.com/hook",
        "events": ["generation.completed", "generation.updated"],
        "metadata": {"shot": "12", "n": 1},
        "deadline_s": 90.0,
    }
    assert api.asked[0][1] == {
        "trackers": [terms | {"generation_id": "g-1"}, terms | {"generation_id": "g-2"}]
    }


def test_track_sends_only_what_was_typed(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/trackers"] = tracked
    run("track", "g-1")
    assert api.asked[0][1] == {"trackers": [{"account": "luma", "generation_id": "g-1"}]}


def test_one_bad_id_is_an_error_and_the_others_are_tracked(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/trackers"] = tracked

    ended = run("track", "g-1", "bad-1", "g-2")

    assert ended.code == 1
    assert ended.err == "dreamhook: bad-1: is no ID\n"
    assert [each.get("state") for each in ended.lines] == ["tracking", None, "tracking"]
    assert ended.lines[1] == {
        "account": "luma",
        "generation_id": "bad-1",
        "error": {"title": "Unusable", "detail": "is no ID"},
    }


def test_many_bad_ids_are_counted_rather_than_listed(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/trackers"] = tracked
    ended = run("track", *(f"bad-{n}" for n in range(25)))
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 11
    assert "25 IDs: 0 new, 0 tracked already, 25 refused" in ended.err


def test_thousands_of_ids_are_summed_up(api: FakeApi, run: Run, tmp_path: Path) -> None:
    api.answers["POST /v1/trackers"] = tracked
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"g-{n}\n" for n in range(2500)))

    ended = run("track", "--file", str(file))

    assert [len(body["trackers"]) for _, body in api.asked] == [1000, 1000, 500]
    assert len(ended.lines) == 2500
    assert ended.err == "dreamhook: 2,500 IDs: 2,500 new, 0 tracked already, 0 refused.\n"


def test_an_api_that_goes_away_amid_thousands_tells_how_far_it_came(
    api: FakeApi, run: Run, tmp_path: Path
) -> None:
    away = {"title": "Service Unavailable", "detail": "Redis does not answer."}
    api.answers["POST /v1/trackers"] = lambda body: (
        tracked(body) if len(api.asked) == 1 else (503, away)
    )
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"g-{n}\n" for n in range(1500)))

    ended = run("track", "--file", str(file))

    assert (ended.code, len(ended.lines)) == (1, 1000)
    assert "1,000 IDs: 1,000 new" in ended.err
    assert "The same command again is safe" in ended.err
    assert "Redis does not answer. (HTTP 503)" in ended.err


def test_a_wait_that_nobody_watches_says_once_that_looks_fail(api: FakeApi, run: Run) -> None:
    unseen = tracker(current_error="404 Not Found")
    answers = iter([unseen, unseen, tracker(state="expired", reason="not_found")])
    api.answers["GET /v1/trackers/luma/g-1"] = lambda _: (200, next(answers))
    ended = run("wait", "g-1")
    assert ended.code == 4
    assert ended.err == "dreamhook: g-1: the last look failed: 404 Not Found; looking again\n"


def test_a_wait_goes_on_when_redis_is_away_for_a_moment_and_says_so_once(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.client.methods.PAUSE_S", 0.01)
    away = (503, {"title": "Service Unavailable", "detail": "Redis does not answer."})
    answers = iter([away, away, (200, tracker(state="completed"))])
    api.answers["GET /v1/trackers/luma/g-1"] = lambda _: next(answers)
    ended = run("wait", "g-1")
    assert (ended.code, [each["state"] for each in ended.lines]) == (0, ["completed"])
    assert ended.err == "dreamhook: Redis does not answer. (HTTP 503). Waiting on.\n"


def test_a_wait_whose_time_is_up_while_redis_is_away_has_timed_out(api: FakeApi, run: Run) -> None:
    away = (503, {"title": "Service Unavailable", "detail": "Redis does not answer."})
    api.answers["GET /v1/trackers/luma/g-1"] = away
    api.answers["GET /v1/trackers/luma/g-2"] = (200, tracker("g-2", state="failed"))

    ended = run("wait", "g-1", "g-2", "--timeout", "0.05")

    why = "The time to wait was up while nobody could tell: Redis does not answer. (HTTP 503)"
    assert ended.code == 124
    assert ended.err.splitlines()[-1] == f"dreamhook: g-1: {why}"
    assert ended.lines[0] == {"id": "g-1", "error": {"detail": why}}
    assert ended.lines[1]["state"] == "failed"


def test_a_wait_without_an_api_has_not_timed_out(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMHOOK_URL", "http://127.0.0.1:1")
    assert run("wait", "g-1", "--timeout", "0").code == 1


def test_an_endpoint_and_headers_can_be_named(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/trackers"] = tracked
    run("track", "g-1", "--endpoint", "studio", "--header", "X-Team: video:one")
    (sent,) = api.asked[0][1]["trackers"]
    assert (sent["endpoint"], sent["headers"]) == ("studio", {"X-Team": "video:one"})


def test_ids_come_from_a_file_too(api: FakeApi, run: Run, tmp_path: Path) -> None:
    api.answers["POST /v1/trackers"] = tracked
    file = tmp_path / "ids.txt"
    file.write_bytes(b"g-2\r\n\n  # not this one\n g-3 \n\xff\n")

    run("track", "g-1", "--file", str(file))

    sent = [each["generation_id"] for each in api.asked[0][1]["trackers"]]
    assert sent == ["g-1", "g-2", "g-3", "\N{REPLACEMENT CHARACTER}"]


def test_ids_come_from_the_standard_input_too(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answers["POST /v1/trackers"] = tracked
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"g-1\ng-2")))
    assert [each["generation_id"] for each in run("track", "--file", "-").lines] == ["g-1", "g-2"]


def test_track_can_wait_and_tells_the_outcome(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/trackers"] = tracked
    api.answers["GET /v1/trackers/luma/g-1"] = (200, tracker(state="completed"))
    api.answers["GET /v1/trackers/luma/g-2"] = (200, tracker("g-2", state="failed"))

    ended = run("track", "g-1", "g-2", "--wait")

    assert ended.code == 3
    assert [each["state"] for each in ended.lines] == ["completed", "failed"]


# --- the command line, read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["track"], "ID: give at least one"),
        (["track", "g-1", "--event", "done"], "'done' is none of completed, failed"),
        (["track", "g-1", "--metadata", "shot"], "'shot' is not key=value"),
        (["track", "g-1", "--metadata", "{shot: 12}"], "is not JSON"),
        (["track", "g-1", "--metadata", '{"n": NaN}'], "it has no NaN"),
        (["track", "g-1", "--header", "video"], "'video' is not NAME:VALUE"),
        (["endpoints", "put", "studio", "--event", "done"], "endpoint.disabled"),
        (["endpoints", "recover", "studio", "--since", "yesterday"], "90min, 2h, 3d"),
        (["endpoints", "recover", "studio", "--since", "2026-01-31T12:00:00"], "with its zone"),
        (["endpoints", "frob"], "No such command 'frob'. Try: dreamhook endpoints --help"),
        (["listen", "--secret", "whsec_x", "--forward-to", "ftp://x"], "must be an http(s) URL"),
        (["track", "g-1", "--deadline", "nan"], "--deadline: must be a number"),
        (["track", "g-1", "--deadline", "soon"], "'--deadline'"),
        (["track", "--file", "/no/such/file"], "No such file"),
        (["get"], "Missing argument 'ID'. Try: dreamhook get --help"),
        (["get", "a/b"], "must not be empty or contain a slash"),
        (["list", "--state", "done"], "'done' is not one of 'tracking'"),
        (["list", "--limit", "0"], "'--limit'"),
        (["track", "g-1", "--callback"], "No such option"),
        (["frobnicate"], "No such command 'frobnicate'. Try: dreamhook --help"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_one_line_and_code_2(
    api: FakeApi, run: Run, arguments: list[str], message: str
) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.startswith("dreamhook: ")
    assert len(ended.err.splitlines()) == 1
    assert not api.asked


def test_later_metadata_wins_and_a_value_may_have_anything_in_it() -> None:
    terms = terms_of(metadata=["a=1", '{"a": 2, "b": [3]}', "c=x=y {}"])
    assert terms == {"metadata": {"a": 2, "b": [3], "c": "x=y {}"}}


def test_an_id_that_is_no_text_is_made_one_that_can_be_sent() -> None:
    assert list(ids_of(["g-\udcff"], None).names) == ["g-?"]


def test_a_file_without_ids_is_not_enough() -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        ids_of([], io.StringIO("\n# none\n"))


# --- wait -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code"), [("completed", 0), ("failed", 3), ("expired", 4), ("canceled", 5)]
)
def test_wait_exits_by_the_outcome(api: FakeApi, run: Run, state: str, code: int) -> None:
    api.answers["GET /v1/trackers/luma/g-1"] = (200, tracker(state=state))
    ended = run("wait", "g-1")
    assert ended.code == code
    assert ended.lines[0]["state"] == state


def test_wait_exits_with_124_when_the_time_is_up(api: FakeApi, run: Run) -> None:
    api.answers["GET /v1/trackers/luma/g-1"] = (200, tracker())
    ended = run("wait", "g-1", "--timeout", "0")
    assert ended.code == 124
    assert ended.lines == [tracker()]


def test_wait_for_several_exits_with_the_first_that_did_not_complete(
    api: FakeApi, run: Run
) -> None:
    for name, state in (("g-1", "completed"), ("g-2", "expired"), ("g-3", "failed")):
        api.answers[f"GET /v1/trackers/luma/{name}"] = (200, tracker(name, state=state))
    ended = run("wait", "g-1", "g-2", "g-3")
    assert ended.code == 4
    assert len(ended.lines) == 3


# --- errors ---------------------------------------------------------------------------------------


def test_what_the_api_refuses_is_one_line_and_code_1(api: FakeApi, run: Run) -> None:
    refusal = {"title": "Not Found", "detail": "g-1 is not tracked."}
    api.answers["GET /v1/trackers/luma/g-1"] = (404, refusal)
    ended = run("get", "g-1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "dreamhook: g-1 is not tracked. (HTTP 404)\n"


def test_an_api_that_is_away_is_told_with_what_to_do(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMHOOK_URL", "http://127.0.0.1:1")
    ended = run("list")
    assert ended.code == 1
    assert "Cannot reach Dreamhook at http://127.0.0.1:1" in ended.err
    assert "DREAMHOOK_URL" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_the_key_of_the_environment_is_sent(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMHOOK_API_KEY", "key-1")
    api.answers["GET /v1/trackers"] = (200, {"items": [], "next_cursor": None})
    assert run("list").code == 0
    assert api.authorization == "Bearer key-1"


@pytest.mark.parametrize(("key", "wanted"), [("", "wants a key"), ("key-1", "wants another key")])
def test_a_missing_and_a_wrong_key_are_told_with_what_to_set(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch, key: str, wanted: str
) -> None:
    monkeypatch.setenv("DREAMHOOK_API_KEY", key)
    api.answers["GET /v1/trackers"] = (401, {"title": "Unauthorized", "detail": "no"})
    ended = run("list")
    assert ended.code == 1
    assert wanted in ended.err
    assert "DREAMHOOK_API_KEY" in ended.err


def test_a_setting_that_cannot_be_used_is_code_1(
    api: FakeApi, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMHOOK_URL", "localhost")
    ended = run("list")
    assert ended.code == 1
    assert "DREAMHOOK_URL='localhost'" in ended.err


def test_an_error_cannot_rewrite_the_terminal(api: FakeApi, run: Run) -> None:
    api.answers["GET /v1/trackers"] = (400, {"title": "Bad", "detail": "\x1b[2Jgone\u202e"})
    ended = run("list")
    assert "gone" in ended.err
    assert not {"\x1b", "\u202e"} & set(ended.err)
