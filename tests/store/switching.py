"""What the tests of endpoints that are switched off share: one, and why it was."""

from __future__ import annotations

from tests.store import receiving
from tests.store.receiving import URL, T
from worker.model import DeliveryState, DisabledReason, Endpoint, NewEvent
from worker.store import Store, SwitchOff

ORDERS = Endpoint(name="orders", url=URL, concurrency=50)
NOTICE = NewEvent(id="evt_off", type="endpoint.disabled", body=b'{"off":1}')
GONE = SwitchOff(DisabledReason.GONE, NOTICE)
PENDING, EXHAUSTED = DeliveryState.PENDING, DeliveryState.EXHAUSTED


async def put(store: Store, *, enabled: bool | None) -> None:
    await receiving.put(store, ORDERS, enabled=enabled)


async def owe(store: Store, name: str, *, endpoint: str = "orders", now: int = T) -> str:
    return await receiving.owe(store, name, endpoint=endpoint, now=now)
