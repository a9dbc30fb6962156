"""Says why an attempt failed: to the receiver's owner in words, or that the trouble is ours."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from collections.abc import Sequence

import h11

from worker.errors import AddressRefusedError

_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger(__name__)


class OwnTroubleError(Exception):
    """An attempt could not be made, and that says nothing about the receiver."""


class NotAllowedError(Exception):
    """The host leads nowhere we may call."""


class HeadTooLongError(Exception):
    """The answer's head goes on and on."""


class NoAnswerError(ConnectionError):
    """The connection ended before an answer."""


def is_ours(failure: Exception) -> bool:
    """Say whether a failure is this machine's: out of files, ports, buffers, memory or threads."""
    if isinstance(failure, socket.gaierror):  # its numbers are of another kind
        return failure.errno == socket.EAI_MEMORY
    if isinstance(failure, OSError):
        return failure.errno in _OURS
    return isinstance(failure, OwnTroubleError | MemoryError)


_NOT_ALLOWED = (
    "the address is not public, or Dreamhook's own: "
    "if it may be called, list its network in DREAMHOOK_ALLOW_PRIVATE"
)
_WORDS: Sequence[tuple[type[Exception], str]] = (  # the first that fits
    (NotAllowedError, _NOT_ALLOWED),
    (HeadTooLongError, "the answer's head is too long"),
    (NoAnswerError, "the connection was closed without an answer"),
    (h11.RemoteProtocolError, "the answer is not valid HTTP/1.1"),
    (UnicodeError, "the request's headers cannot be sent"),
    (AddressRefusedError, "the URL cannot be called"),
    (TimeoutError, "timed out"),
    (socket.gaierror, "the host is unknown: no address was found for its name"),
    (ssl.SSLCertVerificationError, "the TLS certificate is not accepted"),
    (ssl.SSLError, "TLS failed"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionError, "the connection was reset"),
    (OSError, "the host cannot be reached"),
)


def in_words(failure: Exception, doing: str) -> str:
    """Say what went wrong to the receiver's owner, who may be a stranger.

    Never repeats an exception's text, which may hold an address we resolved or what the receiver
    sent. So of a name that leads behind our wall it is told that it does, and not where to.
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
