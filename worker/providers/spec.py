"""What a provider is, as data: where its calls are and how to read their answers.

Each provider is one `<name>.toml`, next to this module or in the folder of the user's own. Nothing
here talks to anyone. docs/providers.md explains the files to those who write them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache, cached_property
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import jmespath
import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    StringConstraints,
    ValidationError,
    model_validator,
)

from worker.errors import ConfigurationError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_TABLE = re.compile(r"\[([^\[\]]+)\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


def _compiles(expression: str) -> str:
    jmespath.compile(expression)  # its errors are ValueErrors, which pydantic reports
    return expression


def _is_object(text: str) -> str:
    if not isinstance(orjson.loads(text), dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - what pydantic reports
    return text


def _has_a_place(path: str) -> str:
    if path.count("{id}") + path.count("{parts}") != 1:
        raise ValueError("must have {id} or {parts} once")
    return path


Expression = Annotated[str, AfterValidator(_compiles)]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$")]
"""A header's name (RFC 9110, section 5.6.2), or a query parameter's."""
Path_ = Annotated[str, StringConstraints(pattern=r"^/[\x21-\x7e]*$")]
Visible = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]+$")]
JsonText = Annotated[str, AfterValidator(_is_object)]
Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86_400)]
Stage: TypeAlias = Literal["queued", "running", "completed", "failed"]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Auth(_Data):
    """How a request shows whose it is: by `value`, in a header or in a query parameter.

    In `value`, `{api_key}` stands for the account's key, and `{jwt}` for a token that is signed
    with it (RFC 7519, HS256): such a key is written `<access key>:<secret key>`.
    """

    header: Token | None = None
    query: Token | None = None
    value: Visible

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            raise ValueError("say either header or query")
        return self


class GetGeneration(_Data):
    """The status call: `GET <base_url><path>`.

    In the path (or its query) `{id}` stands for the generation ID. `{parts}` stands for it with a
    slash in place of each colon, for providers whose IDs are paths.
    """

    path: Annotated[Path_, AfterValidator(_has_a_place)]


class ListGenerations(_Data):
    """The list call: its path, its query parameters, the largest page to ask for, and its rows.

    Rows are generations as the status call shows them, each with its ID.
    """

    path: Path_
    limit: Token
    offset: Token
    page: Annotated[int, Field(ge=1)]
    rows: Expression


class CreateGeneration(_Data):
    """The create call: `POST <base_url><path>` with the caller's JSON as it is.

    `{call}` in the path stands for what the expression `call` finds in that JSON. `id` finds the
    new generation's ID in the answer. `callback` is the member of the request that takes the URL
    which the provider then calls; None if it calls nobody. `echo` finds the request in a row of the
    list; None if that does not show it.
    """

    path: Path_
    call: Expression | None = None
    id: Expression
    callback: str | None = None
    echo: Expression | None = None

    @model_validator(mode="after")
    def _call_is_found(self) -> Self:
        if ("{call}" in self.path) != (self.call is not None):
            raise ValueError("a path with {call} needs call, and only such a path")
        return self


class Read(_Data):
    """Where a generation's fields are in the provider's object; what it does not have is None.

    `assets` may be an object of URLs by name, a list of URLs or of objects with `url` and perhaps
    `type`, or one URL. `created_at` is ISO 8601 or a Unix time, in s or ms. `progress` is from 0
    to 1. `kind` is what its duration depends on, the most telling first: by default model and type.
    """

    state: Expression
    id: Expression | None = None
    model: Expression | None = None
    type: Expression | None = None
    assets: Expression | None = None
    failure_reason: Expression | None = None
    failure_code: Expression | None = None
    progress: Expression | None = None
    created_at: Expression | None = None
    kind: tuple[Expression, ...] | None = None


class States(_Data):
    """The provider states that end a generation, and those in which it waits for its turn.

    A `missing` one says what a 404 says elsewhere. All others mean that it is running.
    """

    completed: Annotated[frozenset[str], Field(min_length=1)]
    failed: frozenset[str]
    queued: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


class Failures(_Data):
    """Which failure codes are worth the same request again (`retryable`), and which are not.

    A code stands for itself and for all that begin with it and a dot.
    """

    retryable: frozenset[str] = frozenset()
    final: frozenset[str] = frozenset()


class Duration(_Data):
    """A log-normal prior of how long a model's generations take."""

    median_s: PositiveFloat
    sigma: PositiveFloat


