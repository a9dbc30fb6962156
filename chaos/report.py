"""What a run was like, in lines for people. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator

from chaos.evidence import Kind, Run
from chaos.judge import Finding, Recovery, duplicates, recoveries

SHOWN = 20


def summary(run: Run, asked: int) -> Iterator[str]:
    """Tell what was done and what came of it; `asked`: how many requests the callers made."""
    ends = Counter(each.state for each in run.trackers.values())
    yield f"  {len(run.promises)} acknowledged in {asked} requests: {_counted(ends)}"
    taken = sum(each.is_taken for each in run.receipts)
    yield f"  {len(run.events)} terminal events; {len(run.receipts)} webhooks came, {taken} taken"
    reasons = Counter(each.because or "unexplained" for each in duplicates(run))
    yield f"  {sum(reasons.values())} came twice: {_counted(reasons) or 'none'}"
    yield f"  mischief: {_counted(Counter(str(deed.kind) for deed in run.deeds))}"
    if run.deaths:
        yield f"  ended by themselves while Redis was away: {len(run.deaths)}"
    for kinds, name in _GROUPS:
        found = recoveries(run, kinds)
        if found:
            yield f"  after {name}: {_times(found)}"


_GROUPS = (
    ({Kind.KILL, Kind.STOP}, "a process was killed or stopped"),
    ({Kind.REDIS_KILL, Kind.REDIS_STOP}, "Redis was away"),
    ({Kind.PROVIDER}, "trouble at the provider"),
)


def verdict(findings: list[Finding]) -> Iterator[str]:
    """Tell what was found, at most `SHOWN` of it."""
    for finding in findings[:SHOWN]:
        yield f"  BROKEN {finding}"
    if len(findings) > SHOWN:
        yield f"  ... and {len(findings) - SHOWN} more"


def timeline(run: Run) -> Iterator[str]:
    """Tell what was done to whom, and who ended by himself."""
    for deed in run.deeds:
        yield f"  {deed}"
    for death in run.deaths:
        yield f"  {death.at:7.2f} s  {death.whom} ended by itself with {death.code}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _times(found: Iterable[Recovery]) -> str:
    parts = []
    for name in ("acknowledged_s", "delivered_s"):
        times = [each for one in found if (each := getattr(one, name)) is not None]
        if times:
            middle, most = statistics.median(times), max(times)
            parts.append(f"{name.removesuffix('_s')} again in {middle:.2f} s (at most {most:.2f})")
    return ", ".join(parts) or "nothing came any more"
