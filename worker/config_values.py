"""How the text of each kind of setting is read: types for `worker.config`, and nothing else.

A value that cannot be used is a `ValueError` that says what is wrong with it, never quoting it.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints

from worker.config_redis import checked_redis_url
from worker.errors import InvalidInputError
from worker.signing import parse_secret

WEEK_S = 7 * 86_400


def _listed(value: object) -> object:
    """Split "a, b" at the commas; a blank between two commas stays, to be refused."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _listed_or_none(value: object) -> object:
    """Split like `_listed`; the word `none` is the empty list, since a blank variable is unset."""
    return () if value == "none" else _listed(value)


def _decoded(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg} at character {error.pos + 1})") from None


def _network(value: object) -> object:
    return ip_network(value) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _sendable(secret: SecretStr) -> SecretStr:
    """Refuse what cannot follow `Bearer ` in a header. An empty secret means there is none."""
    if not re.fullmatch(r"[\x21-\x7e]*", secret.get_secret_value()):
        raise ValueError("has a character that cannot be sent in a header")
    return secret


def _present(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        raise ValueError("is an empty key")
    return secret


def _signing_secret(secret: SecretStr) -> SecretStr:
    try:
        parse_secret(secret.get_secret_value())
    except InvalidInputError as error:
        raise ValueError(error.message) from None
    return secret


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port  # is only read, and found wrong, when asked for
    except ValueError:  # whose own message may quote a part of the password
        raise ValueError("is not a URL that can be taken apart") from None
    return parts


def _http_url(text: str) -> str:
    """Take a base URL that paths can be appended to; drop the slash at its end."""
    parts = _split(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an http(s) URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has a user name, a query or a fragment")
    return text.rstrip("/")


def without_secrets(url: str) -> str:
    """Hide the password and the query, where Redis clients also take a password."""
    parts = urlsplit(url)
    user, at, address = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}{colon}{'***' if colon else ''}{at}{address}"
    return urlunsplit(parts._replace(netloc=netloc, query="***" if parts.query else ""))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`, without looking any name up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        if not re.fullmatch(r"(?!-)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", text):
            raise ValueError("is neither an address nor a host name") from None
    return text


def home() -> Path:
    """Find where the embedded Redis keeps its data unless told otherwise."""
    try:
        return Path.home() / ".dreamhook"
    except RuntimeError:  # a user without a home, as services often have
        return Path("/var/lib/dreamhook")


def _directory(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # "~" of a user without a home
        raise ValueError("has a ~ that stands for no directory") from None


def _key_prefix(text: str) -> str:
    """Refuse what is special in the name of a key, such as the colon at the prefix's end.

    With a colon inside, the keys of one deployment could be those of another.
    """
    if ":" in text:
        raise ValueError("has a colon, which ends the prefix in the name of a key")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise ValueError("is too long, or has a character that no prefix may have there")
    return text


AccountName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
CellName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
ProviderName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
KeyPrefix: TypeAlias = Annotated[str, AfterValidator(_key_prefix)]
ApiKey: TypeAlias = Annotated[SecretStr, AfterValidator(_sendable)]
Key: TypeAlias = Annotated[ApiKey, AfterValidator(_present)]
Keys: TypeAlias = Annotated[tuple[Key, ...], BeforeValidator(_listed)]
SigningSecret: TypeAlias = Annotated[SecretStr, AfterValidator(_signing_secret)]
HttpUrl: TypeAlias = Annotated[str, AfterValidator(_http_url)]
RedisUrl: TypeAlias = Annotated[str, AfterValidator(checked_redis_url)]
Host: TypeAlias = Annotated[str, AfterValidator(_host)]
Pause: TypeAlias = Annotated[float, Field(ge=0, le=WEEK_S, allow_inf_nan=False)]
Pauses: TypeAlias = Annotated[
    tuple[Pause, ...], BeforeValidator(_listed_or_none), Field(max_length=50)
]
Patience: TypeAlias = Annotated[float, Field(ge=0.01, le=60, allow_inf_nan=False)]
Directory: TypeAlias = Annotated[Path, AfterValidator(_directory)]
Network: TypeAlias = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Networks: TypeAlias = Annotated[tuple[Network, ...], BeforeValidator(_listed)]
FromJson = BeforeValidator(_decoded)
Lowercase = BeforeValidator(_lower)
