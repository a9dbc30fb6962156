"""The house has floors, and imports point down: the rule of docs/architecture.md, as a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "worker"

FLOORS: dict[int, set[str]] = {
    0: {
        "model",
        "durations",
        "schedule",
        "listing",
        "learning",
        "sightings",
        "policy",
        "signing",
        "addresses",
        "errors",
        "shapes",
        "held",
        "off",
        "requests",
        "disputes",
        "delivery_policy",
        "figures",
        "safety",
        "tracing",
        "cells",
        "refusals",
        "submissions",
    },
    1: {"cancelling", "config", "telemetry", "store", "egress", "providers", "embedded"},
    2: {
        "service",
        "submitting",
        "reconciling",
        "endpoints",
        "deliveries",
        "status",
        "events",
        "stream",
        "merging",
        "paging",
        "poller",
        "health",
        "learner",
        "looking",
        "pages",
        "attempts",
        "crew",
        "courier",
        "drain",
        "jobs",
        "wiring",
        "checkup",
        "glances",
        "accounts",
        "standalone",
    },
    3: {
        "api",
        "cli",
        "client",
        "demo",
        "hosting",
        "listener",
        "mcp_server",
        "running",
        "simulator",
    },
}

FACES_NEVER_TOUCH = {"store", "egress", "providers", "embedded"}

OUTSIDE_WORLDS = {
    "redis": {"store", "wiring", "jobs"},
    "arq": {"jobs", "wiring"},
    "httpx": {"providers", "client", "cli", "demo"},
    "h11": {"egress"},
    "mcp": {"mcp_server"},
    "mcp_types": {"mcp_server"},
    "prometheus_client": {"api"},
    "structlog": {"telemetry", "jobs", "running"},
}
"""Who may import what reaches out; whoever else wants it goes through them."""

RULES_NEVER_IMPORT = {"asyncio", "os", "random", "secrets", "socket", "time"}
"""A clock, randomness, await and the environment are not for floor 0."""


def rooms() -> Iterator[tuple[str, Path]]:
    for file in sorted(HOUSE.rglob("*.py")):
        room = file.relative_to(HOUSE).parts[0].removesuffix(".py")
        if room != "__init__":
            # A room may have closets: embedded_guard is part of embedded.
            owner = next((r for f in FLOORS.values() for r in f if room.startswith(f"{r}_")), room)
            yield owner, file


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "worker":
            yield from (f"worker.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def floor_of(room: str) -> int:
    return next(floor for floor, rooms_ in FLOORS.items() if room in rooms_)


def neighbours(file: Path) -> set[str]:
    found = {name.split(".")[1] for name in imports(file) if name.startswith("worker.")}
    return {
        next((r for f in FLOORS.values() for r in f if n.startswith(f"{r}_")), n) for n in found
    }


ROOMS = list(rooms())


def on_floor(*floors: int) -> pytest.MarkDecorator:
    """Run a test for every file of the rooms on these floors."""
    found = [(r, f) for r, f in ROOMS if r in set().union(*(FLOORS[n] for n in floors))]
    names = [str(file.relative_to(HOUSE)) for _, file in found]
    return pytest.mark.parametrize(("room", "file"), found, ids=names)


def test_every_room_stands_on_one_floor() -> None:
    for room in {room for room, _ in ROOMS}:
        assert sum(room in floor for floor in FLOORS.values()) == 1, room


@on_floor(0, 1, 2, 3)
def test_imports_point_down(room: str, file: Path) -> None:
    assert not {n for n in neighbours(file) if floor_of(n) > floor_of(room)}


@on_floor(1)
def test_an_edge_imports_no_other_edge(room: str, file: Path) -> None:
    assert not neighbours(file) & (FLOORS[1] - {room})


@on_floor(3)
def test_a_face_touches_no_edge_but_the_settings(room: str, file: Path) -> None:
    assert not neighbours(file) & FACES_NEVER_TOUCH


@on_floor(0)
def test_a_rule_knows_no_clock_and_no_outside(room: str, file: Path) -> None:
    assert not {name.split(".")[0] for name in imports(file)} & RULES_NEVER_IMPORT


@on_floor(0, 1, 2, 3)
def test_an_outside_world_has_its_keepers(room: str, file: Path) -> None:
    for name in imports(file):
        keepers = OUTSIDE_WORLDS.get(name.split(".")[0])
        assert keepers is None or room in keepers, f"{file.name} imports {name}"
