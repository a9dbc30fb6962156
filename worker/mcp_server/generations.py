"""The tools about generations: show, list, wait, create."""

from __future__ import annotations

from dataclasses import replace

from worker.mcp_server.answers import Generation, Generations
from worker.mcp_server.arguments import (
    CreateAndTrack,
    CreateGeneration,
    GenerateAndTrack,
    GenerateImage,
    GetGeneration,
    ListGenerations,
    ListGenerationsOrTrackers,
    OneGeneration,
    Submission,
    WaitForGeneration,
)
from worker.mcp_server.desks import Desk, Tell
from worker.mcp_server.remote import Remote
from worker.mcp_server.tools import Tool
from worker.model import JsonObject

WAIT = "wait_for_generation"

_OUR_PART = {*OneGeneration.model_fields, *Submission.model_fields}


async def _get(desk: Desk, wanted: GetGeneration, _tell: Tell) -> Generation:
    return await desk.show(wanted.account, wanted.generation_id, fresh=wanted.fresh)


async def _get_now(desk: Desk, wanted: OneGeneration, _tell: Tell) -> Generation:
    return await desk.show(wanted.account, wanted.generation_id, fresh=True)


async def _list(desk: Desk, wanted: ListGenerations, _tell: Tell) -> Generations:
    return await desk.listed(wanted.account, limit=wanted.limit, offset=wanted.offset)


async def _list_either(desk: Remote, wanted: ListGenerationsOrTrackers, tell: Tell) -> Generations:
    if not wanted.tracked_only:
        return await _list(desk, wanted, tell)
    return await desk.tracked(wanted.account, limit=wanted.limit, offset=wanted.offset)


async def _wait(desk: Desk, wanted: WaitForGeneration, tell: Tell) -> Generation:
    return await desk.wait(wanted.account, wanted.generation_id, wanted.timeout_s, tell)


async def _create(desk: Desk, wanted: CreateGeneration | GenerateImage, _tell: Tell) -> Generation:
    return await desk.create(wanted.account, request_of(wanted))


async def _submit(
    desk: Remote, wanted: CreateAndTrack | GenerateAndTrack, _tell: Tell
) -> Generation:
    ours = wanted.model_dump(mode="json", exclude_none=True, include=set(Submission.model_fields))
    request = ours.pop("request", None) or request_of(wanted)
    key = ours.pop("idempotency_key", None)
    return await desk.create(wanted.account, request, terms=ours, idempotency_key=key)


def request_of(wanted: CreateGeneration | GenerateImage) -> JsonObject:
    """Write what is to be created as Luma's create calls take it."""
    kind = "image" if isinstance(wanted, GenerateImage) else "video"
    asked = wanted.model_dump(mode="json", exclude_none=True, exclude=_OUR_PART)
    return {"generation_type": kind, **asked}


# --- with a server ------------------------------------------------------------------------------

