"""Looks a deployment over before it runs: does Redis serve, are the accounts usable?

Nothing here raises for what it finds: a finding is a value. Nothing is written to Redis.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal, assert_never

from worker.config import AccountSettings, Settings
from worker.errors import ConfigurationError
from worker.model import Account, Answer, Missing, Refused, Seen, Throttled, Trouble
from worker.providers.client import ProviderClient
from worker.providers.spec import load
from worker.wiring import connected


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and in words what was seen or what to do."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    detail: str


async def check_redis(settings: Settings) -> Finding:
    """Connect as a deployment does. An embedded Redis that runs is shared, not started again."""
    where = "the embedded one" if settings.redis_url is None else "DREAMHOOK_REDIS_URL"
    try:
        async with connected(settings):
            return Finding("redis", "ok", f"{where} answers, and does not evict")
    except ConfigurationError as error:
        return Finding("redis", "problem", str(error))
    except Exception as error:  # noqa: BLE001 - whatever keeps a deployment shut is the finding
        return Finding("redis", "problem", f"{where}: {type(error).__name__}: {error}")


async def check_account(name: str, configured: AccountSettings, *, online: bool) -> Finding:
    """Check an account: its provider and key, and with `online` what the provider says to it."""
    what = f"account {name}"
    try:
        provider = load(configured.provider)
    except ConfigurationError as error:
        return Finding(what, "problem", str(error))
    key = configured.api_key.get_secret_value()
    account = Account(
        name=name,
        provider=configured.provider,
        api_key=key,
        base_url=configured.base_url or provider.base_url,
        polls_per_second=configured.polls_per_second,
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
        case Missing() | Seen():
            return "ok", "it accepts the key"
        case Refused():
            return "problem", f"it rejects the key ({answer.detail}); set another one"
        case Throttled():
            return "warning", f"it asks for less requests just now ({answer.detail})"
        case Trouble():
            return "problem", f"it gave no usable answer ({answer.detail})"
        case _:
            assert_never(answer)
