"""What is left of a play: the evidence, and the story of a tracker."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from chaos.evidence import Born, Ended, Owed, Promise, Run
from chaos.play import PREFIX, Stage
from worker.config import Settings
from worker.store import Store

REST_S = 4.0
"""After the last settle: markers and the like, which live 3 s, are gone by then."""


async def collect(stage: Stage) -> Run:
    """Collect the evidence, once nothing moves any more."""
    await asyncio.sleep(REST_S)
    async with Redis.from_url(stage.redis_url) as redis:
        store = Store(redis, prefix=PREFIX, retention_s=Settings().retention_s)
        events, keys = await _events(store), await _keys(redis)
        begun = await _begun(store, events)
    deliveries = await _all(stage, "/v1/deliveries?limit=1000")
    trackers = await _all(stage, "/v1/trackers?limit=1000")
    return Run(
        promises=list(stage.callers.promises),
        truth=await stage.provider.truth(),
        trackers={each["generation_id"]: Ended(each["state"], each["reason"]) for each in trackers},
        begun=begun,
        events=events,
        heard=list(stage.listener.heard),
        owed=[Owed(each["id"], each["event_id"], each["state"]) for each in deliveries],
        receipts=list(stage.receipts),
        keys=keys,
        deeds=sorted(stage.deeds, key=lambda deed: deed.at),
        deaths=list(stage.cast.deaths),
        refused=dict(stage.callers.refused),
        had_gap=stage.listener.had_gap,
        deaf=stage.listener.failure,
    )


async def _all(stage: Stage, path: str) -> list[Any]:
    found, cursor = [], ""
    while True:
        page = await stage.callers.ask("GET", path + cursor)
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def _events(store: Store) -> list[Born]:
    found, position = [], "0-0"
    while entries := await store.stream.after(position, limit=1000):
        position = entries[-1].id
        found += [
            Born(each.event_id, each.type, each.generation_id)
            for each in entries
            if each.type.startswith("generation.") and each.type != "generation.updated"
        ]
    return found


async def _begun(store: Store, events: Sequence[Born]) -> dict[str, int]:
    """Count how often tracking began, of those that have ended more than once."""
    ended = Counter(event.generation_id for event in events)
    return {
        name: [each.kind for each in await store.trackers.timeline("luma", name)].count("tracked")
        for name, times in ended.items()
        if times > 1
    }


async def _keys(redis: Redis) -> dict[str, float | None]:
    names = [name async for name in redis.scan_iter(count=1000)]
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.pttl(name)
    ttls = await pipe.execute()
    return {
        name.decode().removeprefix(f"{PREFIX}:"): None if ttl == -1 else ttl / 1000
        for name, ttl in zip(names, ttls, strict=True)
        if ttl != -2  # it has ended since
    }


async def story(stage: Stage, promise: Promise) -> list[str]:
    """Tell what happened to a tracker, for people."""
    name = promise.generation_id
    lines = [f"acknowledged at {promise.at:.2f} s, for {promise.receiver}"]
    for path in ("", "/timeline"):
        try:
            found = await stage.callers.ask("GET", f"/v1/trackers/luma/{name}{path}")
        except RuntimeError as error:
            lines.append(str(error))
        else:
            lines += [json.dumps(each) for each in found.get("items", [found])]
    path = f"/v1/deliveries?generation_id={name}"
    lines += [json.dumps(each) for each in await _all(stage, path)]
    return lines
