"""The figures that tell how it is doing: what is counted, under which names, and what it shows.

A count is a field and a number. A field is a metric's name with its labels' values, joined by
colons, and for a histogram the number of a bucket, or `ms` for the sum in milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from worker.held import account_hold_shape, held_until, hold_shape
from worker.model import DeliveryState, Endpoint, Health, Hold, JsonObject, State, rfc3339

MINUTES = 60

LATE_S = 30.0
UNSERVED_S = 5.0
"""So long work may be due where no worker lives."""

NO_WORKER = "no worker lives: start `dreamhook work`"

NEARLY_FULL = 0.9

_REQUEST_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ATTEMPT_S = (*_REQUEST_S, 15.0)
_LATENESS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_LATENCY_S = (
    *(0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that is counted; with `buckets`, upper bounds in seconds, a histogram.

    Every label has few values: accounts, and words of ours. No ID and no URL is one.
    """

    field: str
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def times(self, *labels: str) -> str:
        """Name the field that counts how often."""
        return ":".join((self.field, *labels))

    def took(self, seconds: float, *labels: str) -> Counter[str]:
        """Count one observation of a histogram."""
        seconds = max(0.0, seconds)
        bucket, total = str(bisect_left(self.buckets, seconds)), round(seconds * 1000)
        return Counter({self.times(*labels, bucket): 1, self.times(*labels, "ms"): total})


