"""What people see on a terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HIDE_CURSOR, SHOW_CURSOR, FakeApi, OnScreen, Run
from worker.cli.process import printable
from worker.cli.words import age, duration, state_of

ID = "63c2c9b5-b143-4242-bb3f-f5ab57ba27c2"
URL = f"https://storage.example.com/dream_machine/{ID}/{ID}_video.mp4?token={'x' * 80}"
KNOWN = {
    "name": "luma",
    "configured": True,
    "health": {"ok": True},
    "kinds": [{"kind": ["ray-2"], "sample": 9, "median_s": 88.0, "p90_s": 131.0}],
}


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
    assert heading.split() == ["Generation", "State", "Model", "Age"]
    assert first.startswith(f"{ID}  tracking (dreaming)")
    assert second.startswith(f"{ID}  failed")
    assert "[red]moderation" in ended.out
    assert "\x1b" not in ended.out


def test_a_list_tells_which_webhooks_have_not_come_and_why(
    api: FakeApi, run_on_terminal: Run
) -> None:
    late = {"state": "pending", "attempts": 3, "status": 503, "error": None}
    page = {
        "items": [
            tracker(webhook=late),
            tracker(webhook={"state": "exhausted", "attempts": 1, "error": "no answer"}),
            tracker(webhook={"state": "exhausted", "attempts": 0, "reason": "endpoint_disabled"}),
            tracker(webhook={"state": "delivered", "attempts": 1, "status": 204}),
        ],
        "next_cursor": None,
    }
    api.answers["GET /v1/trackers"] = (200, page)

    out = " ".join(run_on_terminal("list").out.split())

    assert "Generation, model State, webhook Age" in out
    for words in ("exhausted: no answer (1 attempt)", "exhausted: endpoint was off", "delivered"):
        assert words in out
    assert "pending: HTTP 503 (3 attempts)" in out


def test_get_tells_why_the_webhook_has_not_come(api: FakeApi, run_on_terminal: Run) -> None:
    late = {"state": "pending", "attempts": 1, "status": None, "error": "the name is not known"}
    answer_get(api, [], [], webhook=late | {"next_attempt_at": "2026-01-01T00:02:00.000Z"})
    out = run_on_terminal("get", ID).out
    assert re.search(r"^webhook +pending: the name is not known \(1 attempt\)$", out, re.MULTILINE)
    assert re.search(r"^next attempt at +2026-01-01T00:02:00.000Z$", out, re.MULTILINE)


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


def answer_get(api: FakeApi, entries: list[Any], deliveries: list[Any], **fields: Any) -> None:
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, tracker(**fields))
    api.answers[f"GET /v1/trackers/luma/{ID}/timeline"] = (200, {"items": entries})
    api.answers["GET /v1/deliveries"] = (200, {"items": deliveries, "next_cursor": None})


def test_get_shows_each_field_on_a_line_and_no_url_is_broken(
    api: FakeApi, run_on_terminal: Run
) -> None:
    answer_get(api, [], [])

    ended = run_on_terminal("get", ID)

    assert ended.code == 0
    fields, _, tree = ended.out.partition("\n\n")
    shown = dict(re.split(r" {2,}", line, maxsplit=1) for line in fields.splitlines())
    assert shown["video"] == URL
    assert shown["state"] == "completed"
    assert shown["metadata"] == '{"shot": 12}'
    assert shown["looks"] == "3, 1 failed"
    assert "last error" not in shown
    assert tree == f"{ID}\n"


def test_a_timeline_is_a_tree_with_the_attempts_below_their_event(
    api: FakeApi, run_on_terminal: Run
) -> None:
    looks = [
        {"at": f"2026-01-01T00:00:{n:02}.000Z", "kind": "look", "provider_state": "dreaming"}
        for n in range(1, 6)
    ]
    entries = [
        {"at": "2026-01-01T00:00:00.000Z", "kind": "tracked"},
        *looks,
        looks[0] | {"provider_state": "rendering", "looks": 9, "until": "2026-01-01T00:00:50.000Z"},
        {"at": "2026-01-01T00:00:59.000Z", "kind": "look", "error": "502 Bad Gateway"},
        {
            "at": "2026-01-01T00:01:00.000Z",
            "kind": "event",
            "type": "generation.completed",
            "event_id": "evt_1",
        },
        {"at": "2026-01-01T00:01:01.000Z", "kind": "attempt", "delivery_id": "dlv_1"},
        {"at": "2026-01-01T00:02:00.000Z", "kind": "replay", "delivery_id": "dlv_1"},
    ]
    answer = {"at": "2026-01-01T00:01:01.000Z", "duration_ms": 12, "status": 500, "error": None}
    delivery = {
        "id": "dlv_1",
        "event_id": "evt_1",
        "state": "pending",
        "url": "https://example.com/",
        "created_at": "2026-01-01T00:01:00.000Z",
        "attempts": [answer | {"response": "\x1b[2J[red]\n"}],
    }
    answer_get(api, entries, [delivery])

    ended = run_on_terminal("get", ID, "--timeline")

    assert [line.lstrip("├└│─ ") for line in ended.out.splitlines()] == [
        ID,
        "00:00:00      +0 ms  tracked",
        "00:00:01     +1.0 s  5 looks until 00:00:05: dreaming",
        "00:00:01     +1.0 s  9 looks until 00:00:50: rendering",
        "00:00:59      +59 s  look: 502 Bad Gateway",
        "00:01:00      +60 s  generation.completed  evt_1",
        "pending  dlv_1  https://example.com/",
        "00:01:01      +61 s  attempt: HTTP 500 in 12 ms: \ufffd[2J[red]",
        "00:02:00     +2 min  replay asked for",
    ]


def test_a_delivery_is_shown_with_its_attempts(api: FakeApi, run_on_terminal: Run) -> None:
    attempt = {
        "at": "2026-01-01T00:00:09.000Z",
        "duration_ms": 7,
        "status": None,
        "error": "refused",
    }
    delivery = {
        "id": "dlv_1",
        "event_id": "evt_1",
        "type": "generation.failed",
        "state": "exhausted",
        "reason": "attempts",
        "created_at": "2026-01-01T00:00:00.000Z",
        "attempts": [attempt],
    }
    api.answers["GET /v1/deliveries/dlv_1"] = (200, delivery)

    ended = run_on_terminal("deliveries", "dlv_1")

    assert ended.code == 0
    assert "exhausted (attempts)  dlv_1" in ended.out
    assert "attempt: refused in 7 ms" in ended.out


def test_wait_shows_the_end_and_the_assets(api: FakeApi, run_on_terminal: Run) -> None:
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, tracker())
    ended = run_on_terminal("wait", ID)
    assert ended.code == 0
    assert ended.out.splitlines() == [f"completed  {ID}", f"  video  {URL}"]


def test_wait_says_what_keeps_it(api: FakeApi, on_screen: OnScreen) -> None:
    api.answers["GET /v1/accounts"] = (200, {"items": [KNOWN]})
    unseen = tracker(state="tracking", current_error="404 Not Found")
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, unseen)
    with on_screen("wait", ID) as screen:
        screen.until("the last look failed: 404 Not Found")
        health = {"ok": False, "reason": "credentials rejected", "detail": "401"}
        api.answers["GET /v1/accounts"] = (200, {"items": [KNOWN | {"health": health}]})
        screen.until("its account is in trouble: credentials rejected (401)")


def test_an_end_is_shown_with_what_is_still_wrong(api: FakeApi, run_on_terminal: Run) -> None:
    late = {"state": "pending", "attempts": 1, "status": 503, "error": None}
    gone = tracker(
        state="expired", reason="not_found", current_error="404 Not Found", assets={}, webhook=late
    )
    api.answers[f"GET /v1/trackers/luma/{ID}"] = (200, gone)
    ended = run_on_terminal("wait", ID)
    assert (ended.code, ended.out.splitlines()) == (
        4,
        [
            f"expired (not_found)  {ID}",
            "  last look  404 Not Found",
            "  webhook    pending: HTTP 503 (1 attempt)",
        ],
    )


def test_kinds_that_say_the_same_are_one_line(api: FakeApi, run_on_terminal: Run) -> None:
    kind = {"median_s": 4.0, "p90_s": 9.0, "queue_median_s": None, "looks_per_generation": 4.0}
    kinds = [
        kind | {"kind": words, "sample": sample}
        for words, sample in (
            ([], 9), (["photon-1"], 3), (["photon-1", "image"], 3), (["photon-1", "image", ""], 3),
            (["ray-2"], 6), (["ray-2", ""], 2), (["ray-2", "video"], 4),
        )
    ]  # fmt: skip
    account = KNOWN | {"kinds": kinds, "provider": "luma", "tracking": 0}
    api.answers["GET /v1/accounts"] = (200, {"items": [account]})

    *_, table = run_on_terminal("accounts").out.split("\n\n")

    named = [re.split(r" {2,}", line)[1] for line in table.splitlines()[1:]]
    assert named == ["all", "photon-1", "photon-1 image", "ray-2", "ray-2 -", "ray-2 video"]


def test_thousands_are_counted_on_a_terminal_and_leave_no_bar(
    api: FakeApi, on_screen: OnScreen, tmp_path: Path
) -> None:
    def tracked(body: Any) -> tuple[int, Any]:
        names = [each["generation_id"] for each in body["trackers"]]
        return 200, {
            "results": [
                {"generation_id": name, "status": 202, "tracker": tracker(generation_id=name)}
                for name in names
            ]
        }

    api.answers["POST /v1/trackers"] = tracked
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"g-{n}\n" for n in range(2500)))

    with on_screen("track", "--file", str(file)) as screen:
        screen.until("2,500 IDs: 2,500 new, 0 tracked already, 0 refused.")
        assert screen.process.wait(10) == 0
        assert screen.is_sane
    assert screen.raw.count(HIDE_CURSOR) == screen.raw.count(SHOW_CURSOR) == 1
    assert "g-1234" not in screen.text


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
    heading, *lines = ended.out.splitlines()
    assert heading.split() == ["Generation,", "delivery", "State", "Event,", "age", "Attempts"]
    assert lines[:2] == lines[2:]
    assert lines[0].startswith("endpoint mine")
    assert re.split(r" {2,}", lines[0].strip())[1:] == [
        "exhausted",
        "endpoint.test",
        "2, no answer",
    ]
    assert lines[1].startswith(f"{owed['id']}  ")
    assert "more than these 2" in ended.err


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (2e5, "2 d")],
)
def test_an_age_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    now = datetime.fromtimestamp(1_767_225_600 + seconds, tz=UTC)
    assert age("2026-01-01T00:00:00.000Z", now) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.012, "12 ms"),
        (4.23, "4.2 s"),
        (88, "88 s"),
        (600, "10 min"),
        (9e4, "25 h"),
    ],
)
def test_a_duration_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    assert age("2026-01-01T00:00:09.000Z", datetime(2026, 1, 1, tzinfo=UTC)) == "0 s"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"state": "tracking", "provider_state": "queued"}, "tracking (queued)"),
        ({"state": "tracking", "provider_state": "busy", "progress": 0.4}, "tracking (busy, 40%)"),
        ({"state": "tracking", "provider_state": None}, "tracking"),
        ({"state": "tracking", "current_error": "404"}, "tracking (last look: 404)"),
        ({"state": "failed", "failure_reason": "moderation"}, "failed (moderation)"),
        ({"state": "expired", "reason": "deadline"}, "expired (deadline)"),
        ({"state": "completed", "provider_state": "completed"}, "completed"),
    ],
)
def test_a_state_is_told_with_its_reason(fields: dict[str, Any], text: str) -> None:
    assert state_of(fields) == text


def test_control_characters_are_shown_as_what_they_are_not() -> None:
    assert printable("a\x1b[2J\r\n\x9bb\u202eé 你") == "a\ufffd[2J\ufffd\ufffd\ufffdb\ufffdé 你"
