"""A provider's push: a hint that a look is worth while, and never more than that."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.submitting.conftest import FOX, PUBLIC_URL
from worker import submissions
from worker.api.gate import Gate
from worker.model import State

if TYPE_CHECKING:
    from tests.submitting.conftest import Site, Town


async def submitted(town: Town, site: Site) -> tuple[str, str]:
    """Submit; return the generation's ID and the path that the provider was given."""
    answer = await site.submit()
    generation_id = answer.json()["generation_id"]
    generation = town.world.find(generation_id)
    assert generation
    url: str = generation.request["callback_url"]
    assert url.startswith(f"{PUBLIC_URL}/v1/hints/luma/")
    return generation_id, url.removeprefix(PUBLIC_URL)


async def put_off(site: Site, generation_id: str) -> None:
    """Let the next look be an hour away, as if one had just been made."""
    now = await site.store.now()
    await site.store._redis.zadd("test:due:poll:luma", {generation_id: now + 3_600_000})


async def looks_due(site: Site) -> int:
    now = await site.store.now()
    return int(await site.store._redis.zcount("test:due:poll:luma", "-inf", now + 1))


async def test_a_hint_makes_the_next_look_happen_now(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    generation_id, path = await submitted(town, site)
    await put_off(site, generation_id)
    await town.redis.delete("test:drain:poll:luma")
    site.started.clear()

    answer = await site.api.post(path, json={"id": generation_id, "state": "completed"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert await looks_due(site) == 1
    assert site.started == ["poll:luma"]
    tracker = await site.service.get("luma", generation_id)
    assert tracker.state is State.TRACKING  # whatever the push says


async def test_a_callback_of_the_callers_own_is_left_alone(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    await site.submit({**FOX, "callback_url": "https://mine.example.com/x"})
    (made,) = town.made()
    found = town.world.find(made)
    assert found
    assert found.request["callback_url"] == "https://mine.example.com/x"
    assert await town.redis.keys("test:hint:*") == []


async def test_the_token_stands_nowhere_in_what_we_keep_of_a_submission(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    _, path = await submitted(town, site)
    token = path.rpartition("/")[2]
    assert len(token) == 43
    for key in await town.redis.keys("test:*"):
        assert token.encode() not in key
        if b":submission:" in key or b":hint:" in key:
            assert token not in str(await town.redis.hgetall(key))


async def test_a_flood_with_a_known_token_hastens_a_bounded_number_of_looks(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "HINT_GAP_S", 0.0)
    site = town.site(public_url=PUBLIC_URL)
    generation_id, path = await submitted(town, site)

    hastened = 0
    for _ in range(submissions.MOST_HINTS + 20):
        await put_off(site, generation_id)
        await site.api.post(path)
        hastened += await looks_due(site)

    assert hastened == submissions.MOST_HINTS


async def test_hints_hasten_one_look_a_second(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    assert submissions.HINT_GAP_S == 1
    monkeypatch.setattr(submissions, "HINT_GAP_S", 60.0)
    site = town.site(public_url=PUBLIC_URL)
    generation_id, path = await submitted(town, site)
    await put_off(site, generation_id)
    await asyncio.gather(*(site.api.post(path) for _ in range(50)))
    assert await looks_due(site) == 1

    await put_off(site, generation_id)
    await asyncio.gather(*(site.api.post(path) for _ in range(50)))

    assert await looks_due(site) == 0
    monkeypatch.setattr(submissions, "HINT_GAP_S", 0.0)
    await site.api.post(path)
    assert await looks_due(site) == 1


async def kept(town: Town) -> set[bytes]:
    """All keys but the marker of a drain, which ends by itself."""
    return set(await town.redis.keys("*")) - {b"test:drain:poll:luma"}


async def test_forged_hints_by_the_thousand_change_nothing(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    generation_id, path = await submitted(town, site)
    await put_off(site, generation_id)
    token = path.rpartition("/")[2]
    keys = await kept(town)
    forged = [secrets.token_urlsafe(32) for _ in range(1000)]
    odd = ["x", "x" * 5000, "%00", token[:-1], f"{token}x", "ä", "..%2F..", generation_id]
    paths = [f"/v1/hints/luma/{each}" for each in forged + odd]
    paths += [f"/v1/hints/{each}/{token}" for each in ("other", "nobody", "x" * 500)]

    answers = [await site.api.post(each, content=b"{" * 10) for each in paths]

    assert {(each.status_code, each.content) for each in answers} == {(200, b"")}
    assert await looks_due(site) == 0
    assert await kept(town) == keys


async def test_a_hint_for_what_is_over_changes_nothing(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    generation_id, path = await submitted(town, site)
    town.finish(generation_id)
    await site.poller.look_now("luma", generation_id)

    assert (await site.api.post(path)).status_code == 200

    assert await looks_due(site) == 0


@pytest.mark.usefixtures("quick")
async def test_a_hint_for_what_is_in_doubt_makes_the_search_happen_now(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "LOOK_AFTER_S", (600.0, 600.0))
    town.fault("create:lost")
    site = town.site(public_url=PUBLIC_URL)
    problem = (await site.submit()).json()
    (made,) = town.made()
    generation = town.world.find(made)
    assert generation
    await site.reconciling.round()
    assert (await site.api.get(problem["instance"])).json()["state"] == "pending"

    await site.api.post(generation.request["callback_url"].removeprefix(PUBLIC_URL))
    await site.reconciling.round()

    shape = (await site.api.get(problem["instance"])).json()
    assert (shape["state"], shape["generation_id"]) == ("created", made)


@pytest.mark.usefixtures("quick")
async def test_a_hint_for_what_was_given_up_has_it_searched_for_once_more(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it came says that the generation was made after all."""
    monkeypatch.setattr(submissions, "HINT_GAP_S", 0.0)
    town.fault("create:lost")
    town.fault("list:omission:share=1")
    site = town.site(public_url=PUBLIC_URL)
    problem = (await site.submit()).json()

    async def state() -> str:
        await site.reconciling.round()
        return str((await site.api.get(problem["instance"])).json()["state"])

    async def is_given_up() -> bool:
        return await state() == "unknown"

    await town.eventually(is_given_up)
    (made,) = town.made()
    generation = town.world.find(made)
    assert generation
    path = generation.request["callback_url"].removeprefix(PUBLIC_URL)

    await site.api.post(path)
    assert await town.redis.exists("test:unsettled")
    assert await state() == "unknown"
    assert not await town.redis.exists("test:unsettled")  # once, and not for ever

    town.faults.clear()
    await site.api.post(path)
    assert await state() == "created"


@pytest.mark.usefixtures("quick")
async def test_hints_do_not_use_up_the_searches(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider may push more often, and earlier, than its list shows what it tells of."""
    monkeypatch.setattr(submissions, "LOOK_AFTER_S", (600.0, 600.0))
    monkeypatch.setattr(submissions, "HINT_GAP_S", 0.0)
    town.fault("create:lost")
    town.fault("list:omission:share=1")
    site = town.site(public_url=PUBLIC_URL)
    problem = (await site.submit()).json()
    (made,) = town.made()
    generation = town.world.find(made)
    assert generation
    path = generation.request["callback_url"].removeprefix(PUBLIC_URL)
    for _ in range(5):
        await site.api.post(path)
        await site.reconciling.round()
    shape = (await site.api.get(problem["instance"])).json()
    assert (shape["state"], shape["searches"]) == ("pending", 5)
    town.faults.clear()

    await site.api.post(path)
    await site.reconciling.round()

    shape = (await site.api.get(problem["instance"])).json()
    assert (shape["state"], shape["generation_id"]) == ("created", made)


async def test_a_hint_needs_no_key_and_may_come_from_anywhere_with_anything(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    generation_id, path = await submitted(town, site)
    await put_off(site, generation_id)
    app = site.api._transport.app  # type: ignore[attr-defined]
    for gate in (Gate(app, api_keys=["w"], read_keys=[]), app):
        transport = httpx.ASGITransport(gate)
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as luma:
            answer = await luma.post(path, content=b"x" * 3_000_000)
            assert (answer.status_code, answer.content) == (200, b"")
            assert (await luma.get(path)).status_code in {401, 421, 405}
    assert await looks_due(site) == 1


async def test_a_hint_while_redis_is_away_is_answered_like_any_other(town: Town) -> None:
    site = town.site(public_url=PUBLIC_URL)
    _, path = await submitted(town, site)

    async def away(*_args: object, **_kwargs: object) -> None:
        raise ConnectionError

    site.store.submissions.hint = away  # type: ignore[assignment]

    assert (await site.api.post(path)).status_code == 200
