"""The settings of several cells: what all of them share, and which one a process serves."""

from __future__ import annotations

import json

import pytest

from worker.accounts import configured
from worker.config import Settings
from worker.errors import ConfigurationError
from worker.signing import new_secret
from worker.wiring_redis import connected

CELLS = {"a": "redis://:hunter2@r1", "b": "redis://r2"}
ENV = {
    "DREAMHOOK_CELLS": json.dumps(CELLS),
    "DREAMHOOK_WEBHOOK_SECRET": new_secret(bytes(range(32))),
}


def refusal(**env: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({**ENV, **env})
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def test_a_process_of_one_cell_has_its_redis() -> None:
    settings = Settings.load({**ENV, "DREAMHOOK_CELL": "b"})
    assert settings.redis_url == "redis://r2"
    assert not settings.is_divided
    assert Settings.load(ENV).is_divided


def test_a_cell_is_one_that_is_named() -> None:
    assert "set it to one of a, b" in refusal(DREAMHOOK_CELL="c")
    assert "DREAMHOOK_CELL" in refusal(DREAMHOOK_CELL="A")


def test_cells_need_a_secret_that_they_share() -> None:
    assert "DREAMHOOK_WEBHOOK_SECRET" in refusal(DREAMHOOK_WEBHOOK_SECRET="")


def test_cells_and_a_redis_of_ones_own_do_not_go_together() -> None:
    assert "unset one" in refusal(DREAMHOOK_REDIS_URL="redis://r1")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('{"a": "redis://r", "b": "redis://r"}', "one Redis twice"),
        ('{"a:b": "redis://r"}', "up to 32 of a-z 0-9 -"),
        ('{"a": "http://:hunter2@r"}', "is not a Redis URL"),
        ("a", "is not JSON"),
    ],
)
def test_cells_that_cannot_be_used_are_refused(value: str, says: str) -> None:
    assert says in refusal(DREAMHOOK_CELLS=value)


def test_only_the_names_of_cells_are_shown() -> None:
    (row,) = (row for row in Settings.load(ENV).describe() if row.name == "DREAMHOOK_CELLS")
    assert row.value == "a, b"


def test_the_budget_of_a_divided_account_is_divided_with_it() -> None:
    account = {"provider": "luma", "api_key": "k", "polls_per_second": 5}
    accounts = {"whole": account, "wide": {**account, "spread": True}}
    env = {"DREAMHOOK_ACCOUNTS": json.dumps(accounts)}
    found, _ = configured(Settings.load({**ENV, **env, "DREAMHOOK_CELL": "a"}))
    assert found["whole"].polls_per_second == 5
    assert found["wide"].polls_per_second == 2.5
    found, _ = configured(Settings.load(env))  # and is whole where there are no cells
    assert found["wide"].polls_per_second == 5


async def test_what_is_about_one_cell_is_told_to_name_it() -> None:
    with pytest.raises(ConfigurationError, match="Set DREAMHOOK_CELL to its name, one of a, b"):
        async with connected(Settings.load(ENV)):
            pass
