"""The only way out to receivers: one attempt is one connection, guarded, bounded and never reused.

A connection per attempt, spoken with h11 directly. Nothing of one attempt can reach another: no
pool to wait for, no second answer sent ahead, no stale connection to guess about, and ten thousand
idle lanes hold nothing. It is also cheaper: with 200 in flight to 20 origins, 0.3-0.4 ms of CPU
each against 0.8 ms through pools of ten httpx connections, and with a new TLS handshake every time
about what those cost without one. There is no client object that could follow a redirect, keep a
cookie or read a proxy variable.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import functools
import importlib.metadata
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias

import certifi
import h11

from worker import addresses
from worker.addresses import Address, Ip, Network
from worker.errors import AddressRefusedError
from worker.model import Replied, Reply, Unanswered

TIMEOUT_S = 15.0
HEAD_LIMIT = 64 * 1024  # bytes of the answer's head, interim answers included
_INTERIM_COST = 4 * 1024  # what each of these counts besides its bytes: a flood is costly to parse
BODY_LIMIT = 16 * 1024  # bytes read after the head
TEXT_LIMIT = 2 * 1024  # bytes of the body that are kept
_READ = 16 * 1024
_ANSWERS = 64  # more addresses than any honest name has
_DIALS = 4  # all answers are judged, so many are tried
_DIAL_S = 4.0  # for each of them but the last, so that one dead address is not the end
_LOOKUPS = 64
_RETRY_AFTER_LIMIT = 64

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_log = logging.getLogger(__name__)


class _NotAllowedError(Exception):
    """The host leads nowhere we may call."""


class _HeadTooLongError(Exception):
    """The answer's head goes on and on."""


class _NoAnswerError(Exception):
    """The connection ended before an answer."""


@dataclass(slots=True)
class _Heard:
    """What an attempt has come to so far; it survives the attempt's end, however that comes."""

    doing: str = "looking up the host"
    status: int | None = None
    retry_after: str | None = None
    body: bytes = b""


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
        self._names = _Names()
        self._resolve = resolve or self._names.resolve
        self._given_tls = tls

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Make one attempt.

        Args:
            url: A URL that `addresses.check` accepted.
            headers: The signature and what the user added; those that frame the request are
                replaced by our own.
            body: JSON, sent as it is.

        Returns:
            `Replied` once complete headers are in, whatever becomes of the body; else `Unanswered`
            with words that are fit for strangers. Nothing the network does raises.
        """
        started = time.monotonic()
        heard, error = _Heard(), "no answer"
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._attempt(url, headers, body, heard)
        except Exception as failure:  # noqa: BLE001 - one receiver must never stop a worker
            error = _in_words(failure, heard.doing)
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
        """Let go of the look-up threads; attempts in flight must have ended."""
        self._names.close()

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or _tls_context()

    async def _attempt(
        self, url: str, headers: Mapping[str, str], body: bytes, heard: _Heard
    ) -> None:
        address = addresses.parse(url)
        request = _request(address, headers, body)
        ips = await self._judged(address)
        heard.doing = "connecting"
        reader, writer = await self._dial(address, ips)
        try:
            heard.doing = "waiting for the answer"
            await _converse(reader, writer, request, body, heard)
        finally:
            writer.transport.abort()  # no close_notify to wait for: the peer may be hostile

    async def _judged(self, address: Address) -> Sequence[Ip]:
        """Look the host up, once, and let its addresses pass only if every one may be called."""
        literal = address.ip
        answers = [str(literal)] if literal else await self._resolve(address.host)
        ips = [ip_address(answer) for answer in answers]
        if not 0 < len(ips) <= _ANSWERS or not all(map(self._may_call, ips)):
            raise _NotAllowedError
        return ips

    def _may_call(self, ip: Ip) -> bool:
        if addresses.judge_ip(ip, self._allow_private) is not None:
            return False
        return addresses.is_listed(ip, self._allow_private) or not _is_own(ip)

    async def _dial(self, address: Address, ips: Sequence[Ip]) -> _Streams:
        """Connect to the first of the judged addresses that answers, in the resolver's order."""
        *others, last = ips[:_DIALS]
        for ip in others:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(_DIAL_S):
                    return await self._connect(address, ip)
        return await self._connect(address, last)

    async def _connect(self, address: Address, ip: Ip) -> _Streams:
        tls = self._tls if address.scheme == "https" else None
        return await asyncio.open_connection(
            str(ip),  # the judged address itself: nothing looks the name up again
            address.port,
            limit=_READ,
            ssl=tls,
            server_hostname=address.host if tls else None,
        )


