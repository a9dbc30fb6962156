"""Pages of the list call on real sockets: whatever comes, it is a page or an answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.providers.conftest import GENERATION, Say, client, http, says, serving
from worker.listing import Page, Unread
from worker.model import (
    Account,
    Answer,
    Missing,
    Progress,
    Refused,
    Same,
    Seen,
    Throttled,
    Trouble,
)
from worker.providers.client import ProviderClient
from worker.providers.reading import MAX_ROWS
from worker.providers.spec import load


async def ask(said: Say, *, limit: int = 100, offset: int = 0) -> Page | Answer:
    async with serving(said) as server, client(server.base_url) as it:
        return await it.list_generations(limit=limit, offset=offset)


async def rows(*found: object) -> list[str | None]:
    """The IDs of a page's rows."""
    answer = await ask(says({"generations": found}))
    assert isinstance(answer, Page)
    return [row[0] if row else None for row in answer.rows]


def generations(count: int) -> list[dict[str, object]]:
    return [{**GENERATION, "id": f"g{n}"} for n in range(count)]


async def test_a_page_is_read_in_its_order() -> None:
    page = {"generations": [GENERATION, {"id": "g2", "state": "failed"}], "has_more": False}
    async with serving(says(page)) as server, client(server.base_url) as it:
        answer = await it.list_generations(limit=50, offset=100)
    assert isinstance(answer, Page)
    assert (answer.offset, answer.limit) == (100, 50)
    assert [(row[0], row[1].progress) for row in answer.rows if row] == [
        ("g1", Progress.RUNNING),
        ("g2", Progress.FAILED),
    ]
    assert server.requests[0].startswith(b"GET /v1/generations?limit=50&offset=100 ")


async def test_of_rows_that_nobody_asked_for_only_their_place_is_read() -> None:
    asked, other = "D290F1EE-6C54-4B01-90E6-D701748F0851", {**GENERATION, "id": "g2"}
    page = {"generations": [{**GENERATION, "id": asked.lower().replace("-", "")}, other]}
    async with serving(says(page)) as server, client(server.base_url) as it:
        answer = await it.list_generations(limit=50, offset=0, marks={asked: None})
    assert isinstance(answer, Page)
    (_, ours), (name, theirs) = filter(None, answer.rows)
    assert isinstance(ours, Seen)
    assert (name, theirs) == ("g2", Unread(ours.created_at))


async def test_a_row_that_shows_the_same_as_a_look_before_is_the_same() -> None:
    async with serving(says(GENERATION)) as server, client(server.base_url) as it:
        seen = await it.get_generation("g1")
    assert isinstance(seen, Seen)
    async with (
        serving(says({"generations": [GENERATION]})) as server,
        client(server.base_url) as it,
    ):
        answer = await it.list_generations(limit=50, offset=0, marks={"g1": seen.mark})
    assert isinstance(answer, Page)
    assert answer.rows == (("g1", Same(seen.created_at)),)


async def test_a_row_is_the_same_only_to_all_who_have_asked_for_it() -> None:
    one, other = "d290f1ee-6c54-4b01-90e6-d701748f0851", "D290F1EE-6C54-4B01-90E6-D701748F0851"
    row = {**GENERATION, "id": one}
    async with serving(says({"generations": [row]})) as server, client(server.base_url) as it:
        (found,) = (await it.list_generations(limit=50, offset=0)).rows  # type: ignore[union-attr]
        assert found is not None
        mark = found[1].mark  # type: ignore[union-attr]
        for marks in ({one: None, other: mark}, {one: mark, other: "older"}):
            answer = await it.list_generations(limit=50, offset=0, marks=marks)
            assert isinstance(answer, Page)
            assert answer.rows == (found,)


async def test_what_cannot_be_tracked_is_not_found_among_what_was_created() -> None:
    page = {"generations": [{**GENERATION, "id": "g1\n7"}, GENERATION]}
    async with serving(says(page)) as server, client(server.base_url) as it:
        found = await it.listed(limit=50, offset=0, clock=lambda: 0)
    assert isinstance(found, list)
    assert [each.generation_id for each in found] == ["g1"]


async def test_rows_carry_the_time_of_the_answer() -> None:
    said = says({"generations": [GENERATION]}, "Date: Thu, 20 Mar 2025 12:00:00 GMT")
    answer = await ask(said)
    assert isinstance(answer, Page)
    assert [row[1].answered_at for row in answer.rows if row] == [1_742_472_000_000]


@pytest.mark.parametrize(
    "row",
    [None, "g2", 7, [], {}, {"id": "g2"}, {"state": "failed"}, {"id": 2, "state": "failed"},
     {"id": "", "state": "failed"}, {"id": None, "state": "failed"}, {"ID": "g2", "state": "x"}],
)  # fmt: skip
async def test_a_row_that_cannot_be_read_keeps_its_place(row: object) -> None:
    assert await rows(row, GENERATION) == [None, "g1"]


async def test_an_id_that_comes_twice_comes_twice() -> None:
    assert await rows(GENERATION, GENERATION) == ["g1", "g1"]


@pytest.mark.parametrize("count", [0, 1, 30])
async def test_a_page_may_be_smaller_than_asked(count: int) -> None:
    assert len(await rows(*generations(count))) == count


async def test_a_page_larger_than_asked_is_read_up_to_a_bound() -> None:
    assert len(await rows(*generations(150))) == 150
    assert len(await rows(*generations(MAX_ROWS + 1))) == MAX_ROWS


async def test_a_page_may_be_larger_than_a_single_answer_but_not_endless() -> None:
    large = [{**GENERATION, "id": f"g{n}", "prompt": "x" * 20_000} for n in range(100)]
    assert len(await rows(*large)) == 100
    answer = await ask(http(200, b'{"generations": [' + b" " * 5_000_000))
    assert answer == Trouble("200 OK: the body is larger than 4096 KiB")


@pytest.mark.parametrize("has_more", [True, False, None, "yes", 3])
async def test_whether_there_is_more_is_not_believed(has_more: object) -> None:
    answer = await ask(says({"generations": [GENERATION], "has_more": has_more, "count": 0}))
    assert isinstance(answer, Page)
    assert len(answer.rows) == 1


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (http(404), Missing),
        (http(401), Refused),
        (http(429), Throttled),
        (http(500), Trouble),
        (says([GENERATION]), Trouble),
        (says({"generations": None}), Trouble),
        (says({"generations": {"0": GENERATION}}), Trouble),
        (says({"data": [GENERATION]}), Trouble),
    ],
)
async def test_a_list_that_cannot_be_had_is_an_answer_too(said: Say, kind: type[Answer]) -> None:
    assert isinstance(await ask(said), kind)


async def test_a_provider_without_a_list_call_is_not_asked() -> None:
    unlisted = load("luma").model_copy(update={"list_generations": None})
    async with serving(http(200)) as server:
        account = Account(name="a", provider="luma", api_key="k", base_url=server.base_url)
        it = ProviderClient(account, unlisted)
        assert it.page is None
        assert isinstance(await it.list_generations(limit=1, offset=0), Missing)
        await it.aclose()
    assert server.requests == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.just(GENERATION),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "state", "created_at", "assets"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.just("generations"), json_values), st.integers(0, 400))
def test_whatever_a_list_holds_is_a_page_or_an_answer(body: Any, cut: int) -> None:
    whole = says(body)
    for said in (whole, Say(whole.content[:cut], "close")):
        answer = asyncio.run(ask(said))
        assert isinstance(answer, Page | Trouble)
