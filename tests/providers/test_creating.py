"""The create call: made once, on a connection of its own, and its outcome never guessed."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from tests.providers.conftest import KEY, Say, client, http, says, serving
from worker.errors import InvalidInputError
from worker.model import Created, Creation, Declined, InDoubt, JsonObject, NotSent
from worker.providers import creating
from worker.providers.spec import load

FOX: JsonObject = {"model": "ray-2", "prompt": "a fox"}
MADE = says({"id": "g1", "state": "queued"}, status=201)


async def create(*script: Say, timeout_s: float = 5.0) -> Creation:
    async with serving(*script) as server, client(server.base_url) as it:
        return await it.create_generation(FOX, timeout_s=timeout_s)


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_success_with_an_id_is_created(status: int) -> None:
    assert await create(says({"id": "g1"}, status=status)) == Created("g1")


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 402, 403, 404, 409, 413, 422, 429])
async def test_what_the_provider_declines_was_not_made(status: int) -> None:
    outcome = await create(says({"detail": "No"}, "Retry-After: 7", status=status))
    assert isinstance(outcome, Declined)
    assert (outcome.status, outcome.body) == (status, {"detail": "No"})
    assert outcome.retry_after_s == (7 if status == 429 else None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (http(422, b"[" * 220 + b"]" * 220), "[" * 220 + "]" * 220),
        (http(422, b"[" * 900 + b"]" * 900), ("[" * 900 + "]" * 900)[:2000]),
        (http(422, b"No. " * 2000), "No. " * 500),
        (http(422, b""), None),
        (http(422, gzip.compress(b'"%s"' % (b"x" * 900_000)), "Content-Encoding: gzip"), None),
        (http(422, b"\x1f\x8b", "Content-Encoding: gzip"), None),
    ],
    ids=["deep", "deeper", "text", "nothing", "swollen", "damaged"],
)
async def test_whatever_a_refusal_says_can_be_kept_and_read_again(said: Say, kept: Any) -> None:
    outcome = await create(said)
    assert isinstance(outcome, Declined)
    assert outcome.body == kept


@pytest.mark.parametrize(
    "said",
    [
        http(408),
        http(500),
        http(502, b"<html>"),
        http(503, b"", "Retry-After: 1"),
        http(504),
        http(200),
        http(201, b"<html>"),
        http(201, b"{"),
        says({"state": "queued"}),
        says({"id": ""}),
        says({"id": "a/b"}),
        says({"id": ["g1"]}),
        says([]),
        Say(b"", "close"),
        Say(b"", "reset"),
        Say(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{", "close"),
        Say(b"nonsense\r\n\r\n", "close"),
        http(201, b"{}" + b" " * 2_000_000),
    ],
)
async def test_what_may_have_been_made_is_in_doubt(said: Say) -> None:
    assert isinstance(await create(said), InDoubt)


@pytest.mark.parametrize(
    "said", [Say(b"", "hang"), Say(b"HTTP/1.1 201 Created\r\n\r\n", "drip")], ids=["hang", "drip"]
)
async def test_no_answer_in_time_is_in_doubt(said: Say) -> None:
    outcome = await create(said, timeout_s=0.3)
    assert isinstance(outcome, InDoubt)
    assert "no complete answer within 0.3 s" in outcome.detail


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:1/v1", "http://nowhere.invalid/v1", "http://", "ftp://x/v1"]
)
async def test_what_did_not_leave_was_not_sent(base_url: str) -> None:
    async with client(base_url) as it:
        assert isinstance(await it.create_generation(FOX, timeout_s=5), NotSent)


async def test_what_is_too_late_is_not_sent() -> None:
    async with serving(MADE) as server, client(server.base_url) as it:
        assert isinstance(await it.create_generation(FOX, timeout_s=-1), NotSent)
        assert server.requests == []


async def test_a_connection_that_does_not_come_about_was_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.providers.transport.CONNECT_S", 0.2)
    silent = Say(b"", "hang")  # it waits for the end of a head, which TLS does not write
    async with (
        serving(silent) as server,
        client(server.base_url.replace("http:", "https:")) as it,
    ):
        assert isinstance(await it.create_generation(FOX, timeout_s=5), NotSent)


async def test_every_call_is_made_once_on_a_connection_of_its_own() -> None:
    async with serving(MADE) as server, client(server.base_url) as it:
        for _ in range(3):
            assert await it.create_generation(FOX, timeout_s=5) == Created("g1")
        assert len(server.requests) == len(server.writers) == 3
    async with serving(Say(b"", "close")) as server, client(server.base_url) as it:
        assert isinstance(await it.create_generation(FOX, timeout_s=5), InDoubt)
        assert len(server.requests) == 1


async def test_the_request_goes_out_as_it_is_with_the_accounts_key() -> None:
    async with serving(MADE) as server, client(server.base_url) as it:
        await it.create_generation(FOX, timeout_s=5)
    head = server.requests[0].decode()
    assert head.startswith("POST /v1/generations/video HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n" in head
    assert "Content-Type: application/json\r\n" in head
    assert f"Content-Length: {len(orjson.dumps(FOX))}\r\n" in head


async def test_a_key_that_is_echoed_is_not_told() -> None:
    outcome = await create(says({"detail": f"bad key {KEY}", "key": KEY}, status=400))
    assert KEY not in repr(outcome)
    assert isinstance(await create(http(400, f"<p>{KEY}".encode())), Declined)
    assert KEY not in repr(await create(http(400, f"<p>{KEY}".encode())))


async def test_what_a_refusal_says_is_bounded() -> None:
    outcome = await create(http(400, b"x" * 100_000))
    assert isinstance(outcome, Declined)
    assert len(outcome.body) <= creating.MAX_ERROR_TEXT_CHARS


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        ({}, "/generations/video"),
        ({"generation_type": "image"}, "/generations/image"),
        ({"generation_type": "modify_video"}, "/generations/video/modify"),
    ],
)
def test_the_path_is_what_the_request_is_for(request_: JsonObject, path: str) -> None:
    assert creating.path_of(load("luma"), request_) == path


def test_a_request_cannot_lead_elsewhere() -> None:
    luma = load("luma")
    assert luma.create_generation
    call = luma.create_generation.model_copy(update={"call": "model"})
    open_ = luma.model_copy(update={"create_generation": call})
    assert creating.path_of(open_, {"model": "a b/c?d"}) == "/generations/a%20b/c%3Fd"
    for model in ("../credits", "a/../b", "", "/x", None, 7):
        with pytest.raises(InvalidInputError):
            creating.path_of(open_, {"model": model})


def test_a_provider_without_a_create_call_says_what_to_do_instead() -> None:
    with pytest.raises(InvalidInputError, match="PUT /v1/trackers"):
        creating.path_of(load("veo"), {})
