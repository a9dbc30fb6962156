"""Callers: each has a generation and asks the API to track it, again and again until it does."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from chaos.evidence import Promise
from chaos.provider import Provider
from worker.client import ApiError, Client, Event, UnreachableError

ASK_S = 5.0
"""A caller waits so long for an answer, then asks again, elsewhere."""

PAUSE_S = (0.2, 1.0)
PATIENCE_S = 240.0
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Errand:
    """What a caller is to do.

    Attributes:
        at: When.
        generation_id: The generation's ID.
        receiver: Who is to get its webhooks.
        terms: What the API is told.
        life: What the provider is told of it; None: it never hears of it.
        cancels_after_s: Seconds to its cancellation, if it is to be canceled.
    """

    at: float
    generation_id: str
    receiver: str
    terms: dict[str, Any]
    life: dict[str, Any] | None
    cancels_after_s: float | None = None


def errands(
    seed: int, seconds: float, count: int, receivers: Sequence[tuple[str, dict[str, Any]]]
) -> list[Errand]:
    """Plan so many errands over so many seconds; pure.

    Args:
        seed: the same seed makes the same errands.
        seconds: when the last begins.
        count: how many.
        receivers: names, and the terms with which each is asked for.
    """
    dice = random.Random(seed)
    return [
        _errand(dice, f"g-{seed}-{n}", dice.uniform(0, seconds), dice.choice(receivers))
        for n in range(count)
    ]


def _errand(
    dice: random.Random, name: str, at: float, receiver: tuple[str, dict[str, Any]]
) -> Errand:
    to, terms = receiver
    life = {
        "id": name,
        "model": dice.choice(["ray-2", "ray-flash-2"]),
        "queued_s": round(dice.uniform(0, 2), 2),
        "dreaming_s": round(dice.uniform(0.5, 12), 2),
        "outcome": "completed",
    }
    errand = Errand(at, name, to, terms, life)
    match dice.random():
        case fate if fate < 0.10:
            return replace(errand, life={**life, "outcome": "failed"})
        case fate if fate < 0.13:
            terms = {**terms, "deadline_s": round(dice.uniform(3, 15), 1)}
            return replace(errand, life={**life, "outcome": "stuck"}, terms=terms)
        case fate if fate < 0.16:
            return replace(errand, cancels_after_s=dice.uniform(0, 12))
        case fate if fate < 0.17:
            return replace(errand, life=None)
        case _:
            return errand


class Callers:
    """Runs errands, and keeps the promises that were made.

    Args:
        apis: URLs of the API's processes.
        provider: where generations begin.
        clock: tells the seconds since the run began.
        seed: for the pauses.

    Attributes:
        promises: What was acknowledged.
        asked: How many requests were made, …
        cut: … and how many of them an API took on and did not do, by what came instead.
        refused: What an API would not do, by generation.
    """

    def __init__(
        self, apis: Sequence[str], provider: Provider, clock: Callable[[], float], seed: int
    ) -> None:
        self.promises: list[Promise] = []
        self.asked = 0
        self.cut: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self._sent: Counter[tuple[str, str]] = Counter()
        self._apis = apis
        self._provider = provider
        self._clock = clock
        self._dice = random.Random(seed)
        # A connection for each request: one that is kept may be closed just when it is used again.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._http = httpx.AsyncClient(trust_env=False, limits=limits, timeout=ASK_S)

    async def run(self, errand: Errand) -> None:
        """Run an errand to its end, or until an API refuses it."""
        await asyncio.sleep(errand.at - self._clock())
        if errand.life is not None:
            await self._provider.begin(errand.life)
        try:
            await self._run(errand)
        except RuntimeError as error:
            self.refused[errand.generation_id] = str(error)

    async def _run(self, errand: Errand) -> None:
        name = errand.generation_id
        path = f"/v1/trackers/luma/{name}"
        await self.ask("PUT", path, errand.terms)
        place, asked = len(self.promises), self._sent["PUT", path]
        self.promises.append(Promise(name, self._clock(), errand.receiver, asked=asked))
        if errand.cancels_after_s is not None:
            await asyncio.sleep(errand.cancels_after_s)
            answer = await self.ask("DELETE", path)
            canceled = answer["state"] == "canceled"
            self.promises[place] = replace(self.promises[place], canceled=canceled)

    async def ask(
        self,
        method: str,
        path: str,
        content: dict[str, Any] | None = None,
        *,
        timeout_s: float = ASK_S,
    ) -> Any:
        """Ask one API after the other until one does it.

        Raises:
            RuntimeError: an API refuses, or none has done it for minutes.
        """
        until = self._clock() + PATIENCE_S
        while self._clock() < until:
            self.asked += 1
            self._sent[method, path] += 1
            url = self._dice.choice(self._apis) + path
            try:
                async with self._places:  # in httpx's own queue each costs as much as all of them
                    answer = await self._http.request(method, url, json=content, timeout=timeout_s)
            except httpx.ConnectError:
                pass  # nobody is there
            except httpx.TransportError as error:
                self.cut[type(error).__name__] += 1
            else:
                if answer.is_success:
                    return answer.json()
                self.cut[str(answer.status_code)] += 1
                if answer.status_code < 500:
                    raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
            await asyncio.sleep(self._dice.uniform(*PAUSE_S))
        raise RuntimeError(f"{method} {path}: no API has done it for {PATIENCE_S:.0f} s")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


@dataclass
class Listener:
    """Listens to `/v1/events` all the time, as a user of the client does, in a thread.

    Attributes:
        url: The API's.
        heard: The IDs of the terminal events, in order.
        had_gap: Whether it was told of a gap.
        failure: Why it gave up, if it has.
    """

    url: str
    heard: list[str] = field(default_factory=list)
    had_gap: bool = False
    failure: str | None = None

    def start(self) -> None:
        """Begin; it ends when the API has been away for minutes."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        until = time.monotonic() + PATIENCE_S
        with Client(self.url, patience_s=PATIENCE_S) as client:
            while True:
                try:
                    self._hear(client.events(types=["generation"], since="0"))
                except UnreachableError as error:
                    # A client gives up that nobody answers at first; here the API may be stopped.
                    if self.heard or time.monotonic() > until:
                        self.failure = str(error)
                        return
                except ApiError as error:
                    self.failure = str(error)
                    return

    def _hear(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type == "stream.gap":
                self.had_gap = True
            elif event.type != "generation.updated":
                self.heard.append(str(event.body["event_id"]))
