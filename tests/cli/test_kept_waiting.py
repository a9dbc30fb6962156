"""What people see of a tracker that stands still: its account is held, or nobody works."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.cli.conftest import FakeApi, OnScreen, Run
from tests.cli.test_held import soon
from tests.cli.test_terminal import ID, KNOWN, answer_get, tracker
from tests.cli.test_top import NOW, STATS, drawn, view
from worker.cli.board import troubles_of
from worker.figures import NO_WORKER

TRACKER = f"GET /v1/trackers/luma/{ID}"
HELD = {
    "account": "luma",
    "since": "2026-01-01T00:00:01.000Z",
    "until": None,
    "reason": "credentials rejected",
    "detail": "401 Unauthorized",
    "errors_in_a_row": 3,
    "in_words": "The provider rejects the credentials of account luma (401 Unauthorized): check its"
    " API key. A probe is under way; once it is answered, what waits follows.",
}
TROUBLE = "its account is in trouble: credentials rejected (401 Unauthorized)"
NOBODY = STATS | {"workers": 0, "lag_s": 12.0}


def kept(**fields: Any) -> dict[str, Any]:
    """Make a tracker whose account is held, and whose own last look failed in another way."""
    until = soon(45.5)
    more = {"current_error": "cannot connect", "finished_at": None, "next_poll_at": until}
    return tracker(state="tracking", **more | {"held": HELD | {"until": until}} | fields)


def overdue(**fields: Any) -> dict[str, Any]:
    return tracker(state="tracking", finished_at=None, next_poll_at=soon(-9)) | fields


# --- its account is held --------------------------------------------------------------------------


def test_a_list_shows_that_accounts_are_held_and_no_older_error(
    api: FakeApi, run_on_terminal: Run
) -> None:
    api.answers["GET /v1/trackers"] = (200, {"items": [kept()], "next_cursor": None})

    said = " ".join(run_on_terminal("list").out.split())

    assert "account held," in said
    assert re.search(r"probe in [34]\d s", said)
    assert "cannot connect" not in said


def test_get_tells_why_nobody_looks_and_when_the_next_look_goes(
    api: FakeApi, run_on_terminal: Run
) -> None:
    it = kept()
    answer_get(api, [{"at": HELD["since"], "kind": "hold", **HELD}], [])
    api.answers[TRACKER] = (200, it)

    head, _, tree = run_on_terminal("get", ID).out.partition("\n\n")

    why = re.escape("credentials rejected (401 Unauthorized))")
    state = rf"^state +tracking \(account held, probe in [34]\d s: {why}$"
    assert re.search(state, head, re.MULTILINE)
    assert re.search(rf"^held +{re.escape(HELD['in_words'])}$", head, re.MULTILINE)
    due = re.escape(it["next_poll_at"])
    assert re.search(rf"^next look at +{due} \(in [34]\d s\)$", head, re.MULTILINE)
    assert f"held: {HELD['in_words']}" in " ".join(tree.replace("│", " ").split())


def test_top_shows_on_80_columns_that_the_account_is_held() -> None:
    held = HELD | {"until": (NOW + timedelta(seconds=11.5)).isoformat()}
    shown = drawn(view(rows=[kept(held=held)]), width=80)
    assert "account held, probe in 12 s" in shown


def test_accounts_count_down_to_the_probe(api: FakeApi, run_on_terminal: Run) -> None:
    health, held = {"ok": False, **HELD, "held_until": soon(45.5)}, HELD | {"until": soon(45.5)}
    account = KNOWN | {"health": health, "held": held, "provider": "luma", "tracking": 1}
    api.answers["GET /v1/accounts"] = (200, {"items": [account]})

    said = " ".join(run_on_terminal("accounts").out.split())

    assert re.search(r"held, probe in [34]\d s", said)


def test_accounts_and_top_say_that_a_probe_is_under_way(api: FakeApi, run_on_terminal: Run) -> None:
    health = {"ok": False, **HELD, "held_until": None}
    account = KNOWN | {"health": health, "held": HELD, "provider": "luma", "tracking": 1}
    api.answers["GET /v1/accounts"] = (200, {"items": [account]})
    trouble = {"name": "luma", **HELD, "held_until": None, "held": HELD}

    said = " ".join(run_on_terminal("accounts").out.split())

    assert "held, probe under way" in said
    assert next(troubles_of(STATS | {"accounts_in_trouble": [trouble]}, NOW)) == (
        "account luma: credentials rejected, held, probe under way (401 Unauthorized)"
    )


def test_a_wait_that_nobody_watches_says_once_that_the_account_is_in_trouble(
    api: FakeApi, run: Run
) -> None:
    between = kept(held=None, current_error="401 Unauthorized")
    answers = iter([kept(), between, kept(), tracker(state="expired", reason="deadline")])
    api.answers[TRACKER] = lambda _: (200, next(answers))

    said = run("wait", ID).err.splitlines()

    assert said[0] == f"dreamhook: {ID}: {TROUBLE}"
    assert sum(TROUBLE in each for each in said) == 1


def test_a_wait_on_a_terminal_shows_the_trouble_of_the_account(
    api: FakeApi, on_screen: OnScreen
) -> None:
    api.answers["GET /v1/accounts"] = (200, {"items": [KNOWN]})
    api.answers[TRACKER] = (200, kept())
    with on_screen("wait", ID) as screen:
        screen.until(TROUBLE[:40])


# --- nobody works ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late",
    [
        overdue(),
        tracker(state="completed", webhook={"state": "pending", "next_attempt_at": soon(-9)}),
    ],
    ids=["a look", "a webhook"],
)
def test_get_says_that_no_worker_lives_if_something_is_late(
    api: FakeApi, run: Run, late: dict[str, Any]
) -> None:
    api.answers |= {TRACKER: (200, late), "GET /v1/stats": (200, NOBODY)}

    ended = run("get", ID)

    assert ended.err == f"dreamhook: {NO_WORKER}.\n"
    assert ended.lines == [late]


def test_get_says_so_below_the_tree_too(api: FakeApi, run_on_terminal: Run) -> None:
    answer_get(api, [], [])
    api.answers |= {TRACKER: (200, overdue()), "GET /v1/stats": (200, NOBODY)}
    assert f"{NO_WORKER}." in run_on_terminal("get", ID).err


def test_nobody_is_asked_for_workers_while_nothing_is_late(api: FakeApi, run: Run) -> None:
    api.answers |= {TRACKER: (200, overdue(next_poll_at=soon(5))), "GET /v1/stats": (200, NOBODY)}
    assert run("get", ID).err == ""
    assert [line for line, _ in api.asked] == [TRACKER]


@pytest.mark.parametrize(
    "stats",
    [(200, STATS), (200, NOBODY | {"lag_s": 0.0}), (403, {"detail": "Another key."})],
    ids=["a worker lives", "only this clock is ahead", "it may not be asked"],
)
def test_nothing_is_said_where_workers_live_or_nobody_can_tell(
    api: FakeApi, run: Run, stats: tuple[int, Any]
) -> None:
    api.answers |= {TRACKER: (200, overdue()), "GET /v1/stats": stats}
    ended = run("get", ID)
    assert (ended.code, ended.err) == (0, "")


def test_a_wait_says_once_that_no_worker_lives(api: FakeApi, run: Run) -> None:
    answers = iter([overdue(), overdue(), tracker(state="completed")])
    api.answers |= {TRACKER: lambda _: (200, next(answers)), "GET /v1/stats": (200, NOBODY)}

    ended = run("wait", ID)

    assert (ended.code, ended.err) == (0, f"dreamhook: {ID}: {NO_WORKER}\n")


def test_a_wait_on_a_terminal_shows_that_no_worker_lives(api: FakeApi, on_screen: OnScreen) -> None:
    api.answers |= {TRACKER: (200, overdue()), "GET /v1/stats": (200, NOBODY)}
    with on_screen("wait", ID) as screen:
        screen.until(NO_WORKER[:14])


def test_top_says_first_of_all_that_no_worker_lives() -> None:
    assert next(iter(troubles_of(NOBODY, NOW))).startswith(NO_WORKER)
    assert NO_WORKER not in " ".join(troubles_of(STATS, NOW))
