"""What Luma's create calls accept (OpenAPI v1.1.0 and the official SDK 1.21), as pydantic models.

A model's dump is also the `request` that the generation echoes: every field, absent ones as null.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

AspectRatio: TypeAlias = Literal["1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"]
VideoModel: TypeAlias = Literal["ray-2", "ray-flash-2"]
ImageModel: TypeAlias = Literal["photon-1", "photon-flash-1"]
ImageFormat: TypeAlias = Literal["jpg", "png"]
Mode: TypeAlias = Literal[
    "adhere_1",
    "adhere_2",
    "adhere_3",
    "flex_1",
    "flex_2",
    "flex_3",
    "reimagine_1",
    "reimagine_2",
    "reimagine_3",
]

SHORTEST_PROMPT, LONGEST_PROMPT = 3, 5000


class Concept(BaseModel):
    """A camera or style concept, by its key."""

    key: str


class Media(BaseModel):
    """A picture or film that Luma fetches."""

    url: str


class VideoRequest(BaseModel):
    """POST /generations/video, and its alias POST /generations."""

    generation_type: Literal["video"] = "video"
    model: VideoModel
    prompt: str | None = None
    aspect_ratio: AspectRatio = "16:9"
    loop: bool = False
    keyframes: dict[str, Any] | None = None
    callback_url: str | None = None
    resolution: str = "720p"
    duration: str = "5s"
    concepts: list[Concept] | None = None


class ImageRequest(BaseModel):
    """POST /generations/image. `sync_timeout` is in seconds."""

    generation_type: Literal["image"] = "image"
    model: ImageModel
    prompt: str | None = None
    aspect_ratio: AspectRatio = "16:9"
    format: ImageFormat = "jpg"
    callback_url: str | None = None
    image_ref: list[dict[str, Any]] | None = None
    style_ref: list[dict[str, Any]] | None = None
    character_ref: dict[str, Any] | None = None
    modify_image_ref: dict[str, Any] | None = None
    sync: bool = False
    sync_timeout: float = 60.0


class _Reframe(BaseModel):
    """What the two reframe calls share: the source and where it lies in the new frame."""

    prompt: str | None = None
    aspect_ratio: AspectRatio
    media: Media
    callback_url: str | None = None
    grid_position_x: int | None = None
    grid_position_y: int | None = None
    resized_height: int | None = None
    resized_width: int | None = None
    x_start: int | None = None
    x_end: int | None = None
    y_start: int | None = None
    y_end: int | None = None


class ReframeImageRequest(_Reframe):
    """POST /generations/image/reframe."""

    generation_type: Literal["reframe_image"]
    model: ImageModel
    format: ImageFormat = "jpg"


class ReframeVideoRequest(_Reframe):
    """POST /generations/video/reframe."""

    generation_type: Literal["reframe_video"]
    model: VideoModel
    first_frame: Media | None = None


class ModifyVideoRequest(BaseModel):
    """POST /generations/video/modify."""

    generation_type: Literal["modify_video"]
    model: VideoModel
    prompt: str | None = None
    media: Media
    mode: Mode
    first_frame: Media | None = None
    callback_url: str | None = None


class UpscaleRequest(BaseModel):
    """POST /generations/{id}/upscale."""

    generation_type: Literal["upscale_video"] = "upscale_video"
    resolution: str | None = None
    callback_url: str | None = None


class AudioRequest(BaseModel):
    """POST /generations/{id}/audio."""

    generation_type: Literal["add_audio"] = "add_audio"
    prompt: str | None = None
    negative_prompt: str | None = None
    callback_url: str | None = None


CreateRequest: TypeAlias = (
    VideoRequest | ImageRequest | ReframeImageRequest | ReframeVideoRequest | ModifyVideoRequest
)


def refusal(request: CreateRequest) -> str | None:
    """Return the `detail` with which Luma refuses the request before starting work, or None.

    The sentences are those of Luma's page on errors.
    """
    prompt = request.prompt
    if not prompt:
        return "Prompt is required" if _needs_prompt(request) else None
    if len(prompt) < SHORTEST_PROMPT:
        return f"Prompt is too short, minimum length is {SHORTEST_PROMPT} characters"
    if len(prompt) > LONGEST_PROMPT:
        return f"Prompt is too long, maximum length is {LONGEST_PROMPT} characters"
    return None


def _needs_prompt(request: CreateRequest) -> bool:
    match request:
        case VideoRequest():
            return not request.keyframes
        case ImageRequest():
            references = (request.image_ref, request.style_ref, request.character_ref)
            return not any((*references, request.modify_image_ref))
        case _:
            return False
