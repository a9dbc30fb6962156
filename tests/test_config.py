"""Settings: what the environment says, with its defaults, and what is shown of it."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.config import ClientSettings, Settings
from worker.config_accounts import AccountSettings
from worker.config_redis import credentials_of_sentinels, redis_place
from worker.delivery_policy import RETRY_SCHEDULE
from worker.errors import ConfigurationError

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def load(**env: str) -> Settings:
    return Settings.load(env)


def refusal(env: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(env)
    return str(caught.value).splitlines()


def shown(settings: Settings | ClientSettings) -> dict[str, tuple[str, str]]:
    return {row.name: (row.value, row.source) for row in settings.describe()}


# --- defaults -------------------------------------------------------------------------------------


def test_with_nothing_set_it_listens_on_loopback_with_an_embedded_redis() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.redis_url) == ("127.0.0.1", 8080, None)


def test_the_default_schedule_is_the_policys() -> None:
    assert load().retry_schedule == RETRY_SCHEDULE


def test_a_week_of_retention_is_the_default() -> None:
    assert load().retention_s == 604_800


def test_data_is_kept_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load().data == Path("/home/someone/.dreamhook")


def test_a_user_without_a_home_still_has_a_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert load().data == Path("/var/lib/dreamhook")


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_variable_counts_as_unset(blank: str) -> None:
    settings = load(DREAMHOOK_PORT=blank, DREAMHOOK_API_KEYS=blank, LUMAAI_API_KEY=blank)
    assert settings == load()


def test_without_an_argument_the_process_environment_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DREAMHOOK_PORT", "9")
    assert Settings.load().port == 9


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load().port = 1  # type: ignore[misc]


# --- values ---------------------------------------------------------------------------------------


def test_the_schedule_is_a_list_of_seconds() -> None:
    assert load(DREAMHOOK_RETRY_SCHEDULE="0, 1.5,604800").retry_schedule == (0, 1.5, 604_800)


def test_the_word_none_is_a_schedule_without_retries() -> None:
    assert load(DREAMHOOK_RETRY_SCHEDULE="none").retry_schedule == ()


@given(st.lists(st.floats(0, 604_800), min_size=1, max_size=50))
def test_every_schedule_within_the_bounds_is_read_as_written(schedule: list[float]) -> None:
    text = ",".join(map(repr, schedule))
    assert list(load(DREAMHOOK_RETRY_SCHEDULE=text).retry_schedule) == schedule


def test_private_networks_may_be_of_both_families() -> None:
    networks = load(DREAMHOOK_ALLOW_PRIVATE="10.0.0.0/8, fd00::/8,192.168.1.7").allow_private
    assert networks == tuple(map(ip_network, ["10.0.0.0/8", "fd00::/8", "192.168.1.7/32"]))


def test_keys_are_split_at_commas() -> None:
    keys = load(DREAMHOOK_API_KEYS="one, two").api_keys
    assert [key.get_secret_value() for key in keys] == ["one", "two"]


def test_a_signing_secret_is_taken() -> None:
    secret = load(DREAMHOOK_WEBHOOK_SECRET=WHSEC).webhook_secret
    assert secret is not None
    assert secret.get_secret_value() == WHSEC


def test_a_tilde_in_the_data_directory_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load(DREAMHOOK_DATA="~/hooks").data == Path("/home/someone/hooks")


def test_the_log_level_may_be_written_in_capitals() -> None:
    assert load(DREAMHOOK_LOG_LEVEL="DEBUG").log_level == "debug"


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p%40w@h:6379/3",
        "rediss://h/",
        "redis://[::1]:6",
        "unix:///run/r.sock",
        "rediss://h/0?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=true",
        "redis+sentinel://h/service",
        "redis+sentinel://u:p%40w@a,b:26380,[::1]:1/my-service/3?sentinel_password=p%40w",
        "rediss+sentinel://a/s?sentinel_username=u&ssl_cert_reqs=none",
    ],
)
def test_redis_urls_are_taken_as_they_are(url: str) -> None:
    assert load(DREAMHOOK_REDIS_URL=url).redis_url == url


# --- accounts -------------------------------------------------------------------------------------


def test_accounts_are_read_from_json() -> None:
    accounts = {
        "luma": {"provider": "luma", "api_key": "k", "base_url": "http://h/v1/"},
        "second": {"provider": "luma", "polls_per_second": 0.5},
    }
    assert load(DREAMHOOK_ACCOUNTS=json.dumps(accounts)).accounts == {
        "luma": AccountSettings(provider="luma", api_key="k", base_url="http://h/v1"),
        "second": AccountSettings(provider="luma", polls_per_second=0.5),
    }


@pytest.mark.parametrize("variable", ["LUMAAI_API_KEY", "LUMA_API_KEY"])
def test_lumas_own_variables_make_the_account_luma(variable: str) -> None:
    account = load(**{variable: "luma-1\n", "LUMAAI_BASE_URL": "http://h/v1"}).accounts["luma"]
    assert account.provider == "luma"
    assert account.api_key.get_secret_value() == "luma-1"
    assert account.base_url == "http://h/v1"


def test_lumaai_api_key_goes_before_luma_api_key() -> None:
    account = load(LUMA_API_KEY="older", LUMAAI_API_KEY="newer").accounts["luma"]
    assert account.api_key.get_secret_value() == "newer"


def test_an_account_named_luma_wins_over_lumas_own_variables() -> None:
    accounts = load(
        DREAMHOOK_ACCOUNTS='{"luma": {"provider": "luma", "api_key": "mine"}}',
        LUMAAI_API_KEY="theirs",
    ).accounts
    assert [a.api_key.get_secret_value() for a in accounts.values()] == ["mine"]


def test_other_accounts_stand_beside_lumas_own_variables() -> None:
    accounts = load(
        DREAMHOOK_ACCOUNTS='{"second": {"provider": "luma"}}', LUMAAI_API_KEY="k"
    ).accounts
    assert set(accounts) == {"luma", "second"}


def test_the_variables_of_lumas_agents_sdk_make_an_account_of_their_own() -> None:
    accounts = load(
        LUMA_AGENTS_API_KEY="a", LUMA_BASE_URL="http://127.0.0.1:1/v1/", LUMAAI_API_KEY="k"
    ).accounts
    agents = accounts["luma-agents"]
    assert set(accounts) == {"luma", "luma-agents"}
    assert agents.provider == "luma-agents"
    assert agents.api_key.get_secret_value() == "a"
    assert agents.base_url == "http://127.0.0.1:1/v1"


def test_an_account_that_is_written_out_wins_over_the_variables() -> None:
    written = '{"luma-agents": {"provider": "luma-agents", "api_key": "b"}}'
    agents = load(DREAMHOOK_ACCOUNTS=written, LUMA_AGENTS_API_KEY="a").accounts["luma-agents"]
    assert agents.api_key.get_secret_value() == "b"


def test_the_users_own_providers_are_in_a_directory() -> None:
    assert load().providers is None
    assert load(DREAMHOOK_PROVIDERS="/etc/providers").providers == Path("/etc/providers")


def test_an_account_has_its_providers_rate_unless_it_is_given_one() -> None:
    written = '{"a": {"provider": "luma"}, "b": {"provider": "luma", "polls_per_second": 2}}'
    accounts = load(DREAMHOOK_ACCOUNTS=written).accounts
    assert [accounts[name].polls_per_second for name in "ab"] == [None, 2]


# --- what is shown --------------------------------------------------------------------------------


def test_describe_says_where_a_value_is_from() -> None:
    rows = shown(load(DREAMHOOK_PORT="9"))
    assert rows["DREAMHOOK_PORT"] == ("9", "environment")
    assert rows["DREAMHOOK_HOST"] == ("127.0.0.1", "default")


def test_describe_has_every_variable_of_the_service() -> None:
    variables = {field.alias for field in Settings.model_fields.values()}
    assert variables - set(shown(load())) == {"DREAMHOOK_ACCOUNTS"}


def test_describe_has_a_row_for_each_account() -> None:
    value, _ = shown(load(LUMAAI_API_KEY="k"))["account luma"]
    assert value == "provider luma, key set (hidden), its usual address, its usual polls/s"


def test_describe_shows_a_redis_url_without_its_password() -> None:
    value, _ = shown(load(DREAMHOOK_REDIS_URL="redis://me:pw@h:6379/1?password=pw"))[
        "DREAMHOOK_REDIS_URL"
    ]
    assert value == "redis://me:***@h:6379/1?***"


def test_describe_shows_sentinels_without_any_password() -> None:
    url = "redis+sentinel://me:pw@a:1,b:2/service/1?sentinel_password=pw"
    value, _ = shown(load(DREAMHOOK_REDIS_URL=url))["DREAMHOOK_REDIS_URL"]
    assert value == "redis+sentinel://me:***@a:1,b:2/service/1?***"


def test_sentinels_and_the_server_have_credentials_of_their_own() -> None:
    url = "rediss+sentinel://me:p%40w@a,b:2/service/1?sentinel_password=x%2By&ssl_ca_certs=/c"
    place = redis_place(url)
    assert place.sentinels == (("a", 26379), ("b", 2))
    assert place.service == "service"
    assert place.url == "rediss://me:p%40w@a/1?ssl_ca_certs=/c"
    assert credentials_of_sentinels(place) == {"password": "x+y"}
    assert "p%40w" not in repr(place)


secrets = st.text(string.ascii_letters + string.digits, min_size=12, max_size=40)


@given(secrets)
def test_no_secret_is_ever_shown(secret: str) -> None:
    env = {
        "DREAMHOOK_API_KEYS": f"{secret},another",
        "DREAMHOOK_REDIS_URL": f"redis://:{secret}@h/0",
        "DREAMHOOK_ACCOUNTS": json.dumps({"b": {"provider": "luma", "api_key": secret}}),
        "LUMAAI_API_KEY": secret,
    }
    settings = Settings.load(env)
    client = ClientSettings.load({"DREAMHOOK_API_KEY": secret})
    errors = refusal({name: f"{value}\x7f" for name, value in env.items()})
    texts = [settings, settings.describe(), settings.accounts, client, client.describe(), errors]
    assert [text for text in texts if secret in f"{text!r} {text}"] == []


# --- the commands of a user -----------------------------------------------------------------------


def test_a_client_speaks_to_this_machine_unless_told() -> None:
    settings = ClientSettings.load({})
    assert (settings.url, settings.api_key) == ("http://127.0.0.1:8080", None)


def test_a_client_reads_its_address_and_its_key() -> None:
    settings = ClientSettings.load({"DREAMHOOK_URL": "https://h/", "DREAMHOOK_API_KEY": "k"})
    assert settings.url == "https://h"
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "k"


def test_a_client_does_not_mind_the_settings_of_the_service() -> None:
    assert ClientSettings.load({"DREAMHOOK_PORT": "x"}) == ClientSettings.load({})


def test_a_client_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^DREAMHOOK_URL='localhost:8080': is no"):
        ClientSettings.load({"DREAMHOOK_URL": "localhost:8080"})
