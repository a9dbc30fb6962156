"""A look at what the provider shows, for whoever asks: within the budget, and nothing is kept."""

from __future__ import annotations

import httpx
import pytest

from worker.api.glancing import Glance, GlancePage
from worker.listing import Page
from worker.model import Answer, Missing, Refused, Seen, Throttled, Trouble

from .conftest import COMPLETED, DREAMING, House, Provider, assert_problem

ONE = "/v1/accounts/luma/generations/g-1"
MANY = "/v1/accounts/luma/generations"
TRACKER = "/v1/trackers/luma/g-1"


async def test_a_generation_that_nobody_tracks_is_shown_as_the_provider_shows_it(
    client: httpx.AsyncClient, house: House
) -> None:
    house.provider.answer = COMPLETED
    shown = Glance.model_validate_json((await client.get(ONE)).content)
    assert (shown.state, shown.provider_state, shown.tracked) == ("completed", "completed", False)
    assert shown.assets == COMPLETED.assets
    assert shown.generation == COMPLETED.generation
    assert_problem(await client.get(TRACKER), 404)


async def test_a_glance_changes_nothing_of_what_is_tracked(
    client: httpx.AsyncClient, house: House
) -> None:
    before = (await client.put(TRACKER)).json()
    house.provider.answer = COMPLETED
    assert (await client.get(ONE)).json()["tracked"] is True
    assert (await client.get(TRACKER)).json() == before


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (Missing("404 Not Found"), 404, "does not know g-1"),
        (Refused("401 Unauthorized"), 503, "rejects the credentials of account luma"),
        (Refused("403 Forbidden", of_account=False), 503, "does not show g-1 to account luma"),
        (Throttled("429 Too Many Requests", 17.0), 503, "asked its provider too often"),
        (Trouble("502 Bad Gateway"), 503, "says nothing about the generation"),
    ],
)
async def test_what_the_provider_refuses_is_a_problem_that_says_what_to_do(
    client: httpx.AsyncClient, house: House, answer: Answer, status: int, says: str
) -> None:
    house.provider.answer = answer
    refused = await client.get(ONE)
    assert says in assert_problem(refused, status)
    if isinstance(answer, Throttled):
        assert refused.headers["retry-after"] == "17"


async def test_a_429_holds_the_account_for_everybody(
    client: httpx.AsyncClient, house: House
) -> None:
    house.provider.answer = Throttled("429 Too Many Requests", 17.0)
    await client.get(ONE)
    await client.put(TRACKER)
    for path in (ONE, f"{TRACKER}?fresh=true"):
        refused = await client.get(path)
        assert "must not be asked for another" in assert_problem(refused, 503)
        assert 1 <= int(refused.headers["retry-after"]) <= 17
    assert house.provider.asked == ["g-1"]


async def test_an_answer_ends_the_trouble_of_an_account(
    client: httpx.AsyncClient, house: House
) -> None:
    house.provider.answer = Trouble("502 Bad Gateway")
    await client.get(ONE)
    house.provider.answer = DREAMING
    await client.get(ONE)
    (account, _) = (await client.get("/v1/accounts")).json()["items"]
    assert account["health"]["ok"] is True


async def test_an_unknown_account_and_an_impossible_id_are_refused(
    client: httpx.AsyncClient, house: House
) -> None:
    detail = assert_problem(await client.get("/v1/accounts/nobody/generations/g-1"), 404, "account")
    assert "Configured: luma, other" in detail
    assert_problem(await client.get("/v1/accounts/luma/generations/a b"), 422, "generation_id")
    assert house.provider.asked == []


@pytest.mark.parametrize("path", [ONE, MANY])
async def test_a_key_that_may_only_read_makes_no_requests(house: House, path: str) -> None:
    async with house.client(api_keys=("all",), read_keys=("some",), key="some") as client:
        assert_problem(await client.get(path), 403)
    assert house.provider.asked == []


# --- the list -----------------------------------------------------------------------------------


class Lister(Provider):
    """Has a list of three, of which one row cannot be read; or refuses it."""

    refusal: Refused | None = None

    async def list_generations(self, *, limit: int, offset: int) -> Page | Refused:
        if self.refusal:
            return self.refusal
        rows: list[tuple[str, Seen] | None] = [("g-1", COMPLETED), None, ("g-2", DREAMING)]
        self.asked.append(f"{limit}+{offset}")
        return Page(offset, limit, tuple(rows[offset : offset + limit]))


@pytest.fixture
def lister(house: House) -> Lister:
    lister = Lister(page=100)
    house.glances._clients = {"luma": lister, "other": house.provider}  # type: ignore[dict-item]
    return lister


async def test_the_list_is_the_providers_and_tells_what_is_tracked(
    client: httpx.AsyncClient, house: House, lister: Lister
) -> None:
    await client.put(TRACKER)
    answer = await client.get(MANY)
    page = GlancePage.model_validate_json(answer.content)
    shown = [(each.generation_id, each.state, each.tracked) for each in page.items]
    assert shown == [("g-1", "completed", True), ("g-2", "running", False)]
    assert page.next_offset is None


async def test_a_page_that_is_full_says_where_there_may_be_more(
    client: httpx.AsyncClient, lister: Lister
) -> None:
    pages = [(await client.get(f"{MANY}?limit=2&offset={n}")).json() for n in (0, 2)]
    shown = [[each["generation_id"] for each in page["items"]] for page in pages]
    assert shown == [["g-1"], ["g-2"]]
    assert [page["next_offset"] for page in pages] == [2, None]
    assert lister.asked == ["2+0", "2+2"]


async def test_a_list_that_is_not_for_this_key_says_nothing_of_the_account(
    client: httpx.AsyncClient, lister: Lister
) -> None:
    lister.refusal = lister.answer = Refused("403 Forbidden", of_account=False)
    assert "does not show the list" in assert_problem(await client.get(MANY), 503)
    await client.get(ONE)  # that one alone may be somebody else's
    (account, _) = (await client.get("/v1/accounts")).json()["items"]
    assert account["health"]["held_until"] is None


async def test_a_provider_without_a_list_is_a_404_that_says_what_there_is(
    client: httpx.AsyncClient, lister: Lister
) -> None:
    refused = await client.get("/v1/accounts/other/generations")
    assert "GET /v1/trackers" in assert_problem(refused, 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "page=2"])
async def test_a_page_is_bounded(client: httpx.AsyncClient, lister: Lister, query: str) -> None:
    field = query.partition("=")[0]
    assert_problem(await client.get(f"{MANY}?{query}"), 422, field)
    assert lister.asked == []
