"""Completes the accounts of the settings with what the data of their providers says."""

from __future__ import annotations

from worker.config import Settings
from worker.durations import typical
from worker.errors import ConfigurationError
from worker.learning import QUEUE_PRIOR, Prior
from worker.model import Account
from worker.providers.spec import Provider, load


def configured(settings: Settings) -> tuple[dict[str, Account], dict[str, Provider]]:
    """Complete the configured accounts with what their providers say; get both by account.

    The budget of an account that is spread over cells is divided by their number.

    Raises:
        ConfigurationError: a provider is not known, or its file cannot be used.
    """
    cells = len(settings.cells) or 1
    accounts: dict[str, Account] = {}
    providers: dict[str, Provider] = {}
    for name, given in settings.accounts.items():
        try:
            providers[name] = provider = load(given.provider, settings.providers)
        except ConfigurationError as error:
            raise ConfigurationError(f"DREAMHOOK_ACCOUNTS, {name}: {error}") from error
        accounts[name] = Account(
            name=name,
            provider=given.provider,
            api_key=given.api_key.get_secret_value(),
            base_url=given.base_url or provider.base_url,
            polls_per_second=(given.polls_per_second or provider.polls_per_second)
            / (cells if given.spread else 1),
            poll_patience=given.poll_patience or settings.poll_patience,
        )
    return accounts, providers


def prior_of(provider: Provider) -> Prior:
    """Draw what a provider's data says of how long its generations take."""
    durations = provider.durations.items()
    return Prior(
        run={model: typical(each.median_s, each.sigma) for model, each in durations},
        queue=QUEUE_PRIOR if provider.states.queued else None,
    )
