"""The events of several cells as one stream: nothing is missed, and each place holds all places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from worker import merging
from worker.errors import InvalidInputError, UnavailableError
from worker.merging import MergedStream
from worker.stream import Away, Gap, Heard, Part, Told, Wanted

ALL = Wanted(frozenset({"generation"}))


@dataclass
class Stream:
    """One cell's events, of the test's making; a `None` among them: it goes away just then."""

    ids: list[str | None] = field(default_factory=list)
    is_away: bool = False
    asked: list[tuple[str | None, int | None]] = field(default_factory=list)
    listeners: int = 0

    async def listen(
        self, _wanted: Wanted, after: str | None, *, since: int | None = None
    ) -> AsyncGenerator[Part]:
        self.asked.append((after, since))
        if self.is_away:
            self.is_away = False  # the next time it is there
            raise UnavailableError("Redis does not answer.")
        return self._parts(after or "1-0")

    async def _parts(self, after: str) -> AsyncGenerator[Part]:
        yield Heard((), after)
        while self.ids:
            name = self.ids.pop(0)
            if name is None:
                yield Away.UNAVAILABLE
                return
            yield Heard([Told(name, "generation.completed", name.encode())], name)
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "RETRY_S", 0)


@asynccontextmanager
async def listening(
    after: str | None = None, **streams: Stream
) -> AsyncIterator[AsyncGenerator[Part]]:
    merged = MergedStream(streams)  # type: ignore[arg-type]
    async with aclosing(await merged.listen(ALL, after)) as parts:
        yield parts


async def take(parts: AsyncGenerator[Part], count: int) -> list[tuple[str, bytes]]:
    """Take so many events, with their places."""
    events = list[Told]()
    while len(events) < count:
        part = await anext(parts)
        events += part.told if isinstance(part, Heard) else ()
    return [(each.id, each.data) for each in events]


async def test_a_place_is_a_place_in_each_cell() -> None:
    async with listening(a=Stream(["2-0", "3-0"]), b=Stream()) as parts:
        assert await take(parts, 2) == [("a:2-0,b:1-0", b"2-0"), ("a:3-0,b:1-0", b"3-0")]


async def test_who_resumes_does_so_in_each_cell_and_hears_all_of_a_new_one() -> None:
    a, b, new = Stream(), Stream(), Stream()
    async with listening("a:7-0,b:9-1", a=a, b=b, new=new) as parts:
        await anext(parts)
    assert (a.asked[0][0], b.asked[0][0], new.asked[0][0]) == ("7-0", "9-1", "0-0")


async def test_what_happens_while_a_cell_is_away_is_told_when_it_is_back() -> None:
    a = Stream(["2-0", None, "3-0"])
    async with listening("a:1-0", a=a) as parts:
        assert await take(parts, 2) == [("a:2-0", b"2-0"), ("a:3-0", b"3-0")]
    assert [after for after, _ in a.asked] == ["1-0", "2-0"]


async def test_a_cell_that_is_away_when_it_begins_is_heard_from_that_instant() -> None:
    away = Stream(["2-0"], is_away=True)
    async with listening(a=Stream(), b=away) as parts:
        assert await take(parts, 1) == [("a:1-0,b:2-0", b"2-0")]
    first, (after, since) = away.asked
    assert first == (None, None)
    assert after is None
    assert since is not None


async def test_who_is_sent_away_by_one_cell_is_sent_away() -> None:
    class Slow(Stream):
        async def _parts(self, after: str) -> AsyncGenerator[Part]:
            yield Heard((), after)
            yield Away.SLOW

    async with listening(a=Slow(), b=Stream()) as parts:
        assert [part async for part in parts][-1] is Away.SLOW


async def test_a_gap_names_its_cell() -> None:
    class Trimmed(Stream):
        async def _parts(self, after: str) -> AsyncGenerator[Part]:
            yield Gap(after, "5-0")
            yield Heard((), "5-0")

    async with listening("a:1-0", a=Trimmed()) as parts:
        assert await anext(parts) == Gap("a:1-0", "a:5-0")


async def test_when_all_are_away_nobody_can_listen() -> None:
    with pytest.raises(UnavailableError):
        async with listening(a=Stream(is_away=True), b=Stream(is_away=True)):
            pass


async def test_a_place_of_a_single_redis_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Last-Event-ID"):
        async with listening("1-0", a=Stream()):
            pass
