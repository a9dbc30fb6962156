"""Faults on request: what may go wrong, with which call, how often.

Values and picking only; how a fault looks on the wire is `worker.simulator.gate`'s business.
As text, for the command line: ``call:kind[:option=value…]``, for example

    get:429:times=3:retry_after=2     the next three GETs of a generation are throttled
    any:502:p=0.01                    one call in a hundred meets a proxy's HTML page
    list:capped:rows=20               a list gives at most 20 rows
    get:hang:id=g-1                   GETs of g-1 are never answered
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from worker.errors import InvalidInputError

SYNTAX = "call:kind[:option=value…], for example get:429:times=3:retry_after=2"


class Call(StrEnum):
    """A call of Luma's API. `ANY` stands for all of them in a fault; `OTHER` is no known call."""

    GET = "get"
    LIST = "list"
    CREATE = "create"
    DELETE = "delete"
    UPSCALE = "upscale"
    AUDIO = "audio"
    CONCEPTS = "concepts"
    CREDITS = "credits"
    PING = "ping"
    OTHER = "other"
    ANY = "any"


class Kind(StrEnum):
    """What goes wrong.

    400, 401, 402, 403, 404, 422, 429 answer with a JSON `detail`, 500 with plain text, 502 and 503
    with a proxy's HTML page, redirect with a 302 to a sign-in page. hang never answers; reset drops
    the connection with a TCP RST; garbage is a 200 that is no JSON; truncated is a 200 that ends
    early; unknown_state is a true answer, but for a state that nobody has heard of.

    Two have their call done all the same: lost drops the connection instead of answering, and slow
    answers after `seconds`.

    The rest are habits of the list call alone, and one page may show several. oldest_first and
    shuffled are its order, else newest first; capped gives at most `rows` rows, whatever is asked
    for; stale is the page as it was `seconds` ago; omission leaves out a `share` of the rows.
    Foreign generations need no habit: start some that nobody tracks.
    """

    REFUSED = "400"
    UNAUTHORIZED = "401"
    UNPAID = "402"
    FORBIDDEN = "403"
    MISSING = "404"
    INVALID = "422"
    THROTTLED = "429"
    BROKEN = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    REDIRECT = "redirect"
    HANG = "hang"
    RESET = "reset"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"
    UNKNOWN_STATE = "unknown_state"
    LOST = "lost"
    SLOW = "slow"
    OLDEST_FIRST = "oldest_first"
    SHUFFLED = "shuffled"
    CAPPED = "capped"
    STALE = "stale"
    OMISSION = "omission"


LIST_HABITS = frozenset({Kind.OLDEST_FIRST, Kind.SHUFFLED, Kind.CAPPED, Kind.STALE, Kind.OMISSION})
_OPTIONS = {
    "retry_after": (Kind.THROTTLED, Kind.BROKEN, Kind.BAD_GATEWAY, Kind.UNAVAILABLE),
    "seconds": (Kind.HANG, Kind.STALE, Kind.SLOW),
    "rows": (Kind.CAPPED,),
    "share": (Kind.OMISSION,),
}
_NEEDED = {Kind.STALE: "seconds", Kind.SLOW: "seconds", Kind.CAPPED: "rows", Kind.OMISSION: "share"}
_STATE_CALLS = frozenset({Call.GET, Call.LIST, Call.ANY})
_ID_CALLS = frozenset({Call.GET, Call.DELETE, Call.UPSCALE, Call.AUDIO, Call.ANY})


class Fault(BaseModel):
    """One thing that goes wrong.

    `id` limits it to one generation. It strikes `times` times (None: until cleared), each time a
    matching call comes with probability `p`. `retry_after` (seconds) is sent as that header.
    `seconds` (real ones) ends a hang by closing the connection; None: it lasts until the client
    leaves. For stale it is the age of the page. `rows` goes with capped, `share` with omission.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    call: Call
    kind: Kind
    id: Annotated[str, Field(min_length=1)] | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    p: Annotated[float, Field(gt=0, le=1)] = 1.0
    retry_after: Annotated[float, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    rows: Annotated[int, Field(ge=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _options_belong_together(self) -> Self:
        for option, kinds in _OPTIONS.items():
            if getattr(self, option) is not None and self.kind not in kinds:
                raise ValueError(f"{option} goes with {', '.join(kinds)} only")
        needed = _NEEDED.get(self.kind)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"{self.kind.value} needs {needed}")
        if self.kind in LIST_HABITS and self.call is not Call.LIST:
            raise ValueError(f"{self.kind.value} goes with list only")
        if self.kind is Kind.UNKNOWN_STATE and self.call not in _STATE_CALLS:
            raise ValueError("unknown_state goes with get, list and any only")
        if self.id is not None and self.call not in _ID_CALLS:
            raise ValueError(f"id cannot go with {self.call.value}, which names no generation")
        return self

    def concerns(self, call: Call, generation_id: str | None) -> bool:
        """Say whether the fault may strike this call."""
        if self.call not in {call, Call.ANY}:
            return False
        if self.kind is Kind.UNKNOWN_STATE and call not in _STATE_CALLS:
            return False
        return self.id is None or self.id == generation_id


def parse_fault(text: str) -> Fault:
    """Read a fault from its text form (see the module's docstring).

    Raises:
        InvalidInputError: the text is none; says where and what the form is.
    """
    call, _, rest = text.partition(":")
    kind, *options = rest.split(":")
    fields: dict[str, str] = {"call": call, "kind": kind}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name or name in fields:
            problem = "comes twice" if name in fields else "is no option=value"
            raise InvalidInputError("fault", f"{text!r}: {option!r} {problem}; write {SYNTAX}")
        fields[name] = value
    try:
        return Fault.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"][:1])
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInputError("fault", f"{text!r}: {where}{message}; write {SYNTAX}") from None


class Faults:
    """The faults in force, in the order they were added: the first that strikes wins."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self._left: list[tuple[Fault, int | None]] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Put one more fault in force."""
        self._left.append((fault, fault.times))

    def clear(self) -> None:
        """Take all faults out of force."""
        self._left.clear()

    def strike(self, call: Call, generation_id: str | None) -> Fault | None:
        """Return the fault this call meets, if any, and count it down."""
        for index, (fault, left) in enumerate(self._left):
            if fault.kind in LIST_HABITS or not self._strikes(fault, call, generation_id):
                continue
            self._count_down(index, left)
            return fault
        return None

    def habits(self) -> list[Fault]:
        """Return the habits that a list call's answer shows, and count them down."""
        struck = [
            (index, fault, left)
            for index, (fault, left) in enumerate(self._left)
            if fault.kind in LIST_HABITS and self._strikes(fault, Call.LIST, None)
        ]
        for index, _, left in reversed(struck):
            self._count_down(index, left)
        return [fault for _, fault, _ in struck]

    def _strikes(self, fault: Fault, call: Call, generation_id: str | None) -> bool:
        return fault.concerns(call, generation_id) and self.rng.random() < fault.p

    def _count_down(self, index: int, left: int | None) -> None:
        if left == 1:
            del self._left[index]
        elif left is not None:
            self._left[index] = (self._left[index][0], left - 1)
