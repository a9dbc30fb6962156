"""Whose secret signs, while secrets change, and which headers go along."""

from __future__ import annotations

import asyncio
import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.courier.conftest import DEFAULT_SECRET, Office, Receiver
from worker.model import Endpoint


def verifies(secret: str, posted: tuple[dict[str, str], bytes]) -> bool:
    headers, body = posted
    try:
        return bool(Webhook(secret).verify(body, headers) == json.loads(body))
    except WebhookVerificationError:
        return False


async def rotated(office: Office, shop: Endpoint, *, overlap_s: float = 60.0) -> str:
    answer = await office.endpoints.rotate(shop.name, overlap_s=overlap_s)
    return str(answer["secret"])


async def test_an_endpoints_own_secret_signs_and_the_deployments_does_not(
    office: Office, receiver: Receiver
) -> None:
    shop = await office.endpoint("shop", receiver.url)
    await office.owe(shop)

    await office.drain(receiver.lane)

    (posted,) = receiver.got
    assert verifies(shop.secrets[0].text, posted)
    assert not verifies(DEFAULT_SECRET, posted)


async def test_the_deployments_secret_signs_for_a_bare_callback_url(
    office: Office, receiver: Receiver
) -> None:
    await office.owe(receiver)

    await office.drain(receiver.lane)

    (posted,) = receiver.got
    assert verifies(DEFAULT_SECRET, posted)


async def test_endpoints_of_one_origin_are_signed_for_each_with_its_own_secret(
    office: Office, receiver: Receiver
) -> None:
    shop = await office.endpoint("shop", receiver.url)
    desk = await office.endpoint("desk", receiver.url)
    to_shop, to_desk = await office.owe(shop), await office.owe(desk)

    await office.drain(receiver.lane)

    posted = {headers["webhook-id"]: (headers, body) for headers, body in receiver.got}
    for endpoint, owed in ((shop, to_shop), (desk, to_desk)):
        assert verifies(endpoint.secrets[0].text, posted[owed.event_id])
    assert not verifies(shop.secrets[0].text, posted[to_desk.event_id])


async def test_until_the_overlap_ends_the_old_secret_signs_beside_the_new_one(
    office: Office, receiver: Receiver
) -> None:
    shop = await office.endpoint("shop", receiver.url)
    second = await rotated(office, shop)
    third = await rotated(office, shop)
    await office.owe(shop)

    await office.drain(receiver.lane)

    (posted,) = receiver.got
    assert [verifies(each, posted) for each in (third, second, shop.secrets[0].text)] == [True] * 3
    assert posted[0]["webhook-signature"].count("v1,") == 3


async def test_when_the_overlap_has_ended_only_the_new_secret_signs(
    office: Office, receiver: Receiver
) -> None:
    shop = await office.endpoint("shop", receiver.url)
    second = await rotated(office, shop, overlap_s=0)
    await office.owe(shop)

    await office.drain(receiver.lane)

    (posted,) = receiver.got
    assert verifies(second, posted)
    assert not verifies(shop.secrets[0].text, posted)


async def test_a_retry_is_signed_with_the_secrets_that_live_by_then(
    office: Office, receiver: Receiver
) -> None:
    receiver.answers = [b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", receiver.answers[0]]
    receiver.may_answer.clear()
    shop = await office.endpoint("shop", receiver.url)
    await office.owe(shop)

    async def rotate_meanwhile() -> str:
        await receiver.was_called(1)
        secret = await rotated(office, shop, overlap_s=0)
        receiver.may_answer.set()
        return secret

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(office.drain(receiver.lane))
        second = tasks.create_task(rotate_meanwhile())

    first_posted, second_posted = receiver.got
    assert verifies(shop.secrets[0].text, first_posted)
    assert verifies(second.result(), second_posted)
    assert not verifies(shop.secrets[0].text, second_posted)


async def test_the_headers_of_the_endpoint_and_of_the_tracker_go_along(
    office: Office, receiver: Receiver
) -> None:
    shop = await office.endpoint(
        "shop", receiver.url, headers={"x-shop": "1", "x-tenant": "by default"}
    )
    await office.owe(shop, headers={"x-tenant": "7", "x-order": "9"})

    await office.drain(receiver.lane)

    ((headers, _),) = receiver.got
    assert (headers["x-shop"], headers["x-order"]) == ("1", "9")
    assert headers["x-tenant"] == "7"  # whoever tracks knows better


@pytest.mark.parametrize("name", ["webhook-id", "webhook-signature", "content-type"])
async def test_no_header_of_an_endpoint_replaces_one_of_ours(
    office: Office, receiver: Receiver, name: str
) -> None:
    shop = await office.endpoint("shop", receiver.url, headers={name: "forged"})
    owed = await office.owe(shop, headers={name: "forged"})

    await office.drain(receiver.lane)

    ((headers, body),) = receiver.got
    assert headers["webhook-id"] == owed.event_id
    assert headers["content-type"] == "application/json"
    assert verifies(shop.secrets[0].text, (headers, body))
