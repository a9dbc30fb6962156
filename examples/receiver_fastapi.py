"""A receiver of Dreamhook's webhooks, with FastAPI.

    pip install fastapi uvicorn standardwebhooks
    export WEBHOOK_SECRET="$(dreamhook secret)"
    uvicorn receiver_fastapi:app --port 9000

Then `http://127.0.0.1:9000/hooks/luma` is a `callback_url`, for a Dreamhook that was started with
`DREAMHOOK_ALLOW_PRIVATE=127.0.0.0/8`.
"""

import os
import sqlite3
import sys
from typing import Any

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

app = FastAPI()
secret = os.environ.get("WEBHOOK_SECRET")  # whsec_…
if not secret:
    sys.exit('there is no secret to verify with: export WEBHOOK_SECRET="$(dreamhook secret)"')
webhook = Webhook(secret)

# What was handled, so that a webhook that comes twice is handled once. Use your own database: if
# the work is done there too, do both in one transaction.
handled = sqlite3.connect(os.environ.get("RECEIVER_DB", "webhooks.db"), check_same_thread=False)
handled.execute("CREATE TABLE IF NOT EXISTS handled (webhook_id TEXT PRIMARY KEY)")


@app.post("/hooks/luma", status_code=204)
async def receive(request: Request, background: BackgroundTasks) -> None:
    """Take a webhook: check that it is genuine, answer at once, and do the work after that."""
    try:
        event = webhook.verify(await request.body(), dict(request.headers))
    except (WebhookVerificationError, ValueError):
        raise HTTPException(400, "not genuine") from None
    with handled:
        insert = "INSERT OR IGNORE INTO handled VALUES (?)"
        is_new = handled.execute(insert, [request.headers["webhook-id"]]).rowcount == 1
    if is_new:
        background.add_task(handle, event)


def handle(event: dict[str, Any]) -> None:
    """Do what is to be done when a generation is over."""
    generation = event["data"]
    name, order = generation["generation_id"], generation["metadata"].get("order")
    match event["type"]:
        case "generation.completed":
            print(f"{name} of order {order} is done: {generation['assets']}", flush=True)
        case "generation.failed":
            print(f"{name} of order {order} failed: {generation['failure_reason']}", flush=True)
        case "generation.expired":
            print(f"{name} of order {order} was given up: {generation['reason']}", flush=True)
        case _:  # there may be more one day
            pass
