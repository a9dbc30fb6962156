"""Looks a deployment over before it runs: does Redis serve, are the accounts usable?

Nothing here raises for what it finds, and nothing is changed: a finding is a value.
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
from worker.wiring import opened


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and in words what was seen or what to do."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    detail: str


async def check_redis(settings: Settings) -> Finding:
    """Open what a deployment opens. An embedded Redis that runs is shared, not started again."""
    where = "the embedded one" if settings.redis_url is None else "DREAMHOOK_REDIS_URL"
    try:
        # Without accounts: what is wrong with them is not Redis's fault.
        async with opened(settings.model_copy(update={"accounts": {}})):
            return Finding("redis", "ok", f"{where} answers, and does not evict")
    except ConfigurationError as error:
        return Finding("redis", "problem", str(error))


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
