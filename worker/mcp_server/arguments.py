"""What each tool takes. Every field is described: it is all that an agent has to go by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.model import DeliveryState, EventType, JsonObject

LONGEST_WAIT_S = 50.0
"""Agents' programs give up on a call after a minute."""

GenerationId = Annotated[
    str,
    Field(
        description="The provider's ID of the generation, as create_generation, generate_image or"
        " list_generations gave it, such as 7d1f6c1e-5f0c-4f6b-9d53-0f6c1a2b3c4d."
    ),
]
AspectRatio = Literal["1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"]


class Arguments(BaseModel):
    """What a tool takes: nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=False)


class OfAccount(Arguments):
    """What is about one account."""

    account: str | None = Field(
        None,
        description="The name of the account at the provider. Left out: the only one there is, or"
        " `luma`.",
    )


class OneGeneration(OfAccount):
    """What is about one generation."""

    generation_id: GenerationId


class GetGeneration(OneGeneration):
    """Which generation to show, and how fresh."""

    fresh: bool = Field(
        default=False,
        description="Ask the provider now, for one request of the account's budget, instead of"
        " showing what was seen last. Needed only for asset URLs that no longer work: what is not"
        " tracked is always asked for.",
    )


class WaitForGeneration(OneGeneration):
    """Which generation to wait for, and how long."""

    timeout_s: float = Field(
        LONGEST_WAIT_S,
        ge=1,
        le=LONGEST_WAIT_S,
        description="Answer after so many seconds at the latest, over or not.",
    )


class ListGenerations(OfAccount):
    """Which part of the list to show."""

    limit: int = Field(20, ge=1, le=100, description="How many to show at most.")
    offset: int = Field(
        0, ge=0, le=10_000, description="How many to leave out first: `next_offset` of before."
    )


class ListGenerationsOrTrackers(ListGenerations):
    """Which of two lists to show, and which part."""

    tracked_only: bool = Field(
        default=False,
        description="Show only what Dreamhook tracks or has tracked, newest first, of all accounts"
        " unless one is named. That asks no provider, and works for providers that have no list.",
    )


# --- creating -----------------------------------------------------------------------------------


class Keyframe(Arguments):
    """A picture that the video begins or ends with, or another generation that it goes on from."""

    type: Literal["image", "generation"] = Field(
        description="`image` goes with url, `generation` with id."
    )
    url: str | None = Field(None, description="The picture's public URL.")
    id: str | None = Field(None, description="The ID of a completed generation of yours.")


class Keyframes(Arguments):
    """What the video begins and ends with."""

    frame0: Keyframe | None = Field(None, description="What it begins with.")
    frame1: Keyframe | None = Field(None, description="What it ends with.")


class Concept(Arguments):
    """A camera motion or a style that Luma knows by name."""

    key: str = Field(description="Its name, such as dolly_zoom or orbit_left.")


class Reference(Arguments):
    """A picture to go by."""

    url: str = Field(description="Its public URL.")
    weight: float | None = Field(None, description="How much it counts, from 0 to 1.")


class Identity(Arguments):
    """Pictures of one character."""

    images: list[str] = Field(description="Their public URLs, one to four.")


class Character(Arguments):
    """The character that the picture shows."""

    identity0: Identity = Field(description="What the character looks like.")


class CreateGeneration(OfAccount):
    """What the video shall be, as Luma's create call takes it."""

    prompt: str | None = Field(
        None,
        description="What it shall show, in 3 to 5000 characters. May be left out with keyframes.",
    )
    model: str = Field("ray-2", description="ray-2, or ray-flash-2, which is faster and cheaper.")
    aspect_ratio: AspectRatio | None = Field(None, description="Left out: 16:9.")
    resolution: str | None = Field(None, description="540p, 720p, 1080p or 4k. Left out: 720p.")
    duration: str | None = Field(None, description="5s or 9s. Left out: 5s.")
    loop: bool | None = Field(None, description="Whether its end leads back into its beginning.")
    keyframes: Keyframes | None = Field(
        None, description="Pictures or generations that it begins and ends with."
    )
    concepts: list[Concept] | None = Field(None, description="Camera motions or styles.")


class GenerateImage(OfAccount):
    """What the picture shall be, as Luma's create call takes it."""

    prompt: str | None = Field(
        None,
        description="What it shall show, in 3 to 5000 characters. May be left out beside pictures.",
    )
    model: str = Field(
        "photon-1", description="photon-1, or photon-flash-1, which is faster and cheaper."
    )
    aspect_ratio: AspectRatio | None = Field(None, description="Left out: 16:9.")
    format: Literal["jpg", "png"] | None = Field(None, description="Left out: jpg.")
    image_ref: list[Reference] | None = Field(None, description="Pictures to go by: up to four.")
    style_ref: list[Reference] | None = Field(None, description="A picture whose style to take.")
    character_ref: Character | None = Field(None, description="A character that it shall show.")
    modify_image_ref: Reference | None = Field(None, description="A picture to change.")


class Terms(Arguments):
    """Who is to be told of the end, and how long to wait for it."""

    callback_url: str | None = Field(
        None,
        description="A public http(s) URL that gets a signed webhook once it is over. Not together"
        " with endpoint. Left out, with endpoint too: no webhook; wait_for_generation tells.",
    )
    endpoint: str | None = Field(
        None, description="The name of an endpoint of this Dreamhook that gets the webhook."
    )
    events: list[EventType] | None = Field(
        None, description="Exactly the events to be told of. Left out: the three terminal ones."
    )
    metadata: JsonObject | None = Field(
        None, description="Comes back in every webhook: up to 4 KiB of JSON."
    )
    deadline_s: float | None = Field(
        None, description="Stop watching after so many seconds. Left out: what the provider needs."
    )
    headers: dict[str, str] | None = Field(
        None, description="Headers to send with every webhook of it."
    )


class Submission(Terms):
    """What a create call of a Dreamhook server takes besides what is to be created."""

    request: dict[str, Any] | None = Field(
        None,
        description="For an account at another provider than Luma Dream Machine: the whole body of"
        " that provider's own create call. It then stands instead of all arguments about what is to"
        " be created.",
    )
    idempotency_key: str | None = Field(
        None,
        description="Any text of your own: a second call with it creates nothing, and answers as"
        " the first did. Use it when you may have to repeat a call whose answer you did not get.",
    )


class CreateAndTrack(CreateGeneration, Submission):
    """A video, and who is to be told of it."""


class GenerateAndTrack(GenerateImage, Submission):
    """A picture, and who is to be told of it."""


class TrackGeneration(OneGeneration, Terms):
    """A generation, and who is to be told of it."""


# --- webhooks and the queue ---------------------------------------------------------------------


class ListDeliveries(Arguments):
    """Which deliveries to show."""

    state: DeliveryState | None = Field(
        None,
        description="Only those that are pending, delivered, exhausted (given up, can be replayed)"
        " or discarded (their endpoint was deleted).",
    )
    generation_id: str | None = Field(None, description="Only those of this generation.")
    account: str | None = Field(None, description="Only those of this account's generations.")
    endpoint: str | None = Field(None, description="Only those to this endpoint.")
    limit: int = Field(20, ge=1, le=100, description="How many to show at most, newest first.")


class ReplayDelivery(Arguments):
    """Which delivery to make again."""

    delivery_id: str = Field(
        description="Its ID, which begins with dlv_, as list_deliveries gave it."
    )


class GetQueueStats(Arguments):
    """Nothing."""
