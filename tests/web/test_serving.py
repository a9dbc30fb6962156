"""The dashboard's files: how they are served, and how much they weigh."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from worker.api import web
from worker.api.gate import OPEN_PATHS

PATHS = sorted(web.dashboard())
MAX_BYTES = 40_000


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=web.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def test_it_weighs_at_most_40_kb() -> None:
    assert sum(len(each.content) for each in web.dashboard().values()) <= MAX_BYTES


def test_what_it_asks_for_is_there_and_comes_from_here() -> None:
    wanted = set()
    for path in PATHS:
        text = web.dashboard()[path].content.decode()
        wanted |= set(re.findall(r'(?:src|href)="(/web/[^"]+)"', text))
        wanted |= {f"/web/{name}" for name in re.findall(r'from "\./([^"]+)"', text)}
    assert wanted == set(PATHS) - {"/"}


def test_nothing_in_the_page_runs_or_styles_inline() -> None:
    page = web.dashboard()["/"].content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_no_script_writes_markup() -> None:
    for path in PATHS:
        text = web.dashboard()[path].content.decode()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text
        )


def test_it_needs_no_key() -> None:
    assert set(PATHS) <= OPEN_PATHS


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_comes_with_its_type_and_its_policy(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path)
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert answer.headers["content-type"].startswith(
        kinds.get(path.rpartition(".")[2], "text/html")
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_a_copy_that_still_holds_is_not_sent_again(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/web/app.js")).headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await client.get("/web/app.js", headers={"If-None-Match": sent})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    other = await client.get("/web/app.js", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200
