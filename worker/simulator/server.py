"""Serve a simulated Luma: inside a running event loop, or as a process of its own.

uvicorn's HTTP protocol without uvicorn's server: nothing ticks while idle, signals stay with
whoever owns the loop, and shutting down hangs up on hanging requests instead of waiting for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Iterable
from shlex import quote

import uvicorn
import uvloop
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from worker.hosting import listen_on
from worker.simulator.app import create_app
from worker.simulator.faults import Faults, parse_fault
from worker.simulator.gate import BASE_PATH
from worker.simulator.spoken import base_path_of, create_spoken_app
from worker.simulator.wire import TRANSPORT
from worker.simulator.world import World

DEFAULT_PORT = 8090
_BACKLOG = 2048
_TITLES = {"luma": "Luma", "luma-agents": "Luma Agents"}
_VARIABLES = {"luma": "LUMAAI_BASE_URL", "luma-agents": "LUMA_BASE_URL"}
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 shown, not bound


class _Protocol(HttpToolsProtocol):
    """Tells the application which connection a request came on, so that a fault may break it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][TRANSPORT] = self.transport


@contextlib.asynccontextmanager
async def running(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, base_path: str = BASE_PATH
) -> AsyncIterator[str]:
    """Serve `app` in the current loop for as long as the context lasts.

    Yields:
        The base URL for a client, for Luma's `http://host:port/dream-machine/v1`; port 0 takes a
        free port.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    config.load()
    state = ServerState()
    with listen_on(host, port, port_by="--port", host_by="--host") as taken:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(config=config, server_state=state, app_state={}),
            sock=taken,
            backlog=_BACKLOG,
        )
        try:
            yield _base_url(host, taken.getsockname()[1], base_path)
        finally:
            server.close()
            await _hang_up(state)


async def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    provider: str = "luma",
    base_path: str = BASE_PATH,
    key: str = "any",
    more: str = "",
) -> None:
    """Serve `app`, which speaks as `provider`, until SIGINT or SIGTERM; say where on one line.

    Below it is said how to start a generation, with a `key` that it accepts, and then `more`.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    told_to_stop = asyncio.Event()
    async with running(app, host=host, port=port, base_path=base_path) as base_url:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told_to_stop.set)
        # On one line, flushed: a script may wait for it, then read the address from it.
        title, hint = _TITLES.get(provider, provider), _hint(provider, base_url)
        line = f"Simulated {title} at {base_url} ({hint})"
        print(line, flush=True)  # noqa: T201 the command's one line
        start = _start(provider, base_url, key)
        print(f"  {start}{more}", flush=True)  # noqa: T201 ready to be pasted
        await told_to_stop.wait()


def main(
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    seed: int | None = None,
    speed: float = 1.0,
    failure_rate: float = 0.02,
    faults: Iterable[str] = (),
    keys: Iterable[str] = (),
    provider: str = "luma",
    text: str = "",
) -> None:
    """Run a simulated Luma, or another provider, in this process until SIGINT or SIGTERM.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        seed: same seed and same order of creations, same IDs, durations and outcomes; None: any.
        speed: simulated seconds per real second.
        failure_rate: share of generations that fail, 0 to 1.
        faults: what goes wrong, in the text form of `worker.simulator.faults`.
        keys: the accepted API keys; when empty, any key but an empty one will do.
        provider: whose API to speak.
        text: its data file; not needed for `luma`, which is simulated whole.

    Raises:
        InvalidInputError: a fault, the speed, the rate or the data file cannot be used.
        ConfigurationError: the address cannot be listened on.
    """
    seed, keys = secrets.randbelow(1_000_000) if seed is None else seed, list(keys)
    world = World(seed=seed, speed=speed, failure_rate=failure_rate)
    in_force = Faults((parse_fault(text) for text in faults), seed=seed)
    if provider == "luma":
        app, base_path = create_app(world, faults=in_force, keys=keys), BASE_PATH
    else:
        app = create_spoken_app(text, world, faults=in_force, keys=keys)
        base_path = base_path_of(text)
    more = f"\n  the same world again: --seed {seed}"
    uvloop.run(
        serve(
            app,
            host=host,
            port=port,
            provider=provider,
            base_path=base_path,
            key=next(iter(keys), "any"),
            more=more,
        )
    )


async def _hang_up(state: ServerState) -> None:
    """Close all connections and let their requests end."""
    while state.connections or state.tasks:
        for connection in list(state.connections):
            connection.transport.abort()
        # One turn of the loop tells protocols and applications that their client is gone.
        await asyncio.sleep(0)


def _hint(provider: str, base_url: str) -> str:
    variable = _VARIABLES.get(provider)
    if variable is None:
        return f'in DREAMHOOK_ACCOUNTS: "base_url": "{base_url}"'
    return f"try: export {variable}={base_url}"


def _start(provider: str, base_url: str, key: str) -> str:
    """Write a command that starts a generation; where that is not as at Luma, at the controls."""
    as_json = "-H 'Content-Type: application/json'"
    if provider != "luma":
        origin = "/".join(base_url.split("/")[:3])
        return f"curl -X POST {origin}/_simulator/generations {as_json} -d '{{}}'"
    wanted = '{"model": "ray-2", "prompt": "A paper boat"}'
    return (
        f"curl -X POST {base_url}/generations -H {quote(f'Authorization: Bearer {key}')} {as_json}"
        f" -d '{wanted}'"
    )


def _base_url(host: str, port: int, base_path: str) -> str:
    shown = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}{base_path}"
