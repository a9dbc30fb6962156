"""The simulator on real sockets: every fault as a client meets it, starting and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from worker.errors import ConfigurationError, InvalidInputError
from worker.providers.spec import text_of
from worker.simulator import (
    Faults,
    Outcome,
    Script,
    World,
    base_path_of,
    create_app,
    create_spoken_app,
    main,
    parse_fault,
    running,
    serve,
)

API = "/dream-machine/v1"
ONE = f"{API}/generations/g-1"


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def base_url(faults: Faults) -> AsyncIterator[str]:
    world = World()
    script = Script(id="g-1", queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
    world.create(generation_type="video", model="ray-2", request={}, script=script)
    async with running(create_app(world, faults=faults)) as url:
        yield url


@pytest.fixture
async def luma(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(base_url) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No fault may look like an application's bug to the server: nothing is logged."""
    yield
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def client(base_url: str, timeout: float = 5) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=base_url.removesuffix(API),
        headers={"Authorization": "Bearer k"},
        timeout=timeout,
        trust_env=False,
    )


async def until_hanging(luma: httpx.AsyncClient) -> None:
    """Wait until the simulator has met a hang."""
    async with asyncio.timeout(5):
        while not (await luma.get("/_simulator/stats")).json()["faults"].get("hang"):
            pass


@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        ("401", 401, "application/json"),
        ("403", 403, "application/json"),
        ("404", 404, "application/json"),
        ("429", 429, "application/json"),
        ("500", 500, "text/plain; charset=utf-8"),
        ("502", 502, "text/html; charset=utf-8"),
        ("503", 503, "text/html; charset=utf-8"),
        ("redirect", 302, "text/html; charset=utf-8"),
        ("garbage", 200, "application/json"),
    ],
)
async def test_a_fault_that_answers_is_seen_once_and_then_the_truth(
    faults: Faults, luma: httpx.AsyncClient, fault: str, status: int, content_type: str
) -> None:
    faults.add(parse_fault(f"get:{fault}:times=1"))
    struck = await luma.get(ONE)
    assert (struck.status_code, struck.headers["content-type"]) == (status, content_type)
    assert (await luma.get(ONE)).json()["state"] == "completed"


@pytest.mark.parametrize("call", ["get", "any"])
@pytest.mark.parametrize(("asked", "sent"), [("2", "2"), ("0.5", "0.5"), ("3600000", "3600000")])
async def test_a_throttle_says_when_to_come_back_if_told_to(
    faults: Faults, luma: httpx.AsyncClient, call: str, asked: str, sent: str
) -> None:
    faults.add(parse_fault(f"{call}:429:retry_after={asked}"))
    assert (await luma.get(ONE)).headers["retry-after"] == sent


async def test_a_throttle_may_say_nothing(faults: Faults, luma: httpx.AsyncClient) -> None:
    faults.add(parse_fault("get:429"))
    throttled = await luma.get(ONE)
    assert "retry-after" not in throttled.headers
    assert throttled.json() == {"detail": "Rate limit exceeded"}


async def test_garbage_is_neither_text_nor_json(faults: Faults, luma: httpx.AsyncClient) -> None:
    faults.add(parse_fault("get:garbage"))
    with pytest.raises(ValueError, match="utf-8"):
        (await luma.get(ONE)).json()


async def test_a_followed_redirect_is_told_on(faults: Faults, luma: httpx.AsyncClient) -> None:
    faults.add(parse_fault("get:redirect"))
    page = await luma.get(ONE, follow_redirects=True)
    assert (page.status_code, "Sign in" in page.text) == (200, True)
    assert (await luma.get("/_simulator/stats")).json()["redirects_followed"] == 1


async def test_a_hang_lasts_until_the_client_leaves(
    faults: Faults, luma: httpx.AsyncClient
) -> None:
    faults.add(parse_fault("get:hang:times=1"))
    with pytest.raises(httpx.ReadTimeout):
        await luma.get(ONE, timeout=0.05)
    assert (await luma.get(ONE)).status_code == 200


async def test_a_hang_may_end_with_a_closed_connection(
    faults: Faults, luma: httpx.AsyncClient
) -> None:
    faults.add(parse_fault("get:hang:seconds=0.02"))
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending"):
        await luma.get(ONE)


async def test_stopping_hangs_up_on_whoever_still_waits() -> None:
    app = create_app(World(), faults=Faults([parse_fault("get:hang")]))
    async with running(app) as url:
        luma = client(url)
        waiting = asyncio.create_task(luma.get(ONE))
        await until_hanging(luma)
    with pytest.raises(httpx.RemoteProtocolError):
        await waiting
    await luma.aclose()


