"""The simulated Luma as the director sees it: who starts generations and faults, and knows all."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx

from worker.simulator import BASE_PATH, parse_fault

PAGE = 500
AT_ONCE = 20


class Provider:
    """A connection to the simulator's control routes.

    Args:
        port: where it listens on this machine.
    """

    def __init__(self, port: int) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            trust_env=False,
            timeout=60,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def begin(self, life: dict[str, Any]) -> None:
        """Start a scripted generation: see `worker.simulator.control`."""
        async with self._places:
            answer = await self._http.post("/_simulator/generations", json=life)
        answer.raise_for_status()

    async def fail(self, fault: str) -> None:
        """Put a fault in force, in its text form."""
        content = parse_fault(fault).model_dump(mode="json", exclude_none=True)
        (await self._http.post("/_simulator/faults", json=content)).raise_for_status()

    async def heal(self) -> None:
        """Take all faults out of force."""
        (await self._http.delete("/_simulator/faults")).raise_for_status()

    async def looks(self) -> dict[str, int]:
        """Count the status calls by generation."""
        answer = await self._http.get("/_simulator/stats")
        gets: dict[str, int] = answer.json()["gets"]
        return gets

    async def truth(self) -> dict[str, str]:
        """Tell the state of every generation there is. No fault may be in force."""
        states: dict[str, str] = {}
        while True:
            answer = await self._http.get(
                f"{BASE_PATH}/generations",
                params={"limit": PAGE, "offset": len(states)},
                headers={"authorization": "Bearer k"},
            )
            page = answer.raise_for_status().json()
            states |= {each["id"]: each["state"] for each in page["generations"]}
            if not page["has_more"]:
                return states
