"""The examples in the reference, one story: a video is tracked, completes, and is delivered."""

from __future__ import annotations

from worker.model import JsonObject

_ID = "7d1f6c1e-5f0c-4f6b-9d53-0f6c1a2b3c4d"
_VIDEO = f"https://storage.example.com/{_ID}.mp4"
_URL = "https://example.com/hooks/luma"
_METADATA = {"order": 1234}

TRACK: JsonObject = {"callback_url": _URL, "metadata": _METADATA}

SUBMIT: JsonObject = {
    "account": "luma",
    "request": {"model": "ray-2", "prompt": "a fox in the snow", "duration": "5s"},
    **TRACK,
}

BATCH: JsonObject = {"trackers": [{"account": "luma", "generation_id": _ID, **TRACK}]}

TRACKER: JsonObject = {
    "account": "luma",
    "generation_id": _ID,
    "provider": "luma",
    "state": "tracking",
    "reason": None,
    "provider_state": "dreaming",
    "model": "ray-2",
    "type": "video",
    "progress": None,
    "assets": {},
    "assets_expire_at": None,
    "failure_reason": None,
    "failure_code": None,
    "retryable": None,
    "callback_url": _URL,
    "endpoint": None,
    "events": ["generation.completed", "generation.expired", "generation.failed"],
    "webhook": None,
    "metadata": _METADATA,
    "headers": {},
    "deadline_s": 86400.0,
    "polls": 3,
    "poll_errors": 0,
    "last_error": None,
    "current_error": None,
    "tracked_at": "2026-01-31T12:00:00.000Z",
    "seen_at": "2026-01-31T12:00:21.500Z",
    "finished_at": None,
    "next_poll_at": "2026-01-31T12:00:34.000Z",
    "held": None,
    "deadline_at": "2026-02-01T12:00:00.000Z",
    "generation": {"id": _ID, "state": "dreaming", "assets": None},
}

SUBMISSION: JsonObject = {
    "id": "sub_5b1f0c8e2d7a4f6390c1e2d3",
    "account": "luma",
    "provider": "luma",
    "state": "created",
    "begun_at": "2026-01-31T11:59:59.200Z",
    "ended_at": "2026-01-31T12:00:00.000Z",
    "searches": 0,
    "detail": None,
    "refusal": None,
    "generation_id": _ID,
    "tracker": TRACKER,
}

PROBLEM: JsonObject = {
    "type": "about:blank",
    "title": "Unprocessable Content",
    "status": 422,
    "detail": "deadline_s: must be at least 1",
    "field": "deadline_s",
    "errors": [{"field": "deadline_s", "message": "must be at least 1"}],
}

EVENT: JsonObject = {
    "type": "generation.completed",
    "timestamp": "2026-01-31T12:00:47.250Z",
    "data": {
        "account": "luma",
        "provider": "luma",
        "generation_id": _ID,
        "state": "completed",
        "reason": None,
        "provider_state": "completed",
        "assets": {"video": _VIDEO},
        "assets_expire_at": None,
        "failure_reason": None,
        "failure_code": None,
        "retryable": None,
        "metadata": _METADATA,
        "tracked_at": "2026-01-31T12:00:00.000Z",
        "seen_at": "2026-01-31T12:00:47.250Z",
        "finished_at": "2026-01-31T12:00:47.250Z",
        "polls": 5,
        "generation": {"id": _ID, "state": "completed", "assets": {"video": _VIDEO}},
    },
}

DELIVERY: JsonObject = {
    "id": "dlv_3f0c8b0d5a5e4c0c9f1e2d3c",
    "event_id": "evt_9a8b7c6d5e4f3a2b1c0d9e8f",
    "type": "generation.completed",
    "account": "luma",
    "generation_id": _ID,
    "endpoint": "url_0f3c2e1d4b5a69788796",
    "url": _URL,
    "state": "delivered",
    "reason": None,
    "created_at": "2026-01-31T12:00:47.250Z",
    "next_attempt_at": None,
    "held": None,
    "attempts": [
        {
            "at": "2026-01-31T12:00:47.260Z",
            "duration_ms": 12,
            "status": 204,
            "error": None,
            "response": "",
            "held_ms": None,
        }
    ],
}

ENDPOINT_REQUEST: JsonObject = {"url": _URL, "headers": {"X-Team": "video"}, "concurrency": 4}

ROTATE: JsonObject = {"overlap_s": 86400}

RECOVER: JsonObject = {"since": "2026-01-31T12:00:00Z"}

ENDPOINT: JsonObject = {
    "name": "studio",
    "url": _URL,
    "events": [],
    "headers": {"X-Team": "video"},
    "enabled": True,
    "disabled_reason": None,
    "secrets": 1,
    "concurrency": 4,
    "under_way": 0,
    "due": 0,
    "refresh_assets": False,
    "failing_since": None,
    "failed_with": None,
    "held": None,
}

NOTICE: JsonObject = {
    "type": "endpoint.disabled",
    "timestamp": "2026-01-31T12:00:47.250Z",
    "data": {"endpoint": "studio", "url": _URL, "reason": "it answered 410 Gone"},
}

OF_ANSWERS = {
    "Tracker": TRACKER,
    "Submission": SUBMISSION,
    "Problem": PROBLEM,
    "Event": EVENT,
    "Delivery": DELIVERY,
    "Endpoint": ENDPOINT,
    "Notice": NOTICE,
}
"""By the name of the type they are of."""
