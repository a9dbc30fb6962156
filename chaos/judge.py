"""The judge: compares what was promised with what happened. From records to findings, no effects.

A finding is a promise that was broken. The promises are those of docs/guarantees.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from chaos.evidence import Deed, Ended, Kind, Promise, Receipt, Run

PERMANENT = (
    "trackers:*",
    "deliveries:*",
    "endpoint:*",
    "endpoints",
    "watchers",
    "events",
    "expiry",
    "card:poll:*",
    "lanes",
    "totals",
    "workers",
    "troubled",
    "unconfigured",
    "failed:*",
    "seq",
    "secret",
    "queue",
)
"""Keys that may have no time to live: docs/architecture.md says when what is in them ends."""

SETTLE_S = 10.0
"""So long after its answer an attempt has been settled, if nobody was disturbed."""

ATTEMPT_S = 14.0
"""An answer that took longer may have come too late: an attempt ends after 15 s."""

DOWN_S = 30.0
"""So long after Redis was away a process may still end over it, or not start."""

_DISTURBS = {Kind.KILL, Kind.STOP, Kind.REDIS_KILL, Kind.REDIS_STOP, Kind.RESTART}
_OF_REDIS = {Kind.REDIS_KILL, Kind.REDIS_STOP}


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken promise: which, and of what (a generation's ID, a webhook's, a key, a process)."""

    what: str
    whom: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.whom}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A webhook that came although the receiver had said before that it has it."""

    receipt: Receipt
    because: str | None


def judge(run: Run) -> list[Finding]:
    """Find every promise that was broken."""
    concerns = (
        *(refused, forgotten, miscounted, unheard, undelivered, forged),
        *(unexplained, eternal, deserted),
    )
    return [finding for concern in concerns for finding in concern(run)]


def expected(promise: Promise, run: Run) -> Ended:
    """Tell how a tracker has to end, given what truly happened at the provider."""
    if promise.canceled:
        return Ended("canceled")
    match run.truth.get(promise.generation_id):
        case "completed" | "failed" as state:
            return Ended(state)
        case None:
            return Ended("expired", "not_found")
        case _:
            return Ended("expired", "deadline")


def refused(run: Run) -> Iterator[Finding]:
    """Find requests that were refused, or that no API has done however often it was asked."""
    for name, answer in run.refused.items():
        yield Finding("refused", name, answer)


def forgotten(run: Run) -> Iterator[Finding]:
    """Find trackers that were acknowledged and have not ended as the provider says."""
    for promise in run.promises:
        name, due = promise.generation_id, expected(promise, run)
        found = run.trackers.get(name)
        if found is None:
            yield Finding("forgotten", name, f"acknowledged at {promise.at:.2f} s, and not there")
        elif found != due:
            yield Finding("wrong end", name, f"it is {found}, and should be {due}")


def miscounted(run: Run) -> Iterator[Finding]:
    """Find trackers that have not exactly the terminal event they should: one for each tracking.

    Only what has expired begins anew, and only for a request.
    """
    born = defaultdict(list)
    for event in run.events:
        born[event.generation_id].append(event.type)
    for promise in run.promises:
        end = expected(promise, run).state
        begun = run.begun.get(promise.generation_id, 1)
        if begun > promise.asked:
            told = f"begun {begun} times for {promise.asked} requests"
            yield Finding("begun", promise.generation_id, told)
        due = ["generation.expired"] * (begun - 1)
        due += [] if end == "canceled" else [f"generation.{end}"]
        found = born.pop(promise.generation_id, [])
        if found != due:
            yield Finding("events", promise.generation_id, f"{found or 'none'}, not {due}")
    for name, types in born.items():
        if name not in run.trackers:
            yield Finding("events", name, f"{types} of what nobody tracks")


def unheard(run: Run) -> Iterator[Finding]:
    """Find events that the listener has not heard, or more than once."""
    if run.deaf is not None:
        yield Finding("heard", "the listener", f"gave up: {run.deaf}")
    times = Counter(run.heard)
    born = {event.event_id: event.generation_id for event in run.events}
    for event_id, generation_id in born.items():
        if times[event_id] > 1 or (times[event_id] == 0 and not run.had_gap):
            yield Finding("heard", generation_id, f"{event_id} {times[event_id]} times")
    for event_id in times.keys() - born.keys():
        yield Finding("heard", event_id, "is no event on record")


def undelivered(run: Run) -> Iterator[Finding]:
    """Find events that did not reach their receiver, and webhooks that are owed to nobody."""
    receiver_of = {each.generation_id: each.receiver for each in run.promises}
    owed = defaultdict(list)
    for delivery in run.owed:
        owed[delivery.event_id].append(delivery.state)
    taken = {(each.webhook_id, each.receiver) for each in run.receipts if each.is_taken}
    for event in run.events:
        name, states = event.generation_id, owed[event.event_id]
        if states != ["delivered"]:
            yield Finding("delivery", name, f"{event.event_id}: {states or 'none on record'}")
        elif (event.event_id, receiver_of.get(name)) not in taken:
            yield Finding("delivery", name, f"{event.event_id}: its receiver has not taken it")
    yield from _strange(run, receiver_of)


def _strange(run: Run, receiver_of: dict[str, str]) -> Iterator[Finding]:
    events = {event.event_id: event for event in run.events}
    for receipt in run.receipts:
        event = events.get(receipt.webhook_id)
        if event is None:
            yield Finding("webhook", receipt.webhook_id, "is no event on record")
        elif receiver_of.get(event.generation_id) != receipt.receiver:
            yield Finding("webhook", event.generation_id, f"came to {receipt.receiver}")
        elif event.type != f"generation.{receipt.state}":
            yield Finding("webhook", event.generation_id, f"says {receipt.state}, not {event.type}")


def forged(run: Run) -> Iterator[Finding]:
    """Find webhooks whose signature does not verify."""
    for receipt in run.receipts:
        if not receipt.is_signed:
            yield Finding("signature", receipt.webhook_id, f"at {receipt.at:.2f} s")


def unexplained(run: Run) -> Iterator[Finding]:
    """Find duplicates that no disturbance explains."""
    for duplicate in duplicates(run):
        if duplicate.because is None:
            came = f"came to {duplicate.receipt.receiver} again at {duplicate.receipt.at:.2f} s"
            yield Finding("duplicate", duplicate.receipt.webhook_id, f"{came}, for no reason")


def duplicates(run: Run) -> list[Duplicate]:
    """Find what came after it had been taken, each with what explains it."""
    before: dict[tuple[str, str], Receipt] = {}
    found = []
    for receipt in sorted(run.receipts, key=lambda each: each.at):
        place = (receipt.webhook_id, receipt.receiver)
        if place in before:
            found.append(Duplicate(receipt, _reason(before[place], run.deeds)))
        if receipt.is_taken:
            before[place] = receipt
    return found


def _reason(taken: Receipt, deeds: Iterable[Deed]) -> str | None:
    """Say why nobody wrote down that it was taken."""
    answered_at = taken.at if taken.answered_at is None else taken.answered_at
    if answered_at - taken.at > ATTEMPT_S:
        return "the answer took as long as an attempt"
    for deed in deeds:
        near = deed.at <= answered_at + SETTLE_S and deed.until >= taken.at - 1
        if deed.kind in _DISTURBS and near and not deed.whom.startswith("api"):
            return f"{deed.kind} {deed.whom}"
    return None


def eternal(run: Run) -> Iterator[Finding]:
    """Find keys that nothing ends, now that nothing is tracked and nothing owed."""
    for name, ttl_s in run.keys.items():
        if ttl_s is None and not any(fnmatch(name, pattern) for pattern in PERMANENT):
            yield Finding("eternal key", name, "has no end")


def deserted(run: Run) -> Iterator[Finding]:
    """Find processes that ended by themselves although Redis was there."""
    for death in run.deaths:
        if not any(
            deed.kind in _OF_REDIS and deed.at <= death.at <= deed.until + DOWN_S
            for deed in run.deeds
        ):
            yield Finding("process", death.whom, f"ended by itself at {death.at:.2f} s: {death}")


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long after a piece of mischief was over things went on; None: nothing came after it."""

    deed: Deed
    acknowledged_s: float | None
    delivered_s: float | None


def recoveries(run: Run, kinds: Iterable[Kind]) -> list[Recovery]:
    """Tell how soon after each deed of these kinds something was acknowledged and delivered."""
    wanted = set(kinds)
    acknowledged = sorted(each.at for each in run.promises)
    taken = sorted(each.at for each in run.receipts if each.is_taken)
    return [
        Recovery(deed, _next(acknowledged, deed.until), _next(taken, deed.until))
        for deed in run.deeds
        if deed.kind in wanted
    ]


def _next(instants: Sequence[float], after: float) -> float | None:
    return next((at - after for at in instants if at >= after), None)
