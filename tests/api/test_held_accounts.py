"""An account whose key Luma refuses, behind a real Dreamhook: what its trackers say, and after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.web.stage import Stage, staged, until
from worker import policy
from worker.api import schemas

REFUSED = "401 Unauthorized: Invalid API key is provided"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as started:
        yield started


async def held(stage: Stage, path: str) -> dict[str, Any]:
    """Wait until a tracker waits for a probe that is to come."""

    async def found() -> dict[str, Any] | None:
        tracker: dict[str, Any] = await stage.get(path)
        return tracker if (tracker["held"] or {}).get("until") else None

    tracker: dict[str, Any] = await until(found)
    return tracker


async def test_trackers_say_that_their_account_is_held_those_too_that_nobody_has_looked_at(
    stage: Stage,
) -> None:
    first = await held(stage, await stage.track("first", account="spare"))
    path = await stage.track("second", account="spare")
    await stage.track("third")

    second = await stage.get(path)

    shown = schemas.Tracker.model_validate(second)
    assert shown.held is not None
    assert (shown.polls, shown.current_error) == (0, None)
    assert shown.next_poll_at == shown.held.until
    assert shown.held.until is not None
    assert shown.held.until > datetime.now(UTC) > shown.held.since
    assert (shown.held.account, shown.held.reason) == ("spare", "credentials rejected")
    assert (shown.held.detail, shown.held.errors_in_a_row) == (REFUSED, 1)
    assert shown.held.in_words.startswith(
        f"The provider rejects the credentials of account spare ({REFUSED}): check its API key."
    )
    assert "right" not in second["held"]["in_words"]
    assert first["current_error"] == first["last_error"] == REFUSED
    *_, line = (await stage.get(f"{path}/timeline"))["items"]
    assert (line["kind"], line["in_words"]) == ("hold", second["held"]["in_words"])
    page = (await stage.get("/v1/trackers"))["items"]
    assert {each["generation_id"]: bool(each["held"]) for each in page} == {
        "first": True,
        "second": True,
        "third": False,
    }


async def test_what_is_canceled_waits_for_nothing_and_the_probe_goes_when_the_hold_says(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "REFUSED_HOLD_S", 1.0)
    path = await stage.track("first", account="spare")
    before = await held(stage, path)

    async def is_held_anew() -> dict[str, Any] | None:
        tracker: dict[str, Any] = await held(stage, path)
        return tracker if tracker["held"]["errors_in_a_row"] > 1 else None

    after = await until(is_held_anew)

    assert after["held"]["since"] == before["held"]["since"]
    assert after["held"]["until"] > before["held"]["until"]
    canceled = (await stage.api.delete(path)).raise_for_status().json()
    assert (canceled["held"], canceled["next_poll_at"]) == (None, None)
