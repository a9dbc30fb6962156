"""What the looks of an account have taught, in Redis: what is known, and what is yet to be learned.

What stands in either is the caller's business: here it is names and bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.store.scripts import LEARNED_KEPT_S, Scripts, ms

VERSION = "version"
"""The field that counts the changes; no kind is called so, since their names begin with `[`."""


@dataclass(frozen=True, slots=True)
class Unlearned:
    """The oldest observations that nobody has learned from, and the version they extend."""

    version: int
    observations: list[bytes]


class Learned:
    """What is known of each account's kinds."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._key = scripts.key

    async def get(self, account: str, kinds: Sequence[str]) -> list[bytes | None]:
        """Read what is known of some kinds, None for those of which nothing is."""
        if not kinds:
            return []
        found: list[bytes | None] = await self._redis.hmget(  # type: ignore[misc]
            self._key(f"learned:{account}"), list(kinds)
        )
        return found

    async def all(self, account: str) -> dict[str, bytes]:
        """Read what is known of all kinds."""
        found = await self._redis.hgetall(self._key(f"learned:{account}"))  # type: ignore[misc]
        return {name.decode(): known for name, known in found.items() if name != VERSION.encode()}

    async def unlearned(self, account: str, limit: int) -> Unlearned:
        """Read the oldest observations; what is known after them, then `fold` tells if it fits."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(self._key(f"learned:{account}"), VERSION)
        pipe.lrange(self._key(f"observed:{account}"), 0, limit - 1)
        version, observations = await pipe.execute()
        return Unlearned(int(version or 0), observations)

    async def fold(
        self,
        account: str,
        version: int,
        observations: int,
        learned: Mapping[str, bytes],
        forgotten: Sequence[str] = (),
    ) -> bool:
        """Write what was learned, if nobody has written since `version` was read.

        Args:
            account: whose kinds.
            version: that of the observations when they were read.
            observations: how many, of the oldest ones, it was learned from.
            learned: by the names of the kinds.
            forgotten: kinds to make room for others.

        Returns:
            Whether it was written; if not, all is as it was.
        """
        pairs = [part for pair in learned.items() for part in pair]
        args = [account, version, observations, ms(LEARNED_KEPT_S), len(forgotten), *forgotten]
        return bool(await self._scripts.run("fold", *args, *pairs))