async def test_a_reset_is_a_real_one(faults: Faults, base_url: str) -> None:
    faults.add(parse_fault("any:reset"))
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {ONE} HTTP/1.1\r\nHost: luma\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_after_a_reset_the_next_request_is_served(
    faults: Faults, luma: httpx.AsyncClient
) -> None:
    faults.add(parse_fault("get:reset:times=1"))
    with pytest.raises(httpx.ReadError):
        await luma.get(ONE)
    assert (await luma.get(ONE)).status_code == 200


async def test_a_truncated_body_ends_before_its_length(
    faults: Faults, luma: httpx.AsyncClient
) -> None:
    faults.add(parse_fault("get:truncated:times=1"))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        await luma.get(ONE)
    assert (await luma.get(ONE)).status_code == 200


async def test_an_unknown_state_is_a_true_answer_but_for_the_state(
    faults: Faults, luma: httpx.AsyncClient
) -> None:
    faults.add(parse_fault("get:unknown_state:times=1"))
    strange = (await luma.get(ONE)).json()
    honest = (await luma.get(ONE)).json()
    assert strange == {**honest, "state": "hibernating", "assets": {}}


async def test_an_unknown_state_strikes_a_list_as_well(
    faults: Faults, luma: httpx.AsyncClient
) -> None:
    faults.add(parse_fault("list:unknown_state:times=1"))
    pages = [(await luma.get(f"{API}/generations")).json() for _ in range(2)]
    assert [page["generations"][0]["state"] for page in pages] == ["hibernating", "completed"]


@pytest.mark.parametrize("kind", ["500", "reset", "truncated"])
async def test_a_struck_creation_creates_nothing(
    faults: Faults, luma: httpx.AsyncClient, kind: str
) -> None:
    faults.add(parse_fault(f"create:{kind}:times=1"))
    body = {"model": "ray-2", "prompt": "a teapot"}
    try:
        struck = await luma.post(f"{API}/generations", json=body)
    except httpx.TransportError:
        pass
    else:
        assert struck.status_code == 500
    assert (await luma.get("/_simulator/stats")).json()["generations"] == 1


async def test_a_fault_on_the_socket_needs_a_socket() -> None:
    app = create_app(World(), faults=Faults([parse_fault("get:reset")]))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://luma") as luma:
        with pytest.raises(RuntimeError, match=r"worker\.simulator\.running"):
            await luma.get(ONE)


async def test_a_taken_port_is_one_clear_error(base_url: str) -> None:
    port = urlsplit(base_url).port
    assert port is not None
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}: .* another port"):
        async with running(create_app(World()), port=port):
            pass


def test_the_command_refuses_a_wrong_fault_before_it_listens() -> None:
    with pytest.raises(InvalidInputError, match="'get:418'"):
        main(faults=["get:418"])


def test_the_command_says_where_it_listens_serves_and_stops_when_told() -> None:
    program = (
        "from worker.simulator import main; "
        "main(port=0, seed=5, faults=['ping:reset:times=1'], keys=['k'])"
    )
    command = [sys.executable, "-c", program]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)  # or what fails here would wait for it without end
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline().decode()
        base_url = line.split("LUMAAI_BASE_URL=")[1].strip(" )\n")
        start = process.stdout.readline().decode()
        assert f"curl -X POST {base_url}/generations -H 'Authorization: Bearer k' " in start
        assert "--seed 5" in process.stdout.readline().decode()
        with httpx.Client(headers={"Authorization": "Bearer k"}, trust_env=False) as luma:
            # This process runs on uvloop: the reset must be one there, too.
            with pytest.raises(httpx.ReadError):
                luma.get(f"{base_url}/ping")
            body = {"model": "ray-2", "prompt": "a teapot"}
            created = luma.post(f"{base_url}/generations", json=body).json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == b""
    alike = World(seed=5).create(generation_type="video", model="ray-2", request={})
    assert created["id"] == alike.id


@pytest.mark.parametrize(
    ("provider", "path", "hint"),
    [
        ("luma-agents", "/v1", "(try: export LUMA_BASE_URL=http://"),
        ("runway", "", '(in DREAMHOOK_ACCOUNTS: "base_url": "http://'),
    ],
)
async def test_it_says_where_another_provider_is_and_how_to_use_it(
    provider: str, path: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = text_of(provider)
    app, base_path = create_spoken_app(text, World()), base_path_of(text)
    serving = asyncio.create_task(serve(app, port=0, provider=provider, base_path=base_path))
    line = ""
    async with asyncio.timeout(5):
        while not line:
            await asyncio.sleep(0.001)
            line = capsys.readouterr().out
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert re.search(rf"^Simulated .+ at http://127\.0\.0\.1:[0-9]+{path} ", line)
    assert hint in line
    assert re.search(
        r"^  curl -X POST http://127\.0\.0\.1:[0-9]+/_simulator/generations ", line, re.MULTILINE
    )
