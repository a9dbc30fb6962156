"""What people see of a receiver's origin that is held, on 80 columns."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cli.conftest import FakeApi, Run
from tests.cli.test_terminal import ID, answer_get, tracker
from tests.cli.test_top import NOW, STATS, drawn, view
from worker.cli.board import LISTINGS, troubles_of

HELD = {
    "origin": "https://hooks.example.com",
    "since": "2026-01-01T00:00:01.000Z",
    "until": None,
    "reason": "unreachable",
    "detail": "the connection was refused",
    "errors_in_a_row": 3,
    "in_words": "https://hooks.example.com is not there: 3 attempts in a row failed (the connection"
    " was refused). A probe is under way; once it is answered, what waits follows.",
}


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def waiting(generation_id: str = ID, **held: Any) -> dict[str, Any]:
    """Make a delivery that has had no attempt and waits for a hold."""
    return {
        "id": "dlv_3f0c8b0d5a5e4c0c9f1e2d3c",
        "event_id": "evt_1",
        "type": "generation.completed",
        "generation_id": generation_id,
        "endpoint": "mine",
        "url": "https://hooks.example.com/x",
        "state": "pending",
        "created_at": "2026-01-01T00:00:00.500Z",
        "next_attempt_at": held.get("until") or soon(-0.1),
        "held": HELD | held,
        "attempts": [],
    }


def test_deliveries_show_both_ids_whole_and_what_is_held_on_80_columns(
    api: FakeApi, run_on_terminal: Run
) -> None:
    page = {"items": [waiting(until=soon(45.5))], "next_cursor": None}
    api.answers["GET /v1/deliveries"] = (200, page)

    out = run_on_terminal("deliveries").out

    assert max(map(len, out.splitlines())) <= 80
    assert re.search(rf"^{ID} +pending +completed +0 *$", out, re.MULTILINE)
    assert re.search(r"^dlv_3f0c8b0d5a5e4c0c9f1e2d3c +held, [34]\d s at least ", out, re.MULTILINE)


def test_what_a_delivery_waits_for_is_not_broken_however_long_its_errors_are(
    api: FakeApi, run_on_terminal: Run
) -> None:
    tried = [{"status": None, "error": "the connection was refused, as it was before"}] * 12
    soon_ = soon(45.5)
    items = [
        waiting(until=soon_) | {"attempts": tried},
        waiting() | {"held": None, "next_attempt_at": soon_, "attempts": tried},
    ]
    api.answers["GET /v1/deliveries"] = (200, {"items": items, "next_cursor": None})

    out = run_on_terminal("deliveries").out

    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"held, [34]\d s at least", out)
    assert re.search(r"next in [34]\d s", out)


def test_what_is_held_is_shown_by_every_command_that_shows_it(
    api: FakeApi, run_on_terminal: Run
) -> None:
    held = HELD | {"until": soon(45.5)}
    webhook = {"state": "pending", "attempts": 0, "next_attempt_at": held["until"], "held": held}
    page = {"items": [tracker(webhook=webhook)], "next_cursor": None}
    endpoint = {"name": "mine", "url": "https://hooks.example.com/x", "enabled": True, "held": held}
    api.answers["GET /v1/trackers"] = (200, page)
    api.answers["GET /v1/endpoints"] = (200, {"items": [endpoint], "next_cursor": None})
    api.answers["GET /v1/endpoints/mine"] = (200, endpoint)

    for arguments in (["list"], ["endpoints"], ["endpoints", "get", "mine"]):
        shown = " ".join(run_on_terminal(*arguments).out.split())
        assert "held, " in shown
        assert re.search(r"probe in [34]\d s|[34]\d s at least", shown), shown
    assert HELD["in_words"] in run_on_terminal("endpoints", "get", "mine").out


def test_get_tells_in_its_head_and_its_tree_what_a_webhook_waits_for(
    api: FakeApi, run_on_terminal: Run
) -> None:
    event = {"at": "2026-01-01T00:00:00.500Z", "kind": "event", "event_id": "evt_1"}
    entry = {"at": HELD["since"], "kind": "hold", **HELD}
    until = soon(45.5)
    it = waiting(until=until)
    webhook = {"state": "pending", "attempts": 0, "next_attempt_at": until, "held": it["held"]}
    answer_get(api, [event, entry | {"delivery_id": it["id"]}], [it], webhook=webhook)

    head, _, tree = run_on_terminal("get", ID).out.partition("\n\n")

    assert re.search(r"^webhook +pending: held, [34]\d s at least$", head, re.MULTILINE)
    assert re.search(rf"^next attempt +not before {until} \(in [34]\d s\)$", head, re.MULTILINE)
    assert re.search(rf"^held +{re.escape(HELD['in_words'])}$", head, re.MULTILINE)
    said = " ".join(re.sub("[├└│─]", " ", tree).split())
    assert said.count(f"held: {HELD['in_words']}") == 1
    assert re.search(r"next attempt in [34]\d s at the earliest$", said)


def test_a_hold_of_a_delivery_that_is_no_longer_listed_is_a_line_of_its_own(
    api: FakeApi, run_on_terminal: Run
) -> None:
    entry = {"at": HELD["since"], "kind": "hold", "delivery_id": "dlv_1", **HELD}
    answer_get(api, [entry], [])
    tree = run_on_terminal("get", ID).out.partition("\n\n")[2]
    assert f"dlv_1 is held: {HELD['in_words']}" in " ".join(tree.replace("│", " ").split())


def test_top_shows_on_80_columns_what_is_held() -> None:
    until = (NOW + timedelta(seconds=11.5)).isoformat()
    it = waiting(until=until)
    webhook = {"state": "pending", "attempts": 3, "status": 503, "held": it["held"]}
    for listing, row in (
        (LISTINGS[1], it),
        (LISTINGS[-1], tracker(webhook=webhook, state="completed")),
    ):
        shown = drawn(view(rows=[row], listing=listing), width=80)
        assert ID in shown
        assert "held, 12 s at least" in shown


def test_an_endpoint_in_trouble_is_told_to_be_held() -> None:
    held = HELD | {"until": (NOW + timedelta(seconds=11.5)).isoformat()}
    endpoint = {"name": "url_0f", "url": "https://example.com/hook", "enabled": True, "held": held}
    trouble = endpoint | {"since": "2026-01-01T00:00:00.000Z", "failed_with": "HTTP 503"}
    stats = STATS | {"endpoints_in_trouble": {"total": 1, "items": [trouble]}}
    wanted = "https://example.com/hook: failing for 10 min, held, probe in 12 s (HTTP 503)"
    assert wanted in troubles_of(stats, NOW)
