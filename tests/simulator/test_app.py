"""The simulated API without a socket: routes, errors, the list and assets."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import httpx
import pytest

from worker.simulator.gate import call_of
from worker.simulator.world import Outcome, World

from .conftest import API, client, start

VIDEO = {"model": "ray-2", "prompt": "a teapot"}
IMAGE = {"model": "photon-1", "prompt": "a teapot"}
MEDIA = {"media": {"url": "https://example.com/in.mp4"}, "prompt": "a teapot"}
REFRAME_IMAGE = {
    **MEDIA,
    "generation_type": "reframe_image",
    "model": "photon-1",
    "aspect_ratio": "1:1",
}
REFRAME_VIDEO = {
    **MEDIA,
    "generation_type": "reframe_video",
    "model": "ray-2",
    "aspect_ratio": "1:1",
}
MODIFY = {**MEDIA, "generation_type": "modify_video", "model": "ray-2", "mode": "flex_1"}


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/generations", VIDEO, "video"),
        ("/generations/video", VIDEO, "video"),
        ("/generations/image", IMAGE, "image"),
        ("/generations/image/reframe", REFRAME_IMAGE, "image"),
        ("/generations/video/reframe", REFRAME_VIDEO, "video"),
        ("/generations/video/modify", MODIFY, "video"),
    ],
)
async def test_each_create_call_starts_a_generation_that_get_finds(
    luma: httpx.AsyncClient, path: str, body: dict[str, Any], kind: str
) -> None:
    created = await luma.post(f"{API}{path}", json=body)
    found = await luma.get(f"{API}/generations/{created.json()['id']}")
    assert created.status_code == 201
    assert found.status_code == 200
    assert found.json() == created.json()
    assert found.json()["generation_type"] == kind


async def test_the_request_is_echoed_with_defaults_and_nulls(luma: httpx.AsyncClient) -> None:
    body = {**VIDEO, "callback_url": "https://example.com/hook"}
    created = await luma.post(f"{API}/generations/video", json=body)
    assert created.json()["request"] == {
        "generation_type": "video",
        "model": "ray-2",
        "prompt": "a teapot",
        "aspect_ratio": "16:9",
        "loop": False,
        "keyframes": None,
        "callback_url": "https://example.com/hook",
        "resolution": "720p",
        "duration": "5s",
        "concepts": None,
    }


async def test_a_synchronous_image_comes_back_completed() -> None:
    async with client(World(failure_rate=0, stuck_rate=0, speed=10_000)) as luma:
        created = await luma.post(f"{API}/generations/image", json={**IMAGE, "sync": True})
    assert (created.status_code, created.json()["state"]) == (201, "completed")


async def test_a_synchronous_image_is_not_waited_for_beyond_its_timeout(
    luma: httpx.AsyncClient,
) -> None:
    body = {**IMAGE, "sync": True, "sync_timeout": 0.01}
    created = await luma.post(f"{API}/generations/image", json=body)
    assert (created.status_code, created.json()["state"]) == (201, "queued")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"model": "ray-2"}, "Prompt is required"),
        ({**VIDEO, "prompt": "hm"}, "Prompt is too short, minimum length is 3 characters"),
        ({**VIDEO, "prompt": "x" * 5001}, "Prompt is too long, maximum length is 5000 characters"),
    ],
)
async def test_a_bad_prompt_is_refused_in_lumas_words(
    luma: httpx.AsyncClient, body: dict[str, Any], detail: str
) -> None:
    refused = await luma.post(f"{API}/generations/video", json=body)
    assert (refused.status_code, refused.json()) == (400, {"detail": detail})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("video", {"model": "ray-2", "keyframes": {"frame0": {"type": "image", "url": "u"}}}),
        ("image", {"model": "photon-1", "image_ref": [{"url": "u"}]}),
    ],
)
async def test_pictures_can_stand_in_for_a_prompt(
    luma: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    created = await luma.post(f"{API}/generations/{path}", json=body)
    assert created.status_code == 201


async def test_an_invalid_body_is_answered_with_a_list_of_details(luma: httpx.AsyncClient) -> None:
    refused = await luma.post(f"{API}/generations/video", json={**VIDEO, "model": "ray-9"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "model"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/generations/nobody"),
        ("DELETE", "/generations/nobody"),
        ("POST", "/generations/nobody/upscale"),
        ("POST", "/generations/nobody/audio"),
    ],
)
async def test_an_unknown_id_is_a_404(luma: httpx.AsyncClient, method: str, path: str) -> None:
    missing = await luma.request(method, f"{API}{path}", json={} if method == "POST" else None)
    assert (missing.status_code, missing.json()) == (404, {"detail": "Generation not found"})


async def test_the_list_is_newest_first_and_pages(world: World, luma: httpx.AsyncClient) -> None:
    for number in range(5):
        start(world, name=f"g-{number}")
    page = (await luma.get(f"{API}/generations", params={"limit": 2, "offset": 1})).json()
    assert [item["id"] for item in page.pop("generations")] == ["g-3", "g-2"]
    assert page == {"count": 2, "has_more": True, "limit": 2, "offset": 1}


async def test_the_last_page_has_no_more(world: World, luma: httpx.AsyncClient) -> None:
    start(world)
    page = (await luma.get(f"{API}/generations")).json()
    assert [item["id"] for item in page.pop("generations")] == ["g-1"]
    assert page == {"count": 1, "has_more": False, "limit": 100, "offset": 0}


async def test_an_item_of_the_list_is_what_get_shows(world: World, luma: httpx.AsyncClient) -> None:
    start(world, Outcome.COMPLETED)
    listed = (await luma.get(f"{API}/generations")).json()["generations"][0]
    assert listed == (await luma.get(f"{API}/generations/g-1")).json()


async def test_a_deleted_generation_answers_204_without_a_body_then_404(
    world: World, luma: httpx.AsyncClient
) -> None:
    start(world)
    deleted = await luma.delete(f"{API}/generations/g-1")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await luma.get(f"{API}/generations/g-1")).status_code == 404


@pytest.mark.parametrize("verb", ["upscale", "audio"])
async def test_upscale_and_audio_start_a_generation_of_their_own(
    world: World, luma: httpx.AsyncClient, verb: str
) -> None:
    start(world)
    extended = await luma.post(f"{API}/generations/g-1/{verb}", json={"callback_url": "u"})
    assert extended.status_code == 200
    assert extended.json()["id"] != "g-1"
    assert extended.json()["request"]["callback_url"] == "u"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong"])
@pytest.mark.parametrize("path", ["/generations/g-1", "/generations", "/ping"])
async def test_a_call_without_an_accepted_key_is_a_401(
    world: World, header: str | None, path: str
) -> None:
    start(world)
    async with client(world, accepted=("right",)) as luma:
        del luma.headers["Authorization"]
        headers = {} if header is None else {"Authorization": header}
        refused = await luma.get(f"{API}{path}", headers=headers)
    assert (refused.status_code, refused.json()) == (401, {"detail": "Invalid API key is provided"})


async def test_an_accepted_key_is_let_in(world: World) -> None:
    async with client(world, key="right", accepted=("right", "too")) as luma:
        assert (await luma.get(f"{API}/ping")).json() == {"message": "pong"}


async def test_without_set_keys_any_key_but_none_is_let_in(world: World) -> None:
    async with client(world, key="whatever") as luma:
        assert (await luma.get(f"{API}/ping")).status_code == 200
        refused = await luma.get(f"{API}/ping", headers={"Authorization": ""})
        assert refused.status_code == 401


async def test_assets_are_served_where_the_client_reached_us(
    world: World, luma: httpx.AsyncClient
) -> None:
    start(world, Outcome.COMPLETED)
    urls = (await luma.get(f"{API}/generations/g-1")).json()["assets"]
    assert all(url.startswith("http://luma.test/") for url in urls.values())
    video, image = await luma.get(urls["video"]), await luma.get(urls["image"])
    assert (video.headers["content-type"], image.headers["content-type"]) == (
        "video/mp4",
        "image/png",
    )
    assert video.content[4:8] == b"ftyp"
    assert png_pixels(image.content) == 16 * 9


def png_pixels(data: bytes) -> int:
    """Count the pixels of an RGB image the hard way: every chunk's checksum is looked at."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)
    return int(width * height)


