"""Other providers, spoken from their data files: our client and their SDKs read the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import fal_client.client
import httpx
import luma_agents
import pytest
import replicate.client
import runwayml
from google import genai

from worker.errors import InvalidInputError
from worker.model import Account, Answer, Missing, Progress, Refused, Seen, Throttled
from worker.providers.client import ProviderClient
from worker.providers.spec import built_in, load, text_of
from worker.simulator import (
    Faults,
    Outcome,
    Script,
    World,
    base_path_of,
    create_spoken_app,
    parse_fault,
    running,
)

KEY = "access:secret"
OTHERS = [name for name in built_in() if name != "luma"]
IDS = {
    "fal": "fal-ai:flux:requests:g-1",
    "kling": "text2video:g-1",
    "veo": "models:veo-3.1:operations:g-1",
}
WORDS = {"queued": (9, 9), "running": (0, 9), "completed": (0, 0), "failed": (0, 0)}


def id_of(name: str) -> str:
    return IDS.get(name, "g-1")


def world_at(stage: str, name: str) -> World:
    """A world whose one generation stays where it is."""
    queued_s, dreaming_s = WORDS[stage]
    world = World(clock=lambda: 1_767_225_600.25)
    outcome = Outcome.FAILED if stage == "failed" else Outcome.COMPLETED
    script = Script(id=id_of(name), queued_s=queued_s, dreaming_s=dreaming_s, outcome=outcome)
    world.create(generation_type="video", model="m", request={}, script=script)
    return world


@asynccontextmanager
async def speaking(
    name: str, world: World, faults: Faults | None = None, keys: tuple[str, ...] = ()
) -> AsyncIterator[str]:
    text = text_of(name)
    app = create_spoken_app(text, world, faults=faults, keys=keys)
    async with running(app, base_path=base_path_of(text)) as base_url:
        yield base_url


async def look(
    name: str, stage: str, *faults: str, api_key: str = KEY, keys: tuple[str, ...] = ()
) -> Answer:
    in_force = Faults(map(parse_fault, faults))
    async with speaking(name, world_at(stage, name), in_force, keys) as base_url:
        account = Account(name=name, provider=name, api_key=api_key, base_url=base_url)
        client = ProviderClient(account, load(name))
        try:
            return await client.get_generation(id_of(name))
        finally:
            await client.aclose()


@pytest.mark.parametrize("stage", list(WORDS))
@pytest.mark.parametrize("name", OTHERS)
async def test_our_client_follows_a_generation_of_every_provider(name: str, stage: str) -> None:
    seen = await look(name, stage)
    assert isinstance(seen, Seen)
    expected = {"completed": Progress.COMPLETED, "failed": Progress.FAILED}
    assert seen.progress is expected.get(stage, Progress.RUNNING)


@pytest.mark.parametrize("name", OTHERS)
async def test_every_answer_has_a_request_id(name: str) -> None:
    seen = await look(name, "running")
    assert seen.request_id


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "veo"])
async def test_a_state_that_nobody_has_heard_of_is_waited_for(name: str) -> None:
    seen = await look(name, "completed", "get:unknown_state")
    assert isinstance(seen, Seen)
    assert (seen.progress, seen.provider_state) == (Progress.RUNNING, "hibernating")


@pytest.mark.parametrize("name", OTHERS)
async def test_a_429_says_how_long_to_stay_away(name: str) -> None:
    throttled = await look(name, "running", "get:429:retry_after=60")
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after_s == 60


@pytest.mark.parametrize("name", OTHERS)
async def test_a_key_is_asked_for_where_the_provider_wants_it(name: str) -> None:
    assert isinstance(await look(name, "running", api_key=""), Refused)


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "kling"])
async def test_the_key_arrives_as_it_is(name: str) -> None:
    assert isinstance(await look(name, "running", keys=(KEY,)), Seen)
    assert isinstance(await look(name, "running", keys=("another",)), Refused)


async def test_an_id_that_nobody_has_is_missing() -> None:
    async with speaking("fal", World()) as base_url:
        account = Account(name="fal", provider="fal", api_key=KEY, base_url=base_url)
        client = ProviderClient(account, load("fal"))
        assert isinstance(await client.get_generation("fal-ai:flux:requests:no"), Missing)
        await client.aclose()


async def test_assets_lead_to_files() -> None:
    async with (
        speaking("runway", world_at("completed", "runway")) as base_url,
        httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        shown = (await client.get(f"{base_url}/v1/tasks/g-1")).json()
        file = await client.get(shown["output"][0])
        none = await client.get(f"{base_url}/assets/g-1.exe")
    assert (file.status_code, file.headers["content-type"]) == (200, "video/mp4")
    assert none.status_code == 404


async def test_a_call_that_the_file_does_not_describe_is_not_there() -> None:
    async with (
        speaking("kling", World()) as base_url,
        httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        answers = [
            await client.get(f"{base_url}/v1/account"),
            await client.post(f"{base_url}/v1/videos/text2video", json={}),
        ]
    assert [answer.status_code for answer in answers] == [404, 404]


def test_a_file_without_examples_cannot_be_spoken() -> None:
    text = text_of("runway").partition("[examples]")[0]
    with pytest.raises(InvalidInputError, match=r"queued, running, completed, failed"):
        create_spoken_app(text, World())


# --- their own SDKs, which validate strictly where they can --------------------------------------


async def witness(name: str, stage: str, ask: Callable[[str], Any], *faults: str) -> Any:
    in_force = Faults(map(parse_fault, faults))
    async with speaking(name, world_at(stage, name), in_force, (KEY,)) as base_url:
        return await asyncio.to_thread(ask, base_url)


def agents(ask: Callable[[luma_agents.Luma], Any]) -> Callable[[str], Any]:
    def call(base_url: str) -> Any:
        with luma_agents.Luma(
            auth_token=KEY, base_url=base_url, max_retries=0, _strict_response_validation=True
        ) as luma:
            return ask(luma)

    return call


@pytest.mark.parametrize(
    ("stage", "state"),
    [
        ("queued", "queued"),
        ("running", "processing"),
        ("completed", "completed"),
        ("failed", "failed"),
    ],
)
async def test_lumas_agents_sdk_reads_every_state(stage: str, state: str) -> None:
    seen = await witness("luma-agents", stage, agents(lambda luma: luma.generations.get("g-1")))
    assert (seen.id, seen.state) == ("g-1", state)


async def test_lumas_agents_sdk_finds_all_outputs_and_the_failure_code() -> None:
    ask = agents(lambda luma: luma.generations.get("g-1"))
    completed = await witness("luma-agents", "completed", ask)
    failed = await witness("luma-agents", "failed", ask)
    assert [(each.type, each.layer.index) for each in completed.output] == [
        ("image", 0),
        ("image", 1),
    ]
    assert failed.failure_code == "generation_failed"


async def test_what_lumas_agents_sdk_creates_it_finds_again() -> None:
    def ask(luma: luma_agents.Luma) -> Any:
        created = luma.generations.create(prompt="a fox", model="uni-1")
        return created, luma.generations.get(created.id)

    created, found = await witness("luma-agents", "queued", agents(ask))
    assert created.state == "queued"
    assert created.id == found.id


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("get:401", luma_agents.AuthenticationError),
        ("get:404", luma_agents.NotFoundError),
        ("get:429:retry_after=60", luma_agents.RateLimitError),
        ("get:502", luma_agents.InternalServerError),
    ],
)
async def test_lumas_agents_sdk_raises_its_own_errors(fault: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await witness("luma-agents", "queued", agents(lambda it: it.generations.get("g-1")), fault)


@pytest.mark.parametrize(
    ("stage", "status"),
    [
        ("queued", "PENDING"),
        ("running", "RUNNING"),
        ("completed", "SUCCEEDED"),
        ("failed", "FAILED"),
    ],
)
async def test_runways_sdk_reads_every_state(stage: str, status: str) -> None:
    def ask(base_url: str) -> Any:
        with runwayml.RunwayML(
            api_key=KEY, base_url=base_url, max_retries=0, _strict_response_validation=True
        ) as runway:
            return runway.tasks.retrieve("g-1")

    task = await witness("runway", stage, ask)
    assert (task.id, task.status) == ("g-1", status)


@pytest.mark.parametrize(
    ("stage", "status"),
    [
        ("queued", "starting"),
        ("running", "processing"),
        ("completed", "succeeded"),
        ("failed", "failed"),
    ],
)
async def test_replicates_sdk_reads_every_state(stage: str, status: str) -> None:
    def ask(base_url: str) -> Any:
        host = base_url.removesuffix("/v1")  # the SDK's own paths begin with it
        client = replicate.client.Client(api_token=KEY, base_url=host)
        try:
            return client.predictions.get("g-1")
        finally:
            client._client.close()

    prediction = await witness("replicate", stage, ask)
    assert (prediction.id, prediction.status) == ("g-1", status)


async def test_fals_sdk_reads_every_state(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(base_url: str) -> Any:
        # The SDK builds the address with https alone.
        monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{base_url}/")
        client = fal_client.SyncClient(key=KEY)
        try:
            return client.status("fal-ai/flux", "g-1")
        finally:
            client._client.close()

    seen = {stage: await witness("fal", stage, ask) for stage in WORDS}
    assert seen["queued"] == fal_client.Queued(position=2)
    assert isinstance(seen["running"], fal_client.InProgress)
    assert isinstance(seen["completed"], fal_client.Completed)
    assert seen["completed"].error is None
    assert seen["failed"].error_type == "request_timeout"


async def test_googles_sdk_reads_an_operation() -> None:
    def ask(base_url: str) -> Any:
        parts = urlsplit(base_url)
        options = genai.types.HttpOptions(
            base_url=f"{parts.scheme}://{parts.netloc}", api_version=parts.path.strip("/")
        )
        name = id_of("veo").replace(":", "/")
        with genai.Client(api_key=KEY, http_options=options) as client:
            return client.operations.get(genai.types.GenerateVideosOperation(name=name))

    running_, completed, failed = [
        await witness("veo", stage, ask) for stage in ("running", "completed", "failed")
    ]
    assert not running_.done
    assert completed.done
    assert completed.response.generated_videos[0].video.uri.endswith("/assets/g-1.mp4")
    assert failed.error["message"] == "The model failed"
