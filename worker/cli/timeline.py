"""What happened to a generation as a tree: looks and changes, and below each event its webhooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from worker.cli.owed import NOBODY, has_receiver
from worker.cli.words import ahead, attempt_in_words, duration
from worker.model import JsonObject
from worker.off import ending_of

SHOWN_LOOKS = 3
"""Of more looks in a row that saw the same there is one line."""


@dataclass(slots=True)
class Node:
    """A line of the tree, and what is below it. `style` is a word that has a colour."""

    text: str
    style: str = ""
    children: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Tells times of day, and since when tracking began."""

    began: datetime
    now: datetime

    def __call__(self, at: str) -> str:
        since = max(0.0, (datetime.fromisoformat(at) - self.began).total_seconds())
        return f"{self.time(at)}  {'+' + duration(since):>9}"

    def time(self, at: str) -> str:
        """Tell the time of day, and the day if it is another."""
        moment = datetime.fromisoformat(at)
        day = "" if moment.date() == self.began.date() else f"{moment:%m-%d} "
        return f"{day}{moment:%H:%M:%S}"


def tree_of(
    tracker: JsonObject,
    entries: Sequence[JsonObject],
    deliveries: Iterable[JsonObject],
    now: datetime,
) -> Node:
    """Make the tree of one tracker.

    Args:
        tracker: It.
        entries: Its timeline, oldest first.
        deliveries: Those of its generation, in any order.
        now: From when on to count down.
    """
    clock = _Clock(datetime.fromisoformat(tracker["tracked_at"]), now)
    owed: dict[str, list[JsonObject]] = {}
    for delivery in sorted(deliveries, key=lambda each: str(each.get("created_at"))):
        owed.setdefault(delivery["event_id"], []).append(delivery)
    known = {delivery["id"] for some in owed.values() for delivery in some}
    told = [each for each in entries if each.get("delivery_id") not in known]
    replays = [each for each in entries if each["kind"] == "replay"]
    nobody = f"{NOBODY}: no callback URL, no endpoint"
    unowed = "owed to no receiver (any more)" if has_receiver(tracker) else nobody
    root = Node(str(tracker["generation_id"]), str(tracker["state"]))
    for what, group in groupby(told, _sameness):
        some = list(group)
        if what[0] == "look" and (len(some) > SHOWN_LOOKS or any(map(_looks_of, some))):
            root.children.append(_looks(some, clock))
            continue
        for each in some:
            node = _entry(each, owed, replays, clock)
            if each["kind"] == "event" and not node.children:
                node.children = [Node(unowed, "canceled")]
            root.children.append(node)
    return root


def delivery_node(
    delivery: JsonObject, replays: Iterable[JsonObject], now: datetime | _Clock
) -> Node:
    """Make the part of the tree about one delivery: its attempts, holds, and when it was replayed.

    `now` is from when on to count down; within a tracker's tree, the clock of that.
    """
    born = str(delivery["created_at"])
    clock = now if isinstance(now, _Clock) else _Clock(datetime.fromisoformat(born), now)
    text = f"{ending_of(delivery)}  {delivery['id']}  {delivery.get('url') or ''}".rstrip()
    node = Node(text, str(delivery["state"]))
    lines = [(str(each["at"]), *_attempt(each)) for each in delivery.get("attempts") or ()]
    lines += [
        (str(each["at"]), "replay asked for", "")
        for each in replays
        if each.get("delivery_id") == delivery["id"]
    ]
    held, due = delivery.get("held"), delivery.get("next_attempt_at")
    if held:
        lines.append((max(str(held["since"]), born), f"held: {held['in_words']}", "warning"))
    node.children = [Node(f"{clock(at)}  {text}", style) for at, text, style in sorted(lines)]
    if due:
        left = ahead(due, clock.now)
        least = " at the earliest" if held and left else ""
        text = f"next attempt {left}".rstrip() + least
        node.children.append(Node(f"{clock(due)}  {text}", "pending"))
    return node


def _attempt(attempt: JsonObject) -> tuple[str, str]:
    text, style = attempt_in_words(attempt)
    return f"attempt: {text}", style


def _sameness(entry: JsonObject) -> tuple[object, ...]:
    return entry["kind"], entry.get("provider_state"), entry.get("error")


def _looks(looks: Sequence[JsonObject], clock: _Clock) -> Node:
    first, last = looks[0], looks[-1]
    text, style = _saw(first)
    count = sum(_looks_of(each) or 1 for each in looks)
    many = f"{count} looks until {clock.time(last.get('until') or last['at'])}"
    return Node(f"{clock(first['at'])}  {many}: {text}", style)


def _looks_of(entry: JsonObject) -> int:
    """Tell how many looks a line stands for; 0: it is one like any other."""
    count: int = entry.get("looks") or 0
    return count


def _entry(
    entry: JsonObject,
    owed: Mapping[str, Sequence[JsonObject]],
    replays: Sequence[JsonObject],
    clock: _Clock,
) -> Node:
    text, style = _in_words(entry)
    node = Node(f"{clock(entry['at'])}  {text}", style)
    if entry["kind"] == "event":
        some = owed.get(str(entry.get("event_id")), ())
        node.children = [delivery_node(each, replays, clock) for each in some]
    return node


def _in_words(entry: JsonObject) -> tuple[str, str]:
    """Say what an entry tells, and in which colour."""
    match entry["kind"]:
        case "look":
            text, style = _saw(entry)
            took = entry.get("duration_ms")
            return f"look: {text}" + ("" if took is None else f", {duration(took / 1000)}"), style
        case "change":
            return f"now {entry.get('provider_state')}", "change"
        case "event":
            type_ = str(entry.get("type"))
            return f"{type_}  {entry.get('event_id')}", type_.rpartition(".")[2]
        case "attempt":
            text, style = attempt_in_words(entry)
            return f"attempt of {entry.get('delivery_id')}: {text}", style
        case "hold":
            what = f"{entry['delivery_id']} is " if entry.get("delivery_id") else ""
            return f"{what}held: {entry.get('in_words')}", "warning"
        case kind:
            return " ".join([str(kind), *_details(entry)]), str(kind)


def _saw(look: JsonObject) -> tuple[str, str]:
    if look.get("error"):
        return str(look["error"]), "expired"
    return str(look.get("provider_state") or "nothing new"), ""


def _details(entry: JsonObject) -> Iterator[str]:
    for name, value in entry.items():
        if name not in ("at", "kind") and value is not None:
            yield f"{name}: {value}"