LOOKS = Metric(
    *("looks", "dreamhook_looks", "Looks by what the provider answered."), ("account", "answer")
)
REQUEST_DURATION = Metric(
    *("request", "dreamhook_request_duration_seconds", "How long a provider took to answer."),
    *(("account", "call"), _REQUEST_S),
)
LOOK_LATENESS = Metric(
    *("look_lateness", "dreamhook_look_lateness_seconds", "From when a look was due to its start."),
    *(("account",), _LATENESS_S),
)
ENDED = Metric(
    *("ended", "dreamhook_trackers_ended", "Trackers that are over, by state."),
    ("account", "state"),
)
ATTEMPTS = Metric(
    *("attempts", "dreamhook_attempts", "Attempts by the kind of answer: 2xx to 5xx, or none."),
    ("answer",),
)
ATTEMPT_DURATION = Metric(
    *("attempt_duration", "dreamhook_attempt_duration_seconds", "How long attempts took."),
    *((), _ATTEMPT_S),
)
LATENCY = Metric(
    "latency",
    "dreamhook_webhook_latency_seconds",
    "From an event's birth until its receiver took it; replays are not counted.",
    *((), _LATENCY_S),
)
SUBMISSIONS = Metric(
    *("submissions", "dreamhook_submissions", "Create calls by what came of them."),
    ("account", "answer"),
)
RECONCILED = Metric(
    *("reconciled", "dreamhook_submissions_reconciled", "Unanswered ones, by what was found out."),
    ("account", "state"),
)
METRICS = (
    *(LOOKS, REQUEST_DURATION, LOOK_LATENESS, ENDED, ATTEMPTS, ATTEMPT_DURATION, LATENCY),
    *(SUBMISSIONS, RECONCILED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How the queue stands at `now`.

    Args:
        now: milliseconds since the epoch.
        trackers: how many, by account and state.
        deliveries: how many, by state.
        looks_due: how many, by account.
        lanes_due: how many lanes have work due, accounts and receivers.
        accounts_due: how many of those are configured accounts.
        oldest_due: since when, or from when on, the first of all lanes has work due.
        health: of each account.
        workers: those that live, each as `machine:process`.
        troubled: how many endpoints fail or are off.
        troubled_longest: some of them, each with since when.
        holds: how their origins are held, by the endpoint's name; where it is not there, not.
        account_holds: how accounts are held, by name.
        receivers_held: how many receivers' origins are.
        used_bytes: the memory Redis uses; None: it does not tell.
        max_bytes: what it may use at most; None: there is no such limit.
    """

    now: int
    trackers: Mapping[str, Mapping[State, int]]
    deliveries: Mapping[DeliveryState, int]
    looks_due: Mapping[str, int]
    lanes_due: int
    accounts_due: int
    oldest_due: float | None
    health: Mapping[str, Health]
    workers: Sequence[str]
    troubled: int
    troubled_longest: Sequence[tuple[int, Endpoint]]
    holds: Mapping[str, Hold]
    account_holds: Mapping[str, Hold]
    receivers_held: int
    used_bytes: int | None
    max_bytes: int | None

    @property
    def lag_s(self) -> float:
        """For how many seconds the oldest due work has been due."""
        return max(0.0, (self.now - (self.oldest_due or self.now)) / 1000)

    @property
    def receivers_due(self) -> int:
        """How many receivers' origins have webhooks due."""
        return max(0, self.lanes_due - self.accounts_due)


def warnings(figures: Figures) -> list[str]:
    """Say what in the figures needs somebody's attention soon."""
    found = []
    if figures.lag_s > (LATE_S if figures.workers else UNSERVED_S):
        start = "start more workers" if figures.workers else NO_WORKER
        found.append(f"work has been due for {figures.lag_s:.0f} s; {start}")
    used, most = figures.used_bytes, figures.max_bytes
    if used and most and used > NEARLY_FULL * most:
        found.append(
            f"Redis uses {used / most:.0%} of its memory; when that is full nothing more can be "
            "tracked. Raise maxmemory, or lower DREAMHOOK_RETENTION."
        )
    return found


def stats_shape(figures: Figures, minutes: Sequence[Mapping[str, int]]) -> JsonObject:
    """Show the figures as `GET /v1/stats` does.

    Args:
        figures: how the queue stands.
        minutes: what was counted in each of the last 60 minutes, the one that runs being the last.
    """
    first = figures.now // 60_000 - len(minutes) + 1
    return {
        "trackers": {
            state.value: sum(counts[state] for counts in figures.trackers.values())
            for state in State
        },
        "deliveries": {state.value: count for state, count in figures.deliveries.items()},
        "due": {"looks": sum(figures.looks_due.values()), "receivers": figures.receivers_due},
        "lag_s": figures.lag_s,
        "workers": len(figures.workers),
        "accounts_in_trouble": [
            _account_in_trouble(name, health, figures.account_holds.get(name))
            for name, health in figures.health.items()
            if health.reason is not None
        ],
        "endpoints_in_trouble": {
            "total": figures.troubled,
            "items": [
                _endpoint_in_trouble(since, each, figures.holds.get(each.name))
                for since, each in figures.troubled_longest
            ],
        },
        "last_hour": [
            _minute_shape((first + n) * 60_000, counts) for n, counts in enumerate(minutes)
        ],
        "redis": {"used_bytes": figures.used_bytes, "max_bytes": figures.max_bytes},
    }


def _account_in_trouble(name: str, health: Health, hold: Hold | None) -> JsonObject:
    return {
        "name": name,
        "reason": health.reason,
        "detail": health.detail,
        "held_until": held_until(hold),
        "held": hold and account_hold_shape(hold),
    }


def _endpoint_in_trouble(since: int, endpoint: Endpoint, hold: Hold | None) -> JsonObject:
    why = "no attempt has succeeded" if endpoint.enabled else endpoint.disabled_reason
    return {
        "name": endpoint.name,
        "url": endpoint.url,
        "since": rfc3339(since),
        "enabled": endpoint.enabled,
        "reason": why,
        "failed_with": endpoint.failed_with,
        "held": hold and hold_shape(hold),
    }


def _minute_shape(at: int, counts: Mapping[str, int]) -> JsonObject:
    ended = dict.fromkeys((State.COMPLETED, State.FAILED, State.EXPIRED), 0)
    for (_account, state), count in counted(counts, ENDED).items():
        if state in ended:
            ended[State(state)] += count
    latencies = histograms(counts, LATENCY).get((), Histogram((), 0))
    return {
        "at": rfc3339(at),
        **{state.value: count for state, count in ended.items()},
        "delivered": sum(latencies.counts),
        "latency_p50_s": latencies.percentile(LATENCY.buckets, 0.5),
        "latency_p95_s": latencies.percentile(LATENCY.buckets, 0.95),
    }


# --- reading what was counted ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many observations fell into each bucket, the one above all bounds being the last."""

    counts: tuple[int, ...]
    sum_ms: int

    def cumulative(self) -> list[int]:
        """Count for each bucket what fell into it or below."""
        return list(accumulate(self.counts))

    def percentile(self, bounds: Sequence[float], share: float) -> float | None:
        """Estimate in seconds what `share` of the observations stay below; None without any.

        Within a bucket observations are taken as evenly spread, as Prometheus does.
        """
        total = sum(self.counts)
        if not total:
            return None
        rank, below = share * total, 0
        for n, count in enumerate(self.counts):
            if below + count >= rank and n < len(bounds):
                low = bounds[n - 1] if n else 0.0
                return round(low + (bounds[n] - low) * (rank - below) / count, 4)
            below += count
        return bounds[-1]


def counted(counts: Mapping[str, int], metric: Metric) -> dict[tuple[str, ...], int]:
    """Read a counter: how often, by the values of its labels."""
    return dict(_of(counts, metric))


def histograms(counts: Mapping[str, int], metric: Metric) -> dict[tuple[str, ...], Histogram]:
    """Read a histogram, by the values of its labels."""
    found: dict[tuple[str, ...], list[int]] = {}
    above_all = len(metric.buckets)
    for (*labels, bucket), count in _of(counts, metric):
        places = found.setdefault(tuple(labels), [0] * (above_all + 2))
        # A version with more buckets may have counted before this one, or beside it.
        places[-1 if bucket == "ms" else min(int(bucket), above_all)] += count
    return {labels: Histogram(tuple(each[:-1]), each[-1]) for labels, each in found.items()}


def _of(counts: Mapping[str, int], metric: Metric) -> Iterable[tuple[tuple[str, ...], int]]:
    """Read what was counted of a metric; with the labels of another version it is left out."""
    length = len(metric.labels) + bool(metric.buckets)
    for field, count in counts.items():
        name, *labels = field.split(":")
        if name == metric.field and len(labels) == length and _is_counted(metric, labels[-1]):
            yield tuple(labels), count


def _is_counted(metric: Metric, last: str) -> bool:
    return not metric.buckets or last == "ms" or last.isdecimal()
