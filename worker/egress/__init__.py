"""The only way out to receivers: every attempt guarded and bounded, none in the way of another.

An attempt has a connection to itself, spoken with h11 on the bare transport. A connection may serve
another attempt at the same origin shortly after, if its answer left no doubt where it ended: that
saves the TLS handshake, which costs more than all else. With 200 in flight to 20 origins an attempt
takes 0.10 ms of CPU (0.14 with TLS), against 0.13 (0.67) on a new connection each time.
There is no client object that could follow a redirect, keep a cookie or read a proxy variable.
"""

from __future__ import annotations

import asyncio
import codecs
import errno
import functools
import importlib.metadata
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import TypeAlias

import certifi

from worker import addresses
from worker.addresses import Address, Ip, Network
from worker.egress.names import Names
from worker.egress.wire import TEXT_LIMIT, Heard, Idle, Wire
from worker.egress.words import NotAllowedError, OwnTroubleError, in_words, is_ours
from worker.model import Replied, Reply, Unanswered

__all__ = ["TEXT_LIMIT", "TIMEOUT_S", "Egress", "OwnTroubleError", "Resolve"]

TIMEOUT_S = 15.0
JUDGED_S = 60.0  # so long after its address was judged may a connection be used
_ANSWERS = 64  # more addresses than any honest name has
_DIALS = 4  # all answers are judged, so many are tried
_DIAL_S = 4.0  # for each of them but the last, so that one dead address is not the end

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]

# One line of the request, as RFC 9110 has it: no value can end its line and begin another.
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~]*")


