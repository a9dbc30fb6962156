"""Where Redis is: one server, or whichever of several a Sentinel names, taken from one URL.

    redis://[user:password@]host[:port][/db]            one server
    rediss://…?ssl_ca_certs=/path/ca.pem                the same over TLS
    unix://[user:password@]/path/to/socket[?db=…]       the same on this machine
    redis+sentinel://[user:password@]host:port,…/name[/db][?sentinel_password=…]
    rediss+sentinel://…                                 the same over TLS, to the Sentinels too

The last two name Sentinels, and the service that they watch over. User and password are the
server's; the Sentinels' own are parameters. All of them are percent-decoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

SENTINEL_PORT = 26_379

TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_TLS = {*TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname"}
_ANY = {"db", "username", "password"}
_SENTINEL = {"sentinel_username", "sentinel_password"}
_MORE = {"redis": set[str](), "rediss": _TLS, "unix": set[str]()}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
_MOST_PORTS = 65_536


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where Redis is.

    Attributes:
        url: of the server as redis-py takes it; where Sentinels name the server, of the first of
            them, for all but its address.
        parameters: of the URL, decoded.
        sentinels: host and port of each; none if the URL names the server itself.
        service: the name under which they know it.
    """

    url: str = field(repr=False)
    parameters: Mapping[str, str] = field(repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""


def checked_redis_url(text: str) -> str:
    """Give the URL back if it can be used.

    Raises:
        ValueError: it cannot; says why, and quotes nothing that may be secret.
    """
    redis_place(text)
    return text


def redis_place(text: str) -> RedisPlace:
    """Take a Redis URL apart; raises as `checked_redis_url` does."""
    try:
        parts = urlsplit(text)
    except ValueError:  # whose own message may quote a part of the password
        raise ValueError("is not a URL that can be taken apart") from None
    if parts.scheme in {"redis+sentinel", "rediss+sentinel"}:
        return _behind_sentinels(parts)
    parameters = _parameters(parts, _ANY | _MORE.get(parts.scheme, set()))
    if parts.scheme == "unix" and parts.path:
        return RedisPlace(text, parameters)
    if parts.scheme not in _MORE or not _hosts(parts.netloc.rpartition("@")[2], 6379, most=1):
        raise ValueError("is not a Redis URL")
    if not re.fullmatch(r"(/[0-9]*)?", parts.path):
        raise ValueError("has a path that is not a database number")
    return RedisPlace(text, parameters)


def _behind_sentinels(parts: SplitResult) -> RedisPlace:
    scheme = parts.scheme.partition("+")[0]
    parameters = _parameters(parts, _SENTINEL | _MORE[scheme])
    user, at, hosts = parts.netloc.rpartition("@")
    sentinels = _hosts(hosts, SENTINEL_PORT)
    if not sentinels:
        raise ValueError("does not name Sentinels as host:port,host:port")
    path = re.fullmatch(r"/([A-Za-z0-9._-]+)(/[0-9]*)?", parts.path)
    if not path:
        raise ValueError("does not name the Sentinels' service and then perhaps a database number")
    first = hosts.partition(",")[0]
    query = "&".join(each for each in parts.query.split("&") if not each.startswith("sentinel_"))
    url = urlunsplit((scheme, f"{user}{at}{first}", path[2] or "", query, ""))
    return RedisPlace(url, parameters, sentinels, path[1])


def _hosts(text: str, port: int, *, most: int = 16) -> tuple[tuple[str, int], ...]:
    """Read `host:port,host:port`; none if it cannot be read or has more than `most`."""
    found = [_HOST.fullmatch(each) for each in text.split(",")]
    hosts = [
        (each["name"].strip("[]"), int(each["port"] or port))
        for each in found
        if each and int(each["port"] or port) < _MOST_PORTS
    ]
    return tuple(hosts) if len(hosts) == len(found) <= most else ()


def _parameters(parts: SplitResult, known: set[str]) -> dict[str, str]:
    if parts.fragment:
        raise ValueError("has a # that is not written as %23")
    found = parse_qs(parts.query, keep_blank_values=True)
    for name in sorted(set(found) - known):
        shown = name if re.fullmatch(r"[a-z_]{1,40}", name) else "of another name"
        raise ValueError(
            f"has a parameter {shown}, where there may be {', '.join(sorted(known)) or 'none'}"
        )
    parameters = {name: values[0] for name, values in found.items()}
    if not re.fullmatch(r"[0-9]+", parameters.get("db", "0")):
        raise ValueError("has a db that is not a number")
    if parameters.get("ssl_cert_reqs", "required") not in {"required", "optional", "none"}:
        raise ValueError("has an ssl_cert_reqs that is not required, optional or none")
    return parameters


def credentials_of_sentinels(place: RedisPlace) -> dict[str, str]:
    """Give the Sentinels' own user and password, as redis-py takes them."""
    given = place.parameters
    return {name.removeprefix("sentinel_"): given[name] for name in _SENTINEL if name in given}
