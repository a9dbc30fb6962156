"""Have a video made, and wait for it: nothing is lost or paid for twice, whatever fails on the way.

    pip install httpx
    export DREAMHOOK_URL=http://127.0.0.1:8080 DREAMHOOK_API_KEY=…
    python submit_and_wait.py order-1234 "a fox in the snow"

Run it again with the same order, after a crash or a power cut, and it goes on where it was. It
exits with 0 and prints the URLs if the video is there, and with 1 if there is none.
"""

import json
import os
import sys
import time
from typing import Any

import httpx

URL = os.environ.get("DREAMHOOK_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("DREAMHOOK_API_KEY", "")


def submit(api: httpx.Client, order: str, prompt: str) -> dict[str, Any]:
    """Get the tracker of the order's video. The key makes sure that there is one video only."""
    body = {
        "account": "luma",
        "request": {"model": "ray-2", "prompt": prompt, "resolution": "720p", "duration": "5s"},
        "metadata": {"order": order},
    }
    while True:
        try:
            answer = api.post("/v1/generations", json=body, headers={"Idempotency-Key": order})
        except httpx.TransportError as error:
            print(f"no answer ({error}); asking again", file=sys.stderr)
            time.sleep(2)
            continue
        problem = answer.json()
        match answer.status_code:
            case 200 | 202:
                return problem  # it is the tracker
            case 504:  # the provider has not answered: Dreamhook is finding out
                return found_out(api, problem)
            case 409 | 429 | 503 if "retry-after" in answer.headers:
                print(f"{problem['detail']}", file=sys.stderr)
                time.sleep(int(answer.headers["retry-after"]))
            case _:
                sys.exit(f"{problem['title']}: {problem['detail']}")


def found_out(api: httpx.Client, problem: dict[str, Any]) -> dict[str, Any]:
    """Wait until it is known what came of a submission."""
    while True:
        submission = api.get(problem["instance"]).raise_for_status().json()
        match submission["state"]:
            case "created":
                return submission["tracker"]
            case "pending":
                print("the provider has not answered; it is being looked for", file=sys.stderr)
                time.sleep(2)
            case _:  # unknown, or refused: `detail` says what to do
                sys.exit(submission["detail"])


def finished(api: httpx.Client, tracker: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end. Each question is answered when it is over, or after a minute."""
    path = f"/v1/trackers/{tracker['account']}/{tracker['generation_id']}"
    while tracker["state"] == "tracking":
        try:
            answer = api.get(path, params={"wait": 60})
            if answer.status_code == 503:
                time.sleep(int(answer.headers["retry-after"]))
            else:
                tracker = answer.raise_for_status().json()
        except httpx.TransportError as error:
            print(f"no answer ({error}); asking again", file=sys.stderr)
            time.sleep(2)
    return tracker


def main() -> None:
    """Submit and wait."""
    if len(sys.argv) != 3:
        sys.exit("usage: submit_and_wait.py ORDER PROMPT")
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx.Client(base_url=URL, headers=headers, timeout=90) as api:
        tracker = finished(api, submit(api, *sys.argv[1:]))
    if tracker["state"] != "completed":
        sys.exit(f"{tracker['state']}: {tracker['failure_reason'] or tracker['reason']}")
    print(json.dumps(tracker["assets"]))


if __name__ == "__main__":
    main()
