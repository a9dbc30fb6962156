"""A cell that is away takes its own accounts with it, and no others."""

from __future__ import annotations

import asyncio

import httpx

from tests.cells.conftest import IN_A, IN_B, Divided
from tests.redis_servers import eventually

AWAY = "cell b: Redis does not answer"


async def warnings(api: httpx.AsyncClient) -> str:
    """See that it is ready; gives its warnings."""
    answer = await api.get("/readyz")
    assert answer.status_code == 200
    return "\n".join(answer.json()["warnings"])


async def test_the_other_cells_go_on_and_it_is_said_which_is_away(divided: Divided) -> None:
    terms = {"callback_url": divided.receiver.url}
    async with divided.serving() as api:
        divided.create("before", "there", "in-batch")
        assert (await api.put(f"/v1/trackers/{IN_B}/before", json=terms)).status_code == 202
        await divided.heard("before")
        await asyncio.to_thread(divided.servers["b"].kill)
        await go_on_without_b(divided, api, "there")
    async with divided.serving() as api:  # it also starts without it
        await go_on_without_b(divided, api, "in-batch")
        await asyncio.to_thread(divided.servers["b"].start_again)

        async def is_back() -> bool:
            return AWAY not in await warnings(api)

        await eventually(is_back)
        assert (await api.get(f"/v1/trackers/{IN_B}/before")).status_code == 200
        assert (await api.get("/v1/trackers")).status_code == 200


async def go_on_without_b(divided: Divided, api: httpx.AsyncClient, name: str) -> None:
    """See that whatever can be done without a cell is done."""
    here = {"account": IN_A, "generation_id": name, "callback_url": divided.receiver.url}
    there = {**here, "account": IN_B}
    batch = await api.post("/v1/trackers", json={"trackers": [there, here]})
    assert [each["status"] for each in batch.json()["results"]] == [503, 202]
    await divided.heard(name)
    assert (await api.get(f"/v1/trackers/{IN_A}/{name}")).status_code == 200
    assert (await api.get("/v1/trackers", params={"account": IN_A})).status_code == 200
    assert (await api.put(f"/v1/trackers/{IN_B}/{name}")).status_code == 503
    assert (await api.get(f"/v1/trackers/{IN_B}/before")).status_code == 503

    assert AWAY in await warnings(api)
    (trouble,) = (await api.get("/v1/stats")).json()["troubles"]
    assert trouble.startswith(AWAY)
    for path in ("/v1/trackers", "/v1/accounts", "/v1/deliveries/dlv_none"):
        answer = await api.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Cell b cannot answer" in answer.json()["detail"]
    scraped = (await api.get("/metrics")).raise_for_status().text
    assert 'dreamhook_cell_up{cell="a"} 1.0' in scraped
    assert 'dreamhook_cell_up{cell="b"} 0.0' in scraped
    assert 'dreamhook_workers{cell="a"} 1.0' in scraped
    assert scraped.count('cell="b"') == 1
    refused = await api.put("/v1/endpoints/app", json={"url": divided.receiver.url})
    assert refused.status_code == 503
    assert "nothing was changed" in refused.json()["detail"]
    assert (await api.get("/v1/endpoints/app")).status_code == 503  # nobody knows
    listed = (await api.get("/v1/endpoints")).json()["items"]
    assert "app" not in {each["name"] for each in listed}
