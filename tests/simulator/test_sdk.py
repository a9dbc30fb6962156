"""Luma's own Python SDK, pointed at the simulator: every call it has, blocking and async.

The SDK validates strictly here, so an answer it would not expect from Luma fails the test.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import lumaai
import pytest
from lumaai import AsyncLumaAI, LumaAI
from lumaai.resources.credits import CreditsResource
from lumaai.resources.generations import GenerationsResource
from lumaai.resources.ping import PingResource
from lumaai.types import Generation

from tests.simulator.conftest import Clock
from worker.simulator import Faults, Outcome, Script, World, create_app, parse_fault, running

Client: TypeAlias = LumaAI | AsyncLumaAI
Ask: TypeAlias = Callable[[Any], Any]

MEDIA = {"url": "https://example.com/in.mp4"}
KEYFRAMES = {"frame0": {"type": "image", "url": "https://example.com/in.jpg"}}

# Every call of the SDK, by its path; g-1 exists and is completed.
CALLS: dict[str, Ask] = {
    "credits.get": lambda luma: luma.credits.get(),
    "ping.check": lambda luma: luma.ping.check(),
    "generations.create": lambda luma: luma.generations.create(
        model="ray-2",
        prompt="a teapot",
        aspect_ratio="9:16",
        loop=True,
        keyframes=KEYFRAMES,
        callback_url="https://example.com/hook",
        resolution="1080p",
        duration="9s",
        concepts=[{"key": "dolly_zoom"}],
    ),
    "generations.list": lambda luma: luma.generations.list(limit=10, offset=0),
    "generations.get": lambda luma: luma.generations.get("g-1"),
    "generations.delete": lambda luma: luma.generations.delete("g-1"),
    "generations.upscale": lambda luma: luma.generations.upscale("g-1", resolution="4k"),
    "generations.audio": lambda luma: luma.generations.audio("g-1", prompt="rain"),
    "generations.concepts.list": lambda luma: luma.generations.concepts.list(),
    "generations.image.create": lambda luma: luma.generations.image.create(
        model="photon-flash-1",
        prompt="a teapot",
        format="png",
        image_ref=[{"url": "https://example.com/in.jpg", "weight": 0.8}],
        character_ref={"identity0": {"images": ["https://example.com/in.jpg"]}},
        sync=True,
    ),
    "generations.image.reframe": lambda luma: luma.generations.image.reframe(
        generation_type="reframe_image", model="photon-1", aspect_ratio="1:1", media=MEDIA, x_end=9
    ),
    "generations.video.create": lambda luma: luma.generations.video.create(
        model="ray-flash-2", prompt="a teapot"
    ),
    "generations.video.reframe": lambda luma: luma.generations.video.reframe(
        generation_type="reframe_video", model="ray-2", aspect_ratio="21:9", media=MEDIA
    ),
    "generations.video.modify": lambda luma: luma.generations.video.modify(
        generation_type="modify_video", model="ray-2", mode="flex_2", media=MEDIA, prompt="a storm"
    ),
}


@pytest.fixture
def world(clock: Clock) -> World:
    # So fast that even a blocking image is over before the client has read its answer.
    world = World(clock=clock, speed=1_000_000, failure_rate=0, stuck_rate=0)
    script = Script(id="g-1", queued_s=0, dreaming_s=0, outcome=Outcome.COMPLETED)
    world.create(generation_type="video", model="ray-2", request={"model": "ray-2"}, script=script)
    return world


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture(params=["blocking", "async"])
async def luma(
    request: pytest.FixtureRequest, world: World, faults: Faults
) -> AsyncIterator[Client]:
    settings: dict[str, Any] = {
        "auth_token": "luma-k",
        "max_retries": 0,
        "_strict_response_validation": True,
    }
    async with running(create_app(world, faults=faults, keys=["luma-k"])) as base_url:
        if request.param == "blocking":
            with LumaAI(base_url=base_url, **settings) as blocking:
                yield blocking
        else:
            async with AsyncLumaAI(base_url=base_url, **settings) as awaiting:
                yield awaiting


async def ask(luma: Client, call: Ask) -> Any:
    """Make the call; the blocking client does so in a thread, for the simulator is in this loop."""
    if isinstance(luma, LumaAI):
        return await asyncio.to_thread(call, luma)
    return await call(luma)


def calls_of(resource: type, path: str = "") -> set[str]:
    """Name every call that a client's or resource's class offers, at any depth."""
    calls = set()
    for name, member in vars(resource).items():
        if name.startswith(("_", "with_")):
            continue
        if inspect.isfunction(member):
            calls.add(f"{path}{name}")
        elif callable(getattr(member, "func", None)):
            below = inspect.signature(member.func, eval_str=True).return_annotation
            calls |= calls_of(below, f"{path}{name}.")
    return calls


def test_no_call_of_the_sdk_is_left_out() -> None:
    resources = {
        "credits.": CreditsResource,
        "generations.": GenerationsResource,
        "ping.": PingResource,
    }
    offered = set().union(*(calls_of(kind, path) for path, kind in resources.items()))
    assert offered == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_of_the_sdk_works(luma: Client, name: str) -> None:
    answer = await ask(luma, CALLS[name])
    if name == "generations.delete":
        assert answer is None
    else:
        assert answer is not None


@pytest.mark.parametrize(
    "name", [name for name in CALLS if name.rpartition(".")[2] in {"create", "reframe", "modify"}]
)
async def test_what_the_sdk_creates_it_finds_again(luma: Client, name: str) -> None:
    created: Generation = await ask(luma, CALLS[name])
    found: Generation = await ask(luma, lambda client: client.generations.get(created.id))
    assert found.id == created.id
    assert found.request == created.request
    assert found.generation_type == ("image" if "image" in name else "video")


async def test_the_account_answers_are_what_the_sdk_expects(luma: Client) -> None:
    assert (await ask(luma, CALLS["ping.check"])).message == "pong"
    assert (await ask(luma, CALLS["credits.get"])).credit_balance > 0
    assert "dolly_zoom" in await ask(luma, CALLS["generations.concepts.list"])


async def test_the_sdk_lists_what_is_there(luma: Client) -> None:
    page = await ask(luma, CALLS["generations.list"])
    assert [(item.id, item.state) for item in page.generations] == [("g-1", "completed")]
    assert (page.count, page.has_more, page.limit, page.offset) == (1, False, 10, 0)


async def test_the_sdk_reads_a_video_from_queued_to_completed(
    luma: Client, world: World, clock: Clock
) -> None:
    script = Script(id="g-2", queued_s=1e6, dreaming_s=1e6, outcome=Outcome.COMPLETED)
    world.create(generation_type="video", model="ray-2", request={"model": "ray-2"}, script=script)
    seen = []
    for _ in range(3):
        seen.append(await ask(luma, lambda client: client.generations.get("g-2")))
        clock.now += 1
    queued, dreaming, completed = seen
    assert (queued.state, queued.assets) == ("queued", None)
    assert (dreaming.state, dreaming.assets.video) == ("dreaming", None)
    assert completed.state == "completed"
    assert completed.assets.video.endswith("/g-2_result.mp4")


async def test_the_sdk_reads_a_failure_and_its_reason(luma: Client, world: World) -> None:
    script = Script(
        id="g-2",
        queued_s=0,
        dreaming_s=0,
        outcome=Outcome.FAILED,
        failure_reason="Frame moderation failed",
    )
    world.create(generation_type="video", model="ray-2", request={"model": "ray-2"}, script=script)
    failed = await ask(luma, lambda client: client.generations.get("g-2"))
    assert (failed.state, failed.failure_reason) == ("failed", "Frame moderation failed")
    assert failed.assets is None


async def test_the_sdk_gets_what_it_asked_for_echoed(luma: Client) -> None:
    created = await ask(luma, CALLS["generations.create"])
    assert (created.request.aspect_ratio, created.request.loop) == ("9:16", True)
    assert created.request.callback_url == "https://example.com/hook"
    assert created.request.keyframes.frame0.url == "https://example.com/in.jpg"


async def test_the_sdk_sees_a_deleted_generation_as_not_found(luma: Client) -> None:
    await ask(luma, CALLS["generations.delete"])
    with pytest.raises(lumaai.NotFoundError, match="Generation not found"):
        await ask(luma, CALLS["generations.get"])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("401", lumaai.AuthenticationError),
        ("403", lumaai.PermissionDeniedError),
        ("429", lumaai.RateLimitError),
        ("500", lumaai.InternalServerError),
        ("502", lumaai.InternalServerError),
        ("reset", lumaai.APIConnectionError),
    ],
)
async def test_the_sdk_raises_its_own_errors_for_faults(
    luma: Client, faults: Faults, fault: str, error: type[Exception]
) -> None:
    faults.add(parse_fault(f"any:{fault}:times=1"))
    with pytest.raises(error):
        await ask(luma, CALLS["generations.get"])


async def test_the_sdk_with_a_wrong_key_is_refused(luma: Client) -> None:
    with pytest.raises(lumaai.AuthenticationError, match="Invalid API key is provided"):
        await ask(luma, lambda client: client.copy(auth_token="wrong").ping.check())
