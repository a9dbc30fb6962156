"""Looks a deployment over before it runs: does Redis serve, are the accounts usable?

Nothing here raises for what it finds: a finding is a value. Nothing is written to Redis.
"""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from worker.config import Settings
from worker.config_accounts import AccountSettings
from worker.errors import ConfigurationError
from worker.figures import Figures, warnings
from worker.held import hold_in_words
from worker.model import (
    Account,
    Answer,
    Endpoint,
    Hold,
    Missing,
    Refused,
    Same,
    Seen,
    Throttled,
    Trouble,
    rfc3339,
)
from worker.providers.client import ProviderClient
from worker.providers.spec import load
from worker.status import stray_in_words
from worker.store import WORKER_ALIVE_S, Store
from worker.wiring_redis import connected


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and in words what was seen or what to do."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    detail: str


async def check_redis(settings: Settings) -> list[Finding]:
    """Connect as a deployment does; look for stray accounts and for endpoints in trouble.

    An embedded Redis that runs is shared, not started again.
    """
    where = "the embedded one" if settings.redis_url is None else "DREAMHOOK_REDIS_URL"
    try:
        async with connected(settings) as redis:
            store = Store(redis, prefix=settings.prefix, retention_s=settings.retention_s)
            strays = await store.strays(settings.accounts)
            figures = await store.figures.read([], now=await store.now())
            risks = [*await store.risks(), *warnings(figures)]
    except ConfigurationError as error:
        return [Finding("redis", "problem", str(error))]
    except Exception as error:  # noqa: BLE001 - whatever keeps a deployment shut is the finding
        return [Finding("redis", "problem", f"{where}: {type(error).__name__}: {error}")]
    fine = Finding("redis", "ok", f"{where} answers, and does not evict")
    found = (Finding("accounts", "warning", stray_in_words(*each)) for each in strays.items())
    unsafe = (Finding("redis", "warning", each) for each in risks)
    return [fine, *unsafe, *found, *_receivers(figures)]


def _receivers(figures: Figures) -> list[Finding]:
    """Name the endpoints that are off, or to which no attempt has succeeded lately."""
    found = [
        Finding(
            f"endpoint {endpoint.name}",
            "warning",
            _trouble(since, endpoint, figures.holds.get(endpoint.name)),
        )
        for since, endpoint in figures.troubled_longest
    ]
    if figures.troubled > len(found):
        found.append(Finding("endpoints", "warning", f"{figures.troubled} are in trouble in all"))
    return found


def _trouble(since: int, endpoint: Endpoint, hold: Hold | None) -> str:
    if not endpoint.enabled:
        return f"off since {rfc3339(since)}: {endpoint.disabled_reason}"
    found = f"since {rfc3339(since)} no attempt has succeeded"
    return f"{found}: {hold_in_words(hold)}" if hold else found


async def check_worker(settings: Settings) -> Finding:
    """Find out whether a worker lives on this machine, or in this container."""
    machine = socket.gethostname()
    try:
        async with connected(settings) as redis:
            store = Store(redis, prefix=settings.prefix, retention_s=settings.retention_s)
            workers = await store.figures.workers(now=await store.now())
    except ConfigurationError as error:
        return Finding("worker", "problem", str(error))
    except Exception as error:  # noqa: BLE001 - whatever keeps a worker from its Redis is the finding
        return Finding("worker", "problem", f"Redis: {type(error).__name__}: {error}")
    if any(each.rpartition(":")[0] == machine for each in workers):
        return Finding("worker", "ok", f"one lives on {machine}")
    return Finding(
        "worker",
        "problem",
        f"none on {machine} has shown within {WORKER_ALIVE_S:g} s that it lives",
    )


async def check_account(
    name: str, configured: AccountSettings, *, online: bool, providers: Path | None = None
) -> Finding:
    """Check an account: its provider and key, and with `online` what the provider says to it.

    `providers` is the folder of the user's own providers.
    """
    what = f"account {name}"
    try:
        provider = load(configured.provider, providers)
    except ConfigurationError as error:
        return Finding(what, "problem", str(error))
    key = configured.api_key.get_secret_value()
    account = Account(
        name=name,
        provider=configured.provider,
        api_key=key,
        base_url=configured.base_url or provider.base_url,
        polls_per_second=configured.polls_per_second or provider.polls_per_second,
    )
    where = f"provider {provider.name} at {account.base_url}"
    if not key:
        return Finding(what, "warning", f"{where}, without an API key")
    if not online:
        return Finding(what, "ok", where)
    try:
        client = ProviderClient(account, provider)
    except ConfigurationError as error:
        return Finding(what, "problem", str(error))
    try:
        answer = await client.get_generation(str(uuid.uuid4()))
    finally:
        await client.aclose()
    verdict, detail = judge(answer)
    return Finding(what, verdict, f"{where}: {detail}")


def judge(answer: Answer) -> tuple[Literal["ok", "warning", "problem"], str]:
    """Say what an answer about an ID that nobody has says about the key."""
    match answer:
        case Missing() | Seen() | Same():
            return "ok", "it accepts the key"
        case Refused():
            return "problem", f"it rejects the key ({answer.detail}); set another one"
        case Throttled():
            return "warning", f"it asks for less requests just now ({answer.detail})"
        case Trouble():
            return "problem", f"it gave no usable answer ({answer.detail}); is the base URL right?"
        case _:
            assert_never(answer)
