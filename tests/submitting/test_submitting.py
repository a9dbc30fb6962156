"""What a caller is answered who has a generation made."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.submitting.conftest import FOX, PUBLIC_URL
from worker.api.gate import Gate
from worker.model import JsonObject

if TYPE_CHECKING:
    from tests.submitting.conftest import Town

HOOK = "https://hooks.example.com/luma"


async def test_what_is_submitted_is_made_once_and_tracked_with_its_settings(town: Town) -> None:
    site = town.site()

    answer = await site.submit(callback_url=HOOK, metadata={"order": 7}, deadline_s=60)

    (made,) = town.made()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/trackers/luma/{made}"
    tracker = answer.json()
    assert (tracker["generation_id"], tracker["state"]) == (made, "tracking")
    assert (tracker["callback_url"], tracker["metadata"]) == (HOOK, {"order": 7})
    assert (await site.api.get(answer.headers["location"])).json() == tracker
    assert site.started == ["poll:luma"]
    generation = town.world.find(made)
    assert generation
    assert generation.request["prompt"] == FOX["prompt"]
    assert generation.request["callback_url"] is None


async def test_an_image_goes_to_the_call_for_images(town: Town) -> None:
    request = {"generation_type": "image", "model": "photon-1", "prompt": "a fox"}

    assert (await town.site().submit(request)).status_code == 202

    (made,) = town.made()
    found = town.world.find(made)
    assert found
    assert found.generation_type == "image"


@pytest.mark.parametrize(
    ("fault", "status", "provider_status", "retry_after"),
    [
        ("create:400", 400, 400, None),
        ("create:402", 402, 402, None),
        ("create:422", 422, 422, None),
        ("create:429:retry_after=7", 429, 429, "7"),
        ("create:429", 429, 429, None),
        ("create:401", 502, 401, None),
        ("create:403", 502, 403, None),
        ("create:404", 502, 404, None),
        ("create:redirect", 502, 302, None),
    ],
)
async def test_a_refusal_is_told_as_the_provider_said_it(
    town: Town, fault: str, status: int, provider_status: int, retry_after: str | None
) -> None:
    town.fault(fault)
    site = town.site()

    answer = await site.submit(key="k-1")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
    problem = answer.json()
    assert (problem["status"], problem["provider_status"]) == (status, provider_status)
    assert "field" not in problem
    if fault != "create:redirect":
        assert problem["provider_body"]["detail"] in problem["detail"]
    outcome = await site.outcome(answer)
    assert (outcome["state"], outcome["refusal"]["status"]) == ("refused", provider_status)
    assert town.made() == []

    town.faults.clear()  # nothing was made, so the same key may try again
    assert (await site.submit(key="k-1")).status_code == 202


async def test_rejected_credentials_do_not_look_like_the_callers_own_key(town: Town) -> None:
    town.fault("create:401")

    answer = await town.site().submit()

    assert answer.status_code == 502
    assert answer.json()["title"] == "Credentials of the Account Rejected"
    assert "www-authenticate" not in answer.headers


async def test_an_echoed_api_key_is_not_passed_on(town: Town) -> None:
    site = town.site(api_key="sesame-1234")
    answer = await site.submit({"model": "sesame-1234", "prompt": "a fox"})
    assert answer.status_code == 422
    assert "sesame-1234" not in answer.text


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"request": "fox"}, "request"),
        ({"account": "nobody"}, "account"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"callback_url": "ftp://x"}, "callback_url"),
        ({"endpoint": "nowhere"}, "endpoint"),
        ({"request": {"prompt": "x" * 300_000}}, "request"),
        ({"request": {"prompt": [[[1e999]]]}}, "request"),
        ({"request": {"seed": 2**70}}, "request"),
        ({"request": {"prompt": "\ud83e"}}, "body"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_what_cannot_be_used_is_refused_before_anybody_is_asked(
    town: Town, more: dict[str, Any], field: str
) -> None:
    site = town.site()
    body = {"account": "luma", "request": FOX, **more}
    answer = await site.api.post("/v1/generations", content=json.dumps(body))

    assert answer.status_code in {404, 422}
    assert answer.json()["field"] == field
    assert town.made() == []
    assert (await site.api.get("/v1/generations")).json()["items"] == []


async def test_who_leaves_request_out_is_shown_the_form(town: Town) -> None:
    site = town.site()
    body = {"account": "luma", "prompt": "a fox"}

    problem = (await site.api.post("/v1/generations", json=body)).json()

    assert (problem["status"], problem["field"]) == (422, "prompt")
    assert "prompt: is not known here; what is known: callback_url, " in problem["detail"]
    form = json.loads(problem["detail"].partition("belongs in request: ")[2])
    assert (await site.api.post("/v1/generations", json=form)).status_code == 202


async def test_a_provider_that_cannot_be_reached_was_sent_nothing(town: Town) -> None:
    site = town.site(base_url="http://127.0.0.1:1/v1")

    answer = await site.submit(key="k-1")

    assert answer.status_code == 503
    assert "Nothing was sent" in answer.json()["detail"]
    assert answer.headers["retry-after"]
    (submission,) = (await site.api.get("/v1/generations")).json()["items"]
    assert (submission["state"], submission["refusal"]) == ("refused", None)
    assert submission["detail"].startswith("Nothing was sent: the provider cannot be reached (")
    assert answer.json()["submission"] == submission["id"]
    assert answer.json()["instance"] == f"/v1/generations/{submission['id']}"
    assert (await town.site().submit(key="k-1")).status_code == 202


async def test_an_account_whose_looks_are_held_may_still_create(town: Town) -> None:
    site = town.site()
    await site.submit()
    town.fault("get:429:retry_after=60")
    await site.poller.look_now("luma", town.made()[0])
    assert (await site.store.lanes.health(["poll:luma"]))[0].held_until

    assert (await site.submit()).status_code == 202


async def test_a_read_only_key_may_not_submit_but_see(town: Town) -> None:
    site = town.site()
    app = site.api._transport.app  # type: ignore[attr-defined]
    locked = httpx.ASGITransport(Gate(app, api_keys=["w"], read_keys=["r"]))
    async with httpx.AsyncClient(
        transport=locked, base_url="http://localhost", headers={"Authorization": "Bearer r"}
    ) as reader:
        body = {"account": "luma", "request": FOX}
        assert (await reader.post("/v1/generations", json=body)).status_code == 403
        assert (await reader.get("/v1/generations")).status_code == 200
    assert town.made() == []


@pytest.mark.parametrize(("public_url", "kept"), [(None, FOX), (PUBLIC_URL, {})])
async def test_a_request_is_kept_only_if_it_is_what_would_tell_its_row(
    town: Town, public_url: str | None, kept: JsonObject
) -> None:
    town.fault("create:500")
    site = town.site(public_url=public_url)

    problem = (await site.submit(key="k-1")).json()

    found = await site.store.submissions.get(problem["submission"])
    assert found
    assert found.request == kept
    other = await site.submit({**FOX, "prompt": "a dog"}, key="k-1")
    assert other.json()["field"] == "Idempotency-Key"


# --- Idempotency-Key ------------------------------------------------------------------------------


async def test_the_same_key_makes_nothing_twice(town: Town) -> None:
    one, other = town.site(), town.site()
    first = await one.submit(key='"8e03978e-40d5-43dd-bc93-6894a57f9324"')

    again = await other.submit(key="8e03978e-40d5-43dd-bc93-6894a57f9324")

    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["generation_id"] == first.json()["generation_id"]
    assert again.headers["location"] == first.headers["location"]
    assert len(town.made()) == 1


async def test_the_same_key_for_another_request_is_refused(town: Town) -> None:
    site = town.site()
    await site.submit(key="k-1")

    for other in (
        await site.submit({**FOX, "prompt": "a dog"}, key="k-1"),
        await site.submit(key="k-1", metadata={"order": 8}),
    ):
        assert other.status_code == 422
        assert other.json()["field"] == "Idempotency-Key"
    assert len(town.made()) == 1


async def test_who_uses_a_key_for_another_request_is_told_what_differs_and_what_it_made(
    town: Town,
) -> None:
    site = town.site()
    made = await site.submit(key="k-1", metadata={"order": 7}, headers={"x-token": "hunter2"})
    name = made.json()["generation_id"]

    other = await site.submit(
        {"model": "ray-2", "prompt": "a dog", "loop": True},
        key="k-1",
        metadata={"order": 8},
        headers={"x-token": "hunter3"},
    )

    problem = other.json()
    assert problem["errors"][1:] == [
        {"field": "request.loop", "message": "the first request has none"},
        {"field": "request.prompt", "message": "another value"},
        {"field": "metadata", "message": 'it is {"order": 7}, you sent {"order": 8}'},
        {"field": "headers", "message": "other values of x-token"},
    ]
    assert problem["instance"] == f"/v1/generations/{problem['submission']}"
    assert (await site.outcome(other))["generation_id"] == name
    assert f"GET /v1/trackers/luma/{name}" in problem["detail"]
    assert "hunter" not in other.text
    assert len(town.made()) == 1


async def test_of_a_call_in_doubt_with_another_request_it_is_said_where_to_ask(town: Town) -> None:
    town.fault("create:500")
    site = town.site()
    first = (await site.submit(key="k-1")).json()

    problem = (await site.submit({"model": "ray-2"}, key="k-1")).json()

    assert (problem["status"], problem["submission"]) == (422, first["submission"])
    assert problem["errors"][1:] == [{"field": "request.prompt", "message": "you sent none"}]
    assert f"GET {first['instance']}" in problem["detail"]


async def test_a_call_whose_key_is_being_used_is_told_to_ask_again(town: Town) -> None:
    town.fault("create:slow:seconds=0.3")
    one, other = town.site(), town.site()
    first = asyncio.create_task(one.submit(key="k-1"))

    async def is_made() -> bool:
        return len(town.made()) == 1

    await town.eventually(is_made)

    again = await other.submit(key="k-1")

    assert again.status_code == 409
    assert again.headers["retry-after"] == "1"
    assert (await other.outcome(again))["state"] == "pending"
    assert (await first).status_code == 202
    assert (await other.submit(key="k-1")).status_code == 200
    assert len(town.made()) == 1


async def test_twenty_calls_at_once_with_one_key_make_one_generation(town: Town) -> None:
    town.fault("create:slow:seconds=0.1")
    sites = [town.site(), town.site()]

    answers = await asyncio.gather(*(sites[n % 2].submit(key="k-1") for n in range(20)))

    statuses = [each.status_code for each in answers]
    assert statuses.count(202) == 1
    assert set(statuses) <= {200, 202, 409}
    assert len(town.made()) == 1


@pytest.mark.parametrize("key", ["", "x" * 300, '"', "ä", "a b"])
async def test_a_key_that_is_none_is_refused(town: Town, key: str) -> None:
    site = town.site()
    body = {"account": "luma", "request": FOX}
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await site.api.post("/v1/generations", json=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["field"] == "Idempotency-Key"


async def test_without_a_key_every_call_makes_one(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    assert [(await site.submit()).status_code for _ in range(2)] == [202, 202]
    assert len(town.made()) == 2
