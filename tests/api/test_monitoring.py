"""The figures and the metrics: they agree with what happened, and with one another."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as families

from worker import events, figures, telemetry
from worker.api import schemas, watching
from worker.model import (
    Attempt,
    Delivered,
    DeliveryReason,
    DeliveryState,
    Entry,
    Exhausted,
    Refused,
    Replied,
    State,
)

from .conftest import COMPLETED, HOOK, House

LANE = events.lane_of(HOOK)


@pytest.fixture(autouse=True)
def _nothing_counted_before() -> None:
    telemetry.take_counts()


async def complete(house: House, name: str, *, account: str = "luma") -> None:
    item = {"account": account, "generation_id": name, "callback_url": HOOK}
    await house.service.track_many([item])
    await house.look(name, COMPLETED, account)


async def attempt(house: House, *, status: int, after_ms: int = 40) -> None:
    """Make an attempt of what is owed first, as the courier does."""
    claimed = await house.store.deliveries.claim(LANE, limit=1)
    delivery = claimed.deliveries[0].delivery
    is_taken = status == 200
    state = DeliveryState.DELIVERED if is_taken else DeliveryState.EXHAUSTED
    after = replace(
        delivery,
        state=state,
        reason=None if is_taken else DeliveryReason.ATTEMPTS,
        finished_at=delivery.created_at + after_ms,
        tries=1,
    )
    await house.store.deliveries.settle(
        after, Attempt(at=0, duration_ms=7, status=status), entry=Entry(0, "attempt")
    )
    telemetry.attempted(
        delivery=after,
        reply=Replied(status=status, duration_ms=7),
        verdict=Delivered() if is_taken else Exhausted(DeliveryReason.ATTEMPTS),
    )


async def flushed(house: House) -> None:
    """Add to the totals what was counted, as every process does each second."""
    await house.store.figures.add_from(telemetry.take_counts)


async def stats(house: House) -> watching.Stats:
    async with house.client() as client:
        return watching.Stats.model_validate_json((await client.get("/v1/stats")).content)


async def scraped(house: House) -> dict[str, Metric]:
    async with house.client() as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in families(answer.text)}


def value(found: dict[str, Metric], name: str, /, **labels: str) -> float:
    samples = (sample for family in found.values() for sample in family.samples)
    (number,) = (s.value for s in samples if s.name == name and s.labels == labels)
    return number


# --- figures --------------------------------------------------------------------------------------


async def test_what_is_due_is_counted(house: House) -> None:
    await house.service.track_many([{"account": "luma", "generation_id": "g-1"}])
    await complete(house, "g-2")
    found = await stats(house)
    assert (found.due.looks, found.due.receivers) == (1, 1)


async def test_the_last_hour_tells_ends_and_latencies(house: House) -> None:
    for name in ("g-1", "g-2"):
        await complete(house, name)
    await complete(house, "g-1", account="other")
    await attempt(house, status=200, after_ms=40)
    await attempt(house, status=200, after_ms=60)
    await attempt(house, status=500)
    await flushed(house)
    found = await stats(house)
    assert len(found.last_hour) == figures.MINUTES
    now = found.last_hour[-1]
    assert (now.completed, now.failed, now.expired, now.delivered) == (3, 0, 0, 2)
    assert now.latency_p50_s is not None
    assert 0.03 < now.latency_p50_s <= 0.05
    assert sum(each.completed for each in found.last_hour[:-1]) == 0
    assert found.last_hour[0].latency_p50_s is None


async def test_a_replay_says_nothing_about_the_latency(house: House) -> None:
    await complete(house, "g-1")
    await attempt(house, status=500)
    (delivery,) = (await house.deliveries.list_deliveries()).items
    await house.endpoints.replay(delivery["id"])
    await attempt(house, status=200, after_ms=86_400_000)
    await flushed(house)
    assert (await stats(house)).last_hour[-1].delivered == 0


async def test_an_account_in_trouble_is_shown_with_why(house: House) -> None:
    await house.service.track_many([{"account": "luma", "generation_id": "g-1"}])
    await house.look("g-1", Refused("401 Unauthorized"))
    (luma,) = (await stats(house)).accounts_in_trouble
    assert (luma.name, luma.reason, luma.detail) == (
        *("luma", "credentials rejected"),
        "401 Unauthorized",
    )
    assert luma.held_until is not None


async def test_an_endpoint_is_in_trouble_from_its_first_failure_to_its_next_success(
    house: House,
) -> None:
    for name in ("g-1", "g-2"):
        await complete(house, name)
    await attempt(house, status=500)
    found = (await stats(house)).endpoints_in_trouble
    assert (found.total, found.items[0].url, found.items[0].enabled) == (1, HOOK, True)
    await attempt(house, status=200)
    assert (await stats(house)).endpoints_in_trouble.total == 0


async def test_an_endpoint_that_is_off_is_in_trouble_until_it_is_on_again(house: House) -> None:
    async with house.client() as client:
        for enabled in (True, False):
            body = {"url": HOOK, "enabled": enabled}
            await client.put("/v1/endpoints/studio", json=body)
        (studio,) = (await stats(house)).endpoints_in_trouble.items
        await client.put("/v1/endpoints/studio", json={"url": HOOK, "enabled": True})
    assert (studio.name, studio.enabled, studio.reason) == ("studio", False, "it was switched off")
    assert (await stats(house)).endpoints_in_trouble.total == 0


async def test_an_endpoint_that_was_deleted_is_in_trouble_no_more(house: House) -> None:
    async with house.client() as client:
        await client.put("/v1/endpoints/studio", json={"url": HOOK, "enabled": False})
        await client.put("/v1/endpoints/studio", json={"url": HOOK, "enabled": False})
        await client.delete("/v1/endpoints/studio")
    assert (await stats(house)).endpoints_in_trouble.total == 0


async def test_workers_are_counted_while_they_live(house: House) -> None:
    now = await house.store.now()
    await house.store.figures.beat("here:1", now=now)
    await house.store.figures.beat("there:1", now=now - 16_000)
    assert (await stats(house)).workers == 1


async def test_the_memory_of_redis_is_told(real: House) -> None:
    found = await stats(real)
    assert found.redis.used_bytes
    assert found.redis.max_bytes is None


# --- readiness ------------------------------------------------------------------------------------


async def warned(house: House) -> list[str]:
    async with house.client() as client:
        answer = await client.get("/readyz")
    return schemas.Readiness.model_validate_json(answer.content).warnings


async def test_late_work_is_a_warning(real: House) -> None:
    now = await real.store.now() - 60_000
    item = {"account": "luma", "generation_id": "g-1"}
    await real.service.track_many([item])
    await real.redis.zadd("test:lanes", {"poll:luma": now})
    (warning,) = await warned(real)
    assert "no worker lives" in warning


async def test_a_redis_that_keeps_nothing_on_disk_is_a_warning(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def info(section: str = "") -> dict[str, object]:
        return {"aof_enabled": 0}

    monkeypatch.setattr(house.redis, "info", info)
    (warning,) = await warned(house)
    assert "appendonly" in warning


async def test_a_redis_that_is_nearly_full_is_a_warning(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def info(section: str = "") -> dict[str, object]:
        return {"used_memory": 91, "maxmemory": 100, "aof_enabled": 1}

    monkeypatch.setattr(house.redis, "info", info)
    (warning,) = await warned(house)
    assert "91%" in warning


# --- metrics --------------------------------------------------------------------------------------


async def test_metrics_count_looks_ends_and_attempts(house: House) -> None:
    await complete(house, "g-1")
    await complete(house, "g-2")
    await house.look("g-2", Refused("401"))
    await attempt(house, status=200, after_ms=40)
    await attempt(house, status=503)
    await flushed(house)
    found = await scraped(house)
    assert value(found, "dreamhook_looks_total", account="luma", answer="seen") == 2
    assert value(found, "dreamhook_looks_total", account="luma", answer="refused") == 1
    requests = {"account": "luma", "call": "get"}
    assert value(found, "dreamhook_request_duration_seconds_count", **requests) == 3
    assert value(found, "dreamhook_trackers_ended_total", account="luma", state="completed") == 2
    assert value(found, "dreamhook_attempts_total", answer="2xx") == 1
    assert value(found, "dreamhook_attempts_total", answer="5xx") == 1
    assert value(found, "dreamhook_attempt_duration_seconds_bucket", le="0.01") == 2
    assert value(found, "dreamhook_webhook_latency_seconds_count") == 1
    assert value(found, "dreamhook_webhook_latency_seconds_sum") == pytest.approx(0.04)
    assert value(found, "dreamhook_webhook_latency_seconds_bucket", le="0.03") == 0
    assert value(found, "dreamhook_webhook_latency_seconds_bucket", le="+Inf") == 1
    assert value(found, "dreamhook_trackers", account="luma", state="completed") == 2
    assert value(found, "dreamhook_deliveries", state="exhausted") == 1
    assert value(found, "dreamhook_account_held", account="luma", reason="credentials") == 1
    assert value(found, "dreamhook_account_held", account="luma", reason="throttled") == 0
    assert value(found, "dreamhook_endpoints_in_trouble") == 1


async def test_a_canceled_tracker_has_ended(house: House) -> None:
    await house.service.track_many([{"account": "luma", "generation_id": "g-1"}])
    await house.service.cancel("luma", "g-1")
    await flushed(house)
    found = await scraped(house)
    assert value(found, "dreamhook_trackers_ended_total", account="luma", state="canceled") == 1


async def test_replicas_agree(house: House) -> None:
    await complete(house, "g-1")
    await flushed(house)
    ours, theirs = await scraped(house), await scraped(House.on(house.redis))
    for name in ours:
        if name.startswith("dreamhook_") and name != "dreamhook_lag_seconds":  # time goes on
            assert ours[name].samples == theirs[name].samples


async def test_no_id_and_no_url_is_in_the_metrics(house: House) -> None:
    for number in range(20):
        await complete(house, f"secret-{number}")
        await attempt(house, status=200)
    await flushed(house)
    before = [s for family in (await scraped(house)).values() for s in family.samples]
    for number in range(20, 40):
        await complete(house, f"secret-{number}")
        await attempt(house, status=200)
    await flushed(house)
    async with house.client() as client:
        text = (await client.get("/metrics")).text
    assert len([s for family in families(text) for s in family.samples]) == len(before)
    for told in ("secret-", "hooks.example.com", "http", "evt_", "dlv_", "url_"):
        assert told not in text


async def test_openmetrics_is_spoken_too(house: House) -> None:
    await complete(house, "g-1")
    await flushed(house)
    async with house.client() as client:
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = await client.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "dreamhook_looks" in {each.name for each in openmetrics_families(answer.text)}


@pytest.mark.parametrize("metric", figures.METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: figures.Metric) -> None:
    assert metric.name.startswith("dreamhook_")
    assert metric.name.endswith("_seconds") == bool(metric.buckets)
    assert not metric.name.endswith("_total")  # the client adds it
    assert metric.help.endswith(".")


async def test_counts_are_kept_while_redis_is_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await complete(house, "g-1")
    with monkeypatch.context() as away:
        away.setattr(house.store.figures._scripts, "run", _fails)
        await flushed(house)
    await flushed(house)
    found = await scraped(house)
    assert value(found, "dreamhook_looks_total", account="luma", answer="seen") == 1


async def _fails(*_: object, **__: object) -> None:
    raise OSError


# --- traces ---------------------------------------------------------------------------------------

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("route", ["put", "post"])
async def test_the_trace_of_who_tracks_goes_with_the_webhook(
    client: httpx.AsyncClient, house: House, route: str
) -> None:
    headers, body = {"traceparent": TRACE}, {"callback_url": HOOK}
    if route == "put":
        await client.put("/v1/trackers/luma/g-1", json=body, headers=headers)
    else:
        item = {"account": "luma", "generation_id": "g-1", **body}
        await client.post("/v1/trackers", json={"trackers": [item]}, headers=headers)
    await house.look("g-1", COMPLETED)
    (claimed,) = (await house.store.deliveries.claim(LANE, limit=1)).deliveries
    assert claimed.delivery.headers == {"traceparent": TRACE}


async def test_another_trace_is_no_other_setting(client: httpx.AsyncClient) -> None:
    for number in (1, 2):
        trace = {"traceparent": TRACE.replace("4736", f"473{number}")}
        answer = await client.put("/v1/trackers/luma/g-1", headers=trace)
    assert answer.status_code == 200


async def test_a_trace_that_is_not_valid_is_left_out(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.put("/v1/trackers/luma/g-1", headers={"traceparent": "00-0-0-00"})
    tracker = await house.store.trackers.get("luma", "g-1")
    assert tracker is not None
    assert (tracker.state, tracker.traceparent) == (State.TRACKING, None)
