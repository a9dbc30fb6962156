"""The simulated world: generations whose state is a function of the time since their creation.

It knows models, durations and fates, and shows a generation exactly as Luma does. It knows nothing
of HTTP and never sleeps: time comes from a clock that is handed in, chance from a seed.
"""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from worker.errors import ConflictError, InvalidInputError, NotFoundError
from worker.model import JsonObject


class Outcome(StrEnum):
    """How a generation ends. A stuck one dreams for ever, as one in a thousand really does."""

    COMPLETED = "completed"
    FAILED = "failed"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a model dreams: log-normal, `median_s` in seconds, `sigma` of the logarithm."""

    median_s: float
    sigma: float


# Luma publishes no percentiles. The medians are pinned to what clients have measured (ray-2: a mean
# of 105 s) and the sigmas are a judgement; photon-flash-1 is documented in one range with photon-1.
PACES = {
    "ray-2": Pace(90.0, 0.55),
    "ray-flash-2": Pace(35.0, 0.45),
    "photon-1": Pace(9.0, 0.40),
    "photon-flash-1": Pace(9.0, 0.40),
}
QUEUED_MEAN_S = 3.0
SPIKE_RATE = 0.05
SPIKE_S = (30.0, 60.0)

# What Luma documents under "errors". All of them strike early, before much has been rendered.
FAILURE_REASONS = (
    "Contains blacklisted words",
    "Failed to read user input frames",
    "Frame moderation failed",
    "Advanced prompt moderation failed",
    "Prompt processing failed",
)
FAILS_AFTER_S = (2.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The life a generation is told to live; what is None is left to (seeded) chance.

    `queued_s` and `dreaming_s` are simulated seconds: the world's `speed` shortens them too.
    """

    id: str | None = None
    queued_s: float | None = None
    dreaming_s: float | None = None
    outcome: Outcome | None = None
    failure_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One piece of work: what was asked for, and the life it was given.

    `born` is the clock's reading at its creation, `failure_reason` what it says if it fails.
    """

    id: str
    generation_type: str
    model: str
    request: JsonObject
    born: float
    queued_s: float
    dreaming_s: float
    outcome: Outcome
    failure_reason: str

    def state_at(self, age_s: float) -> str:
        """Return Luma's word for the state at `age_s` simulated seconds after creation."""
        if age_s < self.queued_s:
            return "queued"
        if self.outcome is Outcome.STUCK or age_s < self.queued_s + self.dreaming_s:
            return "dreaming"
        return self.outcome.value

    @property
    def lasts_s(self) -> float:
        """Simulated seconds from creation to the end; infinite when stuck."""
        return math.inf if self.outcome is Outcome.STUCK else self.queued_s + self.dreaming_s