class Provider(_Data):
    """A kind of system that runs generations. `durations` is keyed by model.

    `asset_lifetime_s` is how long the provider says that asset URLs are good for. Where it says
    nothing, `asset_refresh_s` is after how long they are renewed all the same. `polls_per_second`
    is the budget of an account that is not given another. `examples` are answers of the status
    call; in them `{id}`, `{parts}`, `{last}` (the ID's last part), `{origin}`, `{created_at}` and
    `"{created_ms}"` stand for what the simulator puts there.
    """

    name: str
    base_url: Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+[^\s]*$")]
    deadline_s: Seconds
    polls_per_second: Annotated[float, Field(gt=0, le=1000)] = 5.0
    asset_lifetime_s: Seconds | None = None
    asset_refresh_s: Seconds | None = None
    request_id_header: Token = "X-Request-Id"
    headers: Mapping[Token, Visible] = {}
    error_details: tuple[Expression, ...]
    auth: Auth
    get_generation: GetGeneration
    list_generations: ListGenerations | None = None
    create_generation: CreateGeneration | None = None
    read: Read
    states: States
    failures: Failures = Failures()
    durations: Mapping[str, Duration] = {}
    examples: Mapping[Stage, JsonText] = {}

    @model_validator(mode="after")
    def _rows_have_ids(self) -> Self:
        if self.list_generations and self.read.id is None:
            raise ValueError("list_generations needs read.id")
        return self

    @cached_property
    def reading(self) -> bytes:
        """A digest of all that answers are read by."""
        told = self.model_dump(include={"asset_lifetime_s", "read", "states", "failures"})
        text = orjson.dumps(told, default=sorted, option=orjson.OPT_SORT_KEYS)
        return blake2b(text, digest_size=16).digest()


@cache
def built_in() -> tuple[str, ...]:
    """Return the names of the providers that come with Dreamhook, sorted."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of all providers, sorted; `folder` has the user's own files.

    Raises:
        ConfigurationError: the folder cannot be read, or a file there has a name that cannot be
            used, such as that of a built-in provider.
    """
    if folder is None:
        return built_in()
    try:
        own = [file.stem for file in folder.iterdir() if file.suffix == ".toml"]
    except OSError as error:
        raise ConfigurationError(f"DREAMHOOK_PROVIDERS: {folder}: {error.strerror}") from error
    for name in own:
        if name in built_in():
            raise ConfigurationError(
                f"DREAMHOOK_PROVIDERS: {folder / name}.toml has the name of a built-in provider;"
                " give the file another name, and the accounts that are to use it"
            )
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"DREAMHOOK_PROVIDERS: {folder / name}.toml: a provider's name is up to 64 of"
                " a-z 0-9 - and begins with a letter"
            )
    return tuple(sorted({*built_in(), *own}))


@cache
def load(name: str, folder: Path | None = None) -> Provider:
    """Return the provider of that name; `folder` has the user's own files.

    Raises:
        ConfigurationError: there is no such provider, or its file is not usable.
    """
    return parse(name, text_of(name, folder))


def text_of(name: str, folder: Path | None = None) -> str:
    """Return the data file of the provider of that name; `folder` has the user's own files.

    Raises:
        ConfigurationError: there is no such provider, or its file cannot be read.
    """
    known = names(folder)
    if name not in known:
        raise ConfigurationError(f"provider {name!r} is not known; known are: {', '.join(known)}")
    if folder is None or name in built_in():
        return resources.files(__package__).joinpath(f"{name}.toml").read_text("utf-8")
    return read_file(folder / f"{name}.toml")


def read_file(file: Path) -> str:
    """Read a provider's file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not UTF-8") from error


def parse(name: str, text: str) -> Provider:
    """Read a provider's data file.

    Raises:
        ConfigurationError: it is not TOML, or says too little, too much or nonsense; one line for
            each fault, with the line of the file.
    """
    try:
        return Provider.model_validate({"name": name, **tomllib.loads(text)})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}.toml is not TOML: {error}") from error
    except ValidationError as error:
        faults = (
            f"{name}.toml, line {line_of(text, fault['loc'])}: "
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: "
            f"{' '.join(fault['msg'].removeprefix('Value error, ').split())}"
            for fault in error.errors()
        )
        raise ConfigurationError("\n".join(faults)) from error


def line_of(text: str, where: tuple[int | str, ...]) -> int:
    """Find the line of a key, or of the innermost table around it that has a line.

    It searches for table headers and `key =` outside of multi-line strings: less than a parser
    does, and enough for files that are written as ours are.
    """
    wanted = tuple(map(str, where))
    table: tuple[str, ...] = ()
    deepest, found, inside = 0, 1, False
    for number, line in enumerate(text.splitlines(), 1):
        fences = line.count("'''") + line.count('"""')
        was_inside, inside = inside, inside ^ (fences % 2 == 1)
        header, key = _TABLE.match(line), _KEY.match(line)
        if was_inside or not (header or key):
            continue
        if header:
            table = _split(header[1])
        place = (*table, *_split(key[1])) if key else table
        if deepest < len(place) and wanted[: len(place)] == place:
            deepest, found = len(place), number
    return found


def _split(dotted: str) -> tuple[str, ...]:
    """Take a dotted key apart; a part in quotes may have dots of its own."""
    parts = re.findall(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)", dotted)
    return tuple("".join(part) for part in parts)
