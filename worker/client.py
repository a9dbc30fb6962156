"""A client of Dreamhook's HTTP API, for the command line and for scripts: HTTP goes in and out.

Synchronous, and no more than the API itself: what comes back is the API's JSON as it is. What
goes wrong is a `DreamhookError` whose text is fit to be shown to whoever runs the command.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote

import httpx

from worker.config_values import is_loopback
from worker.errors import ConfigurationError, DreamhookError, InvalidInputError, UnavailableError
from worker.model import JsonObject, State

MAX_BATCH = 1000
MAX_BATCH_BYTES = 1_000_000
"""The API takes bodies of up to 1 MiB, and that many trackers in one."""

PAGE = 100
MAX_WAIT_S = 60.0
ANSWER_S = 30.0
"""How long the API may take to answer, beyond the time it was asked to wait."""

PATIENCE_S = 60.0
"""Whoever waits for an end bears with an API that is away for so long, as when it restarts."""

PAUSE_S = 1.0
"""Between two questions of one wait: who answers at once is not to be asked in a tight loop."""

_AWAY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


class ApiError(DreamhookError):
    """The API's refusal, as its problem document (RFC 9457) tells it.

    Attributes:
        status: The HTTP status.
        title: What kind of problem it is.
        detail: What is wrong this time and what to do; may be empty.
        field: The field that cannot be used, if it is about one.
    """

    def __init__(self, status: int, title: str, detail: str = "", field: str | None = None) -> None:
        text = detail or title
        if field and not text.startswith(field):
            text = f"{field}: {text}"
        super().__init__(f"{text} (HTTP {status})")
        self.status = status
        self.title = title
        self.detail = detail
        self.field = field


class UnreachableError(UnavailableError):
    """No answer came from where the API should be."""


class Client:
    """A connection to the API. Close it, or use it as a context manager.

    Args:
        url: Where the API is, without `/v1`.
        key: One of its bearer keys, if it has any.
        patience_s: How long `wait` bears with an API that is away.

    Raises:
        ConfigurationError: The environment's proxy settings cannot be used.
    """

    def __init__(self, url: str, key: str | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self._url = url.rstrip("/")
        self._patience_s = patience_s
        try:
            self._http = httpx.Client(
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=ANSWER_S,
                # A proxy that the environment names for the world cannot reach this machine.
                trust_env=not is_loopback(httpx.URL(self._url).host),
            )
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            # Not the error's own text: a proxy URL may hold a password.
            raise ConfigurationError(
                "DREAMHOOK_URL or the environment's proxy or certificate settings cannot be used;"
                f" check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY ({type(error).__name__})."
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Every method raises ApiError when the API refuses, and UnreachableError when nothing answers.

    # --- one tracker ------------------------------------------------------------------------------

    def track(self, account: str, generation_id: str, **terms: Any) -> JsonObject:
        """Track one generation; what is tracked already with these terms stays as it is.

        Args:
            account: The account's name.
            generation_id: The provider's ID.
            **terms: As the API names them: `callback_url`, `events`, `metadata`, `deadline_s`, …

        Returns:
            The tracker.
        """
        return self._object("PUT", _tracker_path(account, generation_id), json=terms)

    def get(
        self, account: str, generation_id: str, *, wait: float = 0.0, fresh: bool = False
    ) -> JsonObject:
        """Get a tracker: after up to `wait` seconds (60 at most) if it is not over before.

        Args:
            account: The account's name.
            generation_id: The provider's ID.
            wait: Seconds to wait for its end.
            fresh: Whether to look at the provider first, since asset URLs expire.
        """
        params = {"wait": f"{wait:g}"} if wait else {}
        return self._object(
            "GET",
            _tracker_path(account, generation_id),
            params=params | ({"fresh": "true"} if fresh else {}),
            timeout=ANSWER_S + wait,
        )

    def wait(
        self, account: str, generation_id: str, *, timeout_s: float | None = None
    ) -> JsonObject:
        """Get a tracker when it is over, or as it stands after `timeout_s` seconds.

        Once the API has answered, its being away for a while does not end the wait.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        heard_at: float | None = None
        while True:
            asked_at = time.monotonic()
            left = MAX_WAIT_S if until is None else min(MAX_WAIT_S, max(0.0, until - asked_at))
            try:
                tracker = self.get(account, generation_id, wait=round(left, 1))
            except (UnreachableError, ApiError) as error:
                if heard_at is None or not left or not _is_away(error):
                    raise
                if time.monotonic() - heard_at > self._patience_s:
                    raise
            else:
                heard_at = time.monotonic()
                if tracker.get("state") != State.TRACKING or not left:
                    return tracker
            time.sleep(max(0.0, min(left, asked_at + PAUSE_S - time.monotonic())))

    def cancel(self, account: str, generation_id: str) -> JsonObject:
        """Stop tracking; the generation itself goes on. Get the tracker, which may be over."""
        return self._object("DELETE", _tracker_path(account, generation_id))

    def poll(self, account: str, generation_id: str) -> JsonObject:
        """Have the generation looked at now; get the tracker as it stands before that."""
        return self._object("POST", f"{_tracker_path(account, generation_id)}/poll")

    def timeline(self, account: str, generation_id: str) -> list[JsonObject]:
        """Get what happened to a tracker, oldest first."""
        return self._items(f"{_tracker_path(account, generation_id)}/timeline")

    # --- many -------------------------------------------------------------------------------------

    def track_many(self, trackers: Iterable[Mapping[str, Any]]) -> Iterator[JsonObject]:
        """Track any number of generations, as many to a request as the API takes.

        Args:
            trackers: Each with `account`, `generation_id` and, if wanted, terms as in `track`.

        Yields:
            An outcome for each, in order: `account`, `generation_id`, `status` (202 new, 200
            the same again, or an error's) and `tracker` or `error` (a problem document).
        """
        for batch in _batches(trackers):
            answer = self._object(
                "POST",
                "/v1/trackers",
                list_name="results",
                content=b'{"trackers":[' + b",".join(batch) + b"]}",
                headers={"Content-Type": "application/json"},
            )
            yield from answer["results"]

    def trackers(
        self,
        *,
        state: str | None = None,
        account: str | None = None,
        model: str | None = None,
        page: int = PAGE,
    ) -> Iterator[JsonObject]:
        """Go through the trackers that fit, newest first, `page` to a request."""
        wanted = {"state": state, "account": account, "model": model}
        return self._pages("/v1/trackers", wanted, page)

    def deliveries(
        self,
        *,
        state: str | None = None,
        account: str | None = None,
        generation_id: str | None = None,
        endpoint: str | None = None,
        page: int = PAGE,
    ) -> Iterator[JsonObject]:
        """Go through the deliveries that fit, newest first, `page` to a request."""
        wanted = {"state": state, "account": account, "generation_id": generation_id}
        return self._pages("/v1/deliveries", wanted | {"endpoint": endpoint}, page)

    def replay(self, delivery_id: str) -> JsonObject:
        """Have a finished delivery made again, under the same webhook-id; get the delivery."""
        return self._object("POST", f"/v1/deliveries/{_segment('ID', delivery_id)}/replay")

    def _pages(
        self, path: str, wanted: Mapping[str, str | None], page: int
    ) -> Iterator[JsonObject]:
        params = {name: value for name, value in wanted.items() if value is not None}
        params["limit"] = str(page)
        while True:
            answer = self._object("GET", path, list_name="items", params=params)
            yield from answer["items"]
            if not answer.get("next_cursor"):
                return
            params["cursor"] = answer["next_cursor"]

    # --- how it is doing --------------------------------------------------------------------------

    def stats(self) -> JsonObject:
        """Get the figures of the queue."""
        return self._object("GET", "/v1/stats")

    def accounts(self) -> list[JsonObject]:
        """Get the accounts, with how they are doing."""
        return self._items("/v1/accounts")

    # --- HTTP -------------------------------------------------------------------------------------

    def _items(self, path: str) -> list[JsonObject]:
        items: list[JsonObject] = self._object("GET", path, list_name="items")["items"]
        return items

    def _object(
        self, method: str, path: str, *, list_name: str | None = None, **request: Any
    ) -> JsonObject:
        """Get a JSON object; if `list_name` is given, one with a list of that name."""
        response = self._ask(method, path, **request)
        value = _json(response)
        if not isinstance(value, dict):
            raise self._stranger(response)
        if list_name is not None and not isinstance(value.get(list_name), list):
            raise self._stranger(response)
        return value

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, self._url + path, **request)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise UnreachableError(
                f"Cannot reach Dreamhook at {self._url} ({_in_words(error)})."
                " Is `dreamhook up` running? If it is elsewhere, set DREAMHOOK_URL=…"
            ) from error
        if response.is_success:
            return response
        problem = _json(response)
        if isinstance(problem, dict) and "title" in problem:
            raise _refusal(response.status_code, problem)
        raise self._stranger(response)

    def _stranger(self, response: httpx.Response) -> ApiError:
        """Say that this is not the API: another server, a proxy's page, a redirect."""
        status, kind = response.status_code, response.headers.get("content-type", "no content type")
        if response.is_redirect:
            kind = f"a redirect to {response.headers.get('location', 'nowhere')}"
        return ApiError(
            status,
            "Not Dreamhook",
            f"What answers at {self._url} is not Dreamhook's API ({kind}). Check DREAMHOOK_URL.",
        )


