"""In which account an ID is looked for, and what is said of one that is no generation's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import FakeApi, Run, tracker

TRACKED = {"at": "2026-01-01T00:00:00.000Z", "kind": "tracked"}
ACCOUNTS = {"items": [{"name": "luma"}, {"name": "studio"}, {"name": "fal"}]}
GONE = (404, {"title": "Not Found", "detail": "There is no tracker of 'g-1' in account luma."})


@pytest.fixture
def elsewhere(api: FakeApi) -> FakeApi:
    """An API that tracks g-1 in account fal alone."""
    api.answers["GET /v1/accounts"] = (200, ACCOUNTS)
    api.answers["GET /v1/trackers/luma/g-1"] = GONE
    found = tracker(account="fal", state="completed", tracked_at="2026-01-01T00:00:00.000Z")
    api.answers["GET /v1/trackers/fal/g-1"] = (200, found)
    api.answers["GET /v1/trackers/fal/g-1/timeline"] = (200, {"items": [TRACKED]})
    api.answers["GET /v1/deliveries"] = (200, {"items": [], "next_cursor": None})
    return api


@pytest.mark.parametrize("command", [["get", "g-1"], ["get", "g-1", "--fresh"], ["wait", "g-1"]])
def test_without_an_account_it_is_found_in_whichever_it_is(
    elsewhere: FakeApi, run: Run, command: list[str]
) -> None:
    ended = run(*command)
    assert (ended.code, ended.err) == (0, "")
    assert [each["account"] for each in ended.lines] == ["fal"]


def test_it_is_canceled_in_whichever_account_it_is(elsewhere: FakeApi, run: Run) -> None:
    elsewhere.answers["DELETE /v1/trackers/luma/g-1"] = GONE
    canceled = tracker(account="fal", state="canceled")
    elsewhere.answers["DELETE /v1/trackers/fal/g-1"] = (200, canceled)

    ended = run("cancel", "g-2", "dlv_1", "g-1")

    assert ended.code == 1, "the first two are tracked nowhere"
    nowhere, delivery = ended.err.splitlines()
    assert nowhere == "dreamhook: g-2 is tracked in none of the accounts luma, studio, fal."
    assert "`dreamhook deliveries dlv_1` shows it" in delivery
    assert ended.lines[-1] == canceled


def test_it_is_canceled_in_the_account_that_was_named_alone(elsewhere: FakeApi, run: Run) -> None:
    elsewhere.answers["DELETE /v1/trackers/luma/g-1"] = GONE
    assert run("cancel", "g-1", "-a", "luma").code == 1
    assert [line for line, _ in elsewhere.asked] == ["DELETE /v1/trackers/luma/g-1"]


def test_its_timeline_and_what_it_is_owed_are_those_of_that_account(
    elsewhere: FakeApi, run: Run, run_on_terminal: Run
) -> None:
    assert run("get", "g-1", "--timeline").lines == [TRACKED]
    assert "account     fal" in run_on_terminal("get", "g-1").out
    assert ("GET /v1/deliveries", "account=fal&generation_id=g-1&limit=500") in elsewhere.asked


def test_the_account_that_was_named_is_the_only_one(elsewhere: FakeApi, run: Run) -> None:
    ended = run("get", "g-1", "-a", "luma")
    assert ended.code == 1
    assert "no tracker of 'g-1' in account luma" in ended.err
    assert [line for line, _ in elsewhere.asked] == ["GET /v1/trackers/luma/g-1"]


def test_one_that_is_nowhere_is_told_with_where_it_was_looked_for(api: FakeApi, run: Run) -> None:
    api.answers["GET /v1/accounts"] = (200, ACCOUNTS)
    ended = run("get", "g-2")
    assert ended.code == 1
    assert ended.err == ("dreamhook: g-2 is tracked in none of the accounts luma, studio, fal.\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dlv_1", "dlv_1 is a delivery: `dreamhook deliveries dlv_1` shows it."),
        ("sub_1", "sub_1 is a submission: `dreamhook submissions sub_1` shows it."),
        ("evt_1", "evt_1 is an event, the webhook-id of its deliveries"),
        ("url_1", "`dreamhook endpoints get url_1` shows it."),
    ],
)
def test_an_id_of_another_kind_is_told_with_the_command_that_shows_it(
    api: FakeApi, run: Run, name: str, said: str
) -> None:
    ended = run("get", name)
    assert ended.code == 1
    assert said in ended.err


@pytest.mark.parametrize("command", ["replay", "deliveries"])
def test_a_generation_is_no_delivery_but_its_deliveries_can_be_listed(
    api: FakeApi, run: Run, command: str
) -> None:
    ended = run(command, "g-1")
    assert ended.code == 1
    assert "`dreamhook deliveries --generation g-1`" in ended.err
    assert "There is no POST" not in ended.err


def test_a_replay_that_fails_does_not_add_that_there_are_none(
    api: FakeApi, run_on_terminal: Run
) -> None:
    problem = {"title": "Conflict", "detail": "Endpoint mine is off."}
    api.answers["POST /v1/deliveries/dlv_1/replay"] = (409, problem)
    ended = run_on_terminal("replay", "dlv_1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "dreamhook: dlv_1: Endpoint mine is off. (HTTP 409)\n"


def test_other_settings_are_changed_with_a_command(api: FakeApi, run: Run) -> None:
    detail = (
        "g-1 is tracked with other settings. To change them, DELETE /v1/trackers/luma/g-1 and"
        " track it again; GET shows them all."
    )
    result: dict[str, Any] = {"generation_id": "g-1", "status": 409, "error": {"detail": detail}}
    api.answers["POST /v1/trackers"] = (200, {"results": [result]})
    ended = run("track", "g-1", "--metadata", "order=1234")
    assert ended.err == (
        "dreamhook: g-1 is tracked with other settings. To change them, `dreamhook cancel g-1` and"
        " track it again; `dreamhook get` shows them all.\n"
    )
