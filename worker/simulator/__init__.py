"""A simulated Luma Dream Machine that speaks the real wire format, with seeded lives and faults.

Other providers are spoken from their data files (`worker.simulator.spoken`), with the same worlds
and faults. For `dreamhook simulate`, the demonstration, tests and benchmarks. It imports nothing of
Dreamhook but its words, so it can disagree with the provider client, as a real Luma might.

    world = World(speed=60)
    async with running(create_app(world)) as base_url:  # LUMAAI_BASE_URL
        ...
"""

from worker.simulator.app import create_app
from worker.simulator.faults import SYNTAX, Call, Fault, Faults, Kind, parse_fault
from worker.simulator.gate import BASE_PATH
from worker.simulator.server import DEFAULT_PORT, main, running, serve
from worker.simulator.spoken import base_path_of, create_spoken_app, filled
from worker.simulator.world import Generation, Outcome, Script, World

__all__ = [
    "BASE_PATH",
    "DEFAULT_PORT",
    "SYNTAX",
    "Call",
    "Fault",
    "Faults",
    "Generation",
    "Kind",
    "Outcome",
    "Script",
    "World",
    "base_path_of",
    "create_app",
    "create_spoken_app",
    "filled",
    "main",
    "parse_fault",
    "running",
    "serve",
]
