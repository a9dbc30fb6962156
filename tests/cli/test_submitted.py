"""What `submissions` asks for and prints."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import FakeApi, Run, tracker


def submission(submission_id: str = "sub_1", **fields: Any) -> dict[str, Any]:
    return {"id": submission_id, "account": "luma", "state": "pending"} | fields


def test_submissions_asks_for_what_fits_and_ends_at_the_limit(api: FakeApi, run: Run) -> None:
    page = {"items": [submission(f"sub_{n}") for n in range(3)], "next_cursor": "more"}
    api.answers["GET /v1/generations"] = (200, page)

    ended = run("submissions", "--state", "unknown", "--account", "luma", "--limit", "2")

    assert (ended.code, ended.err) == (0, "")
    assert [each["id"] for each in ended.lines] == ["sub_0", "sub_1"]
    assert api.asked == [("GET /v1/generations", "state=unknown&account=luma&limit=3")]


def test_submissions_can_be_shown_by_their_ids_and_one_that_there_is_not_harms_no_other(
    api: FakeApi, run: Run
) -> None:
    problem = {"title": "Not Found", "detail": "There is no submission 'sub_2'"}
    api.answers["GET /v1/generations/sub_1"] = (200, submission(tracker=tracker()))
    api.answers["GET /v1/generations/sub_2"] = (404, problem)

    ended = run("submissions", "sub_2", "sub_1")

    assert ended.code == 1
    assert ended.err == "dreamhook: There is no submission 'sub_2' (HTTP 404)\n"
    assert ended.lines[1] == submission(tracker=tracker())


def test_submissions_are_a_table_that_says_why_one_came_to_nothing(
    api: FakeApi, run_on_terminal: Run
) -> None:
    made = submission("sub_2", state="created", generation_id="g-1")
    refusal = {"status": 400, "body": None}
    refused = submission(state="refused", detail="Prompt is \x1b[31mrequired", refusal=refusal)
    unsent = submission("sub_0", state="refused", detail="Nothing was sent: no way", refusal=None)
    page = {"items": [made, refused, unsent], "next_cursor": None}
    api.answers["GET /v1/generations"] = (200, page)

    ended = run_on_terminal("submissions")

    heading, first, second, third = ended.out.splitlines()
    assert heading.split() == ["Submission", "State", "Generation"]
    assert first.split() == ["sub_2", "created", "g-1"]
    assert second.split()[:4] == ["sub_1", "refused", "Prompt", "is"]
    assert third.split()[:4] == ["sub_0", "not", "sent", "Nothing"]
    assert "\x1b" not in ended.out


def test_on_eighty_columns_the_id_of_a_generation_is_not_broken(
    api: FakeApi, run_on_terminal: Run
) -> None:
    made = submission(
        "sub_5b1f0c8e2d7a4f6390c1e2d3",
        state="created",
        begun_at="2026-01-01T00:00:00.000Z",
        generation_id="7d1f6c1e-5f0c-4f6b-9d53-0f6c1a2b3c4d",
    )
    api.answers["GET /v1/generations"] = (200, {"items": [made], "next_cursor": None})
    assert made["generation_id"] in run_on_terminal("submissions").out


def test_a_submission_is_shown_with_what_the_provider_said(
    api: FakeApi, run_on_terminal: Run
) -> None:
    refusal = {"status": 400, "body": {"detail": "Prompt is required"}}
    api.answers["GET /v1/generations/sub_1"] = (
        200,
        submission(provider="luma", state="refused", detail="Prompt is required", refusal=refusal),
    )
    api.answers["GET /v1/generations/sub_2"] = (
        200,
        submission("sub_2", provider="luma", generation_id="g-1", tracker=tracker()),
    )

    shown = run_on_terminal("submissions", "sub_1", "sub_2").out

    assert "provider's status  400" in shown
    assert 'it said            {"detail": "Prompt is required"}' in shown
    assert "generation  g-1" in shown
    assert "tracker     tracking" in shown
