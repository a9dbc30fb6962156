"""Redis memory for each tracker, all its keys counted: registered, looked at, and over.

python -m bench.memory
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace

from redis.asyncio import Redis

from bench import rig
from worker import addresses, events
from worker.model import Attempt, DeliveryState, Entry, EventType, State, Terms
from worker.store import ClaimedTracker, Store

TRACKERS = 100_000
LOOKS = 3
LIVES = 300
LOOKS_A_LIFE = 20
"""A finished life has so many looks, an event, and a delivery that was taken at once."""

URL = "https://hooks.example.com/dreamhook/generations?tenant=4711&order=12"
GENERATION = {
    "generation_type": "video",
    "state": "dreaming",
    "failure_reason": None,
    "created_at": "2026-03-20T12:00:00.731114Z",
    "assets": {},
    "model": "ray-2",
    "request": {
        "generation_type": "video",
        "model": "ray-2",
        "prompt": "A paper boat leaves the harbour at dawn, slow dolly forward, mist",
        "aspect_ratio": "16:9",
        "loop": False,
        "keyframes": None,
        "callback_url": None,
        "resolution": "720p",
        "duration": "5s",
    },
}


def main() -> None:
    """Measure and print."""
    with rig.redis() as server:
        registered, looked = asyncio.run(_measure(server.url))
    with rig.redis() as server:
        over = asyncio.run(_measure_lives(server.url))
    print(f"{TRACKERS:,} trackers, bytes of Redis memory for each (goal: 1,536)")
    print(f"  registered                {registered:7,.0f}")
    print(
        f"  after {LOOKS} looks             {looked:7,.0f}  ({len(json.dumps(GENERATION))} of them"
        " are the provider's object)"
    )
    print(f"  over, {LOOKS_A_LIFE} looks, delivered {over:7,.0f}")


async def _measure(url: str) -> tuple[float, float]:
    redis = Redis.from_url(url)
    store = Store(redis, prefix="dreamhook", retention_s=604800)
    names = [str(uuid.uuid4()) for _ in range(TRACKERS)]
    before = await _used(redis)
    terms = Terms(callback_url=URL, deadline_s=86400, metadata={"order": 4711})
    for first in range(0, TRACKERS, 200):
        some = [(name, terms) for name in names[first : first + 200]]
        await store.trackers.track("luma", "luma", some)
    registered = await _used(redis) - before
    for _ in range(LOOKS):
        await _look_at_all(store)
    looked = await _used(redis) - before
    await redis.aclose()
    return registered / TRACKERS, looked / TRACKERS


async def _measure_lives(url: str) -> float:
    """Track, look, end and deliver, each in the process's own words."""
    redis = Redis.from_url(url)
    store = Store(redis, prefix="dreamhook", retention_s=604800)
    names = [str(uuid.uuid4()) for _ in range(LIVES)]
    await _live(store, str(uuid.uuid4()))  # what is there once is there before
    before = await _used(redis)
    for name in names:
        await _live(store, name)
    used = await _used(redis) - before
    await redis.aclose()
    return used / LIVES


async def _live(store: Store, name: str) -> None:
    terms = Terms(callback_url=URL, deadline_s=86400, metadata={"order": 4711})
    await store.trackers.track("luma", "luma", [(name, terms)])
    for look in range(1, LOOKS_A_LIFE + 1):
        await _look_at(store, name, over=look == LOOKS_A_LIFE)
    claimed = await store.deliveries.claim(f"post:{addresses.origin(URL)}", limit=1)
    for each in claimed.deliveries:
        at = claimed.clock.now()
        made = Attempt(at=at, duration_ms=87, status=200, response="ok")
        taken = replace(each.delivery, state=DeliveryState.DELIVERED, tries=1, finished_at=at)
        details = {"delivery_id": taken.id, "attempt": 1, "status": 200, "duration_ms": 87}
        entry = Entry(at, "attempt", {**details, "delivery_state": "delivered"})
        await store.deliveries.settle(taken, made, entry=entry)


async def _look_at(store: Store, name: str, *, over: bool) -> None:
    claimed = await store.trackers.claim_one("luma", name, rate=None)
    assert isinstance(claimed, ClaimedTracker)
    now, state = claimed.clock.now(), "completed" if over else "dreaming"
    entries = [Entry(now, "look", {"provider_state": state, "duration_ms": 131})]
    assets = {"video": f"https://storage.cdn-luma.com/dream_machine/{name}_result.mp4"}
    after = replace(
        claimed.tracker,
        state=State.COMPLETED if over else State.TRACKING,
        provider_state=state,
        model="ray-2",
        type="video",
        assets=assets if over else {},
        polls=claimed.tracker.polls + 1,
        seen_at=now,
        created_at=now,
        finished_at=now if over else None,
        next_poll_at=None if over else now + 3_600_000,
        generation={"id": name, **GENERATION, "state": state, "assets": assets if over else {}},
    )
    event = None
    if over:
        event = events.about_tracker(after, EventType.COMPLETED, events.anonymous(URL), now)
        entries.append(Entry(now, "event", {"type": event.type, "event_id": event.id}))
    await store.trackers.settle(after, entries=entries, event=event)


async def _used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


async def _look_at_all(store: Store) -> None:
    """Claim and settle every tracker once, as looks would that find it dreaming."""
    now = await store.now() + 60_000 * 60
    seen = 0
    while seen < TRACKERS:
        claimed = await store.trackers.claim("luma", limit=200, rate=1e6, now=now)
        for tracker in claimed.looks:
            after = replace(
                tracker,
                state=State.TRACKING,
                provider_state="dreaming",
                model="ray-2",
                type="video",
                polls=tracker.polls + 1,
                seen_at=now,
                created_at=now,
                next_poll_at=now - 1,
            )
            entry = Entry(now, "look", {"provider_state": "dreaming", "duration_ms": 131})
            object_ = {"id": tracker.generation_id, **GENERATION}
            await store.trackers.settle(replace(after, generation=object_), entries=[entry])
        seen += len(claimed.looks)


if __name__ == "__main__":
    main()
