"""What each tool answers, beside its text. Every field is described."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.model import JsonObject

RUNNING = "running"


class Answer(BaseModel):
    """What a tool answers: nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Generation(Answer):
    """A generation, as far as it is known."""

    account: str = Field(description="The account it belongs to.")
    generation_id: str = Field(description="The provider's ID of it.")
    provider: str = Field(description="The kind of provider that makes it, such as luma.")
    state: Literal["running", "completed", "failed", "expired", "canceled"] = Field(
        description="`running`: not over. `completed`, `failed`: so says the provider. `expired`:"
        " Dreamhook gave up waiting. `canceled`: tracking was stopped, the generation itself goes"
        " on at the provider."
    )
    is_over: bool = Field(description="Whether nothing more is to be waited for.")
    provider_state: str | None = Field(
        description="The provider's own word for it, such as queued or dreaming; null: nobody has"
        " seen it yet."
    )
    reason: str | None = Field(description="Why it is expired: deadline or not_found.")
    failure_reason: str | None = Field(description="The provider's words about why it failed.")
    failure_code: str | None = Field(description="The provider's code for that, if it has codes.")
    retryable: bool | None = Field(
        description="Whether the same request may succeed another time; null: the provider does not"
        " say."
    )
    video_url: str | None = Field(description="Where the video is, once it is completed.")
    image_url: str | None = Field(
        description="Where the picture is, once it is completed; of a video it is a still."
    )
    assets: dict[str, str] = Field(description="All URLs by name; they may expire.")
    assets_expire_at: datetime | None = Field(
        description="Until when the provider promises the URLs; null: it promises nothing."
    )
    progress: float | None = Field(
        description="How much of it is done, from 0 to 1, if the provider says."
    )
    model: str | None = Field(description="The provider's model that makes it.")
    type: str | None = Field(description="video or image, if the provider says.")
    tracked: bool = Field(
        description="Whether Dreamhook is watching it until its end, whatever becomes of you."
    )
    next_look_at: datetime | None = Field(
        description="When it is looked at next; to ask earlier shows nothing new."
    )
    held: str | None = Field(
        description="Why it is not looked at now: its account is in trouble; null: it is not."
    )
    tracked_at: datetime | None = Field(description="When Dreamhook began to watch it.")
    seen_at: datetime | None = Field(description="When the provider last showed it.")
    finished_at: datetime | None = Field(description="When Dreamhook learned of its end.")
    deadline_at: datetime | None = Field(description="When Dreamhook stops watching it.")
    last_error: str | None = Field(
        description="What the last look that failed was answered: nothing about the generation."
    )
    next_step: str = Field(description="What to do now, in words.")


class Generations(Answer):
    """A part of a list of generations."""

    items: list[Generation] = Field(description="The generations, in the order of the list.")
    next_offset: int | None = Field(
        description="The `offset` at which there may be more; null: that was all."
    )


class Attempt(Answer):
    """The last POST of a delivery."""

    at: datetime = Field(description="When it was made.")
    status: int | None = Field(description="The HTTP status that came back; null: none did.")
    error: str | None = Field(description="What went wrong, if nothing came back.")
    duration_ms: int = Field(description="How long it took.")
    response: str | None = Field(description="The start of what the receiver answered.")
    held_ms: int | None = Field(
        None, description="It was so much late, as its receiver had not been there before."
    )


class Delivery(Answer):
    """A webhook that is owed to a receiver, or was."""

    id: str = Field(description="Its ID, for replay_delivery.")
    event_id: str = Field(description="The webhook-id that every attempt of it carries.")
    type: str = Field(description="What it tells of, such as generation.completed.")
    account: str = Field(description="The generation's account; empty: it is about an endpoint.")
    generation_id: str = Field(description="The generation; empty: it is about an endpoint.")
    endpoint: str = Field(description="The endpoint it goes to; url_… stands for a callback_url.")
    url: str = Field(description="Where it goes.")
    state: str = Field(description="pending, delivered, exhausted or discarded.")
    reason: str | None = Field(
        description="Why it is exhausted: attempts, all were made; or endpoint_disabled, its"
        " endpoint was off."
    )
    created_at: datetime = Field(description="When it was born.")
    next_attempt_at: datetime | None = Field(description="When it is tried next.")
    held: str | None = Field(
        description="Why nothing is sent to its receiver now: that is not there; null: it is."
    )
    attempts: int = Field(description="How many times it was tried, of the newest 50.")
    last_attempt: Attempt | None = Field(description="The last try; null: there was none yet.")