def _tracker_path(account: str, generation_id: str) -> str:
    return f"/v1/trackers/{_segment('account', account)}/{_segment('ID', generation_id)}"


def _segment(field: str, name: str) -> str:
    """Quote a name as one segment of a path. In a path, "." and ".." would lead elsewhere."""
    if not name or "/" in name:
        raise InvalidInputError(field, f"must not be empty or contain a slash; this is {name!r}")
    return quote(name, safe="", errors="replace") if name.strip(".") else name.replace(".", "%2E")


def _batches(trackers: Iterable[Mapping[str, Any]]) -> Iterator[list[bytes]]:
    """Write each tracker as JSON, in groups that one request can carry."""
    batch: list[bytes] = []
    size = 0
    for tracker in trackers:
        line = json.dumps(tracker).encode()
        if batch and (len(batch) == MAX_BATCH or size + len(line) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield batch


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _refusal(status: int, problem: JsonObject) -> ApiError:
    field = problem.get("field")
    return ApiError(
        status,
        str(problem["title"]),
        str(problem.get("detail") or ""),
        None if field is None else str(field),
    )


def _is_away(error: UnreachableError | ApiError) -> bool:
    """Tell whether the API, or what stands before it, may soon answer again."""
    return isinstance(error, UnreachableError) or error.status in _AWAY


def _in_words(error: Exception) -> str:
    match error:
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.ConnectError():
            return str(error).rpartition("] ")[2] or "no connection"  # without "[Errno 111]"
        case _:
            return str(error) or type(error).__name__
