"""Asks the API over HTTP, and makes errors of what is not its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from worker.config_values import is_loopback
from worker.errors import ConfigurationError, DreamhookError, InvalidInputError, UnavailableError
from worker.model import JsonObject

ANSWER_S = 30.0
"""How long the API may take to answer, beyond the time it was asked to wait."""

_BEFORE_IT_WAS_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError),
    *(httpx.InvalidURL, httpx.UnsupportedProtocol),
)

_AWAY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


class ApiError(DreamhookError):
    """The API's refusal, as its problem document (RFC 9457) tells it.

    Attributes:
        status: The HTTP status.
        title: What kind of problem it is.
        detail: What is wrong this time and what to do; may be empty.
        field: The field that cannot be used, if it is about one.
        retry_after_s: In how many seconds it is worth asking again, if the API says.
        is_stranger: Whether it was not the API that answered so, but a proxy, say.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        field: str | None = None,
        *,
        retry_after_s: float | None = None,
        is_stranger: bool = False,
    ) -> None:
        text = detail or title
        if field and not text.startswith(field):
            text = f"{field}: {text}"
        super().__init__(f"{text} (HTTP {status})")
        self.status = status
        self.title = title
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s
        self.is_stranger = is_stranger


class UnreachableError(UnavailableError):
    """No answer came from where the API should be; `was_sent`: yet it may have been asked."""

    def __init__(self, message: str, *, was_sent: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class StillAwayError(UnavailableError):
    """The time to wait was up while the API was away: nobody can tell how it stands."""


class Http:
    """Connections to one API.

    Args:
        url: Where the API is, without `/v1`.
        key: One of its bearer keys, if it has any.

    Raises:
        ConfigurationError: The environment's proxy settings cannot be used.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        with usable_environment():
            self._http = httpx.Client(**settings_of(self.url, key))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Each of these raises ApiError when the API refuses, UnreachableError when nothing answers.

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Get a whole answer that is a success."""
        with reaching(self.url):
            response = self._http.request(method, self.url + path, **request)
        return accepted(self.url, response)

    def object(
        self, method: str, path: str, *, list_name: str | None = None, **request: Any
    ) -> JsonObject:
        """Get a JSON object; if `list_name` is given, one with a list of that name."""
        return object_of(self.url, self.ask(method, path, **request), list_name)

    def items(self, path: str) -> list[JsonObject]:
        """Get a list that comes whole."""
        items: list[JsonObject] = self.object("GET", path, list_name="items")["items"]
        return items

    def pages(self, path: str, wanted: Mapping[str, str | None], page: int) -> Iterator[JsonObject]:
        """Go through a list that comes in pages, as far as somebody reads on."""
        params = {name: value for name, value in wanted.items() if value is not None}
        params["limit"] = str(page)
        while True:
            answer = self.object("GET", path, list_name="items", params=params)
            yield from answer["items"]
            if not answer.get("next_cursor"):
                return
            params["cursor"] = answer["next_cursor"]

    @contextmanager
    def stream(self, path: str, media_type: str, **request: Any) -> Iterator[Iterator[bytes]]:
        """Open an answer of this media type that comes bit by bit, for as long as it lasts."""
        with reaching(self.url), self._http.stream("GET", self.url + path, **request) as response:
            if not response.is_success:
                response.read()
            accepted(self.url, response)
            if response.headers.get("content-type", "").partition(";")[0] != media_type:
                raise stranger(self.url, response)
            yield response.iter_bytes()


def accepted(url: str, response: httpx.Response) -> httpx.Response:
    """Let a success pass; whatever else was read of the answer becomes an `ApiError`."""
    if response.is_success:
        return response
    problem = _json(response)
    if isinstance(problem, dict) and "title" in problem:
        raise _refusal(response, problem)
    raise stranger(url, response)


def object_of(url: str, response: httpx.Response, list_name: str | None = None) -> JsonObject:
    """Read a JSON object; if `list_name` is given, one with a list of that name."""
    value = _json(response)
    if not isinstance(value, dict):
        raise stranger(url, response)
    if list_name is not None and not isinstance(value.get(list_name), list):
        raise stranger(url, response)
    return value


def stranger(url: str, response: httpx.Response) -> ApiError:
    """Say that this is not the API: another server, a proxy's page, a redirect."""
    status, kind = response.status_code, response.headers.get("content-type", "no content type")
    if response.is_redirect:
        kind = f"a redirect to {response.headers.get('location', 'nowhere')}"
    return ApiError(
        status,
        "Not Dreamhook",
        f"{url} is not Dreamhook's API ({kind}). Check DREAMHOOK_URL and DREAMHOOK_PORT.",
        is_stranger=True,
    )


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Make an `UnreachableError` of what goes wrong before there is an answer."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise UnreachableError(
            f"Cannot reach Dreamhook at {url} ({_in_words(error)})."
            " Is `dreamhook up` running? Elsewhere, or with DREAMHOOK_PORT: set DREAMHOOK_URL=…",
            was_sent=not isinstance(error, _BEFORE_IT_WAS_SENT),
        ) from error


@contextmanager
def usable_environment() -> Iterator[None]:
    """Make a `ConfigurationError` of proxy or certificate settings that cannot be used."""
    try:
        yield
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        # Not the error's own text: a proxy URL may hold a password.
        raise ConfigurationError(
            "DREAMHOOK_URL or the environment's proxy or certificate settings cannot be used;"
            f" check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY ({type(error).__name__})."
        ) from error


def settings_of(url: str, key: str | None) -> dict[str, Any]:
    """Tell what an httpx client of this API is to be made with."""
    return {
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "timeout": ANSWER_S,
        # A proxy that the environment names for the world cannot reach this machine.
        "trust_env": not is_loopback(httpx.URL(url).host),
    }


def segment(field: str, name: str) -> str:
    """Quote a name as one segment of a path. In a path, "." and ".." would lead elsewhere."""
    if not name or "/" in name:
        raise InvalidInputError(field, f"must not be empty or contain a slash; this is {name!r}")
    return quote(name, safe="", errors="replace") if name.strip(".") else name.replace(".", "%2E")


def tracker_path(account: str, generation_id: str) -> str:
    """Tell where a tracker is."""
    return f"/v1/trackers/{segment('account', account)}/{segment('ID', generation_id)}"


def delivery_path(delivery_id: str) -> str:
    """Tell where a delivery is."""
    return f"/v1/deliveries/{segment('ID', delivery_id)}"


def is_away(error: UnreachableError | ApiError) -> bool:
    """Tell whether the API, or what stands before it, may soon answer again."""
    return isinstance(error, UnreachableError) or error.status in _AWAY


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _refusal(response: httpx.Response, problem: JsonObject) -> ApiError:
    field, after = problem.get("field"), response.headers.get("retry-after", "")
    return ApiError(
        response.status_code,
        str(problem["title"]),
        str(problem.get("detail") or ""),
        None if field is None else str(field),
        retry_after_s=float(after) if after.isdecimal() else None,
    )


def _in_words(error: Exception) -> str:
    match error:
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.ConnectError():
            return str(error).rpartition("] ")[2] or "no connection"  # without "[Errno 111]"
        case _:
            return str(error) or type(error).__name__