WITH_SERVER = (
    Tool(
        name="get_generation",
        title="Show a generation",
        description="Show how one generation is: state, failure reason, video and image URLs,"
        " progress, whether it is tracked and when it is looked at next. Use it to look up an ID"
        " once. To wait for an end use wait_for_generation instead of calling this in a loop. What"
        " is tracked costs nothing; for what is not the provider is asked, for one request of the"
        " account's budget. Next: what `next_step` says.",
        arguments=GetGeneration,
        answer=Generation,
        run=_get,
        reaches_out=True,
    ),
    Tool(
        name="list_generations",
        title="List generations",
        description="List an account's generations as its provider lists them, running and over, a"
        " page at a time. Use it to find an ID you do not have; for one you have use"
        " get_generation. It costs one request of the account's budget, or none with"
        " tracked_only=true, which lists what Dreamhook tracks or has tracked. Next: get_generation"
        " or track_generation with an ID, or the next page with `next_offset`.",
        arguments=ListGenerationsOrTrackers,
        answer=Generations,
        run=_list_either,
        reaches_out=True,
    ),
    Tool(
        name=WAIT,
        title="Wait for a generation",
        description="Wait until a tracked generation is over, up to 50 seconds a call, and show it"
        " as get_generation does; `is_over` says whether it is. A video takes one to five minutes,"
        " so call it again while `is_over` is false. Waiting costs nothing: Dreamhook looks anyway."
        " Not for what nobody tracks: call track_generation first. If you need no result"
        " yourself, do not wait: webhooks are sent without you.",
        arguments=WaitForGeneration,
        answer=Generation,
        run=_wait,
        reaches_out=True,
    ),
    Tool(
        name="create_generation",
        title="Create a video and track it",
        description="Have a video made from a prompt or from keyframes, and track it to its end in"
        " the same step. This spends money at the provider, each call anew, unless you repeat an"
        " idempotency_key. It answers at once with the ID; a video takes one to five minutes. Not"
        " for pictures: use generate_image. Not for an ID that exists: use track_generation. Next:"
        " wait_for_generation, or nothing, if callback_url or endpoint is to be told. If the answer"
        " says that the outcome is not known, do as it says and nothing else.",
        arguments=CreateAndTrack,
        answer=Generation,
        run=_submit,
        changes=True,
        repeats=False,
        reaches_out=True,
    ),
    Tool(
        name="generate_image",
        title="Create an image and track it",
        description="Have a picture made from a prompt or from reference pictures, and track it to"
        " its end in the same step. This spends money at the provider, each call anew, unless you"
        " repeat an idempotency_key. It answers at once with the ID, not with the picture, which"
        " takes 5 to 20 seconds. Not for videos: use create_generation. Next: wait_for_generation"
        " for the URL. If the answer says that the outcome is not known, do as it says and"
        " nothing else.",
        arguments=GenerateAndTrack,
        answer=Generation,
        run=_submit,
        changes=True,
        repeats=False,
        reaches_out=True,
    ),
)

# --- without ------------------------------------------------------------------------------------

_get_tool, _list_tool, _wait_tool, _create_tool, _image_tool = WITH_SERVER

_PAID = "This spends money at the provider, each call anew."

ALONE = (
    replace(
        _get_tool,
        description="Show how one generation is at the provider now: state, failure reason, video"
        " and image URLs, progress. Use it to look up an ID once. To wait for an end use"
        " wait_for_generation instead of calling this in a loop. It costs one request of the"
        " account's budget. Next: what `next_step` says.",
        arguments=OneGeneration,
        run=_get_now,
    ),
    replace(
        _list_tool,
        description="List an account's generations as its provider lists them, running and over, a"
        " page at a time. Use it to find an ID you do not have; for one you have use"
        " get_generation. It costs one request of the account's budget. Next: get_generation with"
        " an ID, or the next page with `next_offset`.",
        arguments=ListGenerations,
        run=_list,
    ),
    replace(
        _wait_tool,
        description="Wait until a generation is over, up to 50 seconds a call, and show it as"
        " get_generation does; `is_over` says whether it is. A video takes one to five minutes, so"
        " call it again while `is_over` is false. It looks at the provider when an end is likely,"
        " a few requests in all. Nothing is watched between two calls.",
    ),
    replace(
        _create_tool,
        title="Create a video",
        description=f"Have a video made from a prompt or from keyframes. {_PAID} It answers at once"
        " with the ID; a video takes one to five minutes. Not for pictures: use generate_image."
        " Next: wait_for_generation. If the answer says that the outcome is unknown, look with"
        " list_generations before you create it again.",
        arguments=CreateGeneration,
        run=_create,
    ),
    replace(
        _image_tool,
        title="Create an image",
        description=f"Have a picture made from a prompt or from reference pictures. {_PAID} It"
        " answers at once with the ID, not with the picture, which takes 5 to 20 seconds. Not for"
        " videos: use create_generation. Next: wait_for_generation for the URL. If the answer says"
        " that the outcome is unknown, look with list_generations before you create it again.",
        arguments=GenerateImage,
        run=_create,
    ),
)