async def test_two_generations_have_thumbnails_of_their_own(
    world: World, luma: httpx.AsyncClient
) -> None:
    pictures = set()
    for number in range(3):
        start(world, Outcome.COMPLETED, name=f"g-{number}")
        found = await luma.get(f"{API}/generations/g-{number}")
        pictures.add((await luma.get(found.json()["assets"]["image"])).content)
    assert len(pictures) == 3


async def test_an_unfinished_generation_has_no_assets_to_fetch(
    world: World, luma: httpx.AsyncClient
) -> None:
    start(world, Outcome.STUCK)
    assert (await luma.get("/dream_machine/g-1/g-1_result.mp4")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "call", "generation_id"),
    [
        ("GET", "/generations/g-1", "get", "g-1"),
        ("GET", "/generations", "list", None),
        ("GET", "/generations/concepts/list", "concepts", None),
        ("POST", "/generations", "create", None),
        ("POST", "/generations/video", "create", None),
        ("POST", "/generations/image/reframe", "create", None),
        ("POST", "/generations/g-1/upscale", "upscale", "g-1"),
        ("POST", "/generations/g-1/audio", "audio", "g-1"),
        ("DELETE", "/generations/g-1", "delete", "g-1"),
        ("GET", "/credits", "credits", None),
        ("GET", "/ping", "ping", None),
        ("GET", "/generations/", "other", None),
        ("GET", "/generations/camera_motion/list", "other", None),
        ("PUT", "/ping", "other", None),
    ],
)
def test_every_call_has_its_name(
    method: str, path: str, call: str, generation_id: str | None
) -> None:
    assert call_of(method, f"{API}{path}") == (call, generation_id)


async def test_a_path_that_luma_does_not_have_is_a_404(luma: httpx.AsyncClient) -> None:
    missing = await luma.get(f"{API}/generations/camera_motion/list")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})
