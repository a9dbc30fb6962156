"""The text part of each answer, for agents' programs that show nothing else.

The first lines about a generation are those that users of luma-ai-mcp-server know.
"""

from __future__ import annotations

from datetime import UTC, datetime

from worker.mcp_server.answers import (
    Answer,
    Deliveries,
    Delivery,
    Generation,
    Generations,
    QueueStats,
)
from worker.off import enabling, ending_of, is_off

NOT_SEEN = "unknown (nobody has seen it yet)"


def text_of(answer: Answer) -> str:
    """Write an answer as lines."""
    match answer:
        case Generation():
            return "\n".join(_generation(answer))
        case Generations():
            return _generations(answer)
        case Delivery():
            return _delivery(answer)
        case Deliveries():
            return _deliveries(answer)
        case QueueStats():
            return _queue(answer)
        case _:
            raise AssertionError(answer)


def known_lines(it: Generation) -> list[str]:
    """Write what luma-ai-mcp-server writes of a generation, in its words, and the image's URL."""
    found = {
        "Generation ID": it.generation_id,
        "State": it.provider_state or NOT_SEEN,
        "Reason": it.failure_reason,
        "Video URL": it.video_url,
        "Image URL": it.image_url,
    }
    return [f"{name}: {value}" for name, value in found.items() if value]


def _generation(it: Generation) -> list[str]:
    lines = known_lines(it)
    known = {it.video_url, it.image_url}
    lines += [f"{name}: {url}" for name, url in it.assets.items() if url not in known]
    if it.assets_expire_at is not None:
        lines.append(f"URLs expire at: {_time(it.assets_expire_at)}")
    if it.progress is not None and not it.is_over:
        lines.append(f"Progress: {it.progress:.0%}")
    lines.append(f"Tracking: {_tracking(it)}")
    if it.held:
        lines.append(f"Held: {it.held}")
    elif it.last_error is not None and not it.is_over:
        lines.append(f"Last error: {it.last_error}")
    lines.append(f"Next: {it.next_step}")
    return lines


def _tracking(it: Generation) -> str:
    if it.tracked:
        at = it.next_look_at
        return "yes" if at is None else f"yes, the next look is at {_time(at)}"
    if it.finished_at is None:
        return "no"
    reason = f" ({it.reason})" if it.reason else ""
    return f"over, {it.state}{reason} since {_time(it.finished_at)}"


def _generations(answer: Generations) -> str:
    lines = ["\n".join(known_lines(each)) for each in answer.items] or ["No generations."]
    if answer.next_offset is not None:
        lines.append(f"There may be more: ask with offset={answer.next_offset}.")
    return "\n\n".join(lines)


def _delivery(it: Delivery) -> str:
    about = it.generation_id or f"endpoint {it.endpoint}"
    owed = it.model_dump()
    line = f"{it.id}: {it.type} of {about} to {it.url}: {ending_of(owed)}"
    if it.last_attempt is not None:
        what = it.last_attempt.status or it.last_attempt.error
        line += f"; attempt {it.attempts} at {_time(it.last_attempt.at)} got: {what}"
    if it.next_attempt_at is not None:
        line += f"; next attempt at {_time(it.next_attempt_at)}"
    if it.held:
        line += f". {it.held}"
    if is_off(owed):
        line += f". Once it is on again, {enabling({'name': it.endpoint})}, use replay_delivery"
    return line


def _deliveries(answer: Deliveries) -> str:
    lines = [_delivery(each) for each in answer.items] or ["No deliveries."]
    if answer.has_more:
        lines.append("There are older ones: narrow it down, or ask with a higher limit.")
    return "\n".join(lines)


def _queue(it: QueueStats) -> str:
    lines = [
        f"Trackers: {_counts(it.trackers)}",
        f"Deliveries: {_counts(it.deliveries)}",
        f"Due now: {it.looks_due} looks; the oldest work has waited {it.lag_s:.1f} s",
        f"Workers: {it.workers}",
        f"Last hour: {_counts(_last_hour(it))}",
        f"Endpoints in trouble: {it.endpoints_in_trouble}",
    ]
    lines += [f"Trouble: {each}" for each in (*it.accounts_in_trouble, *it.troubles)]
    return "\n".join(lines)


def _last_hour(it: QueueStats) -> dict[str, int]:
    return {
        "completed": it.completed_last_hour,
        "failed": it.failed_last_hour,
        "expired": it.expired_last_hour,
        "webhooks delivered": it.delivered_last_hour,
    }


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
