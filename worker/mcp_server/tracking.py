"""The tools that only a Dreamhook server can offer: track, cancel, webhooks, the queue."""

from __future__ import annotations

from worker.mcp_server.answers import Deliveries, Delivery, Generation, QueueStats
from worker.mcp_server.arguments import (
    GetQueueStats,
    ListDeliveries,
    OneGeneration,
    ReplayDelivery,
    Terms,
    TrackGeneration,
)
from worker.mcp_server.desks import Tell
from worker.mcp_server.remote import Remote
from worker.mcp_server.tools import Tool


async def _track(desk: Remote, wanted: TrackGeneration, _tell: Tell) -> Generation:
    terms = wanted.model_dump(mode="json", exclude_none=True, include=set(Terms.model_fields))
    return await desk.track(wanted.account, wanted.generation_id, terms)


async def _cancel(desk: Remote, wanted: OneGeneration, _tell: Tell) -> Generation:
    return await desk.cancel(wanted.account, wanted.generation_id)


async def _deliveries(desk: Remote, wanted: ListDeliveries, _tell: Tell) -> Deliveries:
    return await desk.deliveries(wanted)


async def _replay(desk: Remote, wanted: ReplayDelivery, _tell: Tell) -> Delivery:
    return await desk.replay(wanted.delivery_id)


async def _stats(desk: Remote, _wanted: GetQueueStats, _tell: Tell) -> QueueStats:
    return await desk.stats()


TOOLS = (
    Tool(
        name="track_generation",
        title="Track a generation",
        description="Have Dreamhook watch a generation that exists already to its end, and tell"
        " callback_url or endpoint of it with a signed webhook. Use it for an ID that came from"
        " elsewhere; create_generation and generate_image track by themselves. It costs a few"
        " requests of the account's budget until the end. The same call again changes nothing;"
        " with other settings it is refused, until you cancel_tracking. Next: wait_for_generation,"
        " or nothing.",
        arguments=TrackGeneration,
        answer=Generation,
        run=_track,
        changes=True,
        reaches_out=True,
    ),
    Tool(
        name="cancel_tracking",
        title="Stop tracking a generation",
        description="Stop watching a generation: no webhook will tell of its end. The generation"
        " itself goes on at the provider and is paid for; nothing can stop that. Use it when nobody"
        " wants the result any more, or before track_generation with other settings. What is over"
        " stays as it is. Costs nothing.",
        arguments=OneGeneration,
        answer=Generation,
        run=_cancel,
        changes=True,
        destroys=True,
    ),
    Tool(
        name="list_deliveries",
        title="List webhooks",
        description="List webhooks that are owed or were sent, newest first, each with how its last"
        " attempt went. Use it to find out why a receiver was not told; for how a generation itself"
        " is use get_generation. Costs nothing. Next: replay_delivery for one that is exhausted,"
        " once the receiver works again.",
        arguments=ListDeliveries,
        answer=Deliveries,
        run=_deliveries,
    ),
    Tool(
        name="replay_delivery",
        title="Send a webhook again",
        description="Have one webhook sent again, whatever became of it, with a whole schedule of"
        " retries and under the same webhook-id. Use it after a receiver was mended, with an ID"
        " from list_deliveries; not while it is pending, unless you want the next attempt now. The"
        " receiver gets it once more with each call. Costs nothing. Next: list_deliveries tells"
        " how it went.",
        arguments=ReplayDelivery,
        answer=Delivery,
        run=_replay,
        changes=True,
        repeats=False,
        reaches_out=True,
    ),
    Tool(
        name="get_queue_stats",
        title="Show the queue",
        description="Show how much Dreamhook has to do and whether it is being done: trackers and"
        " webhooks by state, lag, workers, the last hour, and who is in trouble. Use it when things"
        " seem slow or stuck; for one generation use get_generation. Costs nothing.",
        arguments=GetQueueStats,
        answer=QueueStats,
        run=_stats,
    ),
)
