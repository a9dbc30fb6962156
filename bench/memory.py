"""Redis memory for each tracker, all its keys counted: when it was registered, and after its looks.

python -m bench.memory
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace

from redis.asyncio import Redis

from bench import rig
from worker.model import Entry, State, Terms
from worker.store import Store

TRACKERS = 100_000
LOOKS = 3
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
    print(f"{TRACKERS:,} trackers, bytes of Redis memory for each (goal: 1,536)")
    print(f"  registered                {registered:7,.0f}")
    print(
        f"  after {LOOKS} looks             {looked:7,.0f}  ({len(json.dumps(GENERATION))} of them"
        " are the provider's object)"
    )


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
                looked_at=now,
                created_at=now,
                next_poll_at=now - 1,
            )
            entry = Entry(now, "look", {"provider_state": "dreaming", "duration_ms": 131})
            object_ = {"id": tracker.generation_id, **GENERATION}
            await store.trackers.settle(after, generation=object_, entries=[entry])
        seen += len(claimed.looks)


if __name__ == "__main__":
    main()
