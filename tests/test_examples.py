"""The examples are complete: each is run as it stands."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from worker import running, signing
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.simulator import World, create_app
from worker.simulator import running as simulated
from worker.simulator.faults import Faults, parse_fault

EXAMPLES = Path(__file__).parent.parent / "examples"
SECRET = signing.new_secret(bytes(range(32)))
EVENT: dict[str, Any] = {
    "type": "generation.completed",
    "timestamp": "2026-01-31T12:00:47.250Z",
    "data": {
        "generation_id": "g-1",
        "metadata": {"order": "déjà vu"},
        "assets": {"video": "https://storage.example.com/v.mp4"},
    },
}
BODY = json.dumps(EVENT, ensure_ascii=False).encode()


def signed(body: bytes = BODY, *, at: float | None = None) -> dict[str, str]:
    return signing.headers("evt_1", int(at or time.time()), body, [SECRET])


@asynccontextmanager
async def in_fastapi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("RECEIVER_DB", str(tmp_path / "webhooks.db"))
    names = runpy.run_path(str(EXAMPLES / "receiver_fastapi.py"))
    transport = httpx.ASGITransport(names["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        yield client
    names["handled"].close()


async def test_the_fastapi_receiver_handles_a_webhook_once_and_nothing_that_is_forged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with in_fastapi(tmp_path, monkeypatch) as client:
        assert await statuses(client) == EXPECTED
    assert capsys.readouterr().out.count("g-1 of order déjà vu is done") == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
async def test_the_node_receiver_handles_a_webhook_once_and_nothing_that_is_forged() -> None:
    receiver = await asyncio.create_subprocess_exec(
        *("node", str(EXAMPLES / "receiver_node.mjs")),
        env={"PATH": os.environ["PATH"], "WEBHOOK_SECRET": SECRET, "PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert receiver.stdout
    try:
        async with asyncio.timeout(20):
            url = (await receiver.stdout.readline()).decode().split()[-1]
            async with httpx.AsyncClient(base_url=url.removesuffix("/hooks/luma")) as client:
                assert await statuses(client) == EXPECTED
    finally:
        receiver.terminate()
        said, _ = await receiver.communicate()
    assert said.decode().count("g-1 of order déjà vu is done") == 1


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            ["node", "receiver_node.mjs"],
            marks=pytest.mark.skipif(shutil.which("node") is None, reason="there is no node"),
        ),
        [sys.executable, "receiver_fastapi.py"],
    ],
)
@pytest.mark.parametrize("secret", [None, ""])
def test_a_receiver_without_its_secret_says_what_to_set(
    command: list[str], secret: str | None, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [command[0], EXAMPLES / command[1]],
        env={"PATH": os.environ["PATH"]} | ({} if secret is None else {"WEBHOOK_SECRET": secret}),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert 'export WEBHOOK_SECRET="$(dreamhook secret)"' in line
    assert list(tmp_path.iterdir()) == []


EXPECTED = [204, 204, 400, 400, 400, 400]


async def statuses(client: httpx.AsyncClient) -> list[int]:
    """Send a webhook twice, and then what no Dreamhook has sent."""
    forged = BODY.replace(b"g-1", b"g-2")
    sent = [
        (BODY, signed()),
        (BODY, signed()),
        (forged, signed()),
        (BODY, signed(at=time.time() - 3600)),
        (BODY, signed() | {"webhook-signature": "v1"}),
        (BODY, {}),
    ]
    answers = [await client.post("/hooks/luma", content=b, headers=h) for b, h in sent]
    return [each.status_code for each in answers]


@asynccontextmanager
async def dreamhook(tmp_path: Path, faults: Faults) -> AsyncIterator[tuple[str, World]]:
    """Run everything, with a Luma that takes no time."""
    world = World(speed=1000, failure_rate=0, stuck_rate=0)
    async with simulated(create_app(world, faults=faults)) as base_url:
        account = AccountSettings(provider="luma", api_key="key", base_url=base_url)
        settings = Settings(
            data=tmp_path / "data", accounts={"luma": account}, port=0, api_keys="sesame"
        )
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        up = asyncio.create_task(running.run(settings, stop, ready=ready.set_result))
        done, _ = await asyncio.wait({up, ready}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if up in done:
                await up
            yield await ready, world
        finally:
            stop.set()
            await up


async def submit_and_wait(url: str, order: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "submit_and_wait.py"), order, "a fox in the snow"),
        env={"PATH": os.environ["PATH"], "DREAMHOOK_URL": url, "DREAMHOOK_API_KEY": "sesame"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_script_submits_once_and_waits_for_the_end(tmp_path: Path) -> None:
    faults = Faults([parse_fault("create:429:retry_after=1:times=1")])
    async with dreamhook(tmp_path, faults) as (url, world):
        first = await submit_and_wait(url, "order-1")
        again = await submit_and_wait(url, "order-1")
        faults.add(parse_fault("create:lost:times=1"))
        lost = await submit_and_wait(url, "order-2")
        faults.add(parse_fault("create:400:times=1"))
        refused = await submit_and_wait(url, "order-3")

    newest, oldest = [each.id for each in world.all()]
    assert (first[0], again) == (0, (0, first[1], ""))
    assert oldest in json.loads(first[1])["video"]
    assert (lost[0], newest in json.loads(lost[1])["video"]) == (0, True)
    assert "it is being looked for" in lost[2]
    assert refused[0] == 1
    assert "Prompt is required" in refused[2]
