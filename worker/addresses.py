"""Where webhooks may be sent, and which headers users may add to them.

The one URL parser and the one judge of IP addresses: whatever registers, stores or dials a webhook
URL asks here, so that what was judged is what is called.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NoReturn, TypeAlias
from urllib.parse import quote

from worker.errors import AddressRefusedError, InvalidInputError

Ip: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

URL_LIMIT = 2048
HEADERS_LIMIT, HEADER_VALUE_LIMIT, HEADERS_TOTAL_LIMIT = 20, 1024, 4096

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FREE_PORTS = range(1024, 65536)
_NAME_LIMIT = 253

# --- which IP addresses may be dialled ------------------------------------------------------------
# The IANA special-purpose registries, written out: `ipaddress.is_global` changes between Python
# versions and calls several ways to 127.0.0.1 global (64:ff9b::7f00:1, ::127.0.0.1).

_REFUSED_V4 = {
    IPv4Network(network): name
    for name, networks in (
        ("this network", "0.0.0.0/8"),
        ("private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16"),
        ("shared (carrier NAT)", "100.64.0.0/10"),
        ("loopback", "127.0.0.0/8"),
        ("a cloud's internal service", "168.63.129.16/32"),  # Azure: public in form only
        ("link-local", "169.254.0.0/16"),
        ("for protocols", "192.0.0.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24"),
        ("for protocols", "192.175.48.0/24"),
        ("documentation", "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24"),
        ("benchmarking", "198.18.0.0/15"),
        ("multicast, broadcast or reserved", "224.0.0.0/3"),
    )
    for network in networks.split()
}
_PUBLIC_V6 = IPv6Network("2000::/3")  # all that IANA gives out; whatever is outside is refused
_REFUSED_V6 = {
    IPv6Network(network): name
    for name, networks in (
        ("for protocols", "2001::/23 2002::/16 2620:4f:8000::/48"),  # Teredo, ORCHID, 6to4, AS112
        ("documentation", "2001:db8::/32 3fff::/20"),
        ("the former 6bone", "3ffe::/16"),
    )
    for network in networks.split()
}
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; 64:ff9b:1::/48 is local use and not in 2000::/3
_ISATAP, _ISATAP_MASK = 0x0000_5EFE, 0xFCFF_FFFF  # RFC 5214, less the bits u and g
_LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


def is_listed(ip: Ip, allow_private: Sequence[Network]) -> bool:
    """Say whether the deployment allows `ip` by name, public or not."""
    return any(ip in network for network in allow_private)


def judge_ip(ip: Ip, allow_private: Sequence[Network] = ()) -> str | None:
    """Say why a webhook must not be sent to `ip`; None when it may.

    Default deny: of IPv6 only 2000::/3 less its special ranges. An IPv4 address in an IPv6 costume
    is judged as the IPv4 address where the network would deliver it there (mapped, NAT64, ISATAP);
    the other costumes (compatible, SIIT, 6to4, Teredo, local NAT64) are refused with anything
    inside. `allow_private` wins over all of it.
    """
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return "it has a zone"
        ip = ip.ipv4_mapped or ip
    if is_listed(ip, allow_private):
        return None
    if isinstance(ip, IPv4Address):
        return _special(ip, _REFUSED_V4)
    low = IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip in _NAT64:
        return judge_ip(low, allow_private)
    is_isatap = (int(ip) >> 32) & _ISATAP_MASK == _ISATAP
    if ip not in _PUBLIC_V6 or (is_isatap and judge_ip(low, allow_private) is not None):
        return "it is not a public IPv6 address"
    return _special(ip, _REFUSED_V6)


def _special(ip: Ip, ranges: Mapping[IPv4Network, str] | Mapping[IPv6Network, str]) -> str | None:
    faults = (f"it is not public ({name})" for network, name in ranges.items() if ip in network)
    return next(faults, None)


# --- the one parser -------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Address:
    """A webhook URL in its parts, normalised: what is judged, looked up, dialled and sent.

    `host` is lower-case ASCII without brackets or trailing dot; `target` is path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def ip(self) -> Ip | None:
        """The address itself when the host is one, None when it is a name."""
        if ":" in self.host or _is_numeric(self.host):
            return ip_address(self.host)
        return None

    @property
    def authority(self) -> str:
        """Host and port as they stand in the URL and in the `Host` header."""
        is_default = self.port == _DEFAULT_PORTS[self.scheme]
        return self._bracketed if is_default else f"{self._bracketed}:{self.port}"

    @property
    def url(self) -> str:
        """The normal form, the only one that is stored."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def origin(self) -> str:
        """Scheme, host and port, the port always written: the name of the delivery lane."""
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


_SHAPE = re.compile(r"(https?)://([^/?]*)([^?]*)(\?.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# The URL Standard's percent-encode sets, which httpx and browsers share.
_ESCAPED_IN_QUERY = frozenset('"<>')
_ESCAPED_IN_PATH = _ESCAPED_IN_QUERY | frozenset("`{}")


@functools.lru_cache(maxsize=4096)  # each attempt asks for the same few again
def parse(url: str, field: str = "callback_url") -> Address:
    """Take a webhook URL apart, once and strictly.

    Whatever two parsers could read differently is refused rather than repaired: user info,
    backslashes, blanks, a `%` or non-ASCII letters in the host, numbers that only `inet_aton` takes
    for an address. A fragment is refused too: it never reaches a server, so whoever writes one
    expects something that would not happen.

    Raises:
        AddressRefusedError: About `field`, with the reason and what to write instead.
    """
    if len(url) > URL_LIMIT:
        _refuse(field, f"it is over {URL_LIMIT} characters long", "use a shorter URL")
    if " " in url or not url.isprintable():
        _refuse(field, "it holds a blank, control or unprintable character", "percent-encode it")
    if "\\" in url:
        _refuse(field, "it holds a backslash", "write / or %5C")
    if "#" in url:
        _refuse(field, "the part from # on never reaches a server", "remove it, or write %23")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        _refuse(field, "it is not an http or https URL", "write it as https://host/path")
    scheme, authority, path, query = shape.groups(default="")
    scheme = scheme.lower()
    host, port = _split_authority(authority, field)
    target = _encode(_without_dots(path), _ESCAPED_IN_PATH) + _encode(query, _ESCAPED_IN_QUERY)
    address = Address(scheme, _host(host, field), _port(port, scheme, field), target)
    if len(address.url) > URL_LIMIT:
        _refuse(field, f"it is over {URL_LIMIT} characters when encoded", "use a shorter URL")
    return address


def origin(url: str) -> str:
    """Return `https://host:port` of a webhook URL, the name of its delivery lane."""
    return parse(url).origin


def endpoint_name(url: str) -> str:
    """Derive the name of the anonymous endpoint of a `callback_url` in its normal form."""
    return f"url_{hashlib.sha256(url.encode()).hexdigest()[:20]}"


def check(url: str, allow_private: Sequence[Network] = (), field: str = "callback_url") -> str:
    """Judge a webhook URL as far as its text goes and return its normal form.

    A name is judged when it is dialled, by what it resolves to then; only `localhost` is known
    beforehand, and must be allowed as IPv4 and IPv6, since either may be its answer.

    Raises:
        AddressRefusedError: The URL cannot be used, or its address is not allowed.
    """
    address = parse(url, field)
    is_local = address.host == "localhost" or address.host.endswith(".localhost")
    for ip in _LOCALHOST if is_local else (address.ip,):
        reason = None if ip is None else judge_ip(ip, allow_private)
        if reason is not None:
            remedy = "use a public address, or list it in DREAMHOOK_ALLOW_PRIVATE"
            _refuse(field, f"{ip} may not be called, {reason}", remedy)
    return address.url


def _refuse(field: str, reason: str, remedy: str) -> NoReturn:
    raise AddressRefusedError(field, f"{reason}; {remedy}")


def _is_numeric(host: str) -> bool:
    """Say whether resolvers may take the host for an IPv4 address: it ends in a number."""
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _split_authority(authority: str, field: str) -> tuple[str, str]:
    if "@" in authority:
        _refuse(field, "it holds a user name or password", "put Authorization in `headers`")
    if "%" in authority:
        _refuse(field, "the host holds a %", "write the host itself, without zone or escapes")
    if not authority.isascii():
        _refuse(field, "the host is not ASCII", "write its xn-- form")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        _refuse(field, "host and port cannot be told apart", "write https://host:port/path")
    return parts[1], parts[2] or ""


def _host(text: str, field: str) -> str:
    if text.startswith("["):
        return _host_v6(text[1:-1], field)
    name = text.lower().removesuffix(".")
    if not name:
        _refuse(field, "it has no host", "write it as https://host/path")
    if len(name) > _NAME_LIMIT or not all(map(_LABEL.fullmatch, name.split("."))):
        _refuse(field, "the host is not a valid name", "use letters, digits and inner hyphens")
    if _is_numeric(name):
        try:
            IPv4Address(name)
        except ValueError:
            remedy = "write four plain decimal numbers"
            _refuse(field, "the host ends in a number but is no IPv4 address", remedy)
    return name


def _host_v6(text: str, field: str) -> str:
    try:
        ip = IPv6Address(text)
    except ValueError:
        _refuse(field, "the host is not a valid IPv6 address", "write it as [2001:4860::8888]")
    # Also because Python 3.13 began to spell these differently: a normal form must not change.
    if ip.ipv4_mapped is not None:
        _refuse(field, "it is IPv4 written as IPv6", f"write {ip.ipv4_mapped}")
    return ip.compressed


def _port(text: str, scheme: str, field: str) -> int:
    if not text:
        return _DEFAULT_PORTS[scheme]
    port = int(text.lstrip("0")[:6] or "0")  # six digits are too many already
    if port not in _FREE_PORTS and port not in _DEFAULT_PORTS.values():
        _refuse(field, "this port is not called", "use 80, 443 or one from 1024 to 65535")
    return port


def _without_dots(path: str) -> str:
    """Remove `.` and `..` segments (RFC 3986, 5.2.4), as every client would before sending."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _encode(text: str, escaped: frozenset[str]) -> str:
    """Percent-encode what a request line cannot hold; what is escaped already stays as it is."""
    return "".join(
        char if char.isascii() and char not in escaped else quote(char, safe="") for char in text
    )


