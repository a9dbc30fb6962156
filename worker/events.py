"""Makes events, and the deliveries that are owed for them. Writing them down is the store's."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

from worker import addresses, shapes
from worker.model import (
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointEvent,
    EventType,
    NewEvent,
    Tracker,
)
from worker.store import lane_of


def about_tracker(
    tracker: Tracker, type_: EventType, endpoint: Endpoint | None, now: int
) -> NewEvent:
    """Make the event of a tracker, owed to its endpoint if that wants to know."""
    event_id = _new_id("evt")
    body = shapes.event_body(tracker, type_, now)
    if endpoint is None or type_ not in tracker.terms.events:
        return NewEvent(id=event_id, type=type_, body=body)
    if endpoint.events and type_ not in endpoint.events:
        return NewEvent(id=event_id, type=type_, body=body)
    owed = Delivery(
        id=_new_id("dlv"),
        event_id=event_id,
        type=type_,
        account=tracker.account,
        generation_id=tracker.generation_id,
        endpoint=endpoint.name,
        url=endpoint.url,
        state=DeliveryState.PENDING,
        created_at=now,
        headers={**_trace(tracker), **tracker.terms.headers},
        next_attempt_at=now,
    )
    return NewEvent(id=event_id, type=type_, body=body, delivery=owed, lane=lane_of(endpoint.url))


def about_endpoint(
    endpoint: Endpoint, type_: EndpointEvent, reason: str | None, now: int
) -> NewEvent:
    """Make an event about an endpoint, owed to nobody yet."""
    body = shapes.notice_body(type_, endpoint, reason, now)
    return NewEvent(id=_new_id("evt"), type=type_, body=body)


def owed_notice(event_id: str, type_: str, to: Endpoint, now: int) -> tuple[Delivery, str]:
    """Make the delivery of an event about an endpoint, and name its lane.

    One event and one endpoint always give the same ID, so that it can be owed only once.
    """
    digest = hashlib.sha256(f"{event_id} {to.name}".encode()).hexdigest()
    owed = Delivery(
        id=f"dlv_{digest[:24]}",
        event_id=event_id,
        type=type_,
        account="",
        generation_id="",
        endpoint=to.name,
        url=to.url,
        state=DeliveryState.PENDING,
        created_at=now,
        next_attempt_at=now,
    )
    return owed, lane_of(to.url)


def owing(event: NewEvent, owed: Delivery, lane: str) -> NewEvent:
    """Add to an event what is owed for it."""
    return replace(event, delivery=owed, lane=lane)


def anonymous(url: str) -> Endpoint:
    """Make the endpoint that a bare callback URL stands for."""
    return Endpoint(name=addresses.endpoint_name(url), url=url)


def _trace(tracker: Tracker) -> dict[str, str]:
    return {"traceparent": tracker.traceparent} if tracker.traceparent else {}


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"
