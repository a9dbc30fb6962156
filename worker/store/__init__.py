"""The state in Redis: what is tracked, what is due, what is owed. Nothing else knows a key.

Every change is one Lua script (`worker/lua/`), atomic and, where a claim precedes it, fenced: every
settle (and every claim of a delivery) gives its record a new fencing number, and a settle that was
decided on an older one changes nothing. Times come from Redis's own clock, so workers with skewed
clocks agree. The keys, below the deployment's prefix:

    tracker:{account}:{id}      hash    state, fence, seq, tracked_at, deadline_at, watched, …
    timeline:{account}:{id}     list    the newest 200 entries
    trackers:{account}:{state}  zset    IDs by seq: lists and counts
    card:{lane}                 hash    health and hold of the account or receiver; its tokens
    due:{lane}, due:{queue}     zset    IDs by due time (while claimed: the end of the lease)
    queues:{lane}               zset    of a receiver's lane: its queues, by when each has work
    deadlines:{account}         zset    IDs by deadline
    learned:{account}           hash    what is known of each kind; version
    observed:{account}          list    ends that nobody has learned from yet
    listing:{account}           string  how the provider lists its generations
    submission:{id}             hash    state, account, begun_at, record, token, generation_id, …
    submissions                 zset    submission IDs by seq
    unsettled                   zset    those in the making or in doubt, by when to look for them
    open:{account}              zset    those without a token and an outcome, by when they began
    idempotency:{digest}        string  the submission that has this key
    hint:{digest}               hash    account, submission, generation_id; at, count
    lanes                       zset    lanes by when they next have something to do
    drain:{lane}                string  there while a drain lives: until when it sleeps
    event:{id}                  hash    type, account, generation_id, body, deliveries pending
    delivery:{id}               hash    state, reason, fence, seq, lane, queue, event_id, …
    busy:{queue}                zset    deliveries under way, by the end of their lease
    attempts:{id}               list    the newest 50 attempts of a delivery
    deliveries:{state}          zset    delivery IDs by seq
    endpoint:{name}             hash    url, lane, record, enabled, concurrency, secrets, failing_…
    endpoints, watchers         zset, set  all by seq; those that ask for endpoint.disabled
    owed:{name}, failed:{name}  zset    an endpoint's pending and exhausted deliveries, by time
    switched_off                set     endpoints that were, and whom it concerns is yet to be told
    events                      stream  the newest 20,000 events and ends of deliveries
    totals                      hash    what all processes have counted
    minute:{n}                  hash    what they counted in a minute of the last hour
    flushed:{process}           string  how often a process has added what it counted
    workers                     zset    workers, by when they last showed that they live
    held                        zset    lanes of receivers that are held, by until when
    troubled                    zset    endpoints that fail or are off, by since when
    unconfigured                set     accounts that a worker has met and does not know
    expiry                      zset    entries of the lists above, by when they leave
    seq                         string  the last number given out: places in lists, fences
    secret                      string  the signing secret that was made here
    bell, ends                  channel a sleeping lane has work; a tracker has ended
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from redis.asyncio import Redis

from worker import safety
from worker.errors import ConfigurationError
from worker.model import State
from worker.store.bell import Bell, heard
from worker.store.deliveries import ClaimedDeliveries, ClaimedDelivery, Deliveries, SwitchOff
from worker.store.endpoints import Endpoints
from worker.store.facts import read_facts
from worker.store.figures import WORKER_ALIVE_S, FigureBook
from worker.store.lanes import Lanes, lane_of
from worker.store.learned import Learned
from worker.store.outages import ALL_IN_USE_REMEDY, all_in_use, redis_may_be_away
from worker.store.scripts import LEASE_S, Clock, Scripts
from worker.store.stream import Bounds, Stream, StreamEntry
from worker.store.submissions import Begun, ClaimedSubmission, Submissions
from worker.store.trackers import (
    ClaimedLooks,
    ClaimedRequest,
    ClaimedTracker,
    Tracked,
    Trackers,
)

__all__ = [
    "ALL_IN_USE_REMEDY",
    "LEASE_S",
    "WORKER_ALIVE_S",
    "Begun",
    "Bell",
    "Bounds",
    "ClaimedDeliveries",
    "ClaimedDelivery",
    "ClaimedLooks",
    "ClaimedRequest",
    "ClaimedSubmission",
    "ClaimedTracker",
    "Clock",
    "Store",
    "StreamEntry",
    "SwitchOff",
    "Tracked",
    "all_in_use",
    "heard",
    "lane_of",
    "redis_may_be_away",
]

JOBS = "jobs"
"""Rung when an arq job was queued; a lane's name is rung when work came due in it."""


class Store:
    """One deployment's state.

    Args:
        redis: a client that returns bytes.
        prefix: put before every key and channel.
        retention_s: how long finished trackers and deliveries are kept.
        lease_s: how long a claim lasts; whoever crashes holds his work up for so long.
    """

    def __init__(
        self, redis: Redis, *, prefix: str, retention_s: float, lease_s: float = LEASE_S
    ) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, prefix=prefix, retention_s=retention_s, lease_s=lease_s)
        self.trackers = Trackers(self._scripts)
        self.submissions = Submissions(self._scripts)
        self.learned = Learned(self._scripts)
        self.deliveries = Deliveries(self._scripts)
        self.endpoints = Endpoints(self._scripts)
        self.lanes = Lanes(self._scripts)
        self.stream = Stream(self._scripts)
        self.figures = FigureBook(self._scripts, self.endpoints, self.lanes)
        self.bell = Bell(redis, [self._scripts.key("bell"), self._scripts.key("ends")])

    async def ring(self, name: str) -> None:
        """Wake whoever waits for `name`, in any process."""
        await self._redis.publish(self._scripts.key("bell"), name)

    async def now(self) -> int:
        """Tell Redis's time, in milliseconds since the epoch."""
        seconds, microseconds = await self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def secret(self, candidate: str) -> str:
        """Get the deployment's own signing secret, which is `candidate` if there was none."""
        name = self._scripts.key("secret")
        kept: bytes | None = await self._redis.get(name)
        if (
            kept is None
        ):  # only then: a Redis that is full takes no SET, not even one that does nothing
            await self._redis.set(name, candidate, nx=True)
            kept = await self._redis.get(name)
        return (kept or b"").decode()

    async def tracking(self, accounts: Iterable[str]) -> list[int]:
        """Count what is being tracked in each account."""
        pipe = self._redis.pipeline(transaction=False)
        for account in accounts:
            pipe.zcard(self._scripts.key(f"trackers:{account}:{State.TRACKING}"))
        return [int(count) for count in await pipe.execute()]

    async def strays(self, configured: Container[str]) -> dict[str, int]:
        """Count what is tracked in each account that is not configured, as far as workers saw."""
        met: set[bytes] = await self._redis.smembers(self._scripts.key("unconfigured"))  # type: ignore[misc]
        names = sorted(each.decode() for each in met if each.decode() not in configured)
        counts = await self.tracking(names)
        return {name: count for name, count in zip(names, counts, strict=True) if count}

    async def check(self) -> None:
        """Make sure that Redis answers, lets us at our keys, and keeps what it is given.

        Raises:
            ConfigurationError: it is too old, a replica, or evicts keys when it is full.
            RedisError, OSError: it does not answer, or not this user.
        """
        why = safety.refusal(await read_facts(self._redis))
        if why:
            raise ConfigurationError(why)
        await self._redis.exists(self._scripts.key("seq"))

    async def risks(self) -> list[str]:
        """Say what this Redis may lose, or could not write."""
        return safety.risks(await read_facts(self._redis))
