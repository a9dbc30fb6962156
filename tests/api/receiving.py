"""What the tests about endpoints share: endpoints made, deliveries owed and attempted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from worker import addresses, events, signing
from worker.model import Attempt, Delivery, DeliveryReason, DeliveryState, Entry

from .conftest import COMPLETED, HOOK, House

MINE = "/v1/endpoints/mine"
TRACKER = "/v1/trackers/luma/g-1"
ANONYMOUS = f"/v1/endpoints/{addresses.endpoint_name(HOOK)}"
LONG_AGO = {"since": "2020-01-01T00:00:00Z"}


async def make(client: httpx.AsyncClient, **settings: Any) -> dict[str, Any]:
    answer = await client.put(MINE, json={"url": HOOK, **settings})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def owe(client: httpx.AsyncClient, house: House, *names: str, **terms: Any) -> None:
    """Have generations complete for which something is owed."""
    for name in names:
        await client.put(f"/v1/trackers/luma/{name}", json=terms or {"callback_url": HOOK})
        await house.look(name, COMPLETED)


async def attempt(house: House, state: DeliveryState, *, status: int = 500) -> Delivery:
    """Make the attempt that is due at the receiver, and settle what became of it."""
    claimed = await house.store.deliveries.claim(events.lane_of(HOOK), limit=1)
    [found] = claimed.deliveries
    now = claimed.clock.now()
    reason = DeliveryReason.ATTEMPTS if state is DeliveryState.EXHAUSTED else None
    after = replace(found.delivery, state=state, reason=reason, tries=1, finished_at=now)
    made = Attempt(at=now, duration_ms=1, status=status, response="")
    entry = Entry(now, "attempt", {"status": status})
    assert (await house.store.deliveries.settle(after, made, entry=entry))[0]
    return after


async def signatures(house: House, body: bytes = b"{}") -> int:
    """Count the secrets that a webhook to this endpoint would be signed with now."""
    endpoint = await house.store.endpoints.get("mine")
    assert endpoint
    now = await house.store.now()
    live = [each.text for each in endpoint.secrets if each.until is None or each.until > now]
    signed = signing.headers("evt_1", now // 1000, body, live)
    return len(signed["webhook-signature"].split())
