"""What a caller may ask about deliveries: what is owed, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from worker import shapes
from worker.errors import NotFoundError
from worker.model import Delivery, DeliveryState, EventType, Hold, JsonObject, State, Tracker
from worker.paging import Page, cursors_after, page_of
from worker.store import Store, redis_may_be_away


class Deliveries:
    """The use cases. Each raises `UnavailableError` while Redis is away.

    Args:
        store: the state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @redis_may_be_away
    async def list_deliveries(
        self,
        *,
        state: DeliveryState | None = None,
        account: str | None = None,
        generation_id: str | None = None,
        endpoint: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """List deliveries.

        Raises:
            InvalidInputError: the cursor is not one of ours.
        """
        states = [state] if state else list(DeliveryState)

        async def read(before: int | None, count: int) -> tuple[int | None, list[Delivery]]:
            ids = await self._store.deliveries.ids(states, before=before, limit=count)
            found = await self._store.deliveries.get_many([name for _, name in ids])
            return (ids[-1][0] if len(ids) == count else None), found

        items, next_cursor = await page_of(
            read,
            fits=lambda each: (
                account in {None, each.account}
                and generation_id in {None, each.generation_id}
                and endpoint in {None, each.endpoint}
            ),
            limit=limit,
            cursor=cursor,
        )
        holds = await holds_of(self._store, items)
        shown_ = [shapes.delivery_shape(each, holds.get(each.id)) for each in items]
        return Page(shown_, next_cursor, cursors_after(items))

    @redis_may_be_away
    async def get(self, delivery_id: str) -> JsonObject:
        """Get a delivery with its attempts.

        Raises:
            NotFoundError: there is none, or it is no longer kept.
        """
        found = await self._store.deliveries.get_many([delivery_id])
        if not found:
            raise NotFoundError(f"There is no delivery {delivery_id!r}, or no longer.")
        holds = await holds_of(self._store, found)
        return shapes.delivery_shape(found[0], holds.get(delivery_id))


async def holds_of(store: Store, deliveries: Iterable[Delivery]) -> dict[str, Hold]:
    """Tell which of these wait for a hold of their receiver's origin, by ID.

    It takes two readings however many they are, and none if nothing is pending.
    """
    pending = [each for each in deliveries if each.state is DeliveryState.PENDING]
    lanes = await store.endpoints.lanes({each.endpoint: each.url for each in pending})
    holds = await store.lanes.holds(lanes.values())
    found = ((each, holds.get(lanes[each.endpoint])) for each in pending)
    return {each.id: hold for each, hold in found if hold and shapes.holds(hold, each)}


async def shown(store: Store, trackers: Sequence[Tracker]) -> list[JsonObject]:
    """Show trackers, each with how its webhook and its account stand.

    The former is that which was owed for it last. What their accounts are held for is one reading,
    however many they are, and none if all is over.
    """
    told = [each for each in trackers if _may_be_owed(each)]
    names = [(each.account, each.generation_id) for each in told]
    owed = await store.deliveries.latest_of(names) if names else {}
    holds = await holds_of(store, [delivery for delivery, _ in owed.values()])
    webhooks = {
        name: shapes.webhook_shape(delivery, attempts, holds.get(delivery.id))
        for name, (delivery, attempts) in owed.items()
    }
    running = (each.account for each in trackers if each.state is State.TRACKING)
    held = await store.lanes.holds(f"poll:{account}" for account in running)
    return [
        shapes.tracker_shape(
            each,
            webhooks.get((each.account, each.generation_id)),
            held.get(f"poll:{each.account}"),
        )
        for each in trackers
    ]


async def with_hold(
    store: Store, tracker: Tracker, lines: Sequence[JsonObject]
) -> list[JsonObject]:
    """Say in a tracker's timeline that its next look, or what was owed for it last, is held if so.

    What is not due yet does not wait, though it will if the hold lasts. Nothing of that is written
    down: a thousand trackers may wait for one account, and deliveries for one origin.
    """
    name = (tracker.account, tracker.generation_id)
    latest = [delivery for delivery, _ in (await store.deliveries.latest_of([name])).values()]
    holds = await holds_of(store, latest)
    running = [f"poll:{tracker.account}"] if tracker.state is State.TRACKING else []
    accounts = (await store.lanes.holds(running)).values()
    now = await store.now() if holds or accounts else 0
    waits = [
        shapes.hold_entry(holds[each.id], each)
        for each in latest
        if each.id in holds and (each.next_attempt_at or 0) <= now
    ]
    if (tracker.next_poll_at or 0) <= now:
        waits += [shapes.look_hold_entry(each, tracker) for each in accounts]
    return sorted([*lines, *waits], key=itemgetter("at")) if waits else list(lines)


def _may_be_owed(tracker: Tracker) -> bool:
    """Tell whether there may have been a webhook: most that run have had no event."""
    terms = tracker.terms
    has_event = tracker.state is not State.TRACKING or EventType.UPDATED in terms.events
    return has_event and (terms.callback_url or terms.endpoint) is not None
