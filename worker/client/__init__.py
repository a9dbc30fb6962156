"""A client of Dreamhook's HTTP API, for the command line and for scripts: HTTP goes in and out.

Synchronous, and no more than the API itself: what comes back is the API's JSON as it is. What
goes wrong is a `DreamhookError` whose text is fit to be shown to whoever runs the command.
"""

from worker.client.events import Event
from worker.client.http import ApiError, UnreachableError
from worker.client.methods import MAX_BATCH, PAGE, Client

__all__ = ["MAX_BATCH", "PAGE", "ApiError", "Client", "Event", "UnreachableError"]
