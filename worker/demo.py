"""The demonstration: the whole product on one machine, watching a simulated Luma.

Nothing in it is special: the API, the worker and the embedded Redis run as `dreamhook up` runs
them, the receivers as `dreamhook listen` does, and all that it says was said by them.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import httpx
from rich.console import Console
from starlette.types import ASGIApp

from worker import listener, running, signing, simulator, telemetry
from worker.config import ClientSettings, Settings
from worker.config_accounts import AccountSettings
from worker.model import JsonObject

Found = TypeVar("Found")

PATIENCE_S = 20.0
"""The story is told in less; if not, it has failed."""

RETRIES = "2,3,5,10,30"

POLL_PATIENCE = 0.05
"""Whoever watches has less patience than a program: look six times as often as by default."""

FOLLOW_UP = (
    '{"id": "dream-1", "generation_type": "image", "model": "photon-1",'
    ' "queued_s": 1, "dreaming_s": 4}'
)
"""What to try after the story. A video, at Luma's own pace, would take up to two minutes."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One generation of the story, and how it is meant to end."""

    title: str
    script: dict[str, Any]
    event: str
    receiver_is_down: bool = False


SCENES = (
    Scene(
        "A paper boat at dawn",
        {"model": "photon-1", "queued_s": 0.5, "dreaming_s": 5.0, "outcome": "completed"},
        "generation.completed",
    ),
    Scene(
        "Something Luma will not draw",
        {
            "model": "photon-flash-1",
            "queued_s": 0.3,
            "dreaming_s": 1.5,
            "outcome": "failed",
            "failure_reason": "Advanced prompt moderation failed",
        },
        "generation.failed",
    ),
    Scene(
        "A lighthouse in fog",
        {"model": "photon-1", "queued_s": 0.5, "dreaming_s": 3.0, "outcome": "completed"},
        "generation.completed",
        receiver_is_down=True,
    ),
)


