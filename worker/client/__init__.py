"""A client of Dreamhook's HTTP API, for the command line and for scripts: HTTP goes in and out.

No more than the API itself: what comes back is the API's JSON as it is. `Client` is synchronous
and can do all of it, `AsyncClient` what somebody has needed. What goes wrong is a `DreamhookError`
whose text is fit to be shown to whoever runs the command.
"""

from worker.client.awaited import AsyncClient
from worker.client.events import Event
from worker.client.http import ApiError, StillAwayError, UnreachableError, is_away
from worker.client.methods import MAX_BATCH, PAGE, PATIENCE_S, PAUSE_S, Client
from worker.client.outage import Outage

__all__ = [
    "MAX_BATCH",
    "PAGE",
    "PATIENCE_S",
    "PAUSE_S",
    "ApiError",
    "AsyncClient",
    "Client",
    "Event",
    "Outage",
    "StillAwayError",
    "UnreachableError",
    "is_away",
]
