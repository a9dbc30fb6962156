"""Serves HTTP in a loop that belongs to someone else, for the API and for the receiver."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from worker.errors import ConfigurationError


class Server(uvicorn.Server):
    """A uvicorn that leaves signals to whoever owns the loop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextmanager
def listen_on(host: str, port: int, *, port_by: str, host_by: str) -> Iterator[socket.socket]:
    """Listen at once, so that a taken port is known before anything else starts.

    Whoever connects before a server runs is served when it does.

    Args:
        host: An IP address or a host name of this machine.
        port: Its port; 0 takes a free one.
        port_by: What the port is chosen with, such as `--port`, for the error.
        host_by: What the address is chosen with.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    try:
        taken = _listening(host, port)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {_address(host, port)}: {_in_words(error, port_by, host_by)}"
        ) from error
    with taken:
        yield taken


def url_of(taken: socket.socket) -> str:
    """Say where a listening socket is reached, `http://host:port`."""
    host, port = taken.getsockname()[:2]
    return f"http://{_address(host, port)}"


def _in_words(error: OSError, port_by: str, host_by: str) -> str:
    """Say why, and what to do next."""
    match error.errno:
        case errno.EADDRINUSE:
            return (
                "another program has this port. "
                f"Stop it, or choose another port with {port_by}, 0 for any free one."
            )
        case errno.EACCES:
            return f"this port is not for everybody. Choose one from 1024 on with {port_by}."
        case _:
            why = error.strerror or error
            return f"{why}. Choose an address of this machine with {host_by}, such as 127.0.0.1."


def _listening(host: str, port: int) -> socket.socket:
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # Or else a port stays taken for a minute after a server on it was stopped.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        taken.listen()
    except OSError:
        taken.close()
        raise
    return taken


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
