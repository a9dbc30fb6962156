"""Redis memory for each tracker, all its keys counted: registered, looked at, and over.

Of a whole life also what else it costs Redis: bytes on its network and in its append-only file, and
processor time, a few lives at once: the more commands come together, the less each takes.

    python -m bench.memory [--lives]      with --lives whole lives alone, in seconds
"""

from __future__ import annotations

import argparse
import asyncio
import json
import uuid
from dataclasses import replace
from typing import NamedTuple

from redis.asyncio import Redis

from bench import rig
from worker import addresses, events
from worker.model import Attempt, DeliveryState, Entry, EventType, State, Terms
from worker.store import ClaimedTracker, Store

TRACKERS = 100_000
LOOKS = 3
LIVES = 2000
AT_ONCE = 8
LOOKS_A_LIFE = (2, 20)
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


class Cost(NamedTuple):
    """What Redis has used, in bytes and microseconds."""

    memory: float
    received: float
    sent: float
    written: float
    cpu_us: float


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(prog="python -m bench.memory")
    arguments.add_argument("--lives", action="store_true", help="whole lives alone")
    if not arguments.parse_args().lives:
        _print_trackers()
    print(f"{LIVES} lives, of Redis for each")
    print("  looks  memory  received   sent  append-only file  CPU us")
    for looks in LOOKS_A_LIFE:
        with rig.redis() as server:
            cost = asyncio.run(_measure_lives(server.url, looks))
        print("  {:5} {:7,.0f} {:9,.0f} {:6,.0f} {:17,.0f} {:7,.0f}".format(looks, *cost))


def _print_trackers() -> None:
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


async def _measure_lives(url: str, looks: int) -> Cost:
    """Track, look, end and deliver, each in the process's own words."""
    redis = Redis.from_url(url)
    store = Store(redis, prefix="dreamhook", retention_s=604800)
    names = [str(uuid.uuid4()) for _ in range(LIVES)]
    await _live(store, str(uuid.uuid4()), looks)  # what is there once is there before
    before = await _cost(redis)
    await asyncio.gather(*(_lives(store, names[n::AT_ONCE], looks) for n in range(AT_ONCE)))
    after = await _cost(redis)
    await redis.aclose()
    return Cost(*((now - then) / LIVES for now, then in zip(after, before, strict=True)))


async def _lives(store: Store, names: list[str], looks: int) -> None:
    for name in names:
        await _live(store, name, looks)


async def _cost(redis: Redis) -> Cost:
    told = await redis.info()
    return Cost(
        memory=told["used_memory"],
        received=told["total_net_input_bytes"],
        sent=told["total_net_output_bytes"],
        written=told["aof_current_size"],
        cpu_us=1e6 * (told["used_cpu_user"] + told["used_cpu_sys"]),
    )


async def _live(store: Store, name: str, looks: int) -> None:
    terms = Terms(callback_url=URL, deadline_s=86400, metadata={"order": 4711})
    await store.trackers.track("luma", "luma", [(name, terms)])
    for look in range(1, looks + 1):
        await _look_at(store, name, over=look == looks)
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
