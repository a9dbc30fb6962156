"""The settings: what the environment says, checked once, at start.

This is the one module that reads the environment, and the environment is all it reads: no
configuration file and no `.env`. What is unset or blank has its default; what cannot be used is a
`ConfigurationError` with one line for each bad setting, and never a secret in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from worker.config_accounts import SHORTCUTS, AccountSettings
from worker.config_cells import CellSettings
from worker.config_values import (
    AccountName,
    Directory,
    FromJson,
    Host,
    HttpUrl,
    Key,
    KeyPrefix,
    Keys,
    Lowercase,
    Networks,
    Patience,
    Pauses,
    home,
    is_loopback,
    without_secrets,
)
from worker.delivery_policy import RETRY_SCHEDULE
from worker.errors import ConfigurationError

_Model = TypeVar("_Model", bound=BaseModel)


class Row(NamedTuple):
    """One line of `dreamhook check`: a setting, its value fit to be shown, where it is from."""

    name: str
    value: str
    source: Literal["default", "environment"]


# A field's alias is its variable, and its description says what to set: errors end with it.
# `repr=False` marks what may hold a secret: errors and logs never show its value.


class Settings(CellSettings):
    """What `up`, `serve` and `work` run with. In Python, fields go by name: `Settings(port=0)`."""

    data: Directory = Field(
        default_factory=home,
        alias="DREAMHOOK_DATA",
        description="the directory that the embedded Redis keeps its data in",
    )
    prefix: KeyPrefix = Field(
        "dreamhook",
        alias="DREAMHOOK_PREFIX",
        description="the start of every Redis key: up to 64 letters, digits and _ . -",
    )
    accounts: Annotated[Mapping[AccountName, AccountSettings], FromJson] = Field(
        default_factory=dict,
        alias="DREAMHOOK_ACCOUNTS",
        repr=False,
        description='JSON such as {"luma": {"provider": "luma", "api_key": "…"}},'
        " each name up to 64 of a-z 0-9 _ -",
    )
    providers: Directory | None = Field(
        None,
        alias="DREAMHOOK_PROVIDERS",
        description="the directory of your own providers' files, each <name>.toml",
    )
    poll_patience: Patience = Field(
        0.3,
        alias="DREAMHOOK_POLL_PATIENCE",
        description="the seconds of delay that one request is worth, from 0.01 to 60",
    )
    api_keys: Keys = Field(
        (),
        alias="DREAMHOOK_API_KEYS",
        repr=False,
        description="comma-separated keys of visible ASCII characters",
    )
    read_keys: Keys = Field(
        (),
        alias="DREAMHOOK_READ_KEYS",
        repr=False,
        description="comma-separated keys of visible ASCII characters",
    )
    retry_schedule: Pauses = Field(
        RETRY_SCHEDULE,
        alias="DREAMHOOK_RETRY_SCHEDULE",
        description="at most 50 comma-separated waits of 0 to 604800 seconds, or the word none",
    )
    allow_private: Networks = Field(
        (),
        alias="DREAMHOOK_ALLOW_PRIVATE",
        description="comma-separated networks such as 10.0.0.0/8,fd00::/8",
    )
    host: Host = Field(
        "127.0.0.1", alias="DREAMHOOK_HOST", description="an IP address or a host name"
    )
    port: int = Field(
        8080,
        alias="DREAMHOOK_PORT",
        ge=0,
        le=65_535,
        description="a port from 1 to 65535, or 0 for any free one",
    )
    public_url: HttpUrl | None = Field(
        None,
        alias="DREAMHOOK_PUBLIC_URL",
        description="where providers reach the API, such as https://dreamhook.example.com",
    )
    retention_s: int = Field(
        604_800,
        alias="DREAMHOOK_RETENTION",
        ge=60,
        le=31_536_000,
        description="seconds, from 60 to 31536000",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lowercase] = Field(
        "info", alias="DREAMHOOK_LOG_LEVEL", description="debug, info, warning or error"
    )

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Args:
            env: The variables to read; by default those of this process.

        Raises:
            ConfigurationError: Some setting cannot be used; one line for each says why.
        """
        env = os.environ if env is None else env
        problems: list[str] = []
        settings = _read(cls, env, problems)
        shortcuts = {name: _read(each, env, problems) for name, each in SHORTCUTS.items()}
        if settings is None or problems:
            raise ConfigurationError("\n".join(problems))
        made = {
            name: AccountSettings(provider=name, api_key=given.api_key, base_url=given.base_url)
            for name, given in shortcuts.items()
            if given and given.model_fields_set
        }
        settings = settings.model_copy(update={"accounts": {**made, **settings.accounts}})
        return settings if settings.cell is None else settings.of_cell(settings.cell)

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        if self.read_keys and not self.api_keys:
            raise ValueError(
                "DREAMHOOK_READ_KEYS is set but DREAMHOOK_API_KEYS is not, so nobody could track:"
                " set DREAMHOOK_API_KEYS too, or neither"
            )
        if set(self.read_keys) & set(self.api_keys):
            raise ValueError(
                "DREAMHOOK_READ_KEYS and DREAMHOOK_API_KEYS share a key: remove it from one"
            )
        if not self.api_keys and not is_loopback(self.host):
            raise ValueError(
                f"DREAMHOOK_HOST={self.host!r} would open Dreamhook to the network without a key:"
                " set DREAMHOOK_API_KEYS, or DREAMHOOK_HOST=127.0.0.1"
            )
        return self

    def describe(self) -> list[Row]:
        """List what is in effect, an account a row, fit to be shown: secrets are hidden."""
        rows = [row for row in _rows(self) if row.name != "DREAMHOOK_ACCOUNTS"]
        accounts = self.accounts.items()
        return rows + [Row(f"account {name}", _account(a), "environment") for name, a in accounts]


