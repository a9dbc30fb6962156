"""Registrations per second: single PUTs and batches of 1,000, beside a bare FastAPI route.

The API and Redis are real processes, and Redis syncs its append-only file with every write. The
rival answers a PUT with one script call and nothing else: what the framework and Redis cost alone.

    python -m bench.registrations
"""

from __future__ import annotations

import asyncio
import json
import uuid

from bench import rig

PUTS = 5_000
BATCHES = 20
CONNECTIONS = 32
ROUNDS = 5

RIVAL = """
import sys, redis.asyncio, uvicorn
from fastapi import FastAPI
app = FastAPI()
client = redis.asyncio.Redis.from_url(sys.argv[1])
script = client.register_script("return redis.call('SET', KEYS[1], ARGV[1])")

@app.put("/{account}/{name}", status_code=202)
async def put(account: str, name: str, body: dict):
    await script(keys=["rival:" + account + name], args=[body["callback_url"]])
    return {"account": account, "name": name}

uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="error")
"""


def main() -> None:
    """Measure and print a table."""
    with rig.redis() as redis:
        port, rival_port = rig.free_port(), rig.free_port()
        settings = {
            "DREAMHOOK_REDIS_URL": redis.url,
            "DREAMHOOK_PORT": str(port),
            "LUMAAI_API_KEY": "bench",
            "DREAMHOOK_LOG_LEVEL": "error",
        }
        with (
            rig.process(*rig.dreamhook("serve"), port=port, **settings),
            rig.process("-c", RIVAL, redis.url, str(rival_port), port=rival_port),
        ):
            ours = rig.rounds(ROUNDS, lambda: PUTS / put(port, "/v1/trackers/luma"))
            rival = rig.rounds(ROUNDS, lambda: PUTS / put(rival_port, "/luma"))
            batch = rig.rounds(ROUNDS, lambda: BATCHES * 1000 / batches(port))
    print(f"{rig.machine()}; median of {ROUNDS} rounds (least - greatest)")
    for name, (median, least, greatest) in (
        ("PUT /v1/trackers/…, per second", ours),
        ("a bare FastAPI route with one script call", rival),
        ("IDs per second in batches of 1,000", batch),
    ):
        print(f"  {name:45} {median:9,.0f}  ({least:,.0f} - {greatest:,.0f})")
    print(
        f"  a PUT beside the bare route: {ours[0] / rival[0]:.2f}; goal: 1,500 PUT/s, 20,000 IDs/s"
    )


def put(port: int, path: str) -> float:
    """Register so many generations, one a request; returns seconds."""
    body = json.dumps(_terms()).encode()
    requests = [rig.request("PUT", f"{path}/{uuid.uuid4()}", body) for _ in range(PUTS)]
    return asyncio.run(rig.load(port, requests, connections=CONNECTIONS))


def batches(port: int) -> float:
    """Register 1,000 generations a request; returns seconds."""
    requests = []
    for _ in range(BATCHES):
        items = [
            {"account": "luma", "generation_id": str(uuid.uuid4()), **_terms()} for _ in range(1000)
        ]
        body = json.dumps({"trackers": items}).encode()
        requests.append(rig.request("POST", "/v1/trackers", body))
    return asyncio.run(rig.load(port, requests, connections=2))


def _terms() -> dict[str, object]:
    return {
        "callback_url": "https://hooks.example.com/dreamhook/generations?tenant=4711",
        "metadata": {"order": 4711},
    }


if __name__ == "__main__":
    main()