# --- headers that users may add -------------------------------------------------------------------
# These frame the request: the sender sets them itself and lets nobody else's through.
_FRAMING = re.compile(
    "accept-encoding|connection|content-length|expect|host|http2-settings|keep-alive|te|trailer"
    "|transfer-encoding|upgrade|user-agent"
)
# These describe the body, route the request, sign it, or unlock a cloud's metadata service.
_RESERVED = re.compile(
    "content-.*|cookie2?|forwarded|metadata.*|proxy-.*|svix-.*|via|webhook-.*"
    "|x-aws-ec2-metadata-token.*|x-forwarded-.*|x-google-metadata-.*|x-host|x-http-method"
    "|x-http-method-override|x-method-override|x-original-.*|x-real-ip|x-rewrite-url"
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")


def is_framing(name: str) -> bool:
    """Say whether only the sender itself may set this header. Case and `_` for `-` do not hide."""
    return _FRAMING.fullmatch(name.lower().replace("_", "-")) is not None


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Judge the headers a user wants sent; return them with lower-case names, values trimmed.

    Raises:
        InvalidInputError: Too many or too long, not sendable, or a name that frames, routes or
            signs the request (many servers cannot tell `_` from `-`, so neither counts).
    """
    checked: dict[str, str] = {}
    for name, value in headers.items():
        fault = _header_fault(name, value)
        if name.lower() in checked:
            fault = "is there twice, names ignore case; send it once"
        if fault is not None:
            raise InvalidInputError("headers", f"{name[:64]!r} {fault}")
        checked[name.lower()] = value.strip(" \t")
    if len(checked) > HEADERS_LIMIT:
        raise InvalidInputError("headers", f"there are over {HEADERS_LIMIT}; send fewer")
    if sum(map(len, (*checked, *checked.values()))) > HEADERS_TOTAL_LIMIT:
        raise InvalidInputError("headers", f"they hold over {HEADERS_TOTAL_LIMIT} bytes; send less")
    return checked


def _header_fault(name: str, value: str) -> str | None:
    if not _TOKEN.fullmatch(name):
        return "is no header name; use letters, digits and -"
    if is_framing(name) or _RESERVED.fullmatch(name.lower().replace("_", "-")):
        return "is set by Dreamhook alone; leave it out"
    if not _VALUE.fullmatch(value):
        return "has a value that is not printable ASCII; encode it"
    if len(value) > HEADER_VALUE_LIMIT:
        return f"has a value over {HEADER_VALUE_LIMIT} bytes; shorten it"
    return None
