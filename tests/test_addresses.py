"""Where webhooks may go: hostile spellings, forbidden ranges, headers that are not the user's."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker import addresses
from worker.errors import AddressRefusedError, InvalidInputError

# --- what is allowed, what is not -----------------------------------------------------------------

# Written down here a second time, from the IANA registry, so that a slip in the module shows.
FORBIDDEN_V4 = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
    *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
]
FORBIDDEN_V6 = [
    *("::/8", "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23"),
    *("2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20", "4000::/2"),
    *("5f00::/16", "8000::/1", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
]
NETWORKS_V4 = [IPv4Network(text) for text in FORBIDDEN_V4]
NETWORKS_V6 = [IPv6Network(text) for text in FORBIDDEN_V6]


def inside_v4(network: IPv4Network) -> st.SearchStrategy[IPv4Address]:
    first = int(network.network_address)
    return st.integers(first, first + network.num_addresses - 1).map(IPv4Address)


def inside_v6(network: IPv6Network) -> st.SearchStrategy[IPv6Address]:
    first = int(network.network_address)
    return st.integers(first, first + network.num_addresses - 1).map(IPv6Address)


forbidden_v4 = st.sampled_from(NETWORKS_V4).flatmap(inside_v4)
forbidden_v6 = st.sampled_from(NETWORKS_V6).flatmap(inside_v6)


def around(prefix: str, shift: int = 0) -> Callable[[int, int], int]:
    """Put the IPv4 address into `prefix` at `shift`, noise into the bits below."""
    base = int(IPv6Address(prefix))
    return lambda v4, noise: base | v4 << shift | noise & ((1 << shift) - 1)


COSTUMES: dict[str, Callable[[int, int], int]] = {
    "mapped": around("::ffff:0:0"),
    "compatible": around("::"),
    "siit": around("::ffff:0:0:0"),
    "nat64": around("64:ff9b::"),
    "local nat64, /96": around("64:ff9b:1::"),
    "local nat64, /48": lambda v4, _: (
        int(IPv6Address("64:ff9b:1::")) | (v4 >> 16) << 64 | (v4 & 0xFFFF) << 40
    ),
    "6to4": around("2002::", 80),
    "teredo client": lambda v4, noise: (
        int(IPv6Address("2001::")) | (noise & ~0xFFFFFFFF & ((1 << 96) - 1)) | v4 ^ 0xFFFFFFFF
    ),
    "teredo server": around("2001::", 64),
    "isatap": lambda v4, noise: (0x2A00 << 48 | noise & 0xFFFF) << 64 | 0x5EFE << 32 | v4,
    "isatap, universal": lambda v4, noise: (
        (0x2A00 << 48 | noise & 0xFFFF) << 64 | 0x0200_5EFE << 32 | v4
    ),
    "isatap, link-local": lambda v4, _: 0xFE80 << 112 | 0x5EFE << 32 | v4,
}


@given(forbidden_v4)
def test_no_special_ipv4_address_may_be_called(ip: IPv4Address) -> None:
    assert addresses.judge_ip(ip) is not None


@given(forbidden_v6)
def test_no_special_ipv6_address_may_be_called(ip: IPv6Address) -> None:
    if ip.ipv4_mapped is None:  # judged as the IPv4 address it is
        assert addresses.judge_ip(ip) is not None


@pytest.mark.parametrize("costume", COSTUMES)
@given(v4=forbidden_v4, noise=st.integers(0, (1 << 96) - 1))
@example(v4=IPv4Address("127.0.0.1"), noise=0)
@example(v4=IPv4Address("169.254.169.254"), noise=1)
def test_no_ipv6_costume_hides_a_forbidden_ipv4_address(
    costume: str, v4: IPv4Address, noise: int
) -> None:
    assert addresses.judge_ip(IPv6Address(COSTUMES[costume](int(v4), noise))) is not None


@given(st.ip_addresses())
def test_what_python_knows_to_be_special_is_never_called(ip: addresses.Ip) -> None:
    if not ip.is_global or ip.is_multicast:
        wraps_public = isinstance(ip, IPv6Address) and (
            ip.ipv4_mapped is not None or ip in IPv6Network("64:ff9b::/96")
        )
        assert wraps_public or addresses.judge_ip(ip) is not None


@given(st.ip_addresses(v=6))
def test_nothing_outside_2000_3_is_called_but_ipv4_in_costume(ip: addresses.Ip) -> None:
    if addresses.judge_ip(ip) is None:
        assert ip in ip_network("2000::/3") or ip in ip_network("64:ff9b::/96") or ip.ipv4_mapped


@pytest.mark.parametrize(
    "text",
    [
        *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
        *("126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0"),
        *("198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15"),
        *("2606:4700:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2a00:1450::5efe:808:808"),
        *("::ffff:8.8.8.8", "64:ff9b::808:808"),
    ],
)
def test_a_public_address_may_be_called(text: str) -> None:
    assert addresses.judge_ip(ip_address(text)) is None


def test_an_address_with_a_zone_is_refused_even_in_an_allowed_network() -> None:
    assert addresses.judge_ip(ip_address("fe80::1%1"), [ip_network("fe80::/10")]) is not None


@pytest.mark.parametrize("text", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd00::7"])
def test_the_deployment_may_allow_private_networks(text: str) -> None:
    allow = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    assert addresses.judge_ip(ip_address(text)) is not None
    assert addresses.judge_ip(ip_address(text), allow) is None


@given(forbidden_v4)
def test_allowing_one_network_allows_no_other(ip: IPv4Address) -> None:
    allow = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    assert (addresses.judge_ip(ip, allow) is None) == (ip in allow[0])


# --- the parser -----------------------------------------------------------------------------------

labels = st.from_regex(r"[a-zA-Z_]([a-zA-Z0-9_-]{0,10}[a-zA-Z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join(parts) + "."),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip.exploded}]".upper()),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
)
ports = st.sampled_from(["", ":", ":80", ":443", ":0443", ":1024", ":8080", ":65535"])
tails = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\#"), max_size=30)
good_urls = st.builds(
    "{}://{}{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "hTTps"]),
    hosts,
    ports,
    st.sampled_from(["", "/", "/a/../b", "/./", "/..", "//x", "/%2e%2E/%zz%"]),
    st.one_of(st.just(""), tails.map(lambda tail: f"/{tail}")),
    st.one_of(st.just(""), tails.map(lambda tail: f"?{tail}")),
)
hostile_urls = st.one_of(
    st.text("htps:/\\@#?%[]..0123x7f aA\t\r\n\uff45\u3002\uff0e\u2460\u00df", max_size=40).map(
        "http:{}".format
    ),
    st.text("/\\@#?%[]:.0123x7fAa\u3002\uff0e\u2100", max_size=30).map("https://{}".format),
    st.tuples(good_urls, st.text("/\\@#?%[]:. \t\x00", max_size=3), good_urls).map("".join),
)


def assert_every_parser_agrees(url: str) -> None:
    address = addresses.parse(url)
    normal = addresses.parse(url).url
    theirs = httpx.URL(normal)
    default = {"http": 80, "https": 443}[address.scheme]
    assert (theirs.scheme, theirs.raw_host.decode()) == (address.scheme, address.host)
    assert (theirs.port or default, theirs.raw_path.decode()) == (address.port, address.target)
    assert (theirs.userinfo, theirs.fragment, str(theirs)) == (b"", "", normal)
    split = urlsplit(normal)
    assert (split.hostname, split.port or default) == (address.host, address.port)


@given(good_urls)
@example("http://h/a/.")
@example("http://h//..")
@example("http://h?a/../b")
def test_httpx_reads_the_normal_form_as_we_do(url: str) -> None:
    try:
        addresses.parse(url)
    except AddressRefusedError as refused:
        assert "IPv4 written as IPv6" in refused.message  # noqa: PT017 - the only reason left
    else:
        assert_every_parser_agrees(url)


@given(hostile_urls)
def test_hostile_text_is_refused_or_read_alike_by_all(url: str) -> None:
    try:
        addresses.parse(url)
    except AddressRefusedError:
        return
    assert_every_parser_agrees(url)


@given(good_urls)
def test_the_normal_form_is_its_own_normal_form(url: str) -> None:
    try:
        normal = addresses.parse(url).url
    except AddressRefusedError:
        return
    assert addresses.parse(normal).url == normal
    assert addresses.check(normal, [ip_network("0.0.0.0/0"), ip_network("::/0")]) == normal


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://Hooks.Example.COM", "https://hooks.example.com/"),
        ("https://example.com:443/x", "https://example.com/x"),
        ("http://example.com:443/x", "http://example.com:443/x"),
        ("http://example.com.:08080/x?", "http://example.com:8080/x?"),
        ("http://example.com:?q", "http://example.com/?q"),
        ("http://[2606:4700:0:0::1111]:80/", "http://[2606:4700::1111]/"),
        ("http://xn--mller-kva.de/ü?ü=[1]", "http://xn--mller-kva.de/%C3%BC?%C3%BC=[1]"),
        ("http://a_b.example/%2f%zz/../<x>", "http://a_b.example/%3Cx%3E"),
        ("http://a_b.example/%2f%zz/b/.././c", "http://a_b.example/%2f%zz/c"),
    ],
)
def test_a_url_is_brought_to_its_normal_form(url: str, normal: str) -> None:
    assert addresses.parse(url).url == normal


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "//example.com/", "http:example.com", "http:/example.com", "http://"),
        *("http:///path", "http://:80/", "https://?q", "http://.", "http://..", "http://a..b"),
        *("ftp://example.com/", "file:///etc/passwd", "gopher://x:6379/", "javascript:alert(1)"),
        *("unix:///run/redis.sock", "http+unix://x/", "data:,x", "ws://example.com/"),
        *("http://user@example.com/", "http://user:pw@example.com/", "http://@example.com/"),
        *("http://example.com\\@127.0.0.1/", "http://example.com@127.0.0.1/", "http:\\\\x/"),
        *("http://example.com#@127.0.0.1/", "https://app.example/#/hooks", "http://example.com/#"),
        *(" http://example.com/", "http://example.com/ ", "http://exa mple.com/", "http://e/a b"),
        *("http://example.com/\r\nHost: x", "http://exam\tple.com/", "http://example.com/\x00"),
        *(
            "http://example.com/\x7f",
            "http://example.com/\u2028",
            "http://e/\u200b",
            "http://\ud800",
        ),
        *("http://127%2e0.0.1/", "http://%31%32%37.0.0.1/", "http://[fe80::1%25eth0]/"),
        *("http://[fe80::1%eth0]/", "http://[::1", "http://::1/", "http://[::1]x/", "http://[]/"),
        *("http://[v1.x]/", "http://[1.2.3.4]/", "http://[::ffff:8.8.8.8]/", "http://a]b/"),
        *("http://example.com:0/", "http://example.com:22/", "http://example.com:1023/"),
        *("http://example.com:65536/", "http://example.com:-1/", "http://example.com:8o80/"),
        *("http://example.com:80:80/", "http://example.com:\uff18\uff10/", "http://e:1000080/"),
        *("http://2130706433/", "http://0x7f000001/", "http://017700000001/", "http://127.1/"),
        *("http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://127.0.0.0x1/", "http://1.2.3.4.5/"),
        *("http://127.000.000.001/", "http://256.1.1.1/", "http://1.2.3/", "http://example.1/"),
        *(
            "http://127\u30020\u30020\u30021/",
            "http://\uff11\uff12\uff17.0.0.1/",
            "http://①.0.0.1/",
        ),
        *("http://faß.de/", "http://example\uff0ecom/", "http://-a.example/", "http://a-.example/"),
        *("http://" + "a" * 64 + ".example/", "http://" + "a." * 127 + "example/"),
        *(
            "http://e/" + "a" * 2048,
            "http://e/" + "ü" * 1000,
            "http://exa!mple.com/",
            "http://a,b/",
        ),
    ],
)
def test_an_unclear_url_is_refused_with_a_reason_and_a_remedy(url: str) -> None:
    with pytest.raises(AddressRefusedError, match=r"^url: .+; .+$") as refused:
        addresses.parse(url, "url")
    assert refused.value.field == "url"


SPELLINGS: list[Callable[[int], str]] = [
    str,
    hex,
    lambda ip: f"0{ip:o}",
    lambda ip: str(IPv4Address(ip)),
    lambda ip: f"{IPv4Address(ip)}.",
    lambda ip: str(IPv4Address(ip)).replace(".", "\u3002"),
    lambda ip: str(IPv4Address(ip)).replace(".", "%2e"),
    lambda ip: str(IPv4Address(ip)).translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
    lambda ip: ".".join(map(hex, ip.to_bytes(4, "big"))),
    lambda ip: ".".join(f"{byte:04o}" for byte in ip.to_bytes(4, "big")),
    lambda ip: f"{ip >> 24}.{ip & 0xFFFFFF}",
    lambda ip: f"0X{ip >> 24:X}.{ip >> 16 & 0xFF}.{ip & 0xFFFF}",
    *(lambda ip, c=c: f"[{IPv6Address(c(ip, 0))}]" for c in COSTUMES.values()),
    *(lambda ip, c=c: f"[{IPv6Address(c(ip, 0)).exploded}]" for c in COSTUMES.values()),
    lambda ip: f"[::FFFF:{IPv4Address(ip)}]",
    lambda ip: f"[64:ff9b::{IPv4Address(ip)}]",
]


@given(forbidden_v4, st.sampled_from(SPELLINGS), st.sampled_from(["http", "https"]))
def test_no_spelling_of_a_forbidden_address_can_be_registered(
    ip: IPv4Address, spell: Callable[[int], str], scheme: str
) -> None:
    with pytest.raises(AddressRefusedError):
        addresses.check(f"{scheme}://{spell(int(ip))}:8080/")


@given(forbidden_v6)
def test_no_special_ipv6_address_can_be_registered(ip: IPv6Address) -> None:
    with pytest.raises(AddressRefusedError):
        addresses.check(f"http://[{ip}]/")


@pytest.mark.parametrize(
    "url", ["http://localhost:3000/", "http://LOCALHOST./", "http://a.localhost"]
)
def test_localhost_needs_both_of_its_addresses_allowed(url: str) -> None:
    v4, v6 = ip_network("127.0.0.0/8"), ip_network("::1/128")
    with pytest.raises(AddressRefusedError, match=r"127\.0\.0\.1 .*DREAMHOOK_ALLOW_PRIVATE"):
        addresses.check(url)
    with pytest.raises(AddressRefusedError, match=r"::1 .*DREAMHOOK_ALLOW_PRIVATE"):
        addresses.check(url, [v4])
    assert "localhost" in addresses.check(url, [v4, v6])


def test_a_name_is_not_judged_before_it_is_dialled() -> None:
    assert addresses.check("https://intranet.example") == "https://intranet.example/"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.com/a?b", "https://example.com:443"),
        ("http://example.com:8080/", "http://example.com:8080"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]:443"),
    ],
)
def test_the_origin_names_scheme_host_and_port(url: str, origin: str) -> None:
    assert addresses.origin(url) == origin


def test_an_anonymous_endpoint_has_one_name_per_url() -> None:
    name = addresses.endpoint_name("https://example.com/a")
    assert name == addresses.endpoint_name("https://example.com/a")
    assert name != addresses.endpoint_name("https://example.com/b")
    assert name.startswith("url_")
    assert len(name) == 24


# --- headers --------------------------------------------------------------------------------------


def test_headers_come_back_in_lower_case_and_trimmed() -> None:
    sent = {"Authorization": "Bearer x", "X-Team": " a\tb "}
    assert addresses.check_headers(sent) == {"authorization": "Bearer x", "x-team": "a\tb"}


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE"),
        *("Trailer", "Upgrade", "Expect", "Proxy-Authorization", "Webhook-Id", "webhook_signature"),
        *("Svix-Id", "Cookie", "User-Agent", "Accept-Encoding", "X-Forwarded-For", "Forwarded"),
        *("Metadata-Flavor", "Metadata", "X-aws-ec2-metadata-token", "Content-Type", "Via"),
        *("transfer_encoding", "X-Original-URL", "X-HTTP-Method-Override", "Content-Encoding"),
    ],
)
def test_a_header_that_frames_routes_or_signs_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="set by Dreamhook") as refused:
        addresses.check_headers({name: "x"})
    assert refused.value.field == "headers"


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "a\x00", "a(b)"])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="no header name"):
        addresses.check_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nHost: x", "a\n", "\x00", "é", "\x7f", "\u2028"])
def test_a_header_value_that_could_break_the_request_is_refused(value: str) -> None:
    with pytest.raises(InvalidInputError, match="printable ASCII"):
        addresses.check_headers({"x-a": value})


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({f"x-{n}": "" for n in range(21)}, "over 20"),
        ({"x-a": "a" * 1025}, "over 1024 bytes"),
        ({f"x-{n}": "a" * 1024 for n in range(4)}, "over 4096 bytes"),
        ({"X-A": "1", "x-a": "2"}, "twice"),
    ],
)
def test_too_many_too_long_and_doubled_headers_are_refused(
    headers: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        addresses.check_headers(headers)
