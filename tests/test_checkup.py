"""A look over a deployment finds what is wrong, says what to do, and raises for nothing."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from worker.checkup import check_account, check_redis, check_worker
from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.embedded import EmbeddedRedis
from worker.model import Endpoint, Terms
from worker.simulator import World, create_app, parse_fault, running
from worker.simulator.faults import Faults
from worker.store import Store


@pytest.fixture
async def luma() -> AsyncIterator[str]:
    """A Luma that accepts one key, and is busy or down for those who ask for that."""
    async with running(create_app(World(), keys=["good-key"])) as base_url:
        yield base_url


def account(base_url: str, key: str = "good-key") -> AccountSettings:
    return AccountSettings(provider="luma", api_key=key, base_url=base_url)


async def test_an_account_is_judged_by_its_settings_unless_it_may_go_online() -> None:
    found = await check_account("luma", account("http://127.0.0.1:1"), online=False)
    assert (found.name, found.verdict) == ("account luma", "ok")
    assert found.detail == "provider luma at http://127.0.0.1:1"


async def test_an_account_without_a_base_url_has_its_providers() -> None:
    configured = AccountSettings(provider="luma", api_key="key")
    found = await check_account("luma", configured, online=False)
    assert found.detail == "provider luma at https://api.lumalabs.ai/dream-machine/v1"


async def test_a_provider_that_nobody_knows_is_a_problem() -> None:
    found = await check_account("x", AccountSettings(provider="acme", api_key="k"), online=False)
    assert found.verdict == "problem"
    assert "'acme' is not known" in found.detail


async def test_an_account_without_a_key_is_a_warning() -> None:
    found = await check_account("luma", account("http://127.0.0.1:1", key=""), online=True)
    assert (found.verdict, found.detail.endswith("without an API key")) == ("warning", True)


async def test_a_key_that_the_provider_accepts_is_ok(luma: str) -> None:
    found = await check_account("luma", account(luma), online=True)
    assert found.verdict == "ok"
    assert "accepts the key" in found.detail


async def test_a_key_that_the_provider_rejects_is_a_problem_and_is_not_shown(luma: str) -> None:
    found = await check_account("luma", account(luma, key="stolen-key"), online=True)
    assert found.verdict == "problem"
    assert "rejects the key" in found.detail
    assert "stolen" not in found.detail


@pytest.mark.parametrize(
    ("fault", "verdict"), [("any:429", "warning"), ("any:502", "problem"), ("any:reset", "problem")]
)
async def test_a_provider_in_trouble_says_nothing_about_the_key(fault: str, verdict: str) -> None:
    async with running(create_app(World(), faults=Faults([parse_fault(fault)]))) as base_url:
        found = await check_account("luma", account(base_url), online=True)
    assert found.verdict == verdict
    assert "the key" not in found.detail


async def test_a_provider_that_is_not_there_has_one_look_at_the_base_url() -> None:
    found = await check_account("luma", account("http://127.0.0.1:1"), online=True)
    assert found.verdict == "problem"
    assert found.detail == (
        "provider luma at http://127.0.0.1:1: it gave no usable answer"
        " (cannot connect: Connection refused); is the base URL right?"
    )


async def test_a_redis_that_serves_is_ok(embedded: EmbeddedRedis) -> None:
    [found] = await check_redis(Settings(redis_url=embedded.url, prefix="nobodys"))
    assert (found.name, found.verdict) == ("redis", "ok")


async def test_a_redis_that_cannot_be_reached_is_a_problem() -> None:
    [found] = await check_redis(Settings(redis_url="redis://127.0.0.1:1"))
    assert found.verdict == "problem"
    assert "DREAMHOOK_REDIS_URL" in found.detail


async def test_wrong_accounts_do_not_count_against_redis(embedded: EmbeddedRedis) -> None:
    wrong = {"x": AccountSettings(provider="acme", api_key="k")}
    [found] = await check_redis(Settings(redis_url=embedded.url, prefix="nobodys", accounts=wrong))
    assert found.verdict == "ok"


async def test_an_endpoint_that_is_off_is_a_warning(embedded: EmbeddedRedis) -> None:
    async with Redis.from_url(embedded.url) as redis:
        await redis.flushall()
        store = Store(redis, prefix="test", retention_s=600)
        studio = Endpoint(name="studio", url="https://example.com/")
        await store.endpoints.put(studio, enabled=False, secret=None)
    _, found = await check_redis(Settings(redis_url=embedded.url, prefix="test"))
    assert (found.name, found.verdict) == ("endpoint studio", "warning")
    assert found.detail.startswith("off since 20")


async def test_an_account_that_still_tracks_but_is_not_configured_is_a_warning(
    embedded: EmbeddedRedis,
) -> None:
    async with Redis.from_url(embedded.url) as redis:
        await redis.flushall()
        store = Store(redis, prefix="test", retention_s=600)
        await store.trackers.track("former", "luma", [("g-1", Terms(deadline_s=3600))])
        await store.trackers.claim_ends("former", limit=1)
    _, found = await check_redis(Settings(redis_url=embedded.url, prefix="test"))
    assert (found.name, found.verdict) == ("accounts", "warning")
    assert "account former: it is not configured" in found.detail


async def test_a_worker_of_this_machine_that_lives_is_found(embedded: EmbeddedRedis) -> None:
    settings = Settings(redis_url=embedded.url, prefix="test")
    async with Redis.from_url(embedded.url) as redis:
        await redis.flushall()
        store = Store(redis, prefix="test", retention_s=600)
        await store.figures.beat("elsewhere:1")
        assert (await check_worker(settings)).verdict == "problem"
        await store.figures.beat(f"{socket.gethostname()}:1", now=await store.now() - 20_000)
        assert (await check_worker(settings)).verdict == "problem"
        await store.figures.beat(f"{socket.gethostname()}:2")
        assert (await check_worker(settings)).verdict == "ok"


async def test_a_worker_whose_redis_is_away_is_a_problem() -> None:
    found = await check_worker(Settings(redis_url="redis://127.0.0.1:1"))
    assert (found.name, found.verdict) == ("worker", "problem")
    assert "Redis" in found.detail
