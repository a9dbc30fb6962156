"""An account of the settings, and the variables of the providers' own SDKs, which make one."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr

from worker.config_values import ApiKey, HttpUrl, Patience, ProviderName


class AccountSettings(BaseModel):
    """One entry of `DREAMHOOK_ACCOUNTS`. What is left out is as the provider's data says."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    provider: ProviderName = Field(description="the provider's name, such as luma")
    api_key: ApiKey = Field(
        SecretStr(""), description="the provider's API key as the provider shows it"
    )
    base_url: HttpUrl | None = Field(
        None, description="an http(s) URL such as https://api.example.com/v1, or leave it out"
    )
    polls_per_second: float | None = Field(
        None,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="a number above 0, up to 1000, or leave it out",
    )
    poll_patience: Patience | None = Field(
        None, description="seconds, from 0.01 to 60, or leave it out"
    )
    spread: bool = Field(
        default=False,
        description="true to divide its generations over all cells, or leave it out",
    )


class LumaVariables(BaseModel):
    """What Luma's SDK reads for Dream Machine: they make the account `luma`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    api_key: ApiKey = Field(
        SecretStr(""),
        validation_alias=AliasChoices("LUMAAI_API_KEY", "LUMA_API_KEY"),
        repr=False,
        description="the API key as Luma shows it",
    )
    base_url: HttpUrl | None = Field(
        None, alias="LUMAAI_BASE_URL", description="an http(s) URL, or leave it unset"
    )


class LumaAgentsVariables(BaseModel):
    """What Luma's SDK reads for its Agents API: they make the account `luma-agents`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    api_key: ApiKey = Field(
        SecretStr(""),
        alias="LUMA_AGENTS_API_KEY",
        repr=False,
        description="the API key as Luma shows it",
    )
    base_url: HttpUrl | None = Field(
        None, alias="LUMA_BASE_URL", description="an http(s) URL, or leave it unset"
    )


SHORTCUTS: Mapping[str, type[LumaVariables | LumaAgentsVariables]] = {
    "luma": LumaVariables,
    "luma-agents": LumaAgentsVariables,
}
"""By the name of the account, which is also its provider's."""
