"""What a caller may ask about the whole: accounts, figures, troubles, does Redis serve."""

from __future__ import annotations

from collections.abc import Mapping

from worker import figures, shapes
from worker.held import account_hold_shape
from worker.learner import Learner
from worker.learning import kinds_shape
from worker.model import Account, Health, HealthReason, Hold, JsonObject
from worker.policy import rate_share
from worker.store import Store, redis_may_be_away


class Status:
    """The use cases. Each raises `UnavailableError` while Redis is away.

    Args:
        store: the state.
        accounts: by name.
        deadlines: default deadline of each account, in seconds.
        learner: knows how long generations take; by default nothing was learned.
    """

    def __init__(
        self,
        store: Store,
        *,
        accounts: Mapping[str, Account],
        deadlines: Mapping[str, float],
        learner: Learner | None = None,
    ) -> None:
        self._store = store
        self._learner = learner or Learner(store, {})
        self._accounts = accounts
        self._deadlines = deadlines

    @redis_may_be_away
    async def accounts(self) -> list[JsonObject]:
        """Tell how each account is doing, those too that have trackers and are not configured."""
        names = list(self._accounts)
        lanes = [f"poll:{name}" for name in names]
        healths, holds = await self._store.lanes.health(lanes), await self._store.lanes.holds(lanes)
        counts, now = await self._store.tracking(names), await self._store.now()
        configured = [
            await self._account(self._accounts[name], health, holds.get(f"poll:{name}"), count, now)
            for name, health, count in zip(names, healths, counts, strict=True)
        ]
        strays = await self._store.strays(self._accounts)
        return configured + [_stray(name, count) for name, count in strays.items()]

    async def _account(
        self, account: Account, health: Health, hold: Hold | None, tracking: int, now: int
    ) -> JsonObject:
        known, expect = await self._learner.known(account.name)
        used = await self._store.lanes.looks_per_second(f"poll:{account.name}", now=now)
        return {
            "name": account.name,
            "configured": True,
            "tracking": tracking,
            "provider": account.provider,
            "base_url": account.base_url,
            "polls_per_second": account.polls_per_second,
            "polls_per_second_now": account.polls_per_second * rate_share(health, now=now),
            "polls_per_second_used": round(used, 3),
            "poll_patience": account.poll_patience,
            "deadline_s": self._deadlines[account.name],
            "health": shapes.health_shape(health, hold),
            "held": hold and account_hold_shape(hold),
            "kinds": kinds_shape(known, expect),
        }

    @redis_may_be_away
    async def stats(self) -> JsonObject:
        """Give the figures of the queue, at a cost that does not depend on how much is tracked."""
        now = await self._store.now()
        found = await self._store.figures.read(list(self._accounts), now=now)
        minutes = await self._store.figures.minutes(now=now)
        return {
            **figures.stats_shape(found, minutes),
            "troubles": await self.troubles(),
        }

    @redis_may_be_away
    async def metrics(self) -> tuple[figures.Figures, dict[str, int]]:
        """Read what the metrics show: how the queue stands, and what all processes counted."""
        now = await self._store.now()
        found = await self._store.figures.read(list(self._accounts), now=now)
        return found, await self._store.figures.totals()

    def budgets(self) -> dict[str, float]:
        """Tell each account's budget, in requests a second."""
        return {name: account.polls_per_second for name, account in self._accounts.items()}

    @redis_may_be_away
    async def troubles(self) -> list[str]:
        """Name the accounts that need somebody's attention, and why."""
        names = list(self._accounts)
        healths = await self._store.lanes.health(f"poll:{name}" for name in names)
        rejected = [
            f"account {name}: {health.reason} ({health.detail})"
            for name, health in zip(names, healths, strict=True)
            if health.reason is HealthReason.CREDENTIALS
        ]
        strays = await self._store.strays(self._accounts)
        return rejected + [stray_in_words(name, count) for name, count in strays.items()]

    @redis_may_be_away
    async def warnings(self) -> list[str]:
        """Say what needs somebody's attention, though the work goes on."""
        now = await self._store.now()
        found = await self._store.figures.read(list(self._accounts), now=now)
        return [*await self.troubles(), *await self.risks(), *figures.warnings(found)]

    @redis_may_be_away
    async def risks(self) -> list[str]:
        """Say what Redis may lose, or could not write."""
        return await self._store.risks()

    @redis_may_be_away
    async def check(self) -> None:
        """Make sure that Redis answers and keeps what it is given.

        Raises:
            ConfigurationError: it cannot be relied on; says what to change.
            UnavailableError: it does not answer.
        """
        await self._store.check()


def stray_in_words(account: str, tracking: int) -> str:
    """Say what becomes of the trackers of an account that is not configured."""
    return (
        f"account {account}: it is not configured, but {tracking} of its generations are tracked; "
        "nobody looks at them, and each expires at its deadline. "
        "Configure it again under the same name."
    )


def _stray(name: str, tracking: int) -> JsonObject:
    rates = ("polls_per_second", "polls_per_second_now", "polls_per_second_used", "poll_patience")
    unknown = dict.fromkeys(("provider", "base_url", *rates, "deadline_s", "health", "held"))
    return {"name": name, "configured": False, "tracking": tracking, **unknown, "kinds": []}
