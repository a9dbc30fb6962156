"""What `secret` and `check` do: they run beside the server, on the deployment's own settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from worker import checkup, telemetry
from worker.checkup import Finding, check_account, check_redis
from worker.cli import tables
from worker.cli.process import Exit, emit, wants_json
from worker.config import ClientSettings, Settings
from worker.config_unknown import unknown_settings
from worker.errors import ConfigurationError
from worker.wiring import opened

NO_ACCOUNT = (
    "no account is configured, so nothing can be tracked: set LUMAAI_API_KEY=…"
    " (or DREAMHOOK_ACCOUNTS, for several), and start again"
)


def secret() -> str:
    """Get the signing secret of the deployment; it is made if there was none.

    Raises:
        ConfigurationError: The deployment cannot be opened.
    """
    telemetry.configure("warning")

    async def read() -> str:
        # Whatever is wrong with the accounts, the secret is there.
        settings = Settings.load().model_copy(update={"accounts": {}})
        async with opened(settings) as deployment:
            return deployment.secret

    return asyncio.run(read())


def check_worker(*, json: bool) -> Exit:
    """Print whether a worker lives on this machine; for the probes of containers."""
    telemetry.configure("warning")
    finding = asyncio.run(checkup.check_worker(Settings.load()))
    _show([finding], as_json=wants_json(asked=json))
    return Exit.ERROR if finding.verdict == "problem" else Exit.OK


def check(*, online: bool, json: bool) -> Exit:
    """Print the settings in effect, then what was found; with `online` providers are asked."""
    telemetry.configure("warning")
    as_json = wants_json(asked=json)
    try:
        settings, client = Settings.load(), ClientSettings.load()
    except ConfigurationError as error:
        findings = [Finding("settings", "problem", line) for line in str(error).splitlines()]
        _show([*findings, *_unknown()], as_json=as_json)
        return Exit.ERROR
    rows = [*settings.describe(), *client.describe()]
    if as_json:
        for row in rows:
            emit({"setting": row.name, "value": row.value, "source": row.source})
    else:
        tables.show_table(("Setting", "Value", "From"), rows)
        tables.screen().print()
    findings = [*asyncio.run(_look_over(settings, online=online)), *_unknown()]
    _show(findings, as_json=as_json)
    return Exit.ERROR if any(each.verdict == "problem" for each in findings) else Exit.OK


async def _look_over(settings: Settings, *, online: bool) -> list[Finding]:
    accounts = [
        check_account(name, account, online=online, providers=settings.providers)
        for name, account in settings.accounts.items()
    ]
    redis, found = await asyncio.gather(_look_at_redis(settings), asyncio.gather(*accounts))
    nothing_to_do = [] if accounts else [Finding("accounts", "warning", NO_ACCOUNT)]
    return [Finding("settings", "ok", "all can be used"), *redis, *found, *nothing_to_do]


async def _look_at_redis(settings: Settings) -> list[Finding]:
    if not settings.is_divided:
        return await check_redis(settings)
    found = await asyncio.gather(*(check_redis(settings.of_cell(name)) for name in settings.cells))
    return [
        replace(each, name=f"cell {name}: {each.name}")
        for name, some in zip(settings.cells, found, strict=True)
        for each in some
    ]


def _unknown() -> list[Finding]:
    return [Finding("settings", "warning", each.remedy) for each in unknown_settings()]


def _show(findings: Iterable[Finding], *, as_json: bool) -> None:
    if not as_json:
        tables.show_table(
            ("Check", "Verdict", "Details"),
            [(each.name, each.verdict, each.detail) for each in findings],
        )
        return
    for each in findings:
        emit({"check": each.name, "verdict": each.verdict, "detail": each.detail})