class ClientSettings(BaseModel):
    """What the commands of a user (`track`, `get`, …) need: where the API is, and a key to it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    url: HttpUrl = Field(
        "http://127.0.0.1:8080",
        alias="DREAMHOOK_URL",
        description="where the API is, such as https://dreamhook.example.com",
    )
    api_key: Key | None = Field(
        None,
        alias="DREAMHOOK_API_KEY",
        repr=False,
        description="one key of visible ASCII characters",
    )

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings as `Settings.load` does, and raise as it does."""
        problems: list[str] = []
        settings = _read(cls, os.environ if env is None else env, problems)
        if settings is None:
            raise ConfigurationError("\n".join(problems))
        return settings

    def describe(self) -> list[Row]:
        """List what is in effect, as `Settings.describe` does."""
        return _rows(self)


# --- reading, and telling what is wrong -----------------------------------------------------------


def _variables(field: FieldInfo) -> tuple[str, ...]:
    alias = field.validation_alias
    return tuple(map(str, alias.choices)) if isinstance(alias, AliasChoices) else (str(alias),)


def _read(model: type[_Model], env: Mapping[str, str], problems: list[str]) -> _Model | None:
    """Build `model` from `env`; when that fails, add a line per bad setting to `problems`."""
    fields = {name: field for field in model.model_fields.values() for name in _variables(field)}
    given = {name: env[name].strip() for name in fields if env.get(name, "").strip()}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        lines: dict[tuple[int | str, ...], str] = {}
        for problem in error.errors():
            where = problem["loc"]
            # One line for each setting, or for each field of an account; not for each list item.
            setting = tuple(part for part in where if isinstance(part, str))
            lines.setdefault(setting, _line(fields, given, where, problem["msg"]))
        problems.extend(lines.values())
        return None


def _line(
    fields: Mapping[str, FieldInfo],
    given: Mapping[str, str],
    where: Sequence[int | str],
    message: str,
) -> str:
    """Say which variable holds what, what is wrong with it, and what to set instead."""
    message = message.removeprefix("Value error, ").replace("Input should", "it should")
    if not where:  # the settings do not fit together, and the message says which
        return message
    variable, *inner = where
    field, value = fields[str(variable)], given[str(variable)]
    shown = f"={value[:80]!r}" if field.repr and "@" not in value else ""  # user:password@host
    # "[key]" is pydantic's mark for the name of an account.
    parts = [f"item {part + 1}" if isinstance(part, int) else part for part in inner]
    place = ", ".join([f"{variable}{shown}", *(part for part in parts if part != "[key]")])
    remedy = AccountSettings.model_fields.get(str(inner[-1]), field) if inner else field
    return f"{place}: {message}. Set it to {remedy.description}."


def _rows(settings: BaseModel) -> list[Row]:
    return [
        Row(
            _variables(field)[0],
            _shown(getattr(settings, name)),
            "environment" if name in settings.model_fields_set else "default",
        )
        for name, field in type(settings).model_fields.items()
    ]


def _shown(value: object) -> str:
    """Write a value for people; secrets are counted, not shown."""
    match value:
        case None:
            text = "not set"
        case ():
            text = "none"
        case Mapping():
            text = ", ".join(map(str, value)) or "none"
        case SecretStr():
            text = "set (hidden)" if value.get_secret_value() else "not set"
        case (SecretStr(), *others):
            text = f"{1 + len(others)} set (hidden)"
        case tuple():
            text = ", ".join(map(_shown, value))
        case float():
            text = f"{value:g}"
        case str() if "://" in value:
            text = without_secrets(value)
        case _:
            text = str(value)
    return text


def _account(account: AccountSettings) -> str:
    rate = account.polls_per_second
    return (
        f"provider {account.provider}, key {_shown(account.api_key)},"
        f" {account.base_url or 'its usual address'},"
        f" {'its usual' if rate is None else f'{rate:g}'} polls/s"
        f"{', over all cells' if account.spread else ''}"
    )
