"""A deployment opens, says what is wrong with its settings, and closes whatever is going on."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.embedded import EmbeddedRedis
from worker.errors import ConfigurationError
from worker.wiring import opened
from worker.wiring_redis import connected, ended


async def test_a_deployment_that_is_closed_as_soon_as_it_is_open_ends(
    embedded: EmbeddedRedis,
) -> None:
    # It is just then subscribing, where Python 3.11 can swallow a cancellation.
    for turns in range(12):
        async with asyncio.timeout(5), opened(Settings(redis_url=embedded.url)):
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_a_task_that_takes_a_cancellation_for_itself_is_cancelled_again() -> None:
    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await ended(task)
    assert task.cancelled()


async def test_an_unknown_provider_is_refused_with_the_name_of_its_account(
    embedded: EmbeddedRedis,
) -> None:
    accounts = {"x": AccountSettings(provider="acme", api_key="key")}
    settings = Settings(redis_url=embedded.url, accounts=accounts)
    with pytest.raises(ConfigurationError, match=r"^DREAMHOOK_ACCOUNTS, x: .*'acme' is not known"):
        async with opened(settings):
            pass


async def test_to_connect_writes_nothing(embedded: EmbeddedRedis) -> None:
    async with connected(Settings(redis_url=embedded.url, prefix="nobodys")) as redis:
        assert await redis.keys("nobodys:*") == []