class Deliveries(Answer):
    """The newest deliveries that fit."""

    items: list[Delivery] = Field(description="The deliveries, newest first.")
    has_more: bool = Field(description="Whether there are older ones.")


class QueueStats(Answer):
    """How much there is to do, and whether it is being done."""

    trackers: dict[str, int] = Field(description="How many trackers there are in each state.")
    deliveries: dict[str, int] = Field(description="How many deliveries there are in each state.")
    lag_s: float = Field(description="For how long the oldest due work has been due, in seconds.")
    looks_due: int = Field(description="How many looks at generations are due now.")
    workers: int = Field(description="How many workers live; with 0 nothing is done.")
    completed_last_hour: int = Field(description="Generations that completed within the hour.")
    failed_last_hour: int = Field(description="Generations that failed within the hour.")
    expired_last_hour: int = Field(description="Trackers that expired within the hour.")
    delivered_last_hour: int = Field(description="Webhooks that were delivered within the hour.")
    accounts_in_trouble: list[str] = Field(
        description="Accounts that are held or failing, each with the reason."
    )
    endpoints_in_trouble: int = Field(description="How many endpoints are off, or fail.")
    troubles: list[str] = Field(description="What needs somebody's attention, in words.")


# --- made of what the API shows -----------------------------------------------------------------


def generation(shape: JsonObject, next_step: str) -> Generation:
    """Make it of a tracker as the API shows it, or of what a provider shows of a generation."""
    is_tracker = "tracked_at" in shape
    state = RUNNING if shape["state"] == "tracking" else shape["state"]
    same = (
        *("account", "generation_id", "provider", "failure_reason", "assets"),
        *("failure_code", "retryable", "assets_expire_at", "progress", "model", "type", "seen_at"),
    )
    of_trackers = ("reason", "tracked_at", "finished_at", "deadline_at", "last_error")
    return Generation.model_validate(
        {
            **{name: shape[name] for name in same},
            **{name: shape.get(name) for name in of_trackers},
            "state": state,
            "provider_state": shape["provider_state"] or None,
            "is_over": state != RUNNING,
            "video_url": shape["assets"].get("video"),
            "image_url": shape["assets"].get("image"),
            "tracked": shape["state"] == "tracking" if is_tracker else shape["tracked"],
            "next_look_at": shape.get("next_poll_at"),
            "held": _held(shape),
            "next_step": next_step,
        }
    )


def delivery(shape: JsonObject) -> Delivery:
    """Make it of a delivery as the API shows it."""
    attempts = shape["attempts"]
    last = Attempt.model_validate(attempts[-1]) if attempts else None
    return Delivery.model_validate(
        {**shape, "held": _held(shape), "attempts": len(attempts), "last_attempt": last}
    )


def _held(shape: JsonObject) -> str | None:
    words: str | None = (shape.get("held") or {}).get("in_words")
    return words


def queue_stats(shape: JsonObject) -> QueueStats:
    """Make them of the API's figures."""
    hour = shape["last_hour"]
    ended = {
        f"{name}_last_hour": sum(minute[name] for minute in hour)
        for name in ("completed", "failed", "expired", "delivered")
    }
    return QueueStats(
        trackers=shape["trackers"],
        deliveries=shape["deliveries"],
        lag_s=shape["lag_s"],
        looks_due=shape["due"]["looks"],
        workers=shape["workers"],
        accounts_in_trouble=[f"{a['name']}: {a['reason']}" for a in shape["accounts_in_trouble"]],
        endpoints_in_trouble=shape["endpoints_in_trouble"]["total"],
        troubles=shape["troubles"],
        **ended,
    )
