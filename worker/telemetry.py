"""What Dreamhook says about itself: one line for each look, each attempt and each hold.

Each kind of line is written by one function, so its fields are the same everywhere. A line holds
no secret: of a receiver's URL it has the origin alone, since people put tokens into paths. The same
functions count, for this process, what the metrics of the deployment are made of.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections import Counter
from functools import cache
from typing import Any, Literal, TextIO
from urllib.parse import urlsplit

import orjson
import structlog

from worker import figures, tracing
from worker.model import (
    Answer,
    Created,
    Creation,
    Delivered,
    Delivery,
    DeliveryVerdict,
    Health,
    InDoubt,
    Replied,
    Reply,
    Same,
    Seen,
    Submission,
    Tracker,
    Unanswered,
    Verdict,
    Watched,
    rfc3339,
)

# These say at INFO, for every job or request, what the lines below say better. At DEBUG the HTTP
# clients also write URLs and headers, which hold secrets: so whatever level was asked for.
_QUIET = ("arq", "asyncio", "httpcore", "httpx", "uvicorn.access")

_DETAIL_LIMIT = 500

_log: structlog.stdlib.BoundLogger = structlog.get_logger("dreamhook")

_counts: Counter[str] = Counter()
_least = logging.INFO  # of what is written; `configure` sets it


def take_counts() -> Counter[str]:
    """Hand over what was counted since the last time, under the fields of `worker.figures`."""
    global _counts
    taken, _counts = _counts, Counter()
    return taken


# --- the lines ------------------------------------------------------------------------------------


def looked(
    after: Tracker | Watched,
    answer: Answer,
    verdict: Verdict,
    *,
    duration_ms: int,
    late_ms: int | None = None,
) -> None:
    """Write the line of one look that covered a tracker, and count it.

    Args:
        after: The tracker as it is after the look.
        answer: What the provider answered.
        verdict: What that meant for the tracker.
        duration_ms: How long the provider took.
        late_ms: From when the look was due to its start; None if it was asked for out of turn.
    """
    word = "seen" if isinstance(answer, Same) else _word(answer)
    _counts[figures.LOOKS.times(after.account, word)] += 1
    if late_ms is not None:
        _counts.update(figures.LOOK_LATENESS.took(late_ms / 1000, after.account))
    if _least > logging.INFO:
        return  # to find words that nobody reads would cost as much as all the rest of a look
    tracker = after.whole() if isinstance(after, Watched) else after
    _log.info(
        "look",
        account=after.account,
        generation_id=after.generation_id,
        answer=word,
        verdict=_word(verdict),
        state=tracker.state.value,
        reason=tracker.reason and tracker.reason.value,
        provider_state=after.provider_state,
        error=None if isinstance(answer, Seen | Same) else answer.detail[:_DETAIL_LIMIT],
        polls=after.polls,
        next_poll_at=rfc3339(after.next_poll_at),
        duration_ms=duration_ms,
        trace_id=tracing.trace_id(tracker.traceparent),
    )


def requested(account: str, call: Literal["get", "list"], *, duration_ms: int) -> None:
    """Count a request to a provider, for one generation or for a page of many."""
    _counts.update(figures.REQUEST_DURATION.took(duration_ms / 1000, account, call))


def submitted(submission: Submission, creation: Creation) -> None:
    """Write the line of one create call, or of what was found out about it later."""
    made, error = (creation, None) if isinstance(creation, Created) else (None, creation.detail)
    _counts[figures.SUBMISSIONS.times(submission.account, _word(creation))] += 1
    log = _log.warning if isinstance(creation, InDoubt) else _log.info
    log(
        "submission",
        submission_id=submission.id,
        account=submission.account,
        answer=_word(creation),
        generation_id=made and made.generation_id,
        error=error and error[:_DETAIL_LIMIT],
        trace_id=tracing.trace_id(submission.traceparent),
    )


def reconciled(submission: Submission) -> None:
    """Write what was found out of a submission that nobody had an answer for."""
    _counts[figures.RECONCILED.times(submission.account, submission.state.value)] += 1
    log = _log.info if submission.generation_id else _log.warning
    log(
        "reconciled",
        submission_id=submission.id,
        account=submission.account,
        state=submission.state.value,
        generation_id=submission.generation_id,
        error=submission.detail and submission.detail[:_DETAIL_LIMIT],
        trace_id=tracing.trace_id(submission.traceparent),
    )


def ended(tracker: Tracker) -> None:
    """Count a tracker that is over; its last look has a line, or else it was not looked at."""
    _counts[figures.ENDED.times(tracker.account, tracker.state)] += 1


def attempted(
    *, delivery: Delivery, reply: Reply, verdict: DeliveryVerdict, held_ms: int | None = None
) -> None:
    """Write the line of one attempt, and count it.

    Args:
        delivery: As it is after the attempt; its `tries` is the number of this one, counted
            since the delivery's birth or replay.
        reply: What the receiver answered, if it did.
        verdict: What that meant for the delivery.
        held_ms: How long a hold of the receiver's origin had kept it waiting, if one had.
    """
    kind = f"{reply.status // 100}xx" if isinstance(reply, Replied) else "none"
    _counts[figures.ATTEMPTS.times(kind)] += 1
    _counts.update(figures.ATTEMPT_DURATION.took(reply.duration_ms / 1000))
    if isinstance(verdict, Delivered) and delivery.finished_at and not delivery.is_replayed:
        waited_s = (delivery.finished_at - delivery.created_at) / 1000
        _counts.update(figures.LATENCY.took(waited_s))
    _log.info(
        "attempt",
        delivery_id=delivery.id,
        event_id=delivery.event_id,
        type=delivery.type,
        account=delivery.account,
        generation_id=delivery.generation_id,
        endpoint=delivery.endpoint,
        origin=_origin(delivery.url),
        attempt=delivery.tries,
        status=reply.status if isinstance(reply, Replied) else None,
        error=reply.error[:_DETAIL_LIMIT] if isinstance(reply, Unanswered) else None,
        verdict=_word(verdict),
        state=delivery.state.value,
        reason=delivery.reason and delivery.reason.value,
        next_attempt_at=rfc3339(delivery.next_attempt_at),
        duration_ms=reply.duration_ms,
        held_ms=held_ms,
        trace_id=tracing.trace_id(delivery.headers.get("traceparent")),
    )


def not_refreshed(delivery: Delivery, error: Exception) -> None:
    """Write that a webhook goes out with the assets it was born with, which may have expired."""
    _log.warning("assets not refreshed", delivery_id=delivery.id, error=type(error).__name__)


def held(health: Health, *, account: str | None = None, url: str | None = None) -> None:
    """Write that an account's looks, or a receiver's webhooks, are held from now on or no longer.

    Trouble that holds nothing yet (`held_until` is 0) is on the line of its look or attempt alone.

    Args:
        health: What it is now.
        account: Whose looks, or
        url: one of the receiver's; its origin is written.
    """
    whose = {"account": account, "origin": url and _origin(url)}
    if health.reason is None:
        _log.info("freed", **whose)
    elif health.held_until:
        _log.warning(
            "held",
            **whose,
            reason=health.reason.value,
            streak=health.streak,
            until=rfc3339(health.held_until),
            error=health.detail and health.detail[:_DETAIL_LIMIT],
        )


@cache  # each process says so once for each account, not every time its lane comes up
def unknown_account(account: str) -> None:
    """Write, once, that trackers of `account` are not looked at: it is not configured."""
    _log.warning("unknown account", account=account, remedy="set it in DREAMHOOK_ACCOUNTS")


def unknown_setting(name: str, remedy: str) -> None:
    """Write that a variable which begins like a setting is none."""
    _log.warning("unknown setting", setting=name, remedy=remedy)


def _word(value: Answer | Creation | Verdict | DeliveryVerdict) -> str:
    """Name a kind of value as the line has it: `BackOff` is `back_off`."""
    return _snake(type(value).__name__)


@cache  # there are a dozen, and every look is told of in two of them
def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _origin(url: str) -> str:
    """Keep scheme, host and port: no user, path or query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


