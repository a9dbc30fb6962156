"""What a provider is, as data: where its calls are and how to read their answers.

Each provider is one `<name>.toml` next to this module. Nothing here talks to anyone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated

import jmespath
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from worker.errors import ConfigurationError


def _compiles(expression: str) -> str:
    jmespath.compile(expression)  # its errors are ValueErrors, which pydantic reports
    return expression


Expression = Annotated[str, AfterValidator(_compiles)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Auth(_Data):
    """The header that carries the credentials; `{api_key}` in `value` stands for the key."""

    header: str
    value: str


class GetGeneration(_Data):
    """The status call: `GET <base_url><path>`, `{id}` standing for the generation ID."""

    path: Annotated[str, Field(pattern=r"^/.*\{id\}")]


class ListGenerations(_Data):
    """The list call: its path, its query parameters, its usual page, where its rows are."""

    path: Annotated[str, Field(pattern=r"^/")]
    limit: str
    offset: str
    page: Annotated[int, Field(ge=1)]
    rows: Expression


class Read(_Data):
    """Where a generation's fields are in the provider's object."""

    id: Expression
    state: Expression
    model: Expression
    type: Expression
    assets: Expression
    failure_reason: Expression
    created_at: Expression


class States(_Data):
    """The provider states that end a generation. All others mean that it is running."""

    completed: frozenset[str]
    failed: frozenset[str]


class Duration(_Data):
    """A log-normal prior of how long a model's generations take."""

    median_s: PositiveFloat
    sigma: PositiveFloat


class Provider(_Data):
    """A kind of system that runs generations. `durations` is keyed by model."""

    name: str
    base_url: str
    deadline_s: PositiveFloat
    asset_lifetime_s: PositiveFloat | None = None
    auth: Auth
    get_generation: GetGeneration
    list_generations: ListGenerations
    read: Read
    states: States
    error_details: tuple[Expression, ...]
    durations: Mapping[str, Duration]


@cache
def names() -> tuple[str, ...]:
    """Return the names of all providers, sorted."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


@cache
def load(name: str) -> Provider:
    """Return the provider of that name.

    Raises:
        ConfigurationError: there is no such provider, or its file is not usable.
    """
    if name not in names():
        raise ConfigurationError(f"provider {name!r} is not known; known are: {', '.join(names())}")
    return parse(name, resources.files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))


def parse(name: str, text: str) -> Provider:
    """Read a provider's data file.

    Raises:
        ConfigurationError: it is not TOML, or says too little, too much or nonsense.
    """
    try:
        return Provider.model_validate({"name": name, **tomllib.loads(text)})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}.toml is not TOML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigurationError(f"{name}.toml: {faults}") from error
