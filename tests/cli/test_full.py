"""What people are told of a webhook that waits since its endpoint is full, and what lets it go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import FakeApi, Run
from tests.cli.test_off import EVENT, OWED, WEBHOOK, row
from tests.cli.test_terminal import ID, answer_get

FULL = {"enabled": True, "concurrency": 8, "under_way": 8, "due": 120}
SAID = (
    "its endpoint has 8 of 8 attempts under way, 120 wait; a higher concurrency lets more go at"
    " once: `dreamhook endpoints put hooks --concurrency 16`"
)


def due(seconds_ago: float, **fields: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    pending = {"state": "pending", "reason": None, "attempts": 0, "status": None}
    return pending | {"next_attempt_at": at.isoformat(), "held": None} | fields


def answer(api: FakeApi, owed: dict[str, Any], **endpoint: Any) -> None:
    answer_get(api, [EVENT], [OWED | owed | {"attempts": []}], webhook=WEBHOOK | owed)
    known = {"name": "hooks", "url": "https://example.com/hooks", **FULL, **endpoint}
    api.answers["GET /v1/endpoints/hooks"] = (200, known)
    api.answers["GET /v1/deliveries/dlv_1"] = (200, OWED | owed | {"attempts": []})


def test_get_says_that_the_endpoint_is_full_and_what_lets_more_go(
    api: FakeApi, run_on_terminal: Run
) -> None:
    answer(api, due(7))
    assert row(run_on_terminal("get", ID).out, "webhook") == f"pending: {SAID}"


def test_a_delivery_says_so_too(api: FakeApi, run_on_terminal: Run) -> None:
    answer(api, due(7))
    assert row(run_on_terminal("deliveries", "dlv_1").out, "pending") == SAID


@pytest.mark.parametrize(
    ("seconds_ago", "owed", "endpoint"),
    [
        (-30, {}, {}),
        (0, {}, {}),
        (7, {"held": {"until": None, "in_words": "held"}}, {}),
        (7, {}, {"under_way": 7}),
    ],
    ids=["not due yet", "due just now", "held", "not full"],
)
def test_what_waits_for_something_else_is_not_told_so(
    api: FakeApi,
    run_on_terminal: Run,
    seconds_ago: float,
    owed: dict[str, Any],
    endpoint: dict[str, Any],
) -> None:
    answer(api, due(seconds_ago, **owed), **endpoint)
    assert "under way, 120 wait" not in run_on_terminal("get", ID).out
