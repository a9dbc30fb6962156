"""The client against a small server that answers what the API might, and what it never would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from worker.client import ApiError, Client, StillAwayError, UnreachableError
from worker.client import methods as client_module
from worker.errors import ConfigurationError, InvalidInputError

TRACKING = {"account": "luma", "generation_id": "g-1", "state": "tracking"}
COMPLETED = {"account": "luma", "generation_id": "g-1", "state": "completed"}
HANG_UP: tuple[int, Any] = (0, None)


class Stub(ThreadingHTTPServer):
    """Answers with the (status, JSON or text) of `answers`, in turn; the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any]] = [(200, {})]
        self.headers: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def _answer(self) -> None:
        stub = self.server
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        stub.requests.append(
            {
                "line": f"{self.command} {parts.path}",
                "query": {name: values[0] for name, values in parse_qs(parts.query).items()},
                "headers": dict(self.headers),
                "body": json.loads(body) if body else None,
                "size": len(body),
            }
        )
        status, value = stub.answers[0]
        if len(stub.answers) > 1:
            stub.answers.pop(0)
        if not status:
            return
        content = value if isinstance(value, str) else json.dumps(value)
        self.send_response(status)
        for name, header in stub.headers.items():
            self.send_header(name, header)
        self.end_headers()
        self.wfile.write(content.encode())

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - as the base class calls them

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[Stub]:
    with Stub() as stub:
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield stub
        stub.shutdown()
        thread.join()