class _Names:
    """Looks names up in threads of its own, each name at most once at a time.

    getaddrinfo cannot be cancelled: with a dead name server it holds its thread long after the
    attempt is over. So no receiver's name may hold more than one, and none of the loop's.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="dreamhook-lookup")
        self._pending: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(self, host: str) -> Sequence[str]:
        pending = self._pending.get(host)
        if pending is None:
            pending = asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host)
            self._pending[host] = pending
            pending.add_done_callback(functools.partial(self._forget, host))
        return await asyncio.shield(pending)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self, host: str, done: asyncio.Future[list[str]]) -> None:
        del self._pending[host]
        if not done.cancelled():
            done.exception()  # seen, though everyone who waited for it may have gone


def _getaddrinfo(host: str) -> list[str]:
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in answers]


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
    except OSError:  # no route, or no such family here
        return False


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


def _request(address: Address, headers: Mapping[str, str], body: bytes) -> h11.Request:
    sent = {
        "host": address.authority,
        "user-agent": _user_agent(),
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
    }
    theirs = {name.lower(): value for name, value in headers.items()}
    sent |= {name: value for name, value in theirs.items() if not addresses.is_framing(name)}
    return h11.Request(method="POST", target=address.target, headers=list(sent.items()))


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: h11.Request,
    body: bytes,
    heard: _Heard,
) -> None:
    """Send the request and read the answer until it ends or has been long enough."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
    parts = (http.send(request), http.send(h11.Data(data=body)), http.send(h11.EndOfMessage()))
    writer.write(b"".join(filter(None, parts)))  # not drained: the answer may come first
    left = HEAD_LIMIT
    while True:
        match http.next_event():
            case h11.NEED_DATA if left > 0:
                data = await reader.read(min(left, _READ))
                if not data and heard.status is None:
                    raise _NoAnswerError
                left -= len(data)
                http.receive_data(data)
            case h11.InformationalResponse() if left > 0:
                left -= _INTERIM_COST
            case h11.NEED_DATA | h11.InformationalResponse() if heard.status is None:
                raise _HeadTooLongError
            case h11.Response() as answer:
                left = BODY_LIMIT
                heard.status = answer.status_code
                heard.retry_after = _retry_after(answer)
            case h11.Data(data=data):
                heard.body += bytes(data[: TEXT_LIMIT - len(heard.body)])
            case _:  # the end of the message
                return


def _retry_after(answer: h11.Response) -> str | None:
    first = next((value for name, value in answer.headers if name == b"retry-after"), None)
    return first[:_RETRY_AFTER_LIMIT].decode("latin-1") if first else None


def _text(body: bytes) -> str:
    """Read the beginning of a body as UTF-8, what is not UTF-8 replaced; at most `TEXT_LIMIT`."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(body)  # less a cut character
    return text.encode()[:TEXT_LIMIT].decode(errors="ignore")


_NOT_ALLOWED = "the address is not allowed: the host is unknown or not public"
_WORDS: Sequence[tuple[type[Exception], str]] = (  # the first that fits
    (_NotAllowedError, _NOT_ALLOWED),
    (_HeadTooLongError, "the answer's head is too long"),
    (_NoAnswerError, "the connection was closed without an answer"),
    (h11.RemoteProtocolError, "the answer is not valid HTTP/1.1"),
    (h11.LocalProtocolError, "the request's headers cannot be sent"),
    (UnicodeError, "the request's headers cannot be sent"),
    (AddressRefusedError, "the URL cannot be called"),
    (TimeoutError, "timed out"),
    (socket.gaierror, _NOT_ALLOWED),
    (ssl.SSLCertVerificationError, "the TLS certificate is not accepted"),
    (ssl.SSLError, "TLS failed"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionError, "the connection was reset"),
    (OSError, "the host cannot be reached"),
)


def _in_words(failure: Exception, doing: str) -> str:
    """Say what went wrong to the receiver's owner, who may be a stranger.

    Never repeats an exception's text, which may hold an address we resolved or what the receiver
    sent. A name that does not exist and one that leads behind our wall get the same words.
    """
    words = next((words for kind, words in _WORDS if isinstance(failure, kind)), None)
    if words is None:
        _log.error("an attempt failed in an unforeseen way", exc_info=failure)
        return f"the attempt failed while {doing}"
    _log.debug("an attempt failed while %s", doing, exc_info=failure)
    match failure:
        case ssl.SSLCertVerificationError():
            return f"{words}: {failure.verify_message}"
        case ssl.SSLError():
            return f"{words}: {(failure.reason or 'no reason given').replace('_', ' ').lower()}"
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return "the host could not be looked up for now"
        case TimeoutError():
            return f"{words} while {doing}"
    return words
