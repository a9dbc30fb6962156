"""The metrics as Prometheus reads them. Replicas agree: all but `process_…` come from Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from worker.figures import METRICS, Figures, counted, histograms
from worker.model import HealthReason

_REASONS = {
    HealthReason.THROTTLED: "throttled",
    HealthReason.UNREACHABLE: "unreachable",
    HealthReason.CREDENTIALS: "credentials",
}

_process = ProcessCollector(registry=None)


class Snapshot(Collector):
    """The metrics as they were read at one moment.

    Args:
        figures: how the queue stands.
        totals: what all processes have counted.
        budgets: each account's, in requests a second.
        listeners: how many listen to the events of this process.
    """

    def __init__(
        self,
        figures: Figures,
        totals: Mapping[str, int],
        budgets: Mapping[str, float],
        listeners: int,
    ) -> None:
        self._figures = figures
        self._totals = totals
        self._budgets = budgets
        self._listeners = listeners

    def collect(self) -> Iterator[Metric]:
        """Make all families."""
        yield from self._counters()
        yield from self._of_accounts()
        yield from self._of_the_queue()
        yield from _process.collect()

    def _counters(self) -> Iterator[Metric]:
        for metric in METRICS:
            if not metric.buckets:
                counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, count in counted(self._totals, metric).items():
                    counter.add_metric(labels, count)
                yield counter
                continue
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            bounds = [*map(str, metric.buckets), "+Inf"]
            for labels, found in histograms(self._totals, metric).items():
                buckets = list(zip(bounds, found.cumulative(), strict=True))
                family.add_metric(labels, buckets, found.sum_ms / 1000)
            yield family

    def _of_accounts(self) -> Iterator[Metric]:
        trackers = _gauge("trackers", "Trackers that are kept, by state.", "account", "state")
        due = _gauge("looks_due", "Looks that are due now.", "account")
        budget = _gauge("account_budget", "Requests a second the account may have.", "account")
        held = _gauge("account_held", "1 while an account is in trouble so.", "account", "reason")
        for account, counts in self._figures.trackers.items():
            for state, count in counts.items():
                trackers.add_metric([account, state.value], count)
            due.add_metric([account], self._figures.looks_due[account])
            budget.add_metric([account], self._budgets[account])
            health = self._figures.health[account]
            for reason, word in _REASONS.items():
                held.add_metric([account, word], health.reason is reason)
        yield from (trackers, due, budget, held)

    def _of_the_queue(self) -> Iterator[Metric]:
        figures = self._figures
        deliveries = _gauge("deliveries", "Deliveries that are kept, by state.", "state")
        for state, count in figures.deliveries.items():
            deliveries.add_metric([state.value], count)
        yield deliveries
        numbers = {
            "receivers_due": ("Origins that have webhooks due now.", figures.receivers_due),
            "lag_seconds": ("For how long the oldest due work has been due.", figures.lag_s),
            "workers": ("Workers that live.", len(figures.workers)),
            "endpoints_in_trouble": ("Endpoints that fail or are off.", figures.troubled),
            "event_listeners": ("Who listens to the events of this process.", self._listeners),
            "redis_memory_used_bytes": ("Memory that Redis uses.", figures.used_bytes),
            "redis_memory_max_bytes": ("Memory it may use; 0: all there is.", figures.max_bytes),
        }
        for name, (text, value) in numbers.items():
            yield GaugeMetricFamily(f"dreamhook_{name}", text, value=value or 0)


def exposed(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """Write metrics in the format that is accepted; returns them and its media type."""
    encode, media_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(snapshot)
    return encode(registry), media_type


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"dreamhook_{name}", text, labels=labels)
