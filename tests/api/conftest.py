"""The API over fakeredis, with a real poller that asks a provider of the test's making."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from fastapi import FastAPI
from redis.asyncio import Redis

from worker.api import create_app, schemas
from worker.deliveries import Deliveries
from worker.embedded import EmbeddedRedis
from worker.endpoints import Endpoints
from worker.glances import Glances
from worker.model import Account, Answer, JsonObject, Progress, Seen
from worker.poller import Poller
from worker.service import Service
from worker.status import Status
from worker.store import Store
from worker.stream import EventStream
from worker.submitting import Submitting

HOOK = "https://hooks.example.com/luma"
DEADLINE_S = 86400.0

DREAMING = Seen(progress=Progress.RUNNING, provider_state="dreaming", model="ray-2")
COMPLETED = Seen(
    progress=Progress.COMPLETED,
    provider_state="completed",
    model="ray-2",
    assets={"video": "https://a.example/v.mp4"},
    generation={"id": "g-1", "state": "completed"},
)


@dataclass
class Provider:
    """Answers every look with `answer`."""

    answer: Answer = DREAMING
    asked: list[str] = field(default_factory=list)
    page: int | None = None

    callback: str | None = None
    shows_requests: bool = False

    def check(self, _request: JsonObject) -> None:
        """Take any request."""

    async def get_generation(self, generation_id: str, *, mark: str | None = None) -> Answer:
        self.asked.append(generation_id)
        return self.answer


@dataclass
class House:
    """All that is behind the API."""

    redis: Redis
    store: Store
    provider: Provider
    started: list[str]
    poller: Poller
    service: Service
    endpoints: Endpoints
    deliveries: Deliveries
    status: Status
    stream: EventStream
    glances: Glances
    submitting: Submitting

    @classmethod
    def on(cls, redis: Redis) -> House:
        store = Store(redis, prefix="test", retention_s=600)
        accounts = {
            name: Account(
                name=name,
                provider="luma",
                api_key="k",
                base_url="https://luma.example",
                polls_per_second=1000,
            )
            for name in ("luma", "other")
        }
        provider, started = Provider(), list[str]()

        async def start(lane: str) -> None:
            started.append(lane)

        poller = Poller(store, accounts, dict.fromkeys(accounts, provider), start)  # type: ignore[arg-type]
        service = Service(
            store,
            accounts=accounts,
            deadlines=dict.fromkeys(accounts, DEADLINE_S),
            poller=poller,
            start=start,
            allow_private=(),
        )
        endpoints = Endpoints(store, start=start, allow_private=())
        status = Status(store, accounts=accounts, deadlines=dict.fromkeys(accounts, DEADLINE_S))
        return cls(
            *(redis, store, provider, started, poller, service, endpoints),
            *(Deliveries(store), status, EventStream(store)),
            Glances(store, accounts, dict.fromkeys(accounts, provider)),  # type: ignore[arg-type]
            Submitting(
                store,
                service,
                accounts=accounts,
                clients=dict.fromkeys(accounts, provider),  # type: ignore[arg-type]
                start=start,
            ),
        )

    def app(self, *, api_keys: tuple[str, ...] = (), read_keys: tuple[str, ...] = ()) -> FastAPI:
        """Make the API."""
        return create_app(
            *(self.service, self.endpoints, self.deliveries, self.status, self.stream),
            glances=self.glances,
            submitting=self.submitting,
            api_keys=api_keys,
            read_keys=read_keys,
        )

    async def look(self, generation_id: str, answer: Answer, account: str = "luma") -> None:
        """Have a look made that is answered so."""
        self.provider.answer = answer
        await self.poller.look_now(account, generation_id)

    def client(
        self, *, api_keys: tuple[str, ...] = (), read_keys: tuple[str, ...] = (), key: str = ""
    ) -> httpx.AsyncClient:
        """Make a client of the API, close it after use."""
        app = self.app(api_keys=api_keys, read_keys=read_keys)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://localhost:8080",
            headers={"Authorization": f"Bearer {key}"} if key else {},
        )


def assert_problem(answer: httpx.Response, status: int, field: str | None = None) -> str:
    """Check that an answer is a problem, about that field if one is given; return its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = schemas.Problem.model_validate_json(answer.content)
    assert problem.status == status
    assert problem.field == field
    assert [each.field for each in problem.errors] == ([field] if field else [])
    assert problem.detail
    return problem.detail


@pytest.fixture
def redis_server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def house(redis_server: FakeServer) -> AsyncIterator[House]:
    redis = FakeAsyncRedis(server=redis_server)
    yield House.on(redis)
    await redis.aclose()


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client() as client:
        yield client


@pytest.fixture
async def real(embedded: EmbeddedRedis) -> AsyncIterator[House]:
    """The same on the embedded server."""
    redis = Redis.from_url(embedded.url)
    await redis.flushall()
    yield House.on(redis)
    await redis.aclose()
