"""The client's events against a server whose connections break off where the test says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import pytest

from worker.client import ApiError, Client, Event, UnreachableError
from worker.client import events as events_module


class Stream(ThreadingHTTPServer):
    """Answers each connection with the next of `answers`, then closes it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[bytes | int] = []
        self.asked: list[tuple[str | None, dict[str, str]]] = []
        self.media_type = "text/event-stream"


class _Handler(BaseHTTPRequestHandler):
    server: Stream

    def do_GET(self) -> None:
        query = {name: each[0] for name, each in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append((self.headers.get("last-event-id"), query))
        answer = self.server.answers.pop(0) if self.server.answers else 404
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Type", self.server.media_type)
        self.end_headers()
        self.wfile.write(answer if isinstance(answer, bytes) else b'{"title": "No"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    monkeypatch.setattr(events_module, "PAUSE_S", 0.0)
    with Stream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(stream: Stream) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{stream.server_address[1]}") as client:
        yield client


def block(id_: str, text: str = "x") -> bytes:
    body = f'{{"event_id": "evt_1", "text": "{text}"}}'
    return f"id: {id_}\nevent: generation.completed\ndata: {body}\n\n".encode()


FIRST = b"retry: 2000\nid: 1-0\n\n"


def test_events_are_asked_for_and_read(stream: Stream, client: Client) -> None:
    stream.answers = [FIRST + b": heartbeat\nid: 2-0\n\n" + block("3-0", "a\u2028b")]
    found = client.events(types=["generation", "delivery"], account="luma", since="0")
    body = {"event_id": "evt_1", "text": "a\u2028b"}
    assert next(found) == Event("3-0", "generation.completed", body)
    assert stream.asked == [
        (None, {"type": "generation,delivery", "account": "luma", "since": "0"})
    ]


def test_a_connection_that_breaks_off_goes_on_after_the_last_place(
    stream: Stream, client: Client
) -> None:
    end = b'event: stream.end\ndata: {"reason": "stopping", "detail": "x"}\n\n'
    stream.answers = [
        FIRST + block("2-0") + b"id: 3-0\nda",  # in the middle of a block
        503,
        FIRST.replace(b"1-0", b"4-0"),  # nothing but a place
        block("5-0") + end,
        block("6-0"),
    ]
    found = client.events()
    assert [event.id for event in islice(found, 3)] == ["2-0", "5-0", "6-0"]
    assert [after for after, _ in stream.asked] == [None, "2-0", "2-0", "4-0", "5-0"]


def test_a_gap_is_told(stream: Stream, client: Client) -> None:
    stream.answers = [b'event: stream.gap\ndata: {"after": "1-0", "first": "9-0"}\n\n']
    event = next(client.events(after="1-0"))
    assert event == Event("", "stream.gap", {"after": "1-0", "first": "9-0"})
    assert stream.asked[0][0] == "1-0"


def test_a_refusal_ends_it(stream: Stream, client: Client) -> None:
    stream.answers = [403]
    with pytest.raises(ApiError, match="HTTP 403"):
        next(client.events())


def test_what_is_no_stream_of_events_is_told(stream: Stream, client: Client) -> None:
    stream.media_type = "text/html"
    stream.answers = [b"<html>"]
    with pytest.raises(ApiError, match="is not Dreamhook's API"):
        next(client.events())


def test_an_api_that_is_away_from_the_start_ends_it() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(UnreachableError):
        next(client.events())


def test_an_api_that_stays_away_ends_it(stream: Stream, client: Client) -> None:
    stream.answers = [block("2-0"), 503]
    client._patience_s = -1.0
    found = client.events()
    next(found)
    with pytest.raises(ApiError, match="HTTP 503"):
        next(found)


def test_a_line_that_does_not_end_is_not_read_for_ever(
    stream: Stream, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "MAX_BLOCK_BYTES", 1000)
    stream.answers = [b"data: " + b"x" * 100_000]
    with pytest.raises(ApiError, match="does not end"):
        next(client.events())


def test_what_is_no_json_is_passed_over(stream: Stream, client: Client) -> None:
    stream.answers = [b"id: 1-0\ndata: nonsense\n\nid: 2-0\ndata: []\n\n" + block("3-0")]
    assert next(client.events()).id == "3-0"
