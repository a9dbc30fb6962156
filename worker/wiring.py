"""Puts a deployment together from its settings: the one place that knows all edges at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from arq.connections import ArqRedis

from worker import signing, telemetry
from worker.accounts import configured, prior_of
from worker.config import Settings
from worker.courier import Courier
from worker.crew import Crew
from worker.deliveries import Deliveries
from worker.egress import Egress
from worker.endpoints import Endpoints
from worker.glances import Glances
from worker.jobs import Worker, create_worker
from worker.jobs_outage import Outage
from worker.jobs_starting import Starter
from worker.learner import Learner
from worker.model import Account
from worker.poller import Poller
from worker.providers.client import ProviderClient
from worker.providers.spec import Provider
from worker.reconciling import Reconciling
from worker.service import Service
from worker.status import Status
from worker.store import LEASE_S, Store
from worker.stream import EventStream
from worker.submitting import Submitting
from worker.wiring_redis import connected, ended


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything a process of this deployment works with, opened."""

    settings: Settings
    store: Store
    service: Service
    endpoints: Endpoints
    deliveries: Deliveries
    status: Status
    stream: EventStream
    glances: Glances
    submitting: Submitting
    reconciling: Reconciling
    poller: Poller
    courier: Courier
    start: Starter
    crew: Crew
    redis: ArqRedis
    secret: str

    async def drain(self, lane: str, stopping: asyncio.Event, *, assists: bool = False) -> None:
        """Run the drain of a lane, or one that assists it."""
        kind, _, name = lane.partition(":")
        if kind == "poll":
            await self.poller.drain(name, lane, stopping, assists=assists)
        else:
            await self.courier.drain(lane, stopping, assists=assists)

    def worker(self, outage: Outage) -> Worker:
        """Make an arq worker for this process, which knows `outage` of its Redis."""
        return create_worker(
            self.redis,
            self.store,
            self.drain,
            self.start,
            self.courier.settle_switched_off,
            crew=self.crew,
            reconcile_all=self.reconciling.round,
            prefix=self.settings.prefix,
            outage=outage,
        )


@asynccontextmanager
async def opened(
    settings: Settings, *, lease_s: float = LEASE_S, may_be_away: bool = False
) -> AsyncIterator[Deployment]:
    """Open the edges a deployment needs; close them at the end.

    Args:
        settings: what it runs with.
        lease_s: how long claimed work waits for whoever crashed with it.
        may_be_away: whether to open it although its Redis does not answer yet.

    Raises:
        ConfigurationError: something in the settings cannot work; says what to change.
    """
    accounts, providers = configured(settings)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connected(settings, may_be_away=may_be_away))
        store = Store(
            redis, prefix=settings.prefix, retention_s=settings.retention_s, lease_s=lease_s
        )
        stack.push_async_callback(ended, asyncio.create_task(store.bell.listen()))
        stack.push_async_callback(store.figures.add_from, telemetry.take_counts)
        counting = asyncio.create_task(store.figures.keep_adding(telemetry.take_counts))
        stack.push_async_callback(ended, counting)
        stream = EventStream(store)
        stack.push_async_callback(stream.close)
        clients = {name: ProviderClient(accounts[name], providers[name]) for name in accounts}
        for client in clients.values():
            stack.push_async_callback(client.aclose)
        egress = Egress(settings.allow_private)
        stack.push_async_callback(egress.aclose)
        secret = await _secret(settings, store)
        edges = _Edges(settings, redis, store, stream, accounts, providers, clients, egress, secret)
        deployment = _put_together(edges)
        stack.push_async_callback(deployment.submitting.aclose)
        yield deployment


@dataclass(frozen=True, slots=True)
class _Edges:
    """What a deployment is put together from."""

    settings: Settings
    redis: ArqRedis
    store: Store
    stream: EventStream
    accounts: dict[str, Account]
    providers: dict[str, Provider]
    clients: dict[str, ProviderClient]
    egress: Egress
    secret: str


def _put_together(edges: _Edges) -> Deployment:
    settings, store = edges.settings, edges.store
    accounts, clients = edges.accounts, edges.clients
    start = Starter(edges.redis, store, settings.prefix)
    deadlines = {name: each.deadline_s for name, each in edges.providers.items()}
    learner = Learner(store, {name: prior_of(each) for name, each in edges.providers.items()})
    crew = Crew()
    poller = Poller(store, accounts, clients, start, learner, crew=crew)
    service = _service(edges, deadlines, poller, start)
    return Deployment(
        settings=settings,
        store=store,
        service=service,
        endpoints=Endpoints(store, start=start, allow_private=settings.allow_private),
        deliveries=Deliveries(store),
        status=Status(store, accounts=accounts, deadlines=deadlines, learner=learner),
        stream=edges.stream,
        glances=Glances(store, accounts, clients),
        submitting=_submitting(edges, service, start),
        reconciling=Reconciling(store, accounts=accounts, clients=clients, start=start),
        poller=poller,
        courier=_courier(edges, poller, start, crew),
        start=start,
        crew=crew,
        redis=edges.redis,
        secret=edges.secret,
    )


def _service(edges: _Edges, deadlines: dict[str, float], poller: Poller, start: Starter) -> Service:
    return Service(
        edges.store,
        accounts=edges.accounts,
        deadlines=deadlines,
        poller=poller,
        start=start,
        allow_private=edges.settings.allow_private,
    )


def _submitting(edges: _Edges, service: Service, start: Starter) -> Submitting:
    return Submitting(
        edges.store,
        service,
        accounts=edges.accounts,
        clients=edges.clients,
        start=start,
        public_url=edges.settings.public_url,
    )


def _courier(edges: _Edges, poller: Poller, start: Starter, crew: Crew) -> Courier:
    return Courier(
        edges.store,
        edges.egress,
        secret=edges.secret,
        schedule=edges.settings.retry_schedule,
        refresh=poller.refreshed,
        start=start,
        crew=crew,
    )


@asynccontextmanager
async def opened_cells(settings: Settings) -> AsyncIterator[dict[str, Deployment]]:
    """Open all cells, by name, whether their Redises answer or not.

    Raises:
        ConfigurationError: something in the settings cannot work; says what to change.
    """
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(opened(settings.of_cell(name), may_be_away=True))
            for name in settings.cells
        }


async def _secret(settings: Settings, store: Store) -> str:
    """Get the signing secret: the configured one, or the one that was made here once."""
    if settings.webhook_secret is not None:
        return settings.webhook_secret.get_secret_value()
    return await store.secret(signing.new_secret(os.urandom(32)))