@pytest.fixture
def client(api: Stub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(client_module, "PAUSE_S", 0.0)
    with Client(api.url, "secret-key") as client:
        yield client


def problem(status: int, detail: str, **more: Any) -> tuple[int, dict[str, Any]]:
    return status, {"title": "Title", "status": status, "detail": detail, **more}


# --- requests -------------------------------------------------------------------------------------


def test_a_generation_is_tracked_with_the_terms_and_the_key(api: Stub, client: Client) -> None:
    api.answers = [(202, TRACKING)]
    assert client.track("luma", "g-1", callback_url="https://example.com/") == TRACKING
    request = api.requests[0]
    assert request["line"] == "PUT /v1/trackers/luma/g-1"
    assert request["body"] == {"callback_url": "https://example.com/"}
    assert request["headers"]["Authorization"] == "Bearer secret-key"


def test_without_a_key_no_authorization_is_sent(api: Stub) -> None:
    with Client(api.url) as client:
        client.stats()
    assert "Authorization" not in api.requests[0]["headers"]


@pytest.mark.parametrize(
    ("generation_id", "path"),
    [
        ("a b?c#d%", "/v1/trackers/luma/a%20b%3Fc%23d%25"),
        ("..", "/v1/trackers/luma/%2E%2E"),
        ("é", "/v1/trackers/luma/%C3%A9"),
    ],
)
def test_an_id_stays_one_segment_of_the_path(
    api: Stub, client: Client, generation_id: str, path: str
) -> None:
    client.get("luma", generation_id)
    assert api.requests[0]["line"] == f"GET {path}"


@pytest.mark.parametrize("generation_id", ["", "a/b"])
def test_what_can_be_no_segment_of_a_path_is_refused_here(
    api: Stub, client: Client, generation_id: str
) -> None:
    with pytest.raises(InvalidInputError, match="slash"):
        client.get("luma", generation_id)
    assert not api.requests


def test_get_waits_and_has_a_fresh_look_only_when_told_to(api: Stub, client: Client) -> None:
    client.get("luma", "g-1")
    client.get("luma", "g-1", wait=1.5, fresh=True)
    assert [each["query"] for each in api.requests] == [{}, {"wait": "1.5", "fresh": "true"}]


def test_every_other_route_is_asked_as_the_api_has_it(api: Stub, client: Client) -> None:
    api.answers = [(200, {"items": [], "next_cursor": None})]
    client.cancel("luma", "g-1")
    client.poll("luma", "g-1")
    client.timeline("luma", "g-1")
    list(client.deliveries(state="pending", generation_id="g-1", endpoint="studio"))
    client.replay("dlv_1")
    client.stats()
    client.accounts()
    assert [each["line"] for each in api.requests] == [
        "DELETE /v1/trackers/luma/g-1",
        "POST /v1/trackers/luma/g-1/poll",
        "GET /v1/trackers/luma/g-1/timeline",
        "GET /v1/deliveries",
        "POST /v1/deliveries/dlv_1/replay",
        "GET /v1/stats",
        "GET /v1/accounts",
    ]
    wanted = {"state": "pending", "generation_id": "g-1", "endpoint": "studio", "limit": "100"}
    assert api.requests[3]["query"] == wanted


# --- many -----------------------------------------------------------------------------------------


def results(count: int) -> tuple[int, Any]:
    return 200, {"results": [{"generation_id": f"g-{n}", "status": 202} for n in range(count)]}


def items(count: int, **terms: Any) -> list[dict[str, Any]]:
    return [{"account": "luma", "generation_id": f"g-{n}", **terms} for n in range(count)]


def test_many_are_tracked_a_thousand_to_a_request(api: Stub, client: Client) -> None:
    api.answers = [results(1000), results(1000), results(1)]
    outcomes = list(client.track_many(items(2001)))
    assert len(outcomes) == 2001
    sent = [each["body"]["trackers"] for each in api.requests]
    assert [len(each) for each in sent] == [1000, 1000, 1]
    assert [each for batch in sent for each in batch] == items(2001)


def test_no_request_is_larger_than_the_api_takes(api: Stub, client: Client) -> None:
    api.answers = [results(1)]
    list(client.track_many(items(600, metadata={"text": "x" * 4000})))
    assert len(api.requests) > 1
    assert max(each["size"] for each in api.requests) <= 1024 * 1024
    assert sum(len(each["body"]["trackers"]) for each in api.requests) == 600


def test_nothing_is_sent_for_nothing(api: Stub, client: Client) -> None:
    assert list(client.track_many([])) == []
    assert not api.requests


def test_a_list_is_read_page_by_page_as_far_as_it_is_wanted(api: Stub, client: Client) -> None:
    api.answers = [
        (200, {"items": [{"n": 1}, {"n": 2}], "next_cursor": "abc"}),
        (200, {"items": [], "next_cursor": "def"}),  # all were filtered out
        (200, {"items": [{"n": 3}], "next_cursor": None}),
    ]
    found = client.trackers(state="failed", page=2)
    assert next(found) == {"n": 1}
    assert len(api.requests) == 1
    assert list(found) == [{"n": 2}, {"n": 3}]
    assert [each["query"] for each in api.requests] == [
        {"state": "failed", "limit": "2"},
        {"state": "failed", "limit": "2", "cursor": "abc"},
        {"state": "failed", "limit": "2", "cursor": "def"},
    ]


# --- errors ---------------------------------------------------------------------------------------


def test_a_problem_becomes_an_error_that_can_be_read(api: Stub, client: Client) -> None:
    api.answers = [problem(422, "callback_url: no host", field="callback_url")]
    with pytest.raises(ApiError) as caught:
        client.track("luma", "g-1")
    error = caught.value
    assert (error.status, error.title, error.field) == (422, "Title", "callback_url")
    assert str(error) == "callback_url: no host (HTTP 422)"


def test_the_field_is_named_even_when_the_detail_does_not(api: Stub, client: Client) -> None:
    api.answers = [problem(422, "is too long", field="metadata")]
    with pytest.raises(ApiError, match=r"^metadata: is too long \(HTTP 422\)$"):
        client.track("luma", "g-1")


def test_a_problem_without_a_detail_is_told_by_its_title(api: Stub, client: Client) -> None:
    api.answers = [(409, {"title": "Conflict"})]
    with pytest.raises(ApiError, match=r"^Conflict \(HTTP 409\)$"):
        client.track("luma", "g-1")


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html>Welcome to nginx!</html>"),
        (200, "[]"),
        (502, "<html>Bad Gateway</html>"),
        (500, ""),
        (404, {"detail": "Not Found"}),
    ],
)
def test_what_is_not_the_api_is_told(api: Stub, client: Client, answer: tuple[int, Any]) -> None:
    api.answers = [answer]
    with pytest.raises(ApiError, match=r"is not Dreamhook's API.*Check DREAMHOOK_URL") as caught:
        client.stats()
    assert caught.value.status == answer[0]


def test_an_object_without_the_list_in_it_is_not_the_api(api: Stub, client: Client) -> None:
    api.answers = [(200, {})]
    with pytest.raises(ApiError, match="is not Dreamhook's API"):
        client.accounts()
    with pytest.raises(ApiError, match="is not Dreamhook's API"):
        list(client.track_many(items(1)))


def test_a_redirect_is_shown_and_not_followed(api: Stub, client: Client) -> None:
    api.answers, api.headers = [(301, "")], {"Location": "https://dreamhook.example.com/"}
    with pytest.raises(ApiError, match=r"a redirect to https://dreamhook.example.com/"):
        client.stats()
    assert len(api.requests) == 1


def test_nobody_at_home_is_told_with_what_to_do() -> None:
    wanted = r"refused.*`dreamhook up`.*DREAMHOOK_URL"
    with Client("http://127.0.0.1:1") as client, pytest.raises(UnreachableError, match=wanted):
        client.stats()


def test_a_broken_answer_is_an_api_that_cannot_be_reached(api: Stub, client: Client) -> None:
    api.answers = [HANG_UP]
    with pytest.raises(
        UnreachableError, match=r"Cannot reach Dreamhook.*DREAMHOOK_PORT.*DREAMHOOK_URL"
    ):
        client.stats()


