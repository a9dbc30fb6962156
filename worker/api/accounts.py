"""The answers of `/v1/accounts`: how accounts are doing, and what their looks have taught."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from worker.api.schemas import Answer, HeldAccount
from worker.model import HealthReason


class Health(Answer):
    """How an account is doing."""

    ok: bool
    reason: HealthReason | None = Field(description="Why its looks are held.")
    detail: str | None
    errors_in_a_row: int
    held_until: datetime | None = Field(description="When the next probe goes, as in `held`.")


class Kind(Answer):
    """How long one kind of generation takes, as far as Dreamhook's own looks have seen."""

    kind: list[str] = Field(
        description="Model, type, resolution, length: as many as are known. None: all of them.",
        examples=[["ray-2", "video", "720p", "5s"]],
    )
    sample: float = Field(description="How many ends it was learned from; old ones fade.")
    looks_per_generation: float
    median_s: float = Field(description="Half of them run for so long, not counting the queue.")
    p90_s: float
    queue_median_s: float | None = Field(description="Null: the provider does not tell.")
    curve: list[tuple[float, float]] = Field(
        description="Points `[seconds, share of generations that still run]`."
    )


class Account(Answer):
    """One use of a provider. If it is not configured, no more is known than what it tracks."""

    name: str
    configured: bool = Field(description="If not, nobody looks at what it tracks.")
    tracking: int = Field(description="How many of its generations are tracked.")
    provider: str | None
    base_url: str | None
    polls_per_second: float | None
    polls_per_second_now: float | None = Field(
        description="What it may be asked at present: less after a 429, for up to ten minutes."
    )
    polls_per_second_used: float | None = Field(
        description="What it was asked in the last minute or so."
    )
    poll_patience: float | None = Field(
        description="The seconds of delay that one request is worth."
    )
    deadline_s: float | None
    health: Health | None
    held: HeldAccount | None = Field(description="Why its generations are not looked at now.")
    kinds: list[Kind] = Field(description="What was learned, the most seen kind first.")


class Accounts(Answer):
    """All accounts."""

    items: list[Account]
