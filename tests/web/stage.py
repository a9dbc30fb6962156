"""What the dashboard's tests and its screenshots show: a whole Dreamhook with a simulated Luma."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, async_playwright
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from worker import listener, running, simulator
from worker.config import Settings
from worker.config_accounts import AccountSettings

PATIENCE_S = 15.0
ACCOUNTS = {"luma": "right", "spare": "wrong"}
"""Their keys: Luma refuses one of them."""

CHROMIUM = os.environ.get("DREAMHOOK_TEST_CHROMIUM") or next(
    (
        each
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (each := shutil.which(name))
    ),
    None,
)


@dataclass
class Receiver:
    """Answers with what is set for the path, or else with a 204."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        status, text = self.answers.get(scope["path"], (204, ""))
        await Response(text, status)(scope, receive, send)


@dataclass
class Stage:
    """A Dreamhook at `url`, and what is around it."""

    url: str
    hooks: str
    world: simulator.World
    receiver: Receiver
    api: httpx.AsyncClient

    async def track(
        self,
        name: str,
        hook: str | None = "ok",
        *,
        account: str = "luma",
        to: str | None = None,
        **script: Any,
    ) -> str:
        """Have Luma make a generation of this ID, and track it; it dreams until it is finished.

        Its webhook goes to this receiver's `hook`, or to the URL `to`.
        """
        model = script.pop("model", "ray-2")
        told = simulator.Script(
            id=name,
            **{"queued_s": 0, "dreaming_s": 1e6, "outcome": simulator.Outcome.COMPLETED, **script},
        )
        request = {"prompt": "A paper boat at dawn"}
        kind = "image" if model.startswith("photon") else "video"
        self.world.create(generation_type=kind, model=model, request=request, script=told)
        body: dict[str, Any] = {"metadata": {"order": 1234}}
        if to is not None or hook is not None:
            body["callback_url"] = to or f"{self.hooks}{hook}"
        path = f"/v1/trackers/{account}/{name}"
        (await self.api.put(path, json=body)).raise_for_status()
        return path

    async def end(self, name: str, reason: str | None = None) -> None:
        """Have Luma finish it, and Dreamhook look."""
        outcome = simulator.Outcome.FAILED if reason else simulator.Outcome.COMPLETED
        self.world.finish(name, outcome, reason)
        await self.api.post(f"/v1/trackers/luma/{name}/poll")

    async def get(self, path: str) -> Any:
        """Get what the API says."""
        return (await self.api.get(path)).raise_for_status().json()

    async def deliveries(self, name: str) -> list[dict[str, Any]]:
        """Get what is owed for a generation."""
        found: list[dict[str, Any]] = (await self.get(f"/v1/deliveries?generation_id={name}"))[
            "items"
        ]
        return found


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until there is an answer."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await condition()):  # noqa: ASYNC110 - it happens beyond HTTP
            await asyncio.sleep(0.05)
        return found


def _account(url: str, key: str) -> AccountSettings:
    return AccountSettings(provider="luma", api_key=SecretStr(key), base_url=url)


@asynccontextmanager
async def staged(data: Path, *, key: str = "", **more: Any) -> AsyncIterator[Stage]:
    """Start everything on free ports of loopback; stop it all at the end."""
    async with AsyncExitStack() as stack:
        world, receiver = simulator.World(), Receiver()
        luma = await stack.enter_async_context(
            simulator.running(simulator.create_app(world, keys=["right"]))
        )
        hooks = await stack.enter_async_context(listener.listening(receiver))
        settings = Settings(
            data=data,
            port=0,
            accounts={name: _account(luma, key) for name, key in ACCOUNTS.items()},
            allow_private="127.0.0.0/8",
            **more,
        )
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        up = asyncio.create_task(running.run(settings, stop, ready=ready.set_result))
        await asyncio.wait({up, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await up
        try:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            async with httpx.AsyncClient(
                base_url=ready.result(), headers=headers, trust_env=False
            ) as api:
                yield Stage(ready.result(), hooks, world, receiver, api)
        finally:
            stop.set()
            await up


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the Chromium of this machine."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        try:
            yield browser
        finally:
            await browser.close()
