"""A port is taken at once or refused in words, and a server on it leaves signals alone."""

from __future__ import annotations

import asyncio
import signal
import socket

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from worker.errors import ConfigurationError
from worker.hosting import Server, listen_on, url_of

CHOSEN = {"port_by": "--port", "host_by": "--host"}


def test_a_free_port_is_found_and_told() -> None:
    with listen_on("127.0.0.1", 0, **CHOSEN) as taken:
        assert url_of(taken) == f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_an_ipv6_address_is_told_in_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    with listen_on("::1", 0, **CHOSEN) as taken:
        assert url_of(taken) == f"http://[::1]:{taken.getsockname()[1]}"


def test_a_taken_port_is_refused_with_the_remedy() -> None:
    with listen_on("127.0.0.1", 0, **CHOSEN) as first:
        port = first.getsockname()[1]
        with (
            pytest.raises(
                ConfigurationError,
                match=rf"^Cannot listen on 127.0.0.1:{port}: another program .*port with --port,",
            ),
            listen_on("127.0.0.1", port, **CHOSEN),
        ):
            pass


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused_with_the_remedy(host: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="Choose an address of this machine with --host"),
        listen_on(host, 0, **CHOSEN),
    ):
        pass


async def test_whoever_connects_before_the_server_runs_is_served_when_it_does() -> None:
    with listen_on("127.0.0.1", 0, **CHOSEN) as taken:
        async with httpx.AsyncClient(trust_env=False) as http:
            asked = asyncio.create_task(http.get(url_of(taken)))
            server = Server(uvicorn.Config(PlainTextResponse("here"), lifespan="off"))
            serving = asyncio.create_task(server.serve(sockets=[taken]))
            assert (await asked).text == "here"
        server.should_exit = True
        await serving


async def test_signals_stay_with_whoever_had_them() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Server(uvicorn.Config(PlainTextResponse("here"))).capture_signals():
        assert signal.getsignal(signal.SIGTERM) is before
