"""What `dreamhook endpoints …` asks for, prints and ends with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cli.conftest import FakeApi, Run
from worker.cli.owed import fullness_of, remedy_of
from worker.cli.words import instant_of
from worker.errors import InvalidInputError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def endpoint(name: str = "studio", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "url": "https://example.com/hooks",
        "events": [],
        "headers": {},
        "enabled": True,
        "disabled_reason": None,
        "secrets": 1,
        "concurrency": 8,
        "refresh_assets": False,
        "failing_since": None,
    } | fields


@pytest.mark.parametrize("arguments", [["endpoints"], ["endpoints", "list"]])
def test_endpoints_are_listed(api: FakeApi, run: Run, arguments: list[str]) -> None:
    page = {"items": [endpoint(), endpoint("other")], "next_cursor": None}
    api.answers["GET /v1/endpoints"] = (200, page)
    assert [each["name"] for each in run(*arguments).lines] == ["studio", "other"]


def test_endpoints_are_a_table_that_tells_what_is_wrong(api: FakeApi, run_on_terminal: Run) -> None:
    off = endpoint("old", enabled=False, disabled_reason="it answered 410 Gone\x1b[2J")
    failing = endpoint("slow", failing_since="2026-01-01T00:00:00.000Z")
    page = {"items": [endpoint(), off, failing], "next_cursor": None}
    api.answers["GET /v1/endpoints"] = (200, page)

    shown = run_on_terminal("endpoints").out

    assert "studio    on" in shown
    assert "off (it answered 410" in shown
    assert "failing for" in shown
    assert "\x1b" not in shown


def test_no_url_of_an_endpoint_is_broken_on_80_columns(api: FakeApi, run_on_terminal: Run) -> None:
    url = f"https://hooks.example.com/{'x' * 45}"
    page = {"items": [endpoint("a-studio", url=url), endpoint()], "next_cursor": None}
    api.answers["GET /v1/endpoints"] = (200, page)
    assert [line.rstrip() for line in run_on_terminal("endpoints").out.splitlines()[:3]] == [
        "Endpoint, URL  State",
        "a-studio       on",
        f"  {url}",
    ]


FULL = "8 of 8 attempts under way, 120 wait"


def test_an_endpoint_that_is_full_says_what_lets_more_go(
    api: FakeApi, run_on_terminal: Run
) -> None:
    full = endpoint(under_way=8, due=120)
    page = {"items": [full, endpoint("other", under_way=7, due=120)], "next_cursor": None}
    api.answers["GET /v1/endpoints"] = (200, page)
    api.answers["GET /v1/endpoints/studio"] = (200, full)
    more = "a higher concurrency lets more go at once: `dreamhook endpoints put studio"

    listed, got = run_on_terminal("endpoints"), run_on_terminal("endpoints", "get", "studio")

    assert f"on, {FULL} " in listed.out
    assert f"studio: {more}" in listed.err
    assert "other:" not in listed.err
    assert f"state        on, {FULL}\n" in got.out
    assert f"full         {more}" in got.out


def test_what_is_held_or_has_all_places_there_are_is_offered_no_more() -> None:
    full = endpoint(concurrency=64, under_way=64, due=1)
    assert fullness_of(full) == "64 of 64 attempts under way, 1 waits"
    assert "put" not in remedy_of(full)
    assert fullness_of(full | {"held": {"until": None}}) == ""


def test_put_sends_what_was_typed_and_shows_the_secret(api: FakeApi, run: Run) -> None:
    api.answers["PUT /v1/endpoints/studio"] = (201, endpoint(secret=SECRET))

    ended = run(
        "endpoints", "put", "studio", "--url", "https://example.com/hooks", "--event", "completed",
        "--event", "endpoint.disabled", "--header", "X-Team: video", "--concurrency", "2",
    )  # fmt: skip

    assert ended.lines == [endpoint(secret=SECRET)]
    assert api.asked[-1][1] == {
        "url": "https://example.com/hooks",
        "events": ["endpoint.disabled", "generation.completed"],
        "headers": {"X-Team": "video"},
        "concurrency": 2,
    }


SETTINGS = {
    "events": ["generation.failed"],
    "headers": {"X-Team": "video"},
    "concurrency": 32,
    "refresh_assets": True,
}


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (["--url", "https://new.example.com/"], SETTINGS | {"url": "https://new.example.com/"}),
        (["--concurrency", "64"], SETTINGS | {"concurrency": 64}),
        (["--no-refresh-assets"], SETTINGS | {"refresh_assets": False}),
        (["--url", "https://new.example.com/", "--reset"], {"url": "https://new.example.com/"}),
    ],
)
def test_put_leaves_the_other_settings_as_they_are_unless_they_are_to_be_reset(
    api: FakeApi, run: Run, typed: list[str], sent: dict[str, Any]
) -> None:
    api.answers["GET /v1/endpoints/studio"] = (200, endpoint(**SETTINGS))
    api.answers["PUT /v1/endpoints/studio"] = (200, endpoint())
    assert run("endpoints", "put", "studio", *typed).code == 0
    assert api.asked[-1] == ("PUT /v1/endpoints/studio", sent)


def test_what_has_its_default_is_not_put(api: FakeApi, run: Run) -> None:
    api.answers["GET /v1/endpoints/studio"] = (200, endpoint())
    api.answers["PUT /v1/endpoints/studio"] = (200, endpoint())
    run("endpoints", "put", "studio", "--url", "https://new.example.com/")
    assert api.asked[-1][1] == {"url": "https://new.example.com/", "concurrency": 8}


def test_a_new_secret_is_whole_on_a_terminal(api: FakeApi, run_on_terminal: Run) -> None:
    api.answers["POST /v1/endpoints/studio/rotate"] = (200, endpoint(secret=SECRET, secrets=2))
    ended = run_on_terminal("endpoints", "rotate", "studio", "--overlap", "60")
    assert f"{SECRET}\n" in ended.out
    assert "shown this once" in ended.err
    assert api.asked[0][1] == {"overlap_s": 60.0}


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_switching_changes_nothing_else(api: FakeApi, run: Run, command: str) -> None:
    enabled = command == "enable"
    api.answers["GET /v1/endpoints/studio"] = (200, endpoint())
    api.answers["PUT /v1/endpoints/studio"] = (200, endpoint(enabled=enabled))
    ended = run("endpoints", command, "studio", "nobody")
    assert ended.code == 1, "there is no endpoint nobody"
    assert ended.lines[0]["enabled"] is enabled
    assert api.asked[1] == ("PUT /v1/endpoints/studio", {"enabled": enabled})


def test_delete_says_what_is_gone(api: FakeApi, run: Run) -> None:
    api.answers["DELETE /v1/endpoints/studio"] = (204, None)
    assert run("endpoints", "delete", "studio").lines == [{"name": "studio", "deleted": True}]


def test_recover_takes_how_long_ago_it_was(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/endpoints/studio/recover"] = (202, {"recovered": 12})
    ended = run("endpoints", "recover", "studio", "--since", "2026-01-31T13:00:00+01:00")
    assert ended.lines == [{"name": "studio", "since": "2026-01-31T12:00:00Z", "recovered": 12}]
    assert api.asked[0][1] == {"since": "2026-01-31T12:00:00Z"}


# --- test -----------------------------------------------------------------------------------------


def delivery(state: str, *attempts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "dlv_1", "type": "endpoint.test", "state": state, "attempts": list(attempts)}


@pytest.mark.parametrize(
    ("after", "code"),
    [
        (delivery("delivered", {"status": 204}), 0),
        (delivery("pending", {"status": 500}), 3),
        (delivery("exhausted", {"status": 410}), 3),
    ],
)
def test_a_test_waits_for_the_first_attempt_and_tells_its_outcome(
    api: FakeApi, run: Run, after: dict[str, Any], code: int
) -> None:
    api.answers["POST /v1/endpoints/studio/test"] = (202, delivery("pending"))
    api.answers["GET /v1/deliveries/dlv_1"] = (200, after)
    ended = run("endpoints", "test", "studio")
    assert (ended.code, ended.lines) == (code, [after])


def test_a_test_that_is_not_attempted_in_time_is_124(api: FakeApi, run: Run) -> None:
    api.answers["POST /v1/endpoints/studio/test"] = (202, delivery("pending"))
    assert run("endpoints", "test", "studio", "--timeout", "0").code == 124


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2h", "2026-01-01T10:00:00Z"),
        ("90min", "2026-01-01T10:30:00Z"),
        ("1.5 d", "2025-12-31T00:00:00Z"),
    ],
)
def test_an_instant_is_a_time_or_how_long_ago(text: str, instant: str) -> None:
    assert instant_of("--since", text, datetime(2026, 1, 1, 12, tzinfo=UTC)) == instant


@pytest.mark.parametrize("text", ["", "h", "nanh", "1e300d", "2 weeks", "2026-01-31", "-"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--since"):
        instant_of("--since", text, datetime(2026, 1, 1, 12, tzinfo=UTC))
