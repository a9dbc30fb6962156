"""Track, get, wait, list, cancel, look now, over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from worker.addresses import endpoint_name
from worker.api import schemas
from worker.model import (
    Answer,
    HealthReason,
    Missing,
    Refused,
    Throttled,
    Trouble,
    rfc3339,
)
from worker.service import RECHECK_S

from .conftest import COMPLETED, DREAMING, HOOK, House, assert_problem

TRACKER = "/v1/trackers/luma/g-1"


# --- track --------------------------------------------------------------------------------------


async def test_a_new_tracker_is_accepted_and_told_where_it_is(client: httpx.AsyncClient) -> None:
    body = {"callback_url": HOOK, "metadata": {"order": 1}, "deadline_s": 60}
    answer = await client.put(TRACKER, json=body)
    assert answer.status_code == 202
    assert answer.headers["location"] == TRACKER
    tracker = schemas.Tracker.model_validate_json(answer.content)
    assert (tracker.state, tracker.callback_url, tracker.polls) == ("tracking", HOOK, 0)
    assert (tracker.deadline_at - tracker.tracked_at).total_seconds() == 60
    assert (await client.get(TRACKER)).json() == answer.json()


async def test_a_new_tracker_starts_its_lane(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    assert house.started == ["poll:luma"]


async def test_a_body_is_optional(client: httpx.AsyncClient) -> None:
    tracker = (await client.put(TRACKER)).json()
    assert tracker["callback_url"] is None
    assert tracker["deadline_s"] == 86400
    assert tracker["events"] == [
        "generation.completed",
        "generation.expired",
        "generation.failed",
    ]


async def test_the_content_type_does_not_matter(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.put(TRACKER, content=b'{"deadline_s": 60}', headers=headers)
    assert answer.json()["deadline_s"] == 60


async def test_the_same_again_is_the_same(client: httpx.AsyncClient) -> None:
    body = {"callback_url": HOOK, "events": ["generation.failed", "generation.completed"]}
    first = await client.put(TRACKER, json=body)
    body["events"] = ["generation.completed", "generation.failed"]
    again = await client.put(TRACKER, json={**body, "callback_url": HOOK.replace("hooks", "HOOKS")})
    assert again.status_code == 200
    assert again.json() == first.json()
    assert "location" not in again.headers


async def test_the_same_again_is_the_same_after_its_end(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put(TRACKER)
    await house.look("g-1", COMPLETED)
    again = await client.put(TRACKER)
    assert again.status_code == 200
    assert again.json()["state"] == "completed"


async def test_other_settings_are_refused_and_change_nothing(client: httpx.AsyncClient) -> None:
    first = await client.put(TRACKER, json={"deadline_s": 60})
    answer = await client.put(TRACKER, json={"deadline_s": 61})
    detail = assert_problem(answer, 409, "deadline_s")
    assert "deadline_s: it is 60.0, you sent 61.0" in detail
    assert f"DELETE {TRACKER}" in detail
    assert (await client.get(TRACKER)).json() == first.json()


async def test_other_settings_of_what_is_over_are_refused_with_what_can_be_done(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put(TRACKER, json={"callback_url": HOOK})
    await house.look("g-1", COMPLETED)
    answer = await client.put(TRACKER, json={"callback_url": f"{HOOK}/new"})
    detail = assert_problem(answer, 409, "callback_url")
    assert f'callback_url: it is "{HOOK}", you sent "{HOOK}/new"' in detail
    assert "It has completed" in detail
    assert "POST /v1/deliveries/{delivery_id}/replay" in detail


async def test_how_the_webhook_stands_is_told_with_the_tracker(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put(TRACKER, json={"callback_url": HOOK})
    await client.put("/v1/trackers/luma/g-2")
    assert (await client.get(TRACKER)).json()["webhook"] is None
    await house.look("g-1", COMPLETED)
    await house.look("g-2", COMPLETED)

    owed = (await client.get(TRACKER)).json()["webhook"]

    assert owed | {"delivery_id": "", "next_attempt_at": ""} == {
        "delivery_id": "",
        "type": "generation.completed",
        "endpoint": endpoint_name(HOOK),
        "url": HOOK,
        "state": "pending",
        "reason": None,
        "attempts": 0,
        "status": None,
        "error": None,
        "next_attempt_at": "",
        "held": None,
    }
    again = await client.put(TRACKER, json={"callback_url": HOOK})
    listed = schemas.TrackerPage.model_validate_json((await client.get("/v1/trackers")).content)
    assert again.json()["webhook"] == owed
    assert [each.webhook and each.webhook.delivery_id for each in listed.items] == [
        None,
        owed["delivery_id"],
    ]


async def test_an_update_while_it_runs_is_owed_too(client: httpx.AsyncClient, house: House) -> None:
    events = ["generation.updated", "generation.completed"]
    await client.put(TRACKER, json={"callback_url": HOOK, "events": events})
    await house.look("g-1", DREAMING)
    webhook = (await client.get(TRACKER)).json()["webhook"]
    assert (webhook["type"], webhook["state"]) == ("generation.updated", "pending")


async def test_an_error_is_current_until_a_look_shows_it(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put(TRACKER)
    await house.look("g-1", Missing("404 Not Found"))
    missing = (await client.get(TRACKER)).json()
    await house.look("g-1", DREAMING)
    seen = (await client.get(TRACKER)).json()
    assert (missing["last_error"], missing["current_error"]) == ("404 Not Found", "404 Not Found")
    assert (seen["last_error"], seen["current_error"]) == ("404 Not Found", None)


async def test_a_canceled_tracker_starts_anew_with_other_settings(
    client: httpx.AsyncClient,
) -> None:
    await client.put(TRACKER)
    await client.delete(TRACKER)
    answer = await client.put(TRACKER, json={"deadline_s": 60})
    assert answer.status_code == 202
    assert answer.json()["state"] == "tracking"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"callback_url": "ftp://example.com/"}, "callback_url"),
        ({"callback_url": "http://10.0.0.1/"}, "callback_url"),
        ({"callback_url": 5}, "callback_url"),
        ({"callback_url": HOOK, "endpoint": "mine"}, "endpoint"),
        ({"endpoint": "mine"}, "endpoint"),
        ({"events": []}, "events"),
        ({"events": ["generation.done"]}, "events.0"),
        ({"metadata": {"text": "x" * 4096}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"deadline_s": 1e9}, "deadline_s"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"headers": {"X-A": 1}}, "headers.X-A"),
        ({"callback": HOOK}, "callback"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_a_field_that_cannot_be_used_is_named(
    client: httpx.AsyncClient, body: Any, field: str
) -> None:
    answer = await client.put(TRACKER, content=json.dumps(body).encode())
    assert field in assert_problem(answer, 422, field)
    assert_problem(await client.get(TRACKER), 404)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"deadline_s": 1', b" ", b"[" * 5000])
async def test_a_body_that_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert "JSON" in assert_problem(await client.put(TRACKER, content=body), 422, "body")


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
async def test_a_number_that_json_cannot_hold_is_refused(
    client: httpx.AsyncClient, number: bytes
) -> None:
    body = b'{"metadata": {"a": [{"b": %s}]}}' % number
    assert_problem(await client.put(TRACKER, content=body), 422, "metadata")


async def test_the_words_for_such_numbers_are_only_words(client: httpx.AsyncClient) -> None:
    answer = await client.put(TRACKER, json={"metadata": {"NaN": "Infinity", "n": 1.5}})
    assert answer.status_code == 202


@pytest.mark.parametrize("name", ["a b", "%E2%82%AC", "x" * 201, "...", "a%00", "a%2Cb"])
async def test_an_id_that_cannot_be_one_is_refused(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.put(f"/v1/trackers/luma/{name}")
    assert_problem(answer, 422, "generation_id")


async def test_an_id_may_hold_what_ids_hold(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/trackers/luma/a:b@c~d+e=f-g_h.i")
    assert answer.status_code == 202
    assert (await client.get(answer.headers["location"])).json() == answer.json()


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("account", ["nobody", "luma:x", "%20"])
async def test_an_unknown_account_is_told_which_there_are(
    client: httpx.AsyncClient, verb: str, account: str
) -> None:
    answer = await client.request(verb, f"/v1/trackers/{account}/g-1")
    assert "luma, other" in assert_problem(answer, 404, "account")


async def test_no_account_name_reaches_into_another_account(client: httpx.AsyncClient) -> None:
    await client.put("/v1/trackers/luma/x:g-1")
    assert_problem(await client.get("/v1/trackers/luma:x/g-1"), 404, "account")
    assert_problem(await client.delete("/v1/trackers/luma:x/g-1"), 404, "account")
    assert_problem(await client.post("/v1/trackers/luma:x/g-1/poll"), 404, "account")


async def test_an_account_that_is_held_can_still_be_tracked_in(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put("/v1/trackers/luma/g-0")
    await house.look("g-0", Refused("401"))
    [health] = await house.store.lanes.health(["poll:luma"])
    assert health.reason is HealthReason.CREDENTIALS
    assert (await client.put(TRACKER)).status_code == 202


# --- get ----------------------------------------------------------------------------------------


async def test_what_is_not_tracked_is_not_found(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get(TRACKER), 404)


async def test_a_tracker_shows_what_was_seen(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    await house.look("g-1", COMPLETED)
    tracker = schemas.Tracker.model_validate_json((await client.get(TRACKER)).content)
    assert (tracker.state, tracker.model) == ("completed", "ray-2")
    assert tracker.assets == {"video": "https://a.example/v.mp4"}
    assert tracker.generation == {"id": "g-1", "state": "completed"}


async def test_waiting_ends_when_the_tracker_does(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    listening = asyncio.create_task(house.store.bell.listen())
    waiting = asyncio.create_task(client.get(TRACKER, params={"wait": 60}))
    async with asyncio.timeout(RECHECK_S / 2):  # before it would look by itself
        while not (house.store.bell._waiting and await subscribers(house)):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.001)
        await house.look("g-1", DREAMING)
        await house.look("g-1", COMPLETED)
        answer = await waiting
    assert answer.json()["state"] == "completed"
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def subscribers(house: House) -> int:
    [(_, number)] = await house.redis.pubsub_numsub("test:ends")
    return int(number)


async def test_waiting_ends_with_what_there_is(client: httpx.AsyncClient) -> None:
    await client.put(TRACKER)
    answer = await client.get(TRACKER, params={"wait": 0.01})
    assert answer.status_code == 200
    assert answer.json()["state"] == "tracking"


async def test_nobody_waits_for_what_is_over(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    await house.look("g-1", COMPLETED)
    async with asyncio.timeout(RECHECK_S / 2):
        answer = await client.get(TRACKER, params={"wait": 60})
    assert answer.json()["state"] == "completed"


async def test_nobody_waits_for_what_is_not_tracked(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get(TRACKER, params={"wait": 60}), 404)


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon", ""])
async def test_a_wait_that_cannot_be_is_refused(client: httpx.AsyncClient, wait: str) -> None:
    await client.put(TRACKER)
    assert_problem(await client.get(TRACKER, params={"wait": wait}), 422, "wait")


async def test_fresh_looks_first(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    house.provider.answer = COMPLETED
    answer = await client.get(TRACKER, params={"fresh": "true"})
    assert answer.json()["state"] == "completed"
    assert house.provider.asked == ["g-1"]


async def test_not_fresh_looks_not(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    await client.get(TRACKER, params={"fresh": "false"})
    assert house.provider.asked == []


async def test_fresh_of_what_is_not_tracked_asks_nobody(
    client: httpx.AsyncClient, house: House
) -> None:
    assert_problem(await client.get(TRACKER, params={"fresh": "true"}), 404)
    nobody = await client.get("/v1/trackers/no/g-1", params={"fresh": "true"})
    assert_problem(nobody, 404, "account")
    assert house.provider.asked == []


async def test_fresh_of_a_held_account_says_when_to_ask_again(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put(TRACKER)
    await house.look("g-1", Refused("401"))
    answer = await client.get(TRACKER, params={"fresh": "true"})
    said = assert_problem(answer, 503)
    assert "credentials rejected (401)" in said
    assert "It has not been seen yet." in said
    assert 0 < int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        (Trouble("the connection was refused"), "gave no usable answer (the connection was"),
        (Refused("401"), "rejects the credentials"),
        (Throttled("429", 7.0), "too often (429)"),
        (Missing("404 Not Found"), "does not know g-1"),
    ],
)
async def test_fresh_that_is_not_to_be_had_fails_and_says_how_old_what_is_stored_is(
    client: httpx.AsyncClient, house: House, refusal: Answer, why: str
) -> None:
    await client.put(TRACKER)
    await house.look("g-1", COMPLETED)
    house.provider.answer = refusal

    said = assert_problem(await client.get(TRACKER, params={"fresh": "true"}), 503)

    assert why in said
    assert re.search(r"Without `fresh` you get what was seen \d s ago\.$", said)
    stored = (await client.get(TRACKER)).json()
    assert (stored["state"], stored["assets"]) == ("completed", COMPLETED.assets)


# --- cancel, look now, timeline -----------------------------------------------------------------


async def test_a_canceled_tracker_says_so(client: httpx.AsyncClient) -> None:
    await client.put(TRACKER)
    answer = await client.delete(TRACKER)
    assert answer.status_code == 200
    assert answer.json()["state"] == "canceled"
    assert answer.json()["next_poll_at"] is None


async def test_what_is_over_cannot_be_canceled(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    await house.look("g-1", COMPLETED)
    before = (await client.get(TRACKER)).json()
    answer = await client.delete(TRACKER)
    assert answer.status_code == 200
    assert answer.json() == before


async def test_what_is_not_tracked_cannot_be_canceled(client: httpx.AsyncClient) -> None:
    assert_problem(await client.delete(TRACKER), 404)


async def test_a_look_can_be_had_now(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    await house.look("g-1", DREAMING)
    planned = (await client.get(TRACKER)).json()["next_poll_at"]
    answer = await client.post(f"{TRACKER}/poll")
    assert answer.status_code == 202
    claimed = await house.store.trackers.claim("luma", limit=1, rate=1000)
    assert [each.generation_id for each in claimed.looks] == ["g-1"]
    assert rfc3339(claimed.clock.now()) < planned


async def test_what_is_over_is_not_looked_at(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER)
    await house.look("g-1", COMPLETED)
    assert "fresh" in assert_problem(await client.post(f"{TRACKER}/poll"), 409)


async def test_what_is_not_tracked_is_not_looked_at(client: httpx.AsyncClient) -> None:
    assert_problem(await client.post(f"{TRACKER}/poll"), 404)


async def test_the_timeline_tells_it_in_order(client: httpx.AsyncClient, house: House) -> None:
    await client.put(TRACKER, json={"callback_url": HOOK})
    await house.look("g-1", Missing("404 Not Found"))
    await house.look("g-1", COMPLETED)
    answer = await client.get(f"{TRACKER}/timeline")
    entries = schemas.Timeline.model_validate_json(answer.content).items
    assert [each.kind for each in entries] == ["tracked", "look", "look", "change", "event"]
    assert sorted(entries, key=lambda each: each.at) == entries
    assert answer.json()["items"][1]["error"] == "404 Not Found"


async def test_what_is_not_tracked_has_no_timeline(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get(f"{TRACKER}/timeline"), 404)
