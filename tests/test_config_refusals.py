"""Settings that cannot be used are refused, a line for each, and never with a secret in it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from worker.config import Settings
from worker.errors import ConfigurationError


def load(**env: str) -> Settings:
    return Settings.load(env)


def refusal(env: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(env)
    return str(caught.value).splitlines()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("DREAMHOOK_PORT", "http", "a port from 1 to 65535"),
        ("DREAMHOOK_PORT", "65536", "a port from 1 to 65535"),
        ("DREAMHOOK_HOST", "a host", "an IP address or a host name"),
        ("DREAMHOOK_RETENTION", "59", "seconds, from 60 to 31536000"),
        ("DREAMHOOK_RETENTION", "31536001", "seconds, from 60 to 31536000"),
        ("DREAMHOOK_RETRY_SCHEDULE", "5,-1", "0 to 604800 seconds"),
        ("DREAMHOOK_RETRY_SCHEDULE", "604801", "0 to 604800 seconds"),
        ("DREAMHOOK_RETRY_SCHEDULE", "nan", "0 to 604800 seconds"),
        ("DREAMHOOK_RETRY_SCHEDULE", "5,,30", "0 to 604800 seconds"),
        ("DREAMHOOK_RETRY_SCHEDULE", ",".join(["5"] * 51), "at most 50"),
        ("DREAMHOOK_ALLOW_PRIVATE", "10.0.0.1/8", "networks such as 10.0.0.0/8"),
        ("DREAMHOOK_ALLOW_PRIVATE", "intranet", "networks such as 10.0.0.0/8"),
        ("DREAMHOOK_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("DREAMHOOK_PREFIX", "{tag}", "letters, digits"),
        ("DREAMHOOK_PREFIX", "team:eu", "has a colon"),
        ("DREAMHOOK_PREFIX", "team*", "letters, digits"),
        ("DREAMHOOK_PREFIX", "team eu", "letters, digits"),
        ("DREAMHOOK_PREFIX", "x" * 65, "too long"),
        ("DREAMHOOK_DATA", "~nobody-of-that-name/x", "the directory"),
        ("LUMAAI_BASE_URL", "localhost:8080", "an http(s) URL"),
        ("LUMAAI_BASE_URL", "http://h/v1?x=1", "an http(s) URL"),
    ],
)
def test_a_bad_value_is_one_line_with_variable_value_and_remedy(
    variable: str, value: str, says: str
) -> None:
    (line,) = refusal({variable: value})
    assert line.startswith(f"{variable}={value[:80]!r}")
    assert says in line


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("DREAMHOOK_REDIS_URL", "http://hunter2@h", "redis://"),
        ("DREAMHOOK_REDIS_URL", "redis://:pa/hunter2@h", "redis://"),
        ("DREAMHOOK_REDIS_URL", "redis://h/hunter2", "redis://"),
        ("DREAMHOOK_REDIS_URL", "redis://:hunter2#1@h", "%23"),
        ("DREAMHOOK_REDIS_URL", "redis://h,hunter2/0", "not a Redis URL"),
        ("DREAMHOOK_REDIS_URL", "redis://h:hunter2/0", "not a Redis URL"),
        ("DREAMHOOK_REDIS_URL", "redis://h/0?db=hunter2", "db that is not a number"),
        ("DREAMHOOK_REDIS_URL", "redis://h/0?ssl_keyfile=hunter2", "parameter ssl_keyfile"),
        ("DREAMHOOK_REDIS_URL", "rediss://h/0?sentinel_password=hunter2", "sentinel_password"),
        ("DREAMHOOK_REDIS_URL", "rediss://h/0?Hunter2!hunter2=1", "parameter of another name"),
        ("DREAMHOOK_REDIS_URL", "rediss://h/0?ssl_cert_reqs=hunter2", "required, optional or"),
        ("DREAMHOOK_REDIS_URL", "redis+sentinel://:hunter2@/s", "host:port,host:port"),
        ("DREAMHOOK_REDIS_URL", "redis+sentinel://:hunter2@h:99999/s", "host:port,host:port"),
        ("DREAMHOOK_REDIS_URL", "redis+sentinel://:hunter2@h,h", "the Sentinels' service"),
        ("DREAMHOOK_REDIS_URL", "redis+sentinel://:hunter2@h/s/x", "the Sentinels' service"),
        ("DREAMHOOK_API_KEYS", "hunter2,,x", "comma-separated"),
        ("DREAMHOOK_API_KEYS", "hunter2 x", "visible ASCII"),
        ("DREAMHOOK_WEBHOOK_SECRET", "hunter2", "whsec_"),
        ("DREAMHOOK_WEBHOOK_SECRET", "whsec_aHVudGVyMg==", "24 to 64"),
        ("LUMA_API_KEY", "luma-hunter2é", "as Luma shows it"),
        ("LUMAAI_BASE_URL", "http://user:hunter2@h", "an http(s) URL"),
        ("DREAMHOOK_ACCOUNTS", '{"hunter2"', "is not JSON"),
        ("DREAMHOOK_ACCOUNTS", '["hunter2"]', "JSON such as"),
    ],
)
def test_a_bad_value_that_may_hold_a_secret_is_not_shown(
    variable: str, value: str, says: str
) -> None:
    (line,) = refusal({variable: value})
    assert line.startswith(variable)
    assert says in line
    assert value not in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("account", "place"),
    [
        ({}, "DREAMHOOK_ACCOUNTS, second, provider: "),
        ({"provider": "Luma!"}, "DREAMHOOK_ACCOUNTS, second, provider: "),
        ({"provider": "luma", "apikey": "k"}, "DREAMHOOK_ACCOUNTS, second, apikey: "),
        ({"provider": "luma", "api_key": "a b"}, "DREAMHOOK_ACCOUNTS, second, api_key: "),
        ({"provider": "luma", "base_url": "h"}, "DREAMHOOK_ACCOUNTS, second, base_url: "),
        (
            {"provider": "luma", "polls_per_second": 0},
            "DREAMHOOK_ACCOUNTS, second, polls_per_second: ",
        ),
        (
            {"provider": "luma", "polls_per_second": 1001},
            "DREAMHOOK_ACCOUNTS, second, polls_per_second: ",
        ),
    ],
)
def test_a_bad_account_is_one_line_that_names_account_and_field(
    account: dict[str, object], place: str
) -> None:
    (line,) = refusal({"DREAMHOOK_ACCOUNTS": json.dumps({"second": account})})
    assert line.startswith(place)


@pytest.mark.parametrize("name", ["Luma", "-x", "", "a" * 65, "a:b", "a/b"])
def test_an_account_name_that_would_not_fit_a_path_is_refused(name: str) -> None:
    (line,) = refusal({"DREAMHOOK_ACCOUNTS": json.dumps({name: {"provider": "luma"}})})
    assert line.startswith(f"DREAMHOOK_ACCOUNTS, {name}: ")


def test_every_bad_setting_has_its_line() -> None:
    lines = refusal(
        {
            "DREAMHOOK_PORT": "x",
            "DREAMHOOK_RETRY_SCHEDULE": "x,y,z",
            "LUMAAI_BASE_URL": "x",
        }
    )
    assert [line.partition("=")[0] for line in lines] == [
        "DREAMHOOK_RETRY_SCHEDULE",
        "DREAMHOOK_PORT",
        "LUMAAI_BASE_URL",
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "dreamhook.example.com"])
def test_listening_beyond_loopback_without_a_key_is_refused(host: str) -> None:
    (line,) = refusal({"DREAMHOOK_HOST": host})
    assert "DREAMHOOK_HOST" in line
    assert "set DREAMHOOK_API_KEYS" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_listening_on_loopback_needs_no_key(host: str) -> None:
    assert load(DREAMHOOK_HOST=host).host == host


def test_listening_beyond_loopback_with_a_key_is_fine() -> None:
    assert load(DREAMHOOK_HOST="0.0.0.0", DREAMHOOK_API_KEYS="k").host == "0.0.0.0"


def test_read_keys_alone_are_refused_since_nobody_could_track() -> None:
    (line,) = refusal({"DREAMHOOK_READ_KEYS": "k"})
    assert "DREAMHOOK_API_KEYS" in line


def test_a_key_that_may_both_write_and_only_read_is_refused() -> None:
    (line,) = refusal({"DREAMHOOK_API_KEYS": "a,b", "DREAMHOOK_READ_KEYS": "b"})
    assert "DREAMHOOK_READ_KEYS" in line
