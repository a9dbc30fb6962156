"""Looks a provider's data file over: can it be used, and does it read what it says it reads?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.errors import ConfigurationError
from worker.model import Missing, Progress, Seen, Trouble, rfc3339
from worker.providers import reading, spec
from worker.providers.spec import Provider, Stage

# What stands for what the simulator would put into an example.
_STAND_INS = {
    '"{created_ms}"': "1767225600000",
    "{created_at}": "2026-01-01T00:00:00Z",
    "{origin}": "https://provider.example",
    "{id}": "example",
    "{parts}": "an/example",
    "{last}": "example",
}
_ENDS = {"completed": Progress.COMPLETED, "failed": Progress.FAILED}


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read from one answer: `fields` by name, as text; `fault` says what is wrong."""

    of: str
    fields: tuple[tuple[str, str], ...] = ()
    fault: str | None = None


def text_of(name: str, folder: Path | None = None) -> str:
    """Return a provider's file as it is; `folder` has the user's own.

    Raises:
        ConfigurationError: there is no such provider, or it is not usable.
    """
    spec.load(name, folder)
    return spec.text_of(name, folder)


def examine(file: Path, sample: Path | None = None) -> list[Reading]:
    """Read a provider's file, then its examples and a sample answer with it.

    Raises:
        ConfigurationError: the file cannot be used, one line for each fault; or the sample cannot
            be read.
    """
    provider = spec.parse(file.stem, spec.read_file(file))
    return [*_examples(provider), *([_sample(provider, sample)] if sample else [])]


def _examples(provider: Provider) -> Iterator[Reading]:
    for stage, text in provider.examples.items():
        for place, value in _STAND_INS.items():
            text = text.replace(place, value)  # noqa: PLW2901 - one text, place after place
        yield _read(provider, f"example {stage}", text.encode(), stage)


def _sample(provider: Provider, sample: Path) -> Reading:
    try:
        content = sample.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{sample}: {error.strerror}") from error
    return _read(provider, sample.name, content, None)


def _read(provider: Provider, of: str, content: bytes, stage: Stage | None) -> Reading:
    try:
        body = reading.parse_json(content)
    except ValueError as error:
        return Reading(of, fault=f"it is not JSON: {error}")
    match answer := reading.read_generation(provider, body):
        case Trouble():
            return Reading(of, fault=answer.detail)
        case Missing():
            fault = None if stage is None else f"it is read as missing, not as {stage}"
            return Reading(of, (("provider state", answer.detail), ("means", "missing")), fault)
        case Seen():
            wanted = answer.progress if stage is None else _ENDS.get(stage, Progress.RUNNING)
            fault = None if answer.progress is wanted else f"it is not read as {stage}"
            return Reading(of, _fields(answer, reading.read_id(provider, body)), fault)


def _fields(seen: Seen, found: str | None) -> tuple[tuple[str, str], ...]:
    means = "queued" if seen.queued else seen.progress.value
    read = (
        ("provider state", seen.provider_state),
        ("means", means),
        ("id", found),
        ("model", seen.model),
        ("type", seen.type),
        *((f"asset {name}", url) for name, url in seen.assets.items()),
        ("progress", seen.fraction),
        ("failure reason", seen.failure_reason),
        ("failure code", seen.failure_code),
        ("retryable", seen.retryable),
        ("created at", rfc3339(seen.created_at)),
    )
    return tuple((name, str(value)) for name, value in read if value is not None)