def test_a_proxy_of_the_environment_is_not_used_on_this_machine(
    api: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Client(api.url) as client:
        client.stats()


def test_a_proxy_setting_that_cannot_be_used_is_named_but_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://user:password@proxy")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as caught:
        Client("https://dreamhook.example.com")
    assert "password" not in str(caught.value)


# --- waiting --------------------------------------------------------------------------------------


def test_wait_asks_again_until_it_is_over(api: Stub, client: Client) -> None:
    api.answers = [(200, TRACKING), (200, TRACKING), (200, COMPLETED)]
    assert client.wait("luma", "g-1") == COMPLETED
    assert [each["query"] for each in api.requests] == [{"wait": "60"}] * 3


def test_wait_ends_with_what_there_is_when_the_time_is_up(api: Stub, client: Client) -> None:
    api.answers = [(200, TRACKING)]
    assert client.wait("luma", "g-1", timeout_s=0.05) == TRACKING


def test_an_api_that_restarts_does_not_end_a_wait(api: Stub, client: Client) -> None:
    api.answers = [(200, TRACKING), HANG_UP, problem(503, "starting"), (200, COMPLETED)]
    assert client.wait("luma", "g-1") == COMPLETED


def test_an_api_that_is_away_from_the_start_does(api: Stub, client: Client) -> None:
    api.answers = [HANG_UP, (200, COMPLETED)]
    with pytest.raises(UnreachableError):
        client.wait("luma", "g-1")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_error_of_the_moment_does_not_from_the_start_on(
    api: Stub, client: Client, status: int
) -> None:
    api.answers = [problem(status, "Redis does not answer"), HANG_UP, (200, COMPLETED)]
    assert client.wait("luma", "g-1") == COMPLETED


def test_a_wait_tells_once_that_the_api_is_away(api: Stub, client: Client) -> None:
    away = problem(503, "starting")
    api.answers = [(200, TRACKING), away, away, HANG_UP, (200, TRACKING), away, (200, COMPLETED)]
    told: list[str] = []
    client.wait("luma", "g-1", tell_away=lambda error: told.append(str(error)))
    assert told == ["starting (HTTP 503)"] * 2


def test_a_wait_asks_again_when_the_api_says(
    api: Stub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("worker.client.methods.time.sleep", pauses.append)
    api.headers = {"Retry-After": "7"}
    api.answers = [problem(503, "starting"), (200, COMPLETED)]
    client.wait("luma", "g-1")
    assert 6 < pauses[0] <= 7


@pytest.mark.parametrize("timeout_s", [0.0, 0.05])
def test_a_wait_whose_api_is_away_when_the_time_is_up_ends_with_that(
    api: Stub, client: Client, timeout_s: float
) -> None:
    api.answers = [problem(503, "starting")]
    with pytest.raises(StillAwayError, match=r"The time to wait was up.*starting"):
        client.wait("luma", "g-1", timeout_s=timeout_s)


def test_nobody_at_home_is_no_matter_of_time(client: Client, api: Stub) -> None:
    api.answers = [HANG_UP]
    with pytest.raises(UnreachableError):
        client.wait("luma", "g-1", timeout_s=0.0)


def test_an_api_that_stays_away_ends_the_wait(api: Stub, client: Client) -> None:
    api.answers = [(200, TRACKING), HANG_UP]
    client._patience_s = 0.0
    with pytest.raises(UnreachableError):
        client.wait("luma", "g-1", timeout_s=3600)


def test_a_refusal_ends_a_wait(api: Stub, client: Client) -> None:
    api.answers = [(200, TRACKING), problem(404, "it is gone")]
    with pytest.raises(ApiError, match="it is gone"):
        client.wait("luma", "g-1")


def test_whoever_answers_at_once_is_not_asked_in_a_tight_loop(
    api: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("worker.client.methods.time.sleep", pauses.append)
    api.answers = [(200, TRACKING), (200, TRACKING), (200, COMPLETED)]
    with Client(api.url) as client:
        client.wait("luma", "g-1")
    assert len(pauses) == 2
    assert all(0.5 < pause <= 1 for pause in pauses)


def test_a_submission_goes_out_with_its_key_and_its_terms(api: Stub) -> None:
    api.answers = [(202, TRACKING), (200, {"id": "sub_1"})]
    with Client(api.url) as client:
        tracker = client.submit("luma", {"prompt": "a fox"}, key="k-1", metadata={"order": 7})
        submission = client.submission("sub_1")

    assert (tracker, submission) == (TRACKING, {"id": "sub_1"})
    first, second = api.requests
    assert (first["line"], first["headers"]["Idempotency-Key"]) == ("POST /v1/generations", "k-1")
    assert first["body"] == {
        "account": "luma",
        "request": {"prompt": "a fox"},
        "metadata": {"order": 7},
    }
    assert second["line"] == "GET /v1/generations/sub_1"