@dataclass(slots=True)
class Stage:
    """Where the story plays: what runs, and the webhooks that have come in."""

    console: Console
    started: float
    secret: str
    api: httpx.AsyncClient
    luma: httpx.AsyncClient
    late_port: int
    receiver_url: str = ""
    received: dict[str, list[listener.Received]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        self.console.print(f"[dim]{monotonic() - self.started:5.1f} s[/dim]  {text}")

    def hear(self, webhook: listener.Received) -> None:
        """Take note of a webhook and print it."""
        if not webhook.verified:
            self.say(f"[red]refused[/red]   {webhook.reason}")
            return
        data = webhook.body["data"]
        self.received.setdefault(data["generation_id"], []).append(webhook)
        title = data["metadata"].get("title", data["generation_id"])
        self.say(
            f"[bold cyan]webhook[/bold cyan]   {webhook.body['type']}: {title}\n"
            f"           [green]signature verified[/green]  [dim]webhook-id {webhook.id}[/dim]"
        )
        for kind, url in data["assets"].items():
            self.console.print(f"           {kind}: {url}")
        if data["failure_reason"]:
            self.console.print(f"           reason: {data['failure_reason']}")

    def receiver(self) -> ASGIApp:
        """Make a receiver that verifies what comes in and shows it."""
        return listener.create_app(self.secret, self.hear)

    def promise(self, text: str, *, kept: bool) -> None:
        """Check one promise, aloud."""
        mark = "[green]kept  [/green]" if kept else "[red]BROKEN[/red]"
        self.console.print(f"  {mark}  {text}")
        if not kept:
            self.broken.append(text)


def main(*, once: bool) -> int:
    """Give the demonstration.

    Args:
        once: end after the story; otherwise stay up until told to stop.

    Returns:
        0 if every promise held, else 1.
    """
    telemetry.configure("error")
    return asyncio.run(_demonstrate(once=once))


async def _demonstrate(*, once: bool) -> int:
    console = Console(highlight=False, soft_wrap=True)
    async with _stage(console) as stage:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _story(stage)
        except TimeoutError:
            stage.promise(f"the story is told within {PATIENCE_S:.0f} s", kept=False)
        if not once and not stage.broken:
            _farewell(stage)
            await _told_to_stop()
    return 1 if stage.broken else 0


# --- the story ------------------------------------------------------------------------------------


async def _story(stage: Stage) -> None:
    """Track what Luma is making, until every webhook is there; then check what was promised."""
    names = [await _begin(stage, scene) for scene in SCENES]
    late = names[[scene.receiver_is_down for scene in SCENES].index(True)]
    refused = await _until(lambda: _attempts(stage, late))
    stage.say(f"[yellow]attempt[/yellow]   failed: {refused[0]['error']}; it is retried")
    async with listener.listening(stage.receiver(), port=stage.late_port):
        stage.say("          the receiver that was down is up again")
        for name in names:
            await _until(partial(_heard, stage, name))
        attempts = await _until(lambda: _attempts(stage, late, settled=True))
    stage.console.print()
    for scene, name in zip(SCENES, names, strict=True):
        await _check(stage, scene, name)
    one = {webhook.id for webhook in stage.received[late]}
    stage.promise(
        f"the webhook whose receiver was down came with attempt {len(attempts)}, "
        "under the webhook-id it was born with",
        kept=len(attempts) > 1 and one == {await _event_id(stage, late)},
    )


async def _begin(stage: Stage, scene: Scene) -> str:
    """Have Luma make something, and hand its ID to Dreamhook."""
    script = {"prompt": scene.title, "generation_type": "image", **scene.script}
    made = await stage.luma.post("/_simulator/generations", json=script)
    name: str = made.raise_for_status().json()["id"]
    url = stage.receiver_url
    if scene.receiver_is_down:
        url = f"http://127.0.0.1:{stage.late_port}/"
    body = {"callback_url": url, "metadata": {"title": scene.title}}
    tracked = await stage.api.put(f"/v1/trackers/luma/{name}", json=body)
    down = " (its receiver is down)" if scene.receiver_is_down else ""
    stage.say(f"[bold]track[/bold]     {scene.title}{down}  [dim]{name}[/dim]")
    tracked.raise_for_status()
    return name


async def _check(stage: Stage, scene: Scene, name: str) -> None:
    tracker = (await stage.api.get(f"/v1/trackers/luma/{name}")).json()
    webhooks = stage.received[name]
    stage.promise(
        f"{scene.title}: {tracker['state']} after {tracker['polls']} looks, told exactly once",
        kept=len(webhooks) == 1
        and webhooks[0].body["type"] == scene.event == f"generation.{tracker['state']}",
    )


async def _heard(stage: Stage, name: str) -> bool:
    return name in stage.received


async def _deliveries(stage: Stage, name: str) -> list[JsonObject]:
    found = await stage.api.get("/v1/deliveries", params={"generation_id": name})
    items: list[JsonObject] = found.raise_for_status().json()["items"]
    return items


async def _attempts(stage: Stage, name: str, *, settled: bool = False) -> list[JsonObject]:
    """Get the attempts at one generation's webhook; none before it is settled, if that is asked."""
    for delivery in await _deliveries(stage, name):
        if not settled or delivery["state"] != "pending":
            return list(delivery["attempts"])
    return []


async def _event_id(stage: Stage, name: str) -> str:
    return str((await _deliveries(stage, name))[0]["event_id"])


async def _until(condition: Callable[[], Awaitable[Found]]) -> Found:
    """Ask until there is an answer; the story's time-out ends it."""
    while not (found := await condition()):  # noqa: ASYNC110 - it happens beyond HTTP
        await asyncio.sleep(0.05)
    return found


def _farewell(stage: Stage) -> None:
    """Say what is up, and what to try."""
    api = str(stage.api.base_url).rstrip("/")
    luma = str(stage.luma.base_url).rstrip("/")
    name = next(iter(stage.received))
    stage.console.print(f"""
Everything stays up until Ctrl-C.
The dashboard is at [bold]{api}[/bold], the reference of the API at {api}/docs. Try:

  .venv/bin/dreamhook list
  curl -s {api}/v1/trackers/luma/{name}/timeline
  curl -s {luma}/_simulator/generations -H 'Content-Type: application/json' \\
    -d '{FOLLOW_UP}' &&
    .venv/bin/dreamhook track dream-1 --callback-url {stage.receiver_url} --wait
""")
    if api != ClientSettings().url:
        stage.console.print(f"  (port 8080 was taken: first, export DREAMHOOK_URL={api})\n")


async def _told_to_stop() -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    await stop.wait()


# --- the stage ------------------------------------------------------------------------------------


@asynccontextmanager
async def _stage(console: Console) -> AsyncIterator[Stage]:
    """Start everything, each as its own command would; stop it all at the end."""
    started, secret = monotonic(), signing.new_secret(secrets.token_bytes(32))
    async with AsyncExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dreamhook-demo-")))
        world = simulator.World(failure_rate=0, stuck_rate=0)
        luma_url = await stack.enter_async_context(
            simulator.running(simulator.create_app(world), port=_free(simulator.DEFAULT_PORT))
        )
        api_url = await stack.enter_async_context(_dreamhook(data, luma_url, secret))
        stage = Stage(
            console=console,
            started=started,
            secret=secret,
            api=await stack.enter_async_context(_client(api_url)),
            luma=await stack.enter_async_context(
                _client(luma_url.removesuffix(simulator.BASE_PATH))
            ),
            late_port=_free(0),
        )
        stage.receiver_url = await stack.enter_async_context(
            listener.listening(stage.receiver(), port=_free(9000))
        )
        stage.say(f"Dreamhook is up at {api_url}: API, worker and embedded Redis")
        stage.say(f"a simulated Luma is up at {luma_url}")
        stage.say(f"a receiver is up at {stage.receiver_url}\n")
        yield stage


@asynccontextmanager
async def _dreamhook(data: Path, luma_url: str, secret: str) -> AsyncIterator[str]:
    """Run what `dreamhook up` runs."""
    account = AccountSettings(provider="luma", api_key="luma-demo", base_url=luma_url)
    settings = Settings(
        data=data,
        port=_free(8080),
        accounts={"luma": account},
        poll_patience=POLL_PATIENCE,
        webhook_secret=secret,
        retry_schedule=RETRIES,
        allow_private="127.0.0.0/8",
    )
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    up = asyncio.create_task(running.run(settings, stop, ready=ready.set_result))
    await asyncio.wait({up, ready}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await up
    try:
        yield ready.result()
    finally:
        stop.set()
        await up


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False)


def _free(port: int) -> int:
    """Find a free port: this one, if it is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
