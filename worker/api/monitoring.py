"""The routes for those who watch: what happens, as Server-Sent Events, and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from typing import Annotated

from fastapi import Query, Request, Response
from prometheus_client.metrics_core import Metric
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from worker.api import exposition, watching
from worker.api.openapi import problems, text_answer
from worker.api.routing import router
from worker.errors import InvalidInputError
from worker.merging import MergedStream
from worker.status import Status
from worker.stream import Away, EventStream, Gap, Heard, Part, Wanted

RETRY_MS = 2000
SEND_WITHIN_S = 60.0
"""Who takes nothing for so long is no longer there."""

monitoring = router("monitoring")


@monitoring.get(
    "/v1/events",
    summary="Listen to events",
    response_class=Response,
    responses={
        200: text_answer("text/event-stream", watching.EVENTS_TEXT, "Blocks; the last says why."),
        **problems(422),
    },
    openapi_extra={"parameters": [watching.LAST_EVENT_ID]},
)
async def listen(request: Request, query: Annotated[watching.EventsQuery, Query()]) -> Response:
    """Hear what happens, as it happens, or from where the connection broke off.

    `Last-Event-ID` counts before `last_event_id`, and that before `since`; without any of them it
    begins now. A block without `data` is no event, but its `id` is a place to resume from.
    """
    after = request.headers.get("last-event-id") or query.last_event_id
    if after is not None and not watching.is_place(after):
        raise InvalidInputError("Last-Event-ID", "it is not the `id` of an event")
    since = None if query.since is None else round(query.since.timestamp() * 1000)
    wanted = Wanted(frozenset(query.type), query.account, query.generation_id)
    stream: EventStream | MergedStream = request.app.state.stream
    return _Events(await stream.listen(wanted, after, since=since))


@monitoring.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses={200: text_answer("text/plain", watching.METRICS_TEXT, "All metrics.")},
)
async def metrics(request: Request) -> Response:
    """Show the metrics of the whole deployment, in the text format of Prometheus or OpenMetrics."""
    status: Status = request.app.state.status
    snapshot = exposition.Snapshot(*await status.metrics(), status.budgets())
    return metrics_answer(request, snapshot.families(), request.app.state.stream.listeners)


def metrics_answer(request: Request, families: Iterable[Metric], listeners: int) -> Response:
    """Answer with metrics, and those of this process, whose events so many listen to."""
    own = exposition.of_this_process(listeners)
    body, media_type = exposition.exposed(request.headers.get("accept", ""), families, own)
    return Response(body, headers={"Content-Type": media_type})


class _Events(Response):
    """Sends what a listener hears until it goes or is sent away."""

    media_type = "text/event-stream"

    def __init__(self, parts: AsyncGenerator[Part]) -> None:
        # X-Accel-Buffering: nginx in front would otherwise hold events back.
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._parts = parts

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until either side has had enough."""
        async with aclosing(self._parts):
            sending = asyncio.ensure_future(self._send(send))
            leaving = asyncio.ensure_future(_left(receive))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    with suppress(TimeoutError):  # the other side takes nothing any more
                        sending.result()
            finally:
                for each in (sending, leaving):
                    each.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        await _write(send, b"retry: %d\n" % RETRY_MS, more=True)
        async for part in self._parts:
            await _write(send, block(part), more=True)
        await _write(send, b"", more=False)


async def _write(send: Send, body: bytes, *, more: bool) -> None:
    async with asyncio.timeout(SEND_WITHIN_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def block(part: Part) -> bytes:
    """Write a part as Server-Sent Events; a heartbeat is a comment, and a place to resume from."""
    match part:
        case Heard(told=[], position=position):
            return b": heartbeat\nid: %b\n\n" % position.encode()
        case Heard(told=told):
            return b"".join(
                b"id: %b\nevent: %b\ndata: %b\n\n" % (e.id.encode(), e.type.encode(), e.data)
                for e in told
            )
        case Gap(after=after, first=first):
            data = to_json({"after": after, "first": first})
            return b"event: stream.gap\ndata: %b\n\n" % data
        case Away() as why:
            data = to_json({"reason": why.value, "detail": why.detail})
            return b"event: stream.end\ndata: %b\n\n" % data
