"""Two API servers' worth of submitting, over one Redis and a simulated Luma on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from worker import submissions
from worker.api import create_app
from worker.deliveries import Deliveries
from worker.endpoints import Endpoints
from worker.glances import Glances
from worker.model import Account, JsonObject
from worker.poller import Poller
from worker.providers.client import ProviderClient
from worker.providers.spec import load
from worker.reconciling import Reconciling
from worker.service import Service
from worker.simulator import Outcome, World
from worker.simulator import create_app as create_luma
from worker.simulator import running as simulated
from worker.simulator.faults import Faults, parse_fault
from worker.status import Status
from worker.store import Store
from worker.stream import EventStream
from worker.submitting import Submitting

PUBLIC_URL = "https://dreamhook.example.com"
FOX: JsonObject = {"model": "ray-2", "prompt": "a fox in the snow"}


@dataclass
class Site:
    """One process: an API and what a worker does besides."""

    store: Store
    service: Service
    submitting: Submitting
    reconciling: Reconciling
    poller: Poller
    client: ProviderClient
    api: httpx.AsyncClient
    started: list[str]

    async def submit(self, request: JsonObject = FOX, **more: Any) -> httpx.Response:
        key = more.pop("key", None)
        headers = {} if key is None else {"Idempotency-Key": key}
        body = {"account": "luma", "request": request, **more}
        return await self.api.post("/v1/generations", json=body, headers=headers)

    async def outcome(self, refused: httpx.Response) -> JsonObject:
        found = await self.api.get(refused.json()["instance"])
        assert found.status_code == 200
        shape: JsonObject = found.json()
        return shape

    async def aclose(self) -> None:
        await self.api.aclose()
        await self.submitting.aclose()
        await self.client.aclose()


@dataclass
class Town:
    """The provider, and as many sites as a test asks for."""

    redis: Redis
    world: World
    faults: Faults
    base_url: str
    sites: list[Site] = field(default_factory=list)

    def site(self, *, public_url: str | None = None, **account: Any) -> Site:
        store, started = Store(self.redis, prefix="test", retention_s=600), list[str]()
        settings: dict[str, Any] = {"provider": "luma", "api_key": "k", "base_url": self.base_url}
        luma = Account(**{"name": "luma", "polls_per_second": 1000.0} | settings | account)
        accounts = {"luma": luma}
        client = ProviderClient(luma, load(luma.provider))
        clients = {"luma": client}

        async def start(lane: str) -> None:
            started.append(lane)

        poller = Poller(store, accounts, clients, start)
        service = Service(
            store,
            accounts=accounts,
            deadlines={"luma": 86400.0},
            poller=poller,
            start=start,
            allow_private=(),
        )
        submitting = Submitting(
            *(store, service),
            accounts=accounts,
            clients=clients,
            start=start,
            public_url=public_url,
        )
        app = create_app(
            *(service, Endpoints(store, start=start, allow_private=()), Deliveries(store)),
            *(Status(store, accounts=accounts, deadlines={"luma": 86400.0}), EventStream(store)),
            submitting=submitting,
            glances=Glances(store, accounts, clients),
        )
        transport = httpx.ASGITransport(app)
        api = httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")
        reconciling = Reconciling(store, accounts=accounts, clients=clients, start=start)
        made = (store, service, submitting, reconciling, poller, client, api, started)
        self.sites.append(Site(*made))
        return self.sites[-1]

    def fault(self, text: str) -> None:
        self.faults.add(parse_fault(text))

    def made(self) -> list[str]:
        """The IDs of all generations that the provider has made."""
        return [each.id for each in self.world.all()]

    def finish(self, generation_id: str) -> None:
        self.world.finish(generation_id, Outcome.COMPLETED)

    async def eventually(self, is_so: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not await is_so():  # noqa: ASYNC110 - others set no events
                await asyncio.sleep(0.01)


@pytest.fixture
async def town(redis: Redis) -> AsyncIterator[Town]:
    world, faults = World(failure_rate=0, stuck_rate=0), Faults()
    async with simulated(create_luma(world, faults=faults)) as base_url:
        town = Town(redis, world, faults, base_url)
        yield town
        for site in town.sites:
            await site.aclose()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes in milliseconds."""
    monkeypatch.setattr(submissions, "LOOK_AFTER_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(submissions, "LEASE_S", 2.0)
    monkeypatch.setattr(submissions, "CALL_S", 1.5)
    monkeypatch.setattr(submissions, "AWAY_S", 0.01)