# --- where they go --------------------------------------------------------------------------------


def configure(level: str = "info", *, json: bool | None = None) -> None:
    """Send all log lines, ours and the libraries', to stderr in one form.

    May be called again; the last call counts. Let uvicorn keep its hands off: `log_config=None`.

    Args:
        level: The least that is written: debug, info, warning or error.
        json: A JSON object a line, or lines for people to read; by default JSON unless stderr is
            a terminal.
    """
    global _least  # noqa: PLW0603 - logging is of the whole process as well
    _least = logging.getLevelNamesMapping()[level.upper()]
    as_json = not sys.stderr.isatty() if json is None else json
    stamped: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_absent,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *stamped,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=stamped,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_as_json() if as_json else _as_text()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


class _Stderr(logging.Handler):
    """Writes to what stderr is at that moment; a test or a terminal tool may have replaced it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - to say something must never stop the work
            self.handleError(record)


def _as_json() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_dumps),
    ]


def _as_text() -> list[structlog.typing.Processor]:
    return [
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=_plain_traceback
        ),
    ]


def _plain_traceback(to: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Write a traceback; structlog's default has every frame's variables, secrets included."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    to.write(_escaped(written.getvalue(), keep="\n"))


def _printable(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape what would do something to a terminal: libraries quote what strangers have sent."""
    return {
        name: _escaped(value) if isinstance(value, str) else value for name, value in line.items()
    }


def _escaped(text: str, keep: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else ascii(letter)[1:-1] for letter in text
    )


def _without_absent(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Leave out fields that have nothing to say."""
    return {name: value for name, value in line.items() if value is not None}


def _dumps(line: object, **_: Any) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
