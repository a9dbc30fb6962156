"""The API's answers as types. They describe; what is sent is made by `worker.shapes`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.model import (
    DeliveryReason,
    DeliveryState,
    EndpointEvent,
    EventType,
    HealthReason,
    JsonObject,
    Reason,
    State,
)
from worker.requests import MAX_BATCH, TrackItem
from worker.service import MAX_WAIT_S

Limit = Annotated[int, Field(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Field(description="`next_cursor` of the page before, as it is.")]

NextCursor = Annotated[str | None, Field(description="Leads to what is older; null: that was all.")]
NextProbe = Annotated[
    datetime | None, Field(description="When a probe goes; null: one is under way.")
]
InWords = Annotated[str, Field(description="All that, for people.")]
NextAttempt = Annotated[datetime | None, Field(description="Not before that; null: none is owed.")]


# --- what may be asked for ----------------------------------------------------------------------


class Query(BaseModel):
    """What may be asked for in an address: nothing else is."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PageQuery(Query):
    """Which part of a list."""

    limit: Limit = 100
    cursor: Cursor = None


class TrackerQuery(Query):
    """How to get one tracker."""

    wait: float = Field(
        0.0,
        ge=0,
        le=MAX_WAIT_S,
        description="Answer as soon as it is over, or as it stands after so many seconds.",
    )
    fresh: bool = Field(
        default=False,
        description="Look at the provider first: asset URLs expire. Needs a key that may write.",
    )


class TrackersQuery(PageQuery):
    """Which trackers to list."""

    state: State | None = Field(None, description="Those in this state.")
    account: str | None = Field(None, description="Those of this account.")
    model: str | None = Field(None, description="Those of this provider's model.")


class DeliveriesQuery(PageQuery):
    """Which deliveries to list."""

    state: DeliveryState | None = Field(None, description="Those in this state.")
    account: str | None = Field(None, description="Those of this account's generations.")
    generation_id: str | None = Field(None, description="Those of this generation.")
    endpoint: str | None = Field(None, description="Those of this endpoint.")


class EndpointsQuery(PageQuery):
    """Which endpoints to list."""


class BatchRequest(BaseModel):
    """Trackers to begin, each as in `PUT /v1/trackers/{account}/{generation_id}`."""

    model_config = ConfigDict(extra="forbid")

    trackers: list[TrackItem] = Field(max_length=MAX_BATCH)


class LooseBatch(BaseModel):
    """A `BatchRequest` of items that are still to be judged, one by one."""

    model_config = ConfigDict(extra="forbid")

    trackers: list[Any]


# --- answers ------------------------------------------------------------------------------------


class Answer(BaseModel):
    """Something that is answered: what it has is all there, and nothing else is."""

    model_config = ConfigDict(extra="forbid")


class Held(Answer):
    """Why nothing is sent to a receiver's origin for a while: it is not there."""

    origin: str
    since: datetime
    until: NextProbe
    reason: HealthReason
    detail: str | None = Field(description="What came of the last attempt.")
    errors_in_a_row: int
    in_words: InWords


class HeldAccount(Answer):
    """Why no generation of an account is looked at for a while."""

    account: str
    since: datetime
    until: NextProbe
    reason: HealthReason
    detail: str | None = Field(description="What came of the last look.")
    errors_in_a_row: int
    in_words: InWords


class Webhook(Answer):
    """How what was owed last for a generation stands."""

    delivery_id: str
    type: EventType
    endpoint: str = Field(description="To whom it is owed; `url_…` is that of a callback URL.")
    url: str
    state: DeliveryState
    reason: DeliveryReason | None = Field(description="Why it is exhausted.")
    attempts: int = Field(description="How many there were; 50 at most are kept.")
    status: int | None = Field(description="What the receiver answered last.")
    error: str | None = Field(description="Why it did not answer.")
    next_attempt_at: NextAttempt
    held: Held | None = Field(description="What it waits for, if its receiver is not there.")


class Tracker(Answer):
    """A durable promise to watch one generation to its end."""

    account: str
    generation_id: str
    provider: str
    state: State
    reason: Reason | None = Field(description="Why it is expired.")
    provider_state: str | None = Field(description="The provider's own word, as it is.")
    model: str | None
    type: str | None
    progress: float | None = Field(description="From 0 to 1, while it runs, if the provider says.")
    assets: dict[str, str] = Field(description="URLs by name. They expire: ask with fresh=true.")
    assets_expire_at: datetime | None = Field(description="If the provider promises so long.")
    failure_reason: str | None
    failure_code: str | None = Field(description="The provider's code for it, if it has codes.")
    retryable: bool | None = Field(
        description="Whether the same request may succeed; null if the provider does not say."
    )
    callback_url: str | None
    endpoint: str | None
    events: list[EventType]
    webhook: Webhook | None = Field(description="Of the newest event; null: none is owed so far.")
    metadata: JsonObject
    headers: dict[str, str] = Field(description="To a read-only key each value is ***.")
    deadline_s: float
    polls: int = Field(description="Looks that covered it.")
    poll_errors: int = Field(description="Those that gave nothing to go by.")
    last_error: str | None
    current_error: str | None = Field(description="The same, if the last look was one of them.")
    tracked_at: datetime
    seen_at: datetime | None = Field(description="When the provider last showed it.")
    finished_at: datetime | None
    next_poll_at: datetime | None = Field(
        description="No look is made earlier; while the account is held, when a probe goes."
    )
    held: HeldAccount | None = Field(description="Why it is not looked at, if its account is held.")
    deadline_at: datetime
    generation: JsonObject | None = Field(description="The provider's object, verbatim.")