class Egress:
    """Sends webhooks.

    Args:
        allow_private: Networks the deployment may call although they are not public.
        timeout_s: Total seconds for an attempt: look-up, connection, TLS, headers and body.
        resolve: Looks up a host name, returns IP addresses as text, raises `OSError`.
        tls: Judges receivers' certificates; by default the system's roots and certifi's.
    """

    def __init__(
        self,
        allow_private: Sequence[Network] = (),
        *,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = tuple(allow_private)
        self._timeout_s = timeout_s
        self._names = Names()
        self._resolve = resolve or self._names.resolve
        self._given_tls = tls
        self._idle = Idle()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Make one attempt.

        Args:
            url: A URL that `addresses.check` accepted.
            headers: The signature and what the user added; those that frame the request are
                replaced by our own.
            body: JSON, sent as it is.

        Returns:
            `Replied` once complete headers are in, whatever becomes of the body; else `Unanswered`
            with words that are fit for strangers. Nothing the network or the receiver does raises.

        Raises:
            OwnTroubleError: This machine is out of files, ports, memory or look-up threads. The
                attempt was not made, and the receiver is not to blame.
        """
        started = time.monotonic()
        heard, error = Heard(), "no answer"
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._attempt(url, headers, body, heard)
        except Exception as failure:
            if heard.status is None and is_ours(failure):
                raise OwnTroubleError(f"{heard.doing}: {failure}") from failure
            error = in_words(failure, heard.doing)
        duration_ms = round((time.monotonic() - started) * 1000)
        if heard.status is None:
            return Unanswered(error=error, duration_ms=duration_ms)
        return Replied(
            status=heard.status,
            duration_ms=duration_ms,
            retry_after=heard.retry_after,
            response=_text(heard.body),
        )

    async def aclose(self) -> None:
        """Close what is idle and let the look-up threads go; attempts in flight must have ended."""
        self._idle.close()
        self._names.close()

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or _tls_context()

    async def _attempt(
        self, url: str, headers: Mapping[str, str], body: bytes, heard: Heard
    ) -> None:
        address = addresses.parse(url)
        request = _request(address, headers, body)
        kept = self._idle.take(address.origin)
        if kept is not None:
            try:
                await self._converse(kept, address, request, heard)
            except OSError:
                if heard.began:
                    raise
            else:
                return
            # It was closed while it was idle, which nobody could know: what was sent may have been
            # received, but that goes for every attempt without an answer, and they are repeated.
        heard.doing = "looking up the host"
        ips = await self._judged(address)
        heard.doing = "connecting"
        await self._converse(await self._dial(address, ips), address, request, heard)

    async def _converse(self, wire: Wire, address: Address, request: bytes, heard: Heard) -> None:
        try:
            await wire.converse(request, heard)
        finally:
            self._idle.put(address.origin, wire)

    async def _judged(self, address: Address) -> Sequence[Ip]:
        """Look the host up, once, and let its addresses pass only if every one may be called."""
        literal = address.ip
        answers = [str(literal)] if literal else await self._resolve(address.host)
        ips = [ip_address(answer) for answer in answers]
        if not ips:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        if len(ips) > _ANSWERS or not all(map(self._may_call, ips)):
            raise NotAllowedError
        return ips

    def _may_call(self, ip: Ip) -> bool:
        if addresses.judge_ip(ip, self._allow_private) is not None:
            return False
        return addresses.is_listed(ip, self._allow_private) or not _is_own(ip)

    async def _dial(self, address: Address, ips: Sequence[Ip]) -> Wire:
        """Connect to the first of the judged addresses that answers, in the resolver's order."""
        *others, last = ips[:_DIALS]
        for ip in others:
            try:
                async with asyncio.timeout(_DIAL_S):
                    return await self._connect(address, ip)
            except OSError as failure:
                if is_ours(failure):
                    raise
        return await self._connect(address, last)

    async def _connect(self, address: Address, ip: Ip) -> Wire:
        loop = asyncio.get_running_loop()
        tls = self._tls if address.scheme == "https" else None
        try:
            _, wire = await loop.create_connection(
                functools.partial(Wire, loop.time() + JUDGED_S),
                str(ip),  # the judged address itself: nothing looks the name up again
                address.port,
                ssl=tls,
                server_hostname=address.host if tls else None,
            )
        except OSError as failure:
            # Without IPv6 this is also how a machine says so; with IPv4 all our ports are in use.
            if failure.errno == errno.EADDRNOTAVAIL and ip.version == 4:  # noqa: PLR2004
                raise OwnTroubleError("no local port is free") from failure
            raise
        return wire


def _is_own(ip: Ip) -> bool:
    """Say whether `ip` is this machine's: then packets to it would leave from it.

    A firewall that keeps strangers from our own ports does not keep us from them. Connecting a UDP
    socket only asks the routing table; nothing is sent.
    """
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET  # noqa: PLR2004 - IPv6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(ip), 9))
            return ip_address(probe.getsockname()[0]) == ip
    except OSError as failure:
        if is_ours(failure):  # then nothing is known, and nothing may be called
            raise
        return False  # no route, or no such family here


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Build the context once: reading the roots takes longer than many attempts."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()  # also what an operator has installed, or named in SSL_CERT_FILE
    context.set_alpn_protocols(["http/1.1"])
    return context


@functools.cache
def _user_agent() -> str:
    try:
        return f"dreamhook/{importlib.metadata.version('dreamhook')}"
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "dreamhook"


def _request(address: Address, headers: Mapping[str, str], body: bytes) -> bytes:
    """Write a request; `UnicodeError` if a header is not one."""
    sent = {
        "host": address.authority,
        "user-agent": _user_agent(),
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    theirs = {name.lower(): value for name, value in headers.items()}
    sent |= {name: value for name, value in theirs.items() if not addresses.is_framing(name)}
    lines = [f"{name}: {value}" for name, value in sent.items()]
    if not all(map(_FIELD.fullmatch, lines)):
        raise UnicodeError
    return "\r\n".join([f"POST {address.target} HTTP/1.1", *lines, "", ""]).encode() + body


def _text(body: bytes) -> str:
    """Read the beginning of a body as UTF-8, what is not UTF-8 replaced; at most `TEXT_LIMIT`."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(body)  # less a cut character
    return text.encode()[:TEXT_LIMIT].decode(errors="ignore")
