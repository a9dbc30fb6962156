"""What a Redis has to be like for promises to be kept in it, and what to say of one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OLDEST = (6, 2)
"""Redis 6.2 has all that the scripts use; what calls itself Valkey is newer."""

SKEW_S = 5.0
BEHIND_S = 3600.0
"""So far behind another machine's clock a worker's may be, and still see what is queued there."""

REPLICA_LAG_S = 10

_NO_FILE = (
    "Redis writes no append-only file: what was promised is lost when it ends. "
    "Set appendonly yes and appendfsync always."
)
_FILE_FAILS = "Redis could not write its append-only file the last time. Is the disk full?"
_NOT_ALWAYS = (
    "Redis has appendfsync {}: a crash of its machine loses up to {} of what was acknowledged. "
    "Set appendfsync always."
)
_CUT_OFF = (
    "Redis has a replica and min-replicas-to-write 0: a primary that is cut off goes on to "
    "acknowledge what a failover then loses. Set min-replicas-to-write 1 and min-replicas-max-lag "
    "10."
)
_NO_REPLICA = "Redis has no replica now, so the Sentinels have nothing to fail over to."
_BEHIND = (
    "The replica of Redis that is least behind has said nothing for {} s: a failover would lose "
    "what it has not got."
)
_SKEW = (
    "The clock of Redis is {:.0f} s {} that of this machine. Due times, deadlines and the "
    "timestamps of webhooks are by Redis's, and receivers refuse those that are minutes off: "
    "set both clocks by NTP."
)
_FAR_BEHIND = (
    " This machine's is over an hour behind: a worker here starts late, by some seconds, what is"
    " queued elsewhere."
)


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What a Redis tells of itself; whatever it does not tell is None.

    Attributes:
        name: it and its version, in words.
        version: of Redis, or of the Redis that it claims to be compatible with.
        policy: what it does when it is full.
        appends: whether it writes an append-only file.
        append_failed: whether it could not, the last time.
        fsync: when that reaches the disk: always, everysec or no.
        is_replica: whether it follows another one.
        replicas: how many follow it.
        replica_lag_s: since when the replica that is least behind has not answered.
        holds_back: whether it stops to take writes when no replica follows it.
        behind_sentinels: whether Sentinels have named it.
        skew_s: by how many seconds its clock is ahead of this machine's.
    """

    name: str = "Redis"
    version: tuple[int, ...] | None = None
    policy: str | None = None
    appends: bool | None = None
    append_failed: bool = False
    fsync: str | None = None
    is_replica: bool = False
    replicas: int = 0
    replica_lag_s: int | None = None
    holds_back: bool = False
    behind_sentinels: bool = False
    skew_s: float = 0.0


def facts_of(
    info: Mapping[str, Any],
    *,
    fsync: str | None = None,
    behind_sentinels: bool = False,
    skew_s: float = 0.0,
) -> RedisFacts:
    """Read what `INFO` tells (as redis-py gives it), beside what it does not.

    >>> facts_of({"redis_version": "7.2.4", "valkey_version": "9.1.2"}).name
    'Valkey 9.1.2'
    """
    version = str(info.get("redis_version", ""))
    numbers = [int(each) for each in version.split(".") if each.isdigit()]
    own = info.get("valkey_version")
    appends = info.get("aof_enabled")
    replicas = [value for name, value in info.items() if _is_replica(name, value)]
    lags = [int(each["lag"]) for each in replicas if int(each.get("lag", -1)) >= 0]
    return RedisFacts(
        name=f"Valkey {own}" if own else f"Redis {version}".rstrip(),
        version=tuple(numbers) or None,
        policy=info.get("maxmemory_policy"),
        appends=None if appends is None else bool(int(appends)),
        append_failed=info.get("aof_last_write_status", "ok") != "ok",
        fsync=fsync,
        is_replica=info.get("role") == "slave",
        replicas=len(replicas),
        replica_lag_s=min(lags, default=None),
        holds_back="min_slaves_good_slaves" in info,
        behind_sentinels=behind_sentinels,
        skew_s=skew_s,
    )


def _is_replica(name: str, value: Any) -> bool:
    return name.removeprefix("slave").isdigit() and isinstance(value, Mapping)


def refusal(facts: RedisFacts) -> str | None:
    """Say why nothing may be promised on this Redis; None if it may."""
    if facts.version is not None and facts.version < OLDEST:
        return f"{facts.name} is too old: Dreamhook needs Redis 6.2 or newer, or Valkey."
    if facts.policy not in {None, "noeviction"}:
        return (
            f"Redis throws keys away when it is full (maxmemory-policy {facts.policy}), and with "
            "them trackers that were promised. Set maxmemory-policy to noeviction."
        )
    if facts.is_replica:
        return (
            "This Redis is a replica, which takes no writes. Name its primary, or the Sentinels: "
            "redis+sentinel://host:26379/service."
        )
    return None


def risks(facts: RedisFacts) -> list[str]:
    """Say what may be lost on this Redis, or go wrong, though the work goes on."""
    lost = {"everysec": "a second", "no": "half a minute"}.get(facts.fsync or "")
    found = {
        _NO_FILE: facts.appends is False,
        _FILE_FAILS: bool(facts.appends) and facts.append_failed,
        _NOT_ALWAYS.format(facts.fsync, lost): bool(facts.appends) and lost is not None,
        _NO_REPLICA: facts.behind_sentinels and not facts.replicas,
        _CUT_OFF: bool(facts.replicas) and not facts.holds_back,
        _BEHIND.format(facts.replica_lag_s): (facts.replica_lag_s or 0) > REPLICA_LAG_S,
        _skew_in_words(facts.skew_s): abs(facts.skew_s) > SKEW_S,
    }
    return [risk for risk, holds in found.items() if holds]


def _skew_in_words(skew_s: float) -> str:
    told = _SKEW.format(abs(skew_s), "ahead of" if skew_s > 0 else "behind")
    return told + _FAR_BEHIND if skew_s > BEHIND_S else told
