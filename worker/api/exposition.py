"""The metrics as Prometheus reads them. Replicas agree: all but `process_…` come from Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

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


class Snapshot:
    """The metrics of a deployment, or of one of its cells, as they were read at one moment.

    Args:
        figures: how the queue stands.
        totals: what all processes have counted.
        budgets: of each account that is told of, in requests a second.
    """

    def __init__(
        self, figures: Figures, totals: Mapping[str, int], budgets: Mapping[str, float]
    ) -> None:
        self._figures = figures
        self._totals = totals
        self._budgets = budgets

    def families(self) -> Iterator[Metric]:
        """Make all families."""
        yield from self._counters()
        yield from self._of_accounts()
        yield from self._of_the_queue()

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
        for account, rate in self._budgets.items():
            for state, count in self._figures.trackers[account].items():
                trackers.add_metric([account, state.value], count)
            due.add_metric([account], self._figures.looks_due[account])
            budget.add_metric([account], rate)
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
            "receivers_held": ("Origins that are sent nothing now.", figures.receivers_held),
            "lag_seconds": ("For how long the oldest due work has been due.", figures.lag_s),
            "workers": ("Workers that live.", len(figures.workers)),
            "endpoints_in_trouble": ("Endpoints that fail or are off.", figures.troubled),
            "redis_memory_used_bytes": ("Memory that Redis uses.", figures.used_bytes),
            "redis_memory_max_bytes": ("Memory it may use; 0: all there is.", figures.max_bytes),
        }
        for name, (text, value) in numbers.items():
            yield GaugeMetricFamily(f"dreamhook_{name}", text, value=value or 0)


def of_cells(cells: Mapping[str, Snapshot | None]) -> Iterator[Metric]:
    """Put the families of several cells together, each sample with the label `cell`.

    Args:
        cells: by name; None: it does not answer, and `dreamhook_cell_up` says so.
    """
    up = _gauge("cell_up", "1 if the cell answers, 0 if it is away.", "cell")
    together: dict[str, Metric] = {}
    for cell, snapshot in cells.items():
        up.add_metric([cell], snapshot is not None)
        for family in snapshot.families() if snapshot else ():
            found, family.samples = family.samples, []
            samples = together.setdefault(family.name, family).samples
            samples += (each._replace(labels={"cell": cell, **each.labels}) for each in found)
    yield up
    yield from together.values()


def of_this_process(listeners: int) -> Iterator[Metric]:
    """Make what is told of the process that answers, and how many listen to its events."""
    text = "Who listens to the events of this process."
    yield GaugeMetricFamily("dreamhook_event_listeners", text, value=listeners)
    yield from _process.collect()


def exposed(accept: str, *families: Iterable[Metric]) -> tuple[bytes, str]:
    """Write metrics in the format that is accepted; returns them and its media type."""
    encode, media_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(chain(*families)))
    return encode(registry), media_type


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"dreamhook_{name}", text, labels=labels)