class FieldProblem(Answer):
    """One thing that is wrong with what was sent."""

    field: str
    message: str


class Problem(Answer):
    """What went wrong, after RFC 9457."""

    type: Literal["about:blank"]
    title: str = Field(description="The name of the status, or that the provider refused.")
    status: int
    detail: str = Field(description="What is wrong and what to do, for people.")
    field: str | None = Field(default=None, description="What to change in what was sent.")
    errors: list[FieldProblem] = Field(default=[], description="All that is to be changed.")
    submission: str | None = Field(
        default=None, description="The submission it is about; `instance` is its address."
    )
    instance: str | None = None
    provider_status: int | None = Field(
        default=None, description="The HTTP status of a provider that refused."
    )
    provider_body: Any = Field(default=None, description="What the provider said, JSON or text.")


class Outcome(Answer):
    """What came of one item of a batch: a tracker (200, 202) or an error (503: of its cell)."""

    account: str | None
    generation_id: str | None
    status: Literal[200, 202, 404, 409, 422, 503]
    tracker: Tracker | None = None
    error: Problem | None = None


class Outcomes(Answer):
    """An outcome for each item, in the order they were sent."""

    results: list[Outcome]


class TrackerPage(Answer):
    """Part of the list of trackers, newest first."""

    items: list[Tracker]
    next_cursor: NextCursor


class Entry(BaseModel):
    """One line of a timeline, with what there is to say about it."""

    model_config = ConfigDict(extra="allow")

    at: datetime
    kind: str = Field(description="tracked, look, change, event, attempt, hold, …")


class Attempt(Answer):
    """One HTTP POST of a delivery."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    response: str | None = Field(description="The start of the receiver's answer.")
    held_ms: int | None = Field(description="It came so much later, by a hold of its origin.")


class Delivery(Answer):
    """One event owed to one endpoint."""

    id: str
    event_id: str = Field(description="The `webhook-id` of every attempt.")
    type: EventType | EndpointEvent
    account: str = Field(description="Empty if the event is about an endpoint.")
    generation_id: str = Field(description="Empty if the event is about an endpoint.")
    endpoint: str
    url: str
    state: DeliveryState
    reason: DeliveryReason | None = Field(description="Why it is exhausted.")
    created_at: datetime
    next_attempt_at: NextAttempt
    held: Held | None = Field(description="What it waits for, if its receiver is not there.")
    attempts: list[Attempt]


class DeliveryPage(Answer):
    """Part of the list of deliveries, newest first."""

    items: list[Delivery]
    next_cursor: NextCursor


class Endpoint(Answer):
    """A named receiver, or the one that a bare callback URL stands for."""

    name: str
    url: str
    events: list[EventType | EndpointEvent] = Field(
        description="It gets these alone; empty: whatever its trackers ask for."
    )
    headers: dict[str, str] = Field(description="To a read-only key each value is ***.")
    enabled: bool
    disabled_reason: str | None
    secrets: int = Field(description="How many sign for it; 0: the deployment's own does.")
    concurrency: int = Field(description="Attempts under way at its origin at a time.")
    under_way: int = Field(description="Attempts under way now.")
    due: int = Field(description="Deliveries that are due besides, and wait.")
    refresh_assets: bool
    failing_since: datetime | None = Field(description="Since when no attempt has succeeded.")
    failed_with: str | None = Field(description="What came of the attempt that failed last.")
    held: Held | None = Field(description="Why nothing is sent to its origin now, if that is so.")


class EndpointAndSecret(Endpoint):
    """An endpoint whose newest secret was made just now."""

    secret: str = Field(description="It is shown this once.")


class EndpointPage(Answer):
    """Part of the list of endpoints, newest first."""

    items: list[Endpoint]
    next_cursor: NextCursor


class Recovered(Answer):
    """What came of a recovery."""

    recovered: int = Field(description="How many deliveries are owed again.")


class Timeline(Answer):
    """What happened to a tracker, oldest first: the newest 200 lines."""

    items: list[Entry]


class Readiness(Answer):
    """Whether it can do its work; warnings do not keep it from that."""

    ok: bool
    problems: list[str]
    warnings: list[str]


class Alive(Answer):
    """It is."""

    ok: Literal[True]
