"""What can be asked of the API, each as a method."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from worker.client import events
from worker.client.events import Event
from worker.client.http import (
    ANSWER_S,
    ApiError,
    Http,
    UnreachableError,
    delivery_path,
    segment,
    tracker_path,
)
from worker.client.outage import Outage
from worker.errors import DreamhookError
from worker.model import JsonObject, State

MAX_BATCH = 1000
MAX_BATCH_BYTES = 1_000_000
"""The API takes bodies of up to 1 MiB, and that many trackers in one."""

CREATE_S = 60.0
"""How long the provider may take to create what is submitted."""

PAGE = 100
MAX_WAIT_S = 60.0

PATIENCE_S = 60.0
"""Whoever waits for an end bears with an API that is away for so long, as when it restarts."""

PAUSE_S = 1.0
"""Between two questions of one wait: who answers at once is not to be asked in a tight loop."""


class Client:
    """A connection to the API. Close it, or use it as a context manager.

    Args:
        url: Where the API is, without `/v1`.
        key: One of its bearer keys, if it has any.
        patience_s: How long `wait` and `events` bear with an API that is away.

    Raises:
        ConfigurationError: The environment's proxy settings cannot be used.
    """

    def __init__(self, url: str, key: str | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self._http = Http(url, key)
        self._patience_s = patience_s
        self._outage = Outage()

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._http.url

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
        return self._http.object("PUT", tracker_path(account, generation_id), json=terms)

    def submit(
        self, account: str, request: JsonObject, *, key: str | None = None, **terms: Any
    ) -> JsonObject:
        """Have a generation made, and track it.

        Args:
            account: The account's name.
            request: The body of the provider's own create call.
            key: The `Idempotency-Key`: of two calls with the same the second makes nothing.
            **terms: As for `track`.

        Returns:
            The tracker.
        """
        body = {**terms, "account": account, "request": request}
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._http.object(
            "POST", "/v1/generations", json=body, headers=headers, timeout=ANSWER_S + CREATE_S
        )

    def submission(self, submission_id: str) -> JsonObject:
        """Get what came of a submission; its ID is in the problem that it was answered with."""
        return self._http.object("GET", f"/v1/generations/{segment('id', submission_id)}")

    def submissions(
        self, *, state: str | None = None, account: str | None = None, page: int = PAGE
    ) -> Iterator[JsonObject]:
        """Go through the submissions that fit, newest first, without their trackers."""
        return self._http.pages("/v1/generations", {"state": state, "account": account}, page)

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
        tracker = self._http.object(
            "GET",
            tracker_path(account, generation_id),
            params=params | ({"fresh": "true"} if fresh else {}),
            timeout=ANSWER_S + wait,
        )
        self._outage.end()
        return tracker

    def wait(
        self,
        account: str,
        generation_id: str,
        *,
        timeout_s: float | None = None,
        step_s: float = MAX_WAIT_S,
        tell: Callable[[JsonObject], object] = bool,
        tell_away: Callable[[DreamhookError], object] = bool,
    ) -> JsonObject:
        """Get a tracker when it is over, or as it stands after `timeout_s` seconds.

        The API's being away for a while does not end the wait: a 502, 503 or 504, and no answer at
        all once there has been one.

        Args:
            account: The account's name.
            generation_id: The provider's ID.
            timeout_s: Wait no longer than that.
            step_s: Ask again after so long, 60 s at most.
            tell: Is called with the tracker as it stands, each time it is not over.
            tell_away: Is called with the error when the API begins to be away.

        Raises:
            StillAwayError: The API was away when the time was up.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            asked_at, pause_s = time.monotonic(), PAUSE_S
            left = step_s if until is None else min(step_s, max(0.0, until - asked_at))
            try:
                tracker = self.get(account, generation_id, wait=round(left, 1))
            except (UnreachableError, ApiError) as error:
                now, patience_s = time.monotonic(), self._patience_s
                if self._outage.bear(error, now, patience_s=patience_s, is_time_up=not left):
                    tell_away(error)
                if isinstance(error, ApiError):
                    pause_s = max(pause_s, error.retry_after_s or 0.0)
            else:
                if tracker.get("state") != State.TRACKING or not left:
                    return tracker
                tell(tracker)
            time.sleep(max(0.0, min(left, asked_at + pause_s - time.monotonic())))

    def cancel(self, account: str, generation_id: str) -> JsonObject:
        """Stop tracking; the generation itself goes on. Get the tracker, which may be over."""
        return self._http.object("DELETE", tracker_path(account, generation_id))

    def poll(self, account: str, generation_id: str) -> JsonObject:
        """Have the generation looked at now; get the tracker as it stands before that."""
        return self._http.object("POST", f"{tracker_path(account, generation_id)}/poll")

    def timeline(self, account: str, generation_id: str) -> list[JsonObject]:
        """Get what happened to a tracker, oldest first."""
        return self._http.items(f"{tracker_path(account, generation_id)}/timeline")

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
            answer = self._http.object(
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
        return self._http.pages("/v1/trackers", wanted, page)

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
        return self._http.pages("/v1/deliveries", wanted | {"endpoint": endpoint}, page)

    def delivery(self, delivery_id: str) -> JsonObject:
        """Get a delivery, with its attempts."""
        return self._http.object("GET", delivery_path(delivery_id))

    def replay(self, delivery_id: str) -> JsonObject:
        """Have a finished delivery made again, under the same webhook-id; get the delivery."""
        return self._http.object("POST", f"{delivery_path(delivery_id)}/replay")

    # --- endpoints --------------------------------------------------------------------------------

    def endpoints(self, *, page: int = PAGE) -> Iterator[JsonObject]:
        """Go through the endpoints, newest first, `page` to a request."""
        return self._http.pages("/v1/endpoints", {}, page)

    def endpoint(self, name: str) -> JsonObject:
        """Get an endpoint."""
        return self._http.object("GET", _endpoint_path(name))

    def put_endpoint(self, name: str, **settings: Any) -> JsonObject:
        """Make an endpoint, or change one; the answer has its `secret` if it is new.

        Args:
            name: Its name.
            **settings: As the API names them: `url`, `events`, `headers`, `enabled`, …
        """
        return self._http.object("PUT", _endpoint_path(name), json=settings)

    def delete_endpoint(self, name: str) -> None:
        """Delete an endpoint; what it is still owed is discarded."""
        self._http.ask("DELETE", _endpoint_path(name))

    def rotate(self, name: str, *, overlap_s: float | None = None) -> JsonObject:
        """Give an endpoint a new `secret`; the old ones sign too for `overlap_s`, or for a day."""
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return self._http.object("POST", f"{_endpoint_path(name)}/rotate", json=body)

    def test_endpoint(self, name: str) -> JsonObject:
        """Send an endpoint a test event; get the delivery."""
        return self._http.object("POST", f"{_endpoint_path(name)}/test")

    def recover(self, name: str, *, since: str) -> int:
        """Owe an endpoint again all that was exhausted since an RFC 3339 time; get how many."""
        answer = self._http.object("POST", f"{_endpoint_path(name)}/recover", json={"since": since})
        return int(answer["recovered"])

    # --- how it is doing --------------------------------------------------------------------------

    def stats(self) -> JsonObject:
        """Get the figures of the queue."""
        return self._http.object("GET", "/v1/stats")

    def accounts(self) -> list[JsonObject]:
        """Get the accounts, with how they are doing."""
        return self._http.items("/v1/accounts")

    def events(
        self,
        *,
        types: Sequence[str] = (),
        account: str | None = None,
        generation_id: str | None = None,
        since: str | None = None,
        after: str | None = None,
    ) -> Iterator[Event]:
        """Go through what happens, as it happens, without end.

        When the connection breaks off it is made anew, and goes on where it was.

        Args:
            types: Types such as `generation.completed`, or groups such as `delivery`; by default
                those that webhooks carry.
            account: Those of this account alone.
            generation_id: Those of this generation alone.
            since: Begin at this RFC 3339 time, or with `0` at the first that is kept.
            after: Begin after the event with this `id`. By default it begins now.
        """
        wanted = {
            "type": ",".join(types),
            "account": account,
            "generation_id": generation_id,
            "since": since,
        }
        given = {name: value for name, value in wanted.items() if value}
        return events.follow(self._http, given, after=after, patience_s=self._patience_s)


def _endpoint_path(name: str) -> str:
    return f"/v1/endpoints/{segment('name', name)}"


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
