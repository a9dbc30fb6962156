"""Settings that are misspelt are named, with what was perhaps meant."""

from __future__ import annotations

import pytest

from worker.config_unknown import Unknown, unknown_settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DREAMHOOK_RETENTON", "DREAMHOOK_RETENTION"),
        ("DREAMHOOK_API_KEYES", "DREAMHOOK_API_KEYS"),
        ("DREAMHOOK_REDIS", "DREAMHOOK_REDIS_URL"),
        ("DREAMHOOK_ALLOWPRIVATE", "DREAMHOOK_ALLOW_PRIVATE"),
        ("DREAMHOOK_COLOUR", None),
    ],
)
def test_what_is_no_setting_is_named_with_the_nearest(name: str, meant: str | None) -> None:
    assert unknown_settings({name: "1", "LUMAAI_API_KEY": "k"}) == [Unknown(name, meant)]


def test_settings_and_what_others_set_are_not_named() -> None:
    others = {
        "DREAMHOOK_RETENTION": "60",
        "DREAMHOOK_URL": "http://127.0.0.1:8080",
        "DREAMHOOK_TEST_BROWSER": "required",
        "DREAMHOOK_SERVICE_HOST": "10.0.0.1",
        "DREAMHOOK_PORT_8080_TCP_ADDR": "10.0.0.1",
        "DREAMHOOK_API_SERVICE_PORT_HTTP": "8080",
    }
    assert unknown_settings(others) == []


def test_the_remedy_says_what_to_do() -> None:
    (found,) = unknown_settings({"DREAMHOOK_RETENTON": "60"})
    assert found.remedy.endswith("did you mean DREAMHOOK_RETENTION?")
