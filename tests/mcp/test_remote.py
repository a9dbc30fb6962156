"""What a desk at a Dreamhook server makes of the server's answers."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest

from worker import shapes
from worker.client import ApiError, AsyncClient, UnreachableError
from worker.client.http import stranger
from worker.errors import DreamhookError
from worker.mcp_server import remote
from worker.mcp_server.remote import Remote, Usual
from worker.model import JsonObject, Terms
from worker.service import begun


class Server:
    """Has so many trackers, and creates nothing without trouble."""

    def __init__(self, *, count: int = 0, trouble: Exception | None = None) -> None:
        self.names = [f"g-{n}" for n in range(count)]
        self.trouble = trouble
        self.pages: list[int] = []

    async def trackers(
        self, *, account: str | None, limit: int, cursor: str | None = None
    ) -> JsonObject:
        del account
        assert 1 <= limit <= remote.PAGE
        self.pages.append(limit)
        first = int(cursor or 0)
        last = first + limit
        items = [_tracker(name) for name in self.names[first:last]]
        return {"items": items, "next_cursor": str(last) if last < len(self.names) else None}

    async def create(self, *_: Any, **__: Any) -> JsonObject:
        assert self.trouble
        raise self.trouble


def _tracker(name: str) -> JsonObject:
    return shapes.tracker_shape(begun("luma", "luma", name, Terms(deadline_s=60), 1_700_000_000))


def desk(server: Server) -> Remote:
    return Remote(cast("AsyncClient", server), Usual())


@pytest.mark.parametrize(
    ("offset", "shown", "more"),
    [(0, 5, 5), (20, 5, 25), (21, 4, None), (25, 0, None), (9_990, 0, None)],
)
async def test_what_is_tracked_is_listed_to_its_end(
    monkeypatch: pytest.MonkeyPatch, offset: int, shown: int, more: int | None
) -> None:
    monkeypatch.setattr(remote, "PAGE", 10)
    server = Server(count=25 if offset != 20 else 26)

    listed = await desk(server).tracked(None, limit=5, offset=offset)

    assert [each.generation_id for each in listed.items] == server.names[offset : offset + 5]
    assert (len(listed.items), listed.next_offset) == (shown, more)


def strange(status: int) -> ApiError:
    return stranger("http://dreamhook", httpx.Response(status, html="<html>"))


@pytest.mark.parametrize(
    "trouble",
    [
        *(ApiError(504, "Gateway Timeout"), ApiError(500, "Internal Server Error")),
        *(strange(502), strange(503), strange(504), strange(520), strange(200)),
        UnreachableError("the connection broke"),
    ],
    ids=repr,
)
async def test_what_may_have_been_created_is_not_to_be_created_anew(trouble: Exception) -> None:
    with pytest.raises(DreamhookError, match="Do not create it anew: repeat this very call"):
        await desk(Server(trouble=trouble)).create("luma", {})


@pytest.mark.parametrize(
    "trouble",
    [
        *(ApiError(422, "Unprocessable Content"), ApiError(429, "Too Many Requests")),
        *(ApiError(502, "Refused by the Provider"), ApiError(503, "Service Unavailable")),
        *(strange(302), strange(401), strange(404)),
        UnreachableError("nobody is there", was_sent=False),
    ],
    ids=repr,
)
async def test_what_was_not_created_is_told_as_that(trouble: Exception) -> None:
    with pytest.raises(DreamhookError) as told:
        await desk(Server(trouble=trouble)).create("luma", {})
    assert told.value is trouble
