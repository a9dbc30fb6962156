"""A browser, and pages in it that must not complain."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from .stage import CHROMIUM, Stage, chromium, staged

API_KEY, READ_KEY = "a-key-that-may-write", "a-key-that-may-read"

REPORT = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Watched:
    """A page, and what its console complained of; `allowed` are complaints that are meant."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()


Open = Callable[..., Awaitable[Watched]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("DREAMHOOK_TEST_BROWSER") == "required":
            pytest.fail("DREAMHOOK_TEST_BROWSER=required, but there is no Chromium")
        pytest.skip("no Chromium: install it, or name it in DREAMHOOK_TEST_CHROMIUM")
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """An open Dreamhook, shared: each test tracks IDs of its own."""
    async with staged(tmp_path_factory.mktemp("open"), retry_schedule="60,600") as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def locked(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """A Dreamhook that asks for keys."""
    keys = {"api_keys": API_KEY, "read_keys": READ_KEY}
    async with staged(tmp_path_factory.mktemp("locked"), key=API_KEY, **keys) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    """Open pages; at the end, nothing but what was allowed may have been complained of."""
    opened: list[Watched] = []
    async with AsyncExitStack() as stack:

        async def open_(url: str, *, allowed: tuple[str, ...] = (), **more: Any) -> Watched:
            context = await browser.new_context(locale="en-GB", **more)
            stack.push_async_callback(context.close)
            await context.add_init_script(REPORT)
            page = await context.new_page()
            page.set_default_timeout(15_000)
            watched = Watched(page, allowed=allowed)
            opened.append(watched)
            page.on("pageerror", lambda error: watched.complaints.append(str(error)))
            page.on(
                "console",
                lambda line: (
                    watched.complaints.append(line.text)
                    if line.type in {"error", "warning"}
                    else None
                ),
            )
            await page.goto(url)
            return watched

        yield open_
    for each in opened:
        unmeant = [c for c in each.complaints if not any(a in c for a in each.allowed)]
        assert unmeant == []
