"""The variables of the providers' own SDKs, each of which makes an account by itself."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr

from worker.config_values import ApiKey, HttpUrl


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
