"""The receiver against webhooks that the published library signed, and against everything else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from worker import listener
from worker.errors import ConfigurationError, InvalidInputError
from worker.listener import MAX_BODY_BYTES, Received, create_app, listening

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
EVENT = {"type": "generation.completed", "data": {"generation_id": "g-1", "state": "completed"}}
BODY = json.dumps(EVENT)


def signed(
    event_id: str = "evt_1", *, body: str = BODY, secret: str = SECRET, at: float | None = None
) -> dict[str, str]:
    """Sign as `standardwebhooks` does, not as we do."""
    moment = datetime.fromtimestamp(int(time.time() if at is None else at), tz=UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, moment, body),
    }


class Receiver:
    """A receiver, what it noted, and a way to post to it."""

    def __init__(self, **options: Any) -> None:
        self.noted: list[Received] = []
        app = create_app(SECRET, self.noted.append, **options)
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://receiver")

    async def post(self, headers: dict[str, str], body: str = BODY) -> int:
        return (await self.http.post("/hook", content=body, headers=headers)).status_code


@contextlib.asynccontextmanager
async def receiver(**options: Any) -> AsyncIterator[Receiver]:
    made = Receiver(**options)
    async with made.http:
        yield made


async def test_a_signed_webhook_is_taken_and_told_of() -> None:
    async with receiver() as it:
        headers = signed()
        assert await it.post(headers) == 200
    assert it.noted == [
        Received(
            id="evt_1",
            timestamp=int(headers["webhook-timestamp"]),
            verified=True,
            reason=None,
            body=EVENT,
            duplicate=False,
            attempt=1,
            answer=200,
        )
    ]


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        (lambda: signed(secret=OTHER_SECRET), BODY, "no signature fits"),
        (signed, BODY.replace("completed", "failed"), "no signature fits"),
        (lambda: signed() | {"webhook-id": "evt_2"}, BODY, "no signature fits"),
        (lambda: signed(at=time.time() - 3600), BODY, "away from this clock"),
        (lambda: signed() | {"webhook-signature": "v1,"}, BODY, "no signature fits"),
        (lambda: signed() | {"webhook-timestamp": "yesterday"}, BODY, "malformed"),
        (lambda: {"webhook-id": "evt_1"}, BODY, "webhook-timestamp is missing"),
        (dict, "", "webhook-id is missing"),
    ],
)
async def test_what_does_not_prove_who_sent_it_gets_a_401_and_is_not_believed(
    headers: Callable[[], dict[str, str]], body: str, reason: str
) -> None:
    async with receiver() as it:
        assert await it.post(headers(), body) == 401
    (noted,) = it.noted
    assert (noted.verified, noted.body, noted.attempt, noted.duplicate) == (False, {}, 0, False)
    assert reason in str(noted.reason)


async def test_the_sender_is_told_why_it_was_refused() -> None:
    async with receiver() as it:
        answer = await it.http.post("/", content=BODY)
    assert answer.text == "the header webhook-id is missing\n"


async def test_a_webhook_that_was_taken_before_is_a_duplicate() -> None:
    async with receiver() as it:
        assert [await it.post(signed()) for _ in range(2)] == [200, 200]
        await it.post(signed("evt_2"))
    assert [(each.duplicate, each.attempt) for each in it.noted] == [
        (False, 1),
        (True, 2),
        (False, 1),
    ]


async def test_a_retry_of_what_was_not_taken_is_no_duplicate() -> None:
    async with receiver(fail_first=2) as it:
        assert [await it.post(signed()) for _ in range(3)] == [503, 503, 200]
    assert [(each.duplicate, each.attempt) for each in it.noted] == [
        (False, 1),
        (False, 2),
        (False, 3),
    ]
    assert it.noted[0].reason == "failing on purpose"


async def test_a_forgery_neither_uses_up_a_failure_nor_makes_a_duplicate() -> None:
    async with receiver(fail_first=1) as it:
        assert await it.post(signed(secret=OTHER_SECRET)) == 401
        assert await it.post(signed()) == 503
    assert it.noted[-1].attempt == 1


async def test_it_answers_with_the_status_that_it_was_told() -> None:
    async with receiver(status=410) as it:
        assert [await it.post(signed()) for _ in range(2)] == [410, 410]
    assert not it.noted[-1].duplicate
    assert it.noted[-1].reason == "failing on purpose"


@pytest.mark.parametrize("body", ["", "no JSON", "[]", "[" * 100_000])
async def test_a_signed_body_that_is_no_event_gets_a_400(body: str) -> None:
    async with receiver() as it:
        assert await it.post(signed(body=body), body) == 400
    assert (it.noted[0].verified, it.noted[0].body) == (True, {})


async def test_only_so_many_webhooks_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REMEMBERED", 2)
    async with receiver() as it:
        for name in ("evt_1", "evt_2", "evt_1", "evt_3", "evt_1", "evt_2"):
            await it.post(signed(name))
    assert [each.duplicate for each in it.noted] == [False, False, True, False, True, False]


async def test_the_clock_can_be_another_one() -> None:
    async with receiver(clock=lambda: 1_000_000.0) as it:
        assert await it.post(signed(at=1_000_000)) == 200
        assert await it.post(signed()) == 401


async def test_it_takes_posts_only() -> None:
    async with receiver() as it:
        answer = await it.http.get("/hook")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert not it.noted


def test_a_secret_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidInputError, match="whsec_"):
        create_app("swordfish", print)


# --- on a port ------------------------------------------------------------------------------------


async def test_it_listens_where_it_says_and_no_longer_than_it_should() -> None:
    noted: list[Received] = []
    async with (
        listening(create_app(SECRET, noted.append)) as url,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        assert (await http.post(url, content=BODY, headers=signed())).status_code == 200
    assert noted[0].verified
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


async def test_a_body_over_1_mib_is_refused_and_not_told_of() -> None:
    noted: list[Received] = []
    largest, too_large = "x" * MAX_BODY_BYTES, "x" * (MAX_BODY_BYTES + 1)

    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * 65_536

    async with (
        listening(create_app(SECRET, noted.append)) as url,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        answers = [
            await http.post(url, content=content)
            for content in (largest, too_large, in_pieces(), BODY)
        ]
    assert [each.status_code for each in answers] == [401, 413, 413, 401]
    assert len(noted) == 2


async def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*another port"):
            async with listening(create_app(SECRET, print), port=port):
                pass


async def test_it_listens_on_ipv6_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    async with (
        listening(create_app(SECRET, lambda _: None), host="::1") as url,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        assert url.startswith("http://[::1]:")
        assert (await http.post(url, content=BODY)).status_code == 401


async def test_it_ends_although_somebody_hangs_on() -> None:
    async with listening(create_app(SECRET, lambda _: None)) as url:
        parts = httpx.URL(url)
        _, writer = await asyncio.open_connection(parts.host, parts.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        started = time.monotonic()
    assert time.monotonic() - started < 5
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
