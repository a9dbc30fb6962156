"""What an answer's bytes mean, from gzip to a page of HTML."""

from __future__ import annotations

import gzip

import orjson
import pytest

from tests.providers.conftest import GENERATION, Say, http, look, says
from worker.model import (
    Seen,
    Trouble,
)


async def test_gzip_is_understood() -> None:
    body = gzip.compress(orjson.dumps(GENERATION))
    assert isinstance(await look(http(200, body, "Content-Encoding: gzip")), Seen)


async def test_a_body_in_chunks_is_understood() -> None:
    body = orjson.dumps(GENERATION)
    chunks = b"".join(b"1\r\n" + body[i : i + 1] + b"\r\n" for i in range(len(body)))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert isinstance(await look(Say(head + chunks + b"0\r\n\r\n")), Seen)


async def test_an_informational_answer_before_the_real_one_is_skipped() -> None:
    real = says(GENERATION)
    assert isinstance(await look(Say(b"HTTP/1.1 103 Early Hints\r\n\r\n" + real.content)), Seen)


COMPRESSED = gzip.compress(orjson.dumps(GENERATION))
BOMB = gzip.compress(b'{"state":"completed","x":"' + b"a" * 50_000_000 + b'"}', compresslevel=9)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (http(204), "204 No Content: the body is empty"),
        (http(200), "200 OK: the body is empty"),
        (http(200, b"<!doctype html><h1>Hi"), "200 OK: the body is HTML"),
        (http(200, b"completed"), "200 OK: the body is not JSON"),
        (http(200, b'{"state": "completed"'), "200 OK: the body is not JSON"),
        (says([GENERATION]), "the answer is JSON, but not an object"),
        (says({"id": "g1"}), "the answer has no state"),
        (says({**GENERATION, "id": "g2"}), "the answer is about another generation"),
        (http(200, b"{}", "Content-Encoding: br"), "an encoding that was not asked for"),
        (http(200, b"{}", "Content-Encoding: gzip"), "the body is damaged gzip"),
        (http(200, COMPRESSED[:-9], "Content-Encoding: gzip"), "truncated gzip, or too large"),
        (http(200, BOMB, "Content-Encoding: gzip"), "truncated gzip, or too large"),
        (http(200, b'"' + b"a" * 1_100_000), "the body is larger than 1024 KiB"),
        (http(301, b"", "Location: http://127.0.0.1:1/"), "redirects are not followed"),
        (http(302, b"", "Location: :::"), "redirects are not followed"),
        (http(304), "304 Not Modified"),
        (http(400, b"nope"), "400 Bad Request: nope"),
        (http(422, b'{"detail":[{"msg":"not a UUID"}]}'), "not a UUID"),
        (http(500, b'{"detail":"oh"}'), "500 Internal Server Error: oh"),
        (http(502, b"<html>nginx</html>"), "502 Bad Gateway"),
        (http(599), "599"),
        (http(999), "999"),
    ],
)
async def test_an_answer_that_does_not_show_the_generation_is_trouble(
    said: Say, words: str
) -> None:
    answer = await look(said)
    assert isinstance(answer, Trouble)
    assert words in answer.detail


async def test_a_page_of_html_is_not_quoted() -> None:
    assert await look(http(502, b"<html>nginx</html>")) == Trouble("502 Bad Gateway")


@pytest.mark.parametrize("found", ["G1", "g-1", None, 7])
async def test_another_spelling_of_the_id_or_none_is_the_same_generation(found: object) -> None:
    assert isinstance(await look(says({**GENERATION, "id": found})), Seen)
