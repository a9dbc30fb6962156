"""What people are told of an endpoint that is off: why, and with which command it goes on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cli.conftest import FakeApi, OnScreen, Run
from tests.cli.test_terminal import ID, answer_get, tracker
from worker.cli.routes import in_commands

ATTEMPT = {"at": "2026-01-01T00:01:01.000Z", "duration_ms": 3, "status": 410, "error": None}
OWED = {
    "id": "dlv_1",
    "event_id": "evt_1",
    "type": "generation.completed",
    "generation_id": ID,
    "endpoint": "hooks",
    "url": "https://example.com/hooks",
    "state": "exhausted",
    "reason": "endpoint_disabled",
    "created_at": "2026-01-01T00:01:00.000Z",
    "attempts": [ATTEMPT],
}
WEBHOOK = {
    "delivery_id": "dlv_1",
    "endpoint": "hooks",
    "state": "exhausted",
    "reason": "endpoint_disabled",
    "attempts": 1,
    "status": 410,
    "error": None,
}
EVENT = {"at": "2026-01-01T00:01:00.000Z", "kind": "event", "event_id": "evt_1"}


def endpoint(**fields: Any) -> dict[str, Any]:
    return {"name": "hooks", "url": "https://example.com/hooks", "enabled": False} | fields


def row(output: str, name: str) -> str:
    found = re.search(rf"^{name} +(.*)$", output, re.MULTILINE)
    assert found, output
    return found[1]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("it answered 410 Gone", "it answered 410 Gone"),
        ("it was switched off", "switched off by hand"),
        ("nothing but failures for five days", "failing for five days"),
    ],
)
def test_get_says_why_the_endpoint_is_off_and_what_to_do(
    api: FakeApi, run_on_terminal: Run, reason: str, said: str
) -> None:
    answer_get(api, [EVENT], [OWED], webhook=WEBHOOK, endpoint="hooks")
    api.answers["GET /v1/endpoints/hooks"] = (200, endpoint(disabled_reason=reason))

    out = run_on_terminal("get", ID).out

    assert row(out, "webhook") == (
        f"exhausted: its endpoint hooks is off ({said}): `dreamhook endpoints enable hooks`,"
        " then `dreamhook replay dlv_1`"
    )
    assert "exhausted (its endpoint hooks was off)" in " ".join(out.split())
    assert "endpoint_disabled" not in out


def test_get_says_that_an_endpoint_is_on_again(api: FakeApi, run_on_terminal: Run) -> None:
    answer_get(api, [EVENT], [OWED], webhook=WEBHOOK, endpoint="hooks")
    api.answers["GET /v1/endpoints/hooks"] = (200, endpoint(enabled=True))
    said = row(run_on_terminal("get", ID).out, "webhook")
    assert said.endswith("its endpoint hooks was off and is on again: `dreamhook replay dlv_1`")


def test_get_says_that_an_endpoint_is_no_longer_kept(api: FakeApi, run_on_terminal: Run) -> None:
    answer_get(api, [], [], webhook=WEBHOOK | {"endpoint": "url_0f"}, callback_url="https://a.b/")
    out = run_on_terminal("get", ID).out
    assert row(out, "webhook") == "exhausted: its endpoint url_0f was off, and is no longer kept"
    assert row(out, "endpoint") == "url_0f"


def test_lists_say_that_an_endpoint_was_off_not_that_attempts_were_used_up(
    api: FakeApi, run_on_terminal: Run
) -> None:
    page = {"items": [tracker(webhook=WEBHOOK)], "next_cursor": None}
    api.answers["GET /v1/trackers"] = (200, page)
    api.answers["GET /v1/deliveries"] = (200, {"items": [OWED], "next_cursor": None})

    shown = " ".join(run_on_terminal("list").out.split())
    assert "exhausted: endpoint hooks was off" in shown
    assert "1 attempt" not in shown
    assert re.search(r"^dlv_1 +endpoint off ", run_on_terminal("deliveries").out, re.MULTILINE)


def test_deliveries_tell_to_whom_where_there_is_room(api: FakeApi, on_screen: OnScreen) -> None:
    bare = OWED | {"endpoint": "url_0f", "url": "https://example.com/bare"}
    api.answers["GET /v1/deliveries"] = (200, {"items": [OWED, bare], "next_cursor": None})
    with on_screen("deliveries") as screen:
        screen.until("https://example.com/bare")
    assert re.search(r"Attempts +Endpoint ", screen.text)
    assert re.search(r"HTTP 410 +hooks ", screen.text)


def test_a_delivery_tells_the_same(api: FakeApi, run_on_terminal: Run) -> None:
    api.answers["GET /v1/deliveries/dlv_1"] = (200, OWED)
    api.answers["GET /v1/endpoints/hooks"] = (200, endpoint(disabled_reason="it answered 410 Gone"))
    out = run_on_terminal("deliveries", "dlv_1").out
    assert row(out, "exhausted").startswith("its endpoint hooks is off (it answered 410 Gone): ")


# --- errors and notes -----------------------------------------------------------------------------


def test_what_the_api_says_with_a_route_the_command_line_says_with_a_command(
    api: FakeApi, run: Run
) -> None:
    detail = 'Endpoint hooks is off (gone): PUT /v1/endpoints/hooks with {"enabled": true} first.'
    problem = {"title": "Conflict", "detail": detail}
    api.answers["POST /v1/deliveries/dlv_1/replay"] = (409, problem)
    api.answers["POST /v1/endpoints/hooks/recover"] = (409, problem)
    for command in (["replay", "dlv_1"], ["endpoints", "recover", "hooks", "--since", "2h"]):
        ended = run(*command)
        assert ended.code == 1
        assert "is off (gone): `dreamhook endpoints enable hooks` first." in ended.err
        assert "PUT" not in ended.err


def test_routes_that_have_no_command_stay_as_they_are() -> None:
    text = "To change them, DELETE /v1/trackers/studio/g-1 and track it again; GET shows them all."
    assert in_commands(text).startswith("To change them, `dreamhook cancel -a studio g-1` and")
    assert in_commands("POST /v1/accounts") == "POST /v1/accounts"


@pytest.mark.parametrize(("enabled", "says"), [(False, True), (True, False)])
def test_tracking_to_an_endpoint_that_is_off_is_not_passed_over(
    api: FakeApi, run: Run, *, enabled: bool, says: bool
) -> None:
    result = {"generation_id": "g-1", "status": 202, "tracker": tracker(endpoint="hooks")}
    api.answers["POST /v1/trackers"] = (200, {"results": [result]})
    api.answers["GET /v1/endpoints/hooks"] = (200, endpoint(enabled=enabled))

    ended = run("track", "g-1", "--endpoint", "hooks")

    assert ended.code == 0
    assert ("endpoint hooks is off" in ended.err) is says
    assert ("`dreamhook endpoints enable hooks`" in ended.err) is says


def test_a_callback_url_that_is_off_is_told_by_its_name(api: FakeApi, run: Run) -> None:
    url, name = "https://example.com/hook", "url_19f1352238b915338c91"
    result = {"generation_id": "g-1", "status": 202, "tracker": tracker(callback_url=url)}
    api.answers["POST /v1/trackers"] = (200, {"results": [result]})
    api.answers[f"GET /v1/endpoints/{name}"] = (200, endpoint(name=name))
    assert f"`dreamhook endpoints enable {name}`" in run("track", "g-1").err


def test_that_nobody_asked_to_be_told_is_said(api: FakeApi, run_on_terminal: Run) -> None:
    answer_get(api, [EVENT], [], events=["generation.completed"])
    head, _, tree = run_on_terminal("get", ID).out.partition("\n\n")
    assert row(head, "webhook") == "none: nobody asked to be told (no callback URL, no endpoint)"
    assert "nobody asked to be told: no callback URL, no endpoint" in tree


def test_an_event_of_a_receiver_that_has_gone_is_owed_to_nobody_any_more(
    api: FakeApi, run_on_terminal: Run
) -> None:
    answer_get(api, [EVENT], [], endpoint="hooks")
    assert "owed to no receiver (any more)" in run_on_terminal("get", ID).out
