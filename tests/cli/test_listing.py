"""What `get`, `list`, `cancel`, `deliveries` and `replay` ask for and print."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from tests.cli.conftest import FakeApi, Run, tracker

# --- get, list, cancel ----------------------------------------------------------------------------


def test_get_prints_the_tracker_as_it_is(api: FakeApi, run: Run) -> None:
    shown = tracker(generation={"id": "g-1", "prompt": "ein Böötchen\u2028"}, assets={})
    api.answers["GET /v1/trackers/luma/g-1"] = (200, shown)
    ended = run("get", "g-1")
    assert ended.lines == [shown]
    assert ended.out.isascii()


def test_get_can_look_first(api: FakeApi, run: Run) -> None:
    api.answers["GET /v1/trackers/luma/g-1"] = (200, tracker())
    run("get", "g-1", "--fresh")
    assert api.asked == [("GET /v1/trackers/luma/g-1", "fresh=true")]


def test_get_can_tell_what_happened(api: FakeApi, run: Run) -> None:
    entries = [{"at": "2026-01-01T00:00:00.000Z", "kind": "tracked"}]
    api.answers["GET /v1/trackers/luma/g-1/timeline"] = (200, {"items": entries})
    assert run("get", "g-1", "--timeline").lines == entries


def test_list_asks_for_what_fits_and_ends_at_the_limit(api: FakeApi, run: Run) -> None:
    page = {"items": [tracker(f"g-{n}") for n in range(3)], "next_cursor": "more"}
    api.answers["GET /v1/trackers"] = (200, page)

    ended = run(
        "list", "--limit", "2", "--state", "failed", "--account", "luma", "--model", "ray-2"
    )

    assert [each["generation_id"] for each in ended.lines] == ["g-0", "g-1"]
    assert api.asked == [
        ("GET /v1/trackers", "state=failed&account=luma&model=ray-2&limit=3"),
    ]


def test_list_can_go_through_all(api: FakeApi, run: Run) -> None:
    def page(query: str) -> tuple[int, Any]:
        start = int(query.partition("cursor=")[2] or 0)
        items = [tracker(f"g-{n}") for n in range(start, start + 500)]
        return 200, {"items": items, "next_cursor": str(start + 500) if start < 1000 else None}

    api.answers["GET /v1/trackers"] = page
    assert len(run("list", "--all").lines) == 1500


def test_cancel_prints_what_each_is_now_and_says_what_was_over(api: FakeApi, run: Run) -> None:
    over = tracker("g-2", state="completed", finished_at="2026-01-01T00:00:00.000Z")
    api.answers["DELETE /v1/trackers/luma/g-1"] = (200, tracker(state="canceled"))
    api.answers["DELETE /v1/trackers/luma/g-2"] = (200, over)
    ended = run("cancel", "g-1", "g-2")
    assert ended.code == 0
    assert [each["state"] for each in ended.lines] == ["canceled", "completed"]
    (said,) = ended.err.splitlines()
    assert said.startswith("dreamhook: g-2: there is nothing to cancel: it ended ")
    assert said.endswith(" ago, completed.")


# --- deliveries -----------------------------------------------------------------------------------


def delivery(delivery_id: str = "dlv_1", **fields: Any) -> dict[str, Any]:
    return {"id": delivery_id, "type": "generation.completed", "state": "pending"} | fields


def test_deliveries_asks_for_what_fits_and_ends_at_the_limit(api: FakeApi, run: Run) -> None:
    page = {"items": [delivery("dlv_3"), delivery("dlv_2"), delivery()], "next_cursor": "abc"}
    api.answers["GET /v1/deliveries"] = (200, page)

    ended = run(
        "deliveries", "--state", "exhausted", "-a", "studio", "--generation", "g-1",
        "--endpoint", "mine", "--limit", "2",
    )  # fmt: skip

    assert (ended.code, ended.err) == (0, "")
    assert [each["id"] for each in ended.lines] == ["dlv_3", "dlv_2"]
    [(_, query)] = api.asked
    assert parse_qs(query) == {
        "state": ["exhausted"],
        "account": ["studio"],
        "generation_id": ["g-1"],
        "endpoint": ["mine"],
        "limit": ["3"],
    }


def test_deliveries_can_go_through_all(api: FakeApi, run: Run) -> None:
    pages = iter(
        [
            {"items": [delivery("dlv_2")], "next_cursor": "abc"},
            {"items": [delivery()], "next_cursor": None},
        ]
    )
    api.answers["GET /v1/deliveries"] = lambda _: (200, next(pages))
    assert [each["id"] for each in run("deliveries", "--all").lines] == ["dlv_2", "dlv_1"]


def test_replay_prints_what_each_is_now(api: FakeApi, run: Run) -> None:
    for name in ("dlv_1", "dlv_2"):
        api.answers[f"POST /v1/deliveries/{name}/replay"] = (202, delivery(name))

    ended = run("replay", "dlv_1", "dlv_2")

    assert (ended.code, [each["id"] for each in ended.lines]) == (0, ["dlv_1", "dlv_2"])


def test_one_that_cannot_be_replayed_harms_no_other(api: FakeApi, run: Run) -> None:
    problem = {"title": "Conflict", "detail": "Endpoint mine is off."}
    api.answers["POST /v1/deliveries/dlv_1/replay"] = (409, problem)
    api.answers["POST /v1/deliveries/dlv_2/replay"] = (202, delivery("dlv_2"))

    ended = run("replay", "dlv_1", "dlv_2")

    assert ended.code == 1
    assert ended.err == "dreamhook: dlv_1: Endpoint mine is off. (HTTP 409)\n"
    refused, done = ended.lines
    assert refused == {"id": "dlv_1", "error": {"detail": "Endpoint mine is off. (HTTP 409)"}}
    assert done == delivery("dlv_2")


def test_deliveries_can_be_shown_by_their_ids(api: FakeApi, run: Run) -> None:
    api.answers["GET /v1/deliveries/dlv_1"] = (200, delivery())
    assert run("deliveries", "dlv_1").lines == [delivery()]


# --- accounts -------------------------------------------------------------------------------------

ACCOUNTS = {"items": [{"name": "luma", "configured": True}, {"name": "studio"}]}


def test_accounts_are_printed_as_they_are(api: FakeApi, run: Run) -> None:
    api.answers["GET /v1/accounts"] = (200, ACCOUNTS)
    assert run("accounts").lines == ACCOUNTS["items"]
    assert run("accounts", "studio").lines == [{"name": "studio"}]


def test_an_account_that_there_is_not_is_told_with_those_that_there_are(
    api: FakeApi, run: Run
) -> None:
    api.answers["GET /v1/accounts"] = (200, ACCOUNTS)
    ended = run("accounts", "nobody")
    assert (ended.code, ended.out) == (1, "")
    assert "there are: luma, studio" in ended.err
