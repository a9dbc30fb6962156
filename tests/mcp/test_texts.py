"""The text of get_generation, beside the lines that luma-ai-mcp-server writes of the same."""

from __future__ import annotations

from typing import Any

import pytest

from worker.api.examples import DELIVERY
from worker.mcp_server import alone, answers, remote
from worker.mcp_server.texts import known_lines, text_of
from worker.model import JsonObject

VIDEO = "https://storage.cdn-luma.com/dream_machine/g-1_result.mp4"
STILL = "https://storage.cdn-luma.com/dream_machine/g-1_thumb.jpg"


def shape(provider_state: str | None, **more: Any) -> JsonObject:
    """Show a generation as the API shows one that nobody tracks."""
    words = {"completed": "completed", "failed": "failed"}
    return {
        "account": "luma",
        "generation_id": "g-1",
        "provider": "luma",
        "tracked": False,
        "state": words.get(provider_state or "", "running"),
        "provider_state": provider_state,
        "model": "ray-2",
        "type": "video",
        "progress": None,
        "assets": {},
        "assets_expire_at": None,
        "failure_reason": None,
        "failure_code": None,
        "retryable": None,
        "created_at": None,
        "seen_at": "2026-01-31T12:00:00.000Z",
        "generation": {},
        **more,
    }


# What the original writes of each state that it can report: it has no others, since `assets` that
# are null, as those of whatever is queued, made it fail.
ORIGINAL = {
    "dreaming": (shape("dreaming"), ["Generation ID: g-1", "State: dreaming"]),
    "failed": (
        shape("failed", failure_reason="Advanced prompt moderation failed"),
        ["Generation ID: g-1", "State: failed", "Reason: Advanced prompt moderation failed"],
    ),
    "failed without a reason": (shape("failed"), ["Generation ID: g-1", "State: failed"]),
    "completed": (
        shape("completed", assets={"video": VIDEO}),
        ["Generation ID: g-1", "State: completed", f"Video URL: {VIDEO}"],
    ),
}


@pytest.mark.parametrize(("shown", "lines"), ORIGINAL.values(), ids=ORIGINAL)
@pytest.mark.parametrize("show", [remote.shown, alone.shown], ids=["server", "alone"])
def test_the_first_lines_are_those_that_users_of_the_original_know(
    shown: JsonObject, lines: list[str], show: Any
) -> None:
    assert text_of(show(shown)).splitlines()[: len(lines)] == lines
    assert known_lines(show(shown)) == lines


# What the original could not report.
MORE = {
    "queued": (shape("queued"), ["Generation ID: g-1", "State: queued"]),
    "a completed image": (
        shape("completed", type="image", assets={"image": STILL}),
        ["Generation ID: g-1", "State: completed", f"Image URL: {STILL}"],
    ),
    "a video with a still": (
        shape("completed", assets={"video": VIDEO, "image": STILL}),
        ["Generation ID: g-1", "State: completed", f"Video URL: {VIDEO}", f"Image URL: {STILL}"],
    ),
    "not seen yet": (
        shape(None),
        ["Generation ID: g-1", "State: unknown (nobody has seen it yet)"],
    ),
}


@pytest.mark.parametrize(("shown", "lines"), MORE.values(), ids=MORE)
def test_what_the_original_could_not_report_has_lines_of_the_same_kind(
    shown: JsonObject, lines: list[str]
) -> None:
    assert known_lines(remote.shown(shown)) == lines


def test_a_tracker_is_told_with_its_next_look() -> None:
    text = text_of(
        remote.shown(
            shape("dreaming")
            | {
                "state": "tracking",
                "reason": None,
                "progress": 0.4,
                "tracked_at": "2026-01-31T11:59:00.000Z",
                "finished_at": None,
                "deadline_at": "2026-02-01T11:59:00.000Z",
                "next_poll_at": "2026-01-31T12:00:30.000Z",
                "last_error": "502 Bad Gateway",
            }
        )
    )
    *lines, last = text.splitlines()
    assert lines == [
        "Generation ID: g-1",
        "State: dreaming",
        "Progress: 40%",
        "Tracking: yes, the next look is at 2026-01-31T12:00:30Z",
        "Last error: 502 Bad Gateway",
    ]
    assert last.startswith("Next: It is watched to its end")
    assert "wait_for_generation" in last


def test_a_tracker_whose_account_is_held_is_told_with_that_and_no_older_error() -> None:
    words = "The provider rejects the credentials of account luma (401): check its API key."
    more = {"state": "tracking", "next_poll_at": None, "last_error": "cannot connect"}
    began = {"tracked_at": "2026-01-31T11:59:00.000Z"}
    held = shape(None) | more | began | {"held": {"in_words": words}}
    text = text_of(remote.shown(held))
    assert f"Held: {words}" in text.splitlines()
    assert "cannot connect" not in text
    assert remote.progress(held) == f"waiting for the first look. {words}"


def test_an_expired_tracker_says_why_and_what_to_do() -> None:
    text = text_of(
        remote.shown(
            shape("dreaming")
            | {
                "state": "expired",
                "reason": "deadline",
                "tracked_at": "2026-01-31T11:59:00.000Z",
                "finished_at": "2026-01-31T12:00:00.000Z",
            }
        )
    )
    assert "Tracking: over, expired (deadline) since 2026-01-31T12:00:00Z" in text
    assert "track_generation" in text


def test_a_webhook_that_waits_for_its_receiver_says_so() -> None:
    why = "https://example.com is not there: 3 attempts in a row failed. A probe is under way."
    owed = {**DELIVERY, "state": "pending", "next_attempt_at": "2026-01-31T12:01:00.000Z"}

    waiting = answers.delivery(owed | {"held": {"in_words": why}})

    assert waiting.held == why
    assert text_of(waiting).endswith(f"; next attempt at 2026-01-31T12:01:00Z. {why}")
    assert answers.delivery(owed).held is None


@pytest.mark.parametrize(
    ("name", "words"),
    [("mine", "its endpoint mine was off"), ("url_0f", "its endpoint was off")],
)
def test_a_webhook_whose_endpoint_was_off_says_so_and_what_to_do(name: str, words: str) -> None:
    exhausted = {"state": "exhausted", "reason": "endpoint_disabled", "endpoint": name}

    text = text_of(answers.delivery({**DELIVERY, **exhausted, "attempts": []}))

    assert f"exhausted ({words})" in text
    assert "endpoint_disabled" not in text
    assert text.endswith(
        f". Once it is on again, `dreamhook endpoints enable {name}`, use replay_delivery"
    )


def test_a_webhook_whose_attempts_are_used_up_says_that() -> None:
    exhausted = {"state": "exhausted", "reason": "attempts"}
    assert ": exhausted (attempts); attempt 1 at" in text_of(
        answers.delivery({**DELIVERY, **exhausted})
    )
