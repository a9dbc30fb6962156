"""One scrape tells of all cells, those that are away included."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest
from fakeredis import FakeAsyncRedis
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families
from prometheus_client.samples import Sample

from tests.api.conftest import House
from worker import telemetry
from worker.api import scraping
from worker.api.exposition import Snapshot, exposed, of_cells, of_this_process
from worker.errors import UnavailableError
from worker.status import Status


class Away:
    """A cell whose Redis does not answer."""

    async def metrics(self) -> None:
        raise UnavailableError("Redis does not answer.")


class Hanging:
    """A cell whose Redis hangs."""

    async def metrics(self) -> None:
        await asyncio.Event().wait()


def samples(cells: dict[str, Snapshot | None]) -> Iterator[Sample]:
    """Expose cells, and read it as OpenMetrics, which forbids a family that comes twice."""
    accept = "application/openmetrics-text; version=1.0.0"
    text = exposed(accept, of_cells(cells), of_this_process(3))[0].decode()
    for family in families(text):
        yield from family.samples


@pytest.fixture
async def houses() -> dict[str, House]:
    """Two cells; the first has a tracker of `luma`, and both have counted a look."""
    found = {name: House.on(FakeAsyncRedis()) for name in ("a", "b")}
    await found["a"].service.track_many([{"account": "luma", "generation_id": "g-1"}])
    telemetry.take_counts()
    for house in found.values():
        await house.store.figures.add({"looks:luma:seen": 7, "latency:3": 1, "latency:ms": 9})
    return found


async def read(houses: dict[str, House], **others: object) -> list[Sample]:
    """Scrape cells of which the first has `luma` and the second `other`."""
    homes = {"luma": "a", "other": "b"}
    cells = {name: house.status for name, house in houses.items()}
    cells |= {name: cast("Status", each) for name, each in others.items()}
    return list(samples(await scraping.snapshots(cells, lambda cell, acc: homes[acc] == cell)))


async def test_each_sample_names_its_cell_but_those_of_the_process(
    houses: dict[str, House],
) -> None:
    found = await read(houses)
    for cell in ("a", "b"):
        assert Sample("dreamhook_cell_up", {"cell": cell}, 1.0) in found
        looks = {"cell": cell, "account": "luma", "answer": "seen"}
        assert Sample("dreamhook_looks_total", looks, 7.0) in found
        waits = {"cell": cell}
        assert Sample("dreamhook_webhook_latency_seconds_count", waits, 1.0) in found
    assert Sample("dreamhook_event_listeners", {}, 3.0) in found
    without = {each.name for each in found if "cell" not in each.labels}
    assert all(name.startswith(("process_", "dreamhook_event_listeners")) for name in without)


async def test_an_account_is_told_of_where_it_lives_and_where_something_of_it_is_left(
    houses: dict[str, House],
) -> None:
    await houses["a"].service.track_many([{"account": "other", "generation_id": "g-2"}])
    found = await read(houses)
    budgets = {
        (each.labels["account"], each.labels["cell"])
        for each in found
        if each.name == "dreamhook_account_budget"
    }
    assert budgets == {("luma", "a"), ("other", "b"), ("other", "a")}


@pytest.mark.parametrize("cell", [Away(), Hanging()], ids=["away", "hanging"])
async def test_a_cell_that_does_not_answer_is_down_and_the_others_are_told_of(
    houses: dict[str, House], cell: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scraping, "WITHIN_S", 0.05 if isinstance(cell, Hanging) else 30)
    found = [each for each in await read(houses, gone=cell) if each.labels.get("cell") == "gone"]
    assert found == [Sample("dreamhook_cell_up", {"cell": "gone"}, 0.0)]