def steady_clock() -> Callable[[], float]:
    """Return a clock of seconds since the Unix epoch that never steps back.

    With the bare wall clock a correction by NTP could turn a completed generation back to dreaming.
    """
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class World:
    """All generations of one simulated Luma, newest last.

    The same `seed` and the same order of creations give the same IDs, durations and outcomes.

    Args:
        seed: where all chance starts.
        speed: simulated seconds per second of the clock; 60 turns a minute into a second.
        failure_rate: share of generations that fail, 0 to 1.
        stuck_rate: share of generations that never end, 0 to 1.
        clock: returns seconds since the Unix epoch.

    Raises:
        InvalidInputError: `speed` or a rate is out of range.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        speed: float = 1.0,
        failure_rate: float = 0.02,
        stuck_rate: float = 0.001,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise InvalidInputError("speed", f"must be a number above 0, not {speed}")
        for name, rate in (("failure_rate", failure_rate), ("stuck_rate", stuck_rate)):
            if not 0 <= rate <= 1:
                raise InvalidInputError(name, f"must be between 0 and 1, not {rate}")
        self.speed = speed
        self._seed = seed
        self._failure_rate = failure_rate
        self._stuck_rate = stuck_rate
        self._clock = clock or steady_clock()
        self._created = 0
        self._generations: dict[str, Generation] = {}

    def __len__(self) -> int:
        return len(self._generations)

    def create(
        self, *, generation_type: str, model: str, request: JsonObject, script: Script | None = None
    ) -> Generation:
        """Start a generation of `generation_type` "video" or "image"; `request` is echoed.

        Raises:
            ConflictError: the script names an ID that exists.
        """
        script = script or Script()
        if script.id in self._generations:
            raise ConflictError(f"generation {script.id} exists already")
        # One generator per creation: how much chance one generation uses never moves the next.
        rng = random.Random(f"{self._seed}/{self._created}")
        self._created += 1
        generation = self._dream_up(rng, generation_type, model, request, script)
        self._generations[generation.id] = generation
        return generation

    def _dream_up(
        self,
        rng: random.Random,
        generation_type: str,
        model: str,
        request: JsonObject,
        script: Script,
    ) -> Generation:
        drawn_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        queued_s = _draw_queued_s(rng)
        outcome = script.outcome or _draw_outcome(rng, self._failure_rate, self._stuck_rate)
        dreaming_s = _draw_dreaming_s(rng, model, outcome)
        failure_reason = rng.choice(FAILURE_REASONS)
        return Generation(
            id=script.id or drawn_id,
            generation_type=generation_type,
            model=model,
            request=request,
            born=self._clock(),
            queued_s=queued_s if script.queued_s is None else script.queued_s,
            dreaming_s=dreaming_s if script.dreaming_s is None else script.dreaming_s,
            outcome=outcome,
            failure_reason=script.failure_reason or failure_reason,
        )

    def find(self, generation_id: str) -> Generation | None:
        """Return the generation, or None when it never existed or was deleted."""
        return self._generations.get(generation_id)

    def all(self, *, oldest_first: bool = False) -> Iterator[Generation]:
        """Return all generations in the order of their creation, newest first as a rule."""
        everyone = self._generations.values()
        return iter(everyone) if oldest_first else reversed(everyone)

    def delete(self, generation_id: str) -> bool:
        """Forget the generation; False when there was none."""
        return self._generations.pop(generation_id, None) is not None

    def finish(
        self, generation_id: str, outcome: Outcome, failure_reason: str | None = None
    ) -> Generation:
        """End the generation now, as `outcome` says.

        Raises:
            NotFoundError: there is no such generation.
            ConflictError: it is over already; Luma never changes an end.
            InvalidInputError: `outcome` is no end.
        """
        generation = self._generations.get(generation_id)
        if generation is None:
            raise NotFoundError("Generation not found")
        if outcome is Outcome.STUCK:
            raise InvalidInputError("outcome", "must be completed or failed")
        if self.age_s(generation) >= generation.lasts_s:
            raise ConflictError(f"generation {generation_id} is over already")
        # Zero, not the age reached: `queued + (age - queued)` may round up past the age.
        ended = replace(
            generation,
            queued_s=0.0,
            dreaming_s=0.0,
            outcome=outcome,
            failure_reason=failure_reason or generation.failure_reason,
        )
        self._generations[generation_id] = ended
        return ended

    def age_s(self, generation: Generation, *, ago_s: float = 0.0) -> float:
        """Simulated seconds from its creation to now, or to `ago_s` real seconds ago."""
        return (self._clock() - ago_s - generation.born) * self.speed

    def state(self, generation: Generation, *, ago_s: float = 0.0) -> str:
        """Return Luma's word for the generation's state now, or `ago_s` real seconds ago."""
        return generation.state_at(self.age_s(generation, ago_s=ago_s))

    def left_s(self, generation: Generation) -> float:
        """Return the seconds of the clock until it is over: 0 if it is, infinite when stuck."""
        return max(0.0, (generation.lasts_s - self.age_s(generation)) / self.speed)


def shown(generation: Generation, state: str, *, origin: str) -> JsonObject:
    """Return the generation as Luma's API shows it in `state` (OpenAPI `Generation`, v1.1.0).

    `assets` is null while queued, {} while dreaming, an object once completed, null when failed.
    Asset URLs start with `origin`, for example "http://127.0.0.1:8090".
    """
    return {
        "id": generation.id,
        "generation_type": generation.generation_type,
        "state": state,
        "failure_reason": generation.failure_reason if state == "failed" else None,
        "created_at": _rfc3339(generation.born),
        "assets": _assets(generation, state, origin),
        "model": generation.model,
        "request": generation.request,
    }


def asset_names(generation: Generation) -> dict[str, str]:
    """Return the file name of each asset the completed generation has, by its kind."""
    if generation.generation_type == "image":
        return {"image": f"{generation.id}_result.png"}
    return {"video": f"{generation.id}_result.mp4", "image": f"{generation.id}_thumb.png"}


def _assets(generation: Generation, state: str, origin: str) -> dict[str, str] | None:
    if state in {"queued", "failed"}:
        return None
    if state != "completed":
        return {}
    base = f"{origin}/dream_machine/{generation.id}"
    return {kind: f"{base}/{name}" for kind, name in asset_names(generation).items()}


def _draw_queued_s(rng: random.Random) -> float:
    if rng.random() < SPIKE_RATE:
        return rng.uniform(*SPIKE_S)
    return rng.expovariate(1 / QUEUED_MEAN_S)


def _draw_outcome(rng: random.Random, failure_rate: float, stuck_rate: float) -> Outcome:
    draw = rng.random()
    if draw < failure_rate:
        return Outcome.FAILED
    return Outcome.STUCK if draw < failure_rate + stuck_rate else Outcome.COMPLETED


def _draw_dreaming_s(rng: random.Random, model: str, outcome: Outcome) -> float:
    pace = PACES.get(model, PACES["ray-2"])
    full_s = rng.lognormvariate(math.log(pace.median_s), pace.sigma)
    return min(full_s, rng.uniform(*FAILS_AFTER_S)) if outcome is Outcome.FAILED else full_s


def _rfc3339(moment: float) -> str:
    text = datetime.fromtimestamp(moment, tz=UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
