"""One look for many: where generations stand in a list, and what a page may and may not say."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.listing import (
    DOUBT_MS,
    Listing,
    Page,
    Reconciled,
    Unread,
    Wanted,
    Window,
    choose,
    dump,
    failed,
    load,
    reconcile,
)
from worker.listing_ranks import Order
from worker.model import Progress, Seen

NOW = 1_800_000_000_000
UUID = "d290f1ee-6c54-4b01-90e6-d701748f0851"
PAGE = 100


def row(
    created_at: int | None = NOW, word: str = "dreaming", progress: Progress = Progress.RUNNING
) -> Seen:
    return Seen(
        progress=progress, provider_state=word, queued=word == "queued", created_at=created_at
    )


COMPLETED = row(word="completed", progress=Progress.COMPLETED)
QUEUED = row(word="queued")


def page(*rows: tuple[str, Seen] | None, offset: int = 0, limit: int = PAGE) -> Page:
    return Page(offset, limit, rows)


def window(*expected: str) -> Window:
    return Window(0, PAGE, dict.fromkeys(expected, 1.0), float(len(expected)))


def told(
    shown: Page,
    *expected: str,
    working: bool = True,
    known: tuple[str, ...] = (),
    listing: Listing | None = None,
) -> Reconciled:
    facts = dict.fromkeys([*expected, *known], working)
    return reconcile(listing or Listing(), window(*expected), shown, known=facts, now=NOW)


def the(found: Window | None) -> Window:
    assert found is not None
    return found


def learned(
    ids: list[str], *, gap_ms: int = 1000, offset: int = 0, oldest: bool = False
) -> Listing:
    """What is known after one page of rows that are `gap_ms` apart, newest first as a rule."""
    sign = 1 if oldest else -1
    rows = [(each, row(NOW + sign * n * gap_ms)) for n, each in enumerate(ids, offset)]
    return told(page(*rows, offset=offset), *ids).listing


IDS = [f"g-{n}" for n in range(100)]


# --- what a page says ---------------------------------------------------------------------------


def test_a_row_is_a_look() -> None:
    result = told(page(("a", row()), ("foreign", row())), "a")
    assert (dict(result.seen), result.absent) == ({"a": row()}, ())


def test_a_generation_that_was_not_expected_is_seen_too() -> None:
    assert "b" in told(page(("a", row()), ("b", row())), "a", known=("b",)).seen


@pytest.mark.parametrize("rows", [(), (None,), (("b", row()),), (None, ("b", COMPLETED))])
def test_absence_means_a_single_look_and_nothing_else(rows: tuple[tuple[str, Seen] | None]) -> None:
    result = told(page(*rows), "a")
    assert (dict(result.seen), result.absent) == ({}, ("a",))


def test_rows_that_nobody_asked_for_tell_where_they_stand_and_nothing_else() -> None:
    rows = [(each, Unread(NOW - n * 1000)) for n, each in enumerate(IDS[:30])]
    result = told(Page(0, PAGE, tuple(rows)))
    assert result.seen == {}
    assert result.listing.ranks == learned(IDS[:30]).ranks


@pytest.mark.parametrize("rows", [[QUEUED, COMPLETED], [COMPLETED, QUEUED], [COMPLETED, row()]])
def test_of_an_id_that_comes_twice_the_end_counts(rows: list[Seen]) -> None:
    assert told(page(*(("a", each) for each in rows)), "a").seen == {"a": COMPLETED}


def test_a_uuid_is_recognised_however_it_is_spelled() -> None:
    assert UUID in told(page((UUID.upper().replace("-", ""), row())), UUID).seen


def test_other_ids_must_be_spelled_alike() -> None:
    assert told(page(("G1", COMPLETED), ("g-1", COMPLETED)), "g1").absent == ("g1",)


def test_a_page_with_a_row_from_the_past_shows_ends_only() -> None:
    result = told(page(("a", QUEUED), ("b", row()), ("c", COMPLETED)), "a", "b", "c")
    assert (dict(result.seen), result.absent) == ({"c": COMPLETED}, ("a", "b"))


def test_a_generation_that_still_queues_makes_no_page_stale() -> None:
    assert told(page(("a", QUEUED)), "a", working=False).absent == ()


# --- which page to ask for ----------------------------------------------------------------------


def test_nothing_known_means_the_first_page() -> None:
    wanted = [Wanted("a", NOW, 1.0), Wanted("b", None, 2.0)]
    assert choose(Listing(), wanted, now=NOW, page=PAGE) == Window(
        0, PAGE, {"a": 1.0, "b": 2.0}, pytest.approx(1.5)
    )


def test_nobody_wanted_is_no_page() -> None:
    assert choose(Listing(), [], now=NOW, page=PAGE) is None
    assert choose(learned(IDS), [Wanted("a", None, 1.0)], now=NOW, page=PAGE) is None


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_page_spans_what_is_needed_and_ten_rows_either_way(sign: int) -> None:
    wanted = [Wanted(f"g-{n}", NOW + sign * n * 1000, 1.0) for n in (40, 45)]
    found = the(choose(learned(IDS, oldest=sign > 0), wanted, now=NOW, page=PAGE))
    assert (found.offset, found.limit, set(found.expected)) == (30, 26, {"g-40", "g-45"})


def test_new_rows_push_the_others_on() -> None:
    wanted = [Wanted("g-40", NOW - 40_000, 1.0)]
    found = the(choose(learned(IDS), wanted, now=NOW + 50_000, page=PAGE))
    assert found.offset <= 80
    assert found.offset + found.limit >= 100


def test_a_burst_of_our_own_is_counted_though_no_page_has_shown_it() -> None:
    burst = [Wanted(f"new-{n}", NOW + 10 + n, 0.0) for n in range(60)]
    found = the(choose(learned(IDS), [Wanted("g-0", NOW, 1.0), *burst], now=NOW + 100, page=20))
    assert found.offset <= 60 < found.offset + found.limit


def test_the_richest_rows_are_chosen() -> None:
    wanted = [Wanted(each, NOW - n * 1000, 5.0 if n > 70 else 0.1) for n, each in enumerate(IDS)]
    found = the(choose(learned(IDS), wanted, now=NOW, page=40))
    assert set(found.expected) == set(IDS[71:91])


def test_a_page_deep_in_the_list_teaches_the_ranks_around_it() -> None:
    deep = [f"d-{n}" for n in range(50)]
    listing = learned(deep, offset=700)
    found = the(choose(listing, [Wanted("d-20", NOW - 720_000, 1.0)], now=NOW, page=PAGE))
    assert found.offset <= 720 < found.offset + found.limit <= 740


def test_a_page_smaller_than_asked_teaches_the_cap_until_it_is_forgotten() -> None:
    rows = [(each, row(NOW - n * 1000)) for n, each in enumerate(IDS[:30])]
    listing = told(page(*rows), *IDS[:60]).listing
    wanted = [Wanted(each, NOW - n * 1000, 1.0) for n, each in enumerate(IDS)]
    assert the(choose(listing, wanted, now=NOW, page=PAGE)).limit <= 30
    assert the(choose(listing, wanted, now=NOW + DOUBT_MS, page=PAGE)).limit == 100


def test_only_a_first_page_that_is_short_and_shows_not_all_is_a_cap() -> None:
    rows = [(each, row(NOW - n * 1000)) for n, each in enumerate(IDS[:30])]
    assert told(page(*rows), *IDS[:60]).listing.cap == 30
    assert told(page(*rows, offset=70), *IDS[:60]).listing.cap is None


def test_a_short_list_is_no_cap() -> None:
    rows = [(each, row(NOW - n * 1000)) for n, each in enumerate(IDS[:30])]
    assert told(page(*rows), *IDS[:30]).listing.cap is None


def test_a_list_that_cannot_be_had_is_asked_for_less_and_in_smaller_pages() -> None:
    listing = failed(Listing(), window("a", "b"), now=NOW)
    again = the(choose(listing, [Wanted("a", NOW, 1.0)], now=NOW, page=PAGE))
    assert again.limit == 50
    assert again.worth < 0.5


def test_trust_is_what_pages_have_brought_of_what_was_hoped_for() -> None:
    good, bad = Listing(), Listing()
    for _ in range(20):
        good = told(page(("a", row()), ("b", row())), "a", "b", listing=good).listing
        bad = told(page(("x", row())), "a", "b", listing=bad).listing
    assert good.trust > 0.99
    assert bad.trust < 0.01


def test_doubt_ends_after_ten_minutes() -> None:
    doubted = Listing(trust=0.01, doubted_at=NOW)
    wanted = [Wanted("a", NOW, 1.0)]
    worths = [
        the(choose(doubted, wanted, now=NOW + later, page=PAGE)).worth for later in (1, DOUBT_MS)
    ]
    assert worths == [pytest.approx(0.01), pytest.approx(0.5)]


def test_a_chance_that_brings_nothing_is_the_only_one_for_ten_minutes() -> None:
    doubted, then = Listing(trust=0.01, doubted_at=NOW), NOW + DOUBT_MS
    given = reconcile(doubted, window("a"), page(), known={"a": False}, now=then).listing
    for listing in (given, failed(doubted, window("a"), now=then)):
        assert the(choose(listing, [Wanted("a", NOW, 1.0)], now=then + 1, page=PAGE)).worth < 0.4
        assert listing.doubted_at == then


def test_a_cap_that_was_met_without_hope_is_forgotten_too() -> None:
    hopeless = Window(0, PAGE, {"a": 0.0}, 0.0)
    shown = page(("b", row()))
    capped = reconcile(Listing(), hopeless, shown, known={"a": False}, now=NOW).listing
    assert (capped.cap, capped.doubted_at) == (1, NOW)


@pytest.mark.parametrize(
    ("instants", "order"),
    [
        ([5, 4, 3, 3, 1], Order.NEWEST),
        ([1, 2, 3, 3, 5], Order.OLDEST),
        ([3, 1, 5, 2, 4], Order.UNKNOWN),
        ([7, 7, 7, 7], Order.UNKNOWN),
        ([None, None], Order.UNKNOWN),
        ([5, None, 4, None, 3], Order.NEWEST),
    ],
)
def test_the_order_is_read_off_the_page(instants: list[int | None], order: Order) -> None:
    rows = [(f"g-{n}", row(created_at)) for n, created_at in enumerate(instants)]
    assert told(page(*rows)).listing.ranks.order is order


def test_a_list_found_without_order_is_asked_for_its_first_page() -> None:
    rng = random.Random(1)
    rows = [(each, row(NOW - rng.randrange(10**6))) for each in IDS]
    listing = told(page(*rows), listing=learned(IDS)).listing
    assert the(choose(listing, [Wanted("z", NOW, 1.0)], now=NOW, page=PAGE)).offset == 0


# --- what is kept -------------------------------------------------------------------------------


def test_what_is_known_survives_being_stored() -> None:
    listing = learned(IDS)
    assert load(dump(listing)) == listing
    assert len(dump(listing)) < 600


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        "",
        "{",
        '{"ranks": {"order": "sideways"}}',
        '{"ranks": {"marks": [[1, 5]]}}',
        '{"trust": 7}',
        '{"ranks": {"order": "newest first", "marks": [[1, 5], [1, 6]]}}',
        '{"ranks": {"order": "newest first", "marks": [[1, 5], [2, 6]]}}',
    ],
)
def test_what_cannot_be_read_is_nothing_known(text: bytes | str | None) -> None:
    assert load(text) == Listing()


instants = st.none() | st.integers(0, 2 * NOW) | st.integers(NOW - 10_000, NOW + 10_000)
shown = st.none() | st.tuples(
    st.sampled_from([*IDS[:12], UUID, UUID.upper()]),
    st.builds(row, instants) | st.just(QUEUED) | st.just(COMPLETED),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.lists(shown, max_size=30), st.integers(-5, 10**7)), max_size=6),
    st.lists(st.builds(Wanted, st.sampled_from([*IDS[:15], UUID]), instants, st.floats(0, 50))),
    st.integers(1, 100),
)
def test_whatever_a_list_shows_the_next_page_is_within_bounds(
    pages: list[tuple[list[tuple[str, Seen] | None], int]], wanted: list[Wanted], most: int
) -> None:
    listing, now = Listing(), NOW
    for rows, later in pages:
        now += later
        asked = choose(listing, wanted, now=now, page=most)
        if asked is None:
            return
        assert asked.offset >= 0
        assert 1 <= asked.limit <= most
        assert set(asked.expected) <= {each.generation_id for each in wanted}
        assert asked.worth <= 1.001 * sum(asked.expected.values())
        known = dict.fromkeys(asked.expected, False)
        answer = Page(asked.offset, asked.limit, tuple(rows))
        result = reconcile(listing, asked, answer, known=known, now=now)
        assert set(result.seen) | set(result.absent) >= set(asked.expected)
        assert not set(result.seen) & set(result.absent)
        listing = result.listing
        assert load(dump(listing)) == listing
        assert len(listing.ranks.marks) <= 16


# --- a provider with a list, and what an account makes of it --------------------------------------


Habits = tuple[str, int, float, float, float]
"""Order, cap, and the shares of foreign rows, of omitted rows and of stale pages."""


@dataclass
class Provider:
    """A list with habits: its order, its cap, rows left out, pages as they were a while ago."""

    seed: int
    order: str
    cap: int
    foreign: float
    omits: float
    stale: float
    ends: dict[str, int] = field(default_factory=dict)
    born: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lives = random.Random(self.seed)
        self.rng = random.Random(self.seed)  # of its own, so that looks do not change lives

    def create(self, now: int) -> str:
        while self.lives.random() < self.foreign:
            self.begin(f"foreign-{len(self.born)}", now)
        return self.begin(f"ours-{len(self.born)}", now)

    def begin(self, name: str, now: int) -> str:
        self.born[name] = now
        self.ends[name] = now + round(1000 * self.lives.lognormvariate(3.3, 0.6))
        return name

    def get(self, name: str, now: int) -> Seen:
        if now >= self.ends[name]:
            return row(self.born[name], "completed", Progress.COMPLETED)
        return row(self.born[name], "queued" if now < self.born[name] + 3000 else "dreaming")

    def list(self, asked: Window, now: int) -> Page:
        at = now - (20_000 if self.rng.random() < self.stale else 0)
        names = [name for name, born in self.born.items() if born <= at]
        if self.order == "newest":
            names.reverse()
        elif self.order == "shuffled":
            self.rng.shuffle(names)
        rows = names[asked.offset :][: min(asked.limit, self.cap)]
        shown = (each for each in rows if self.rng.random() >= self.omits)
        return Page(asked.offset, asked.limit, tuple((each, self.get(each, at)) for each in shown))


@dataclass
class Account:
    """One request a tick, to whom it is worth most; a gain is the time since the last look."""

    provider: Provider
    lists: bool
    now: int = NOW
    listing: Listing = field(default_factory=Listing)
    looked: dict[str, int] = field(default_factory=dict)
    working: dict[str, bool] = field(default_factory=dict)
    singly: set[str] = field(default_factory=set)
    delays: list[int] = field(default_factory=list)
    requests: int = 0

    def tick(self, price_ms: int, creations: int) -> None:
        self.now += 500
        for _ in range(creations):
            name = self.provider.create(self.now)
            self.looked[name], self.working[name] = self.now, False
        if not self.looked:
            return
        oldest = min(self.looked, key=lambda each: self.looked[each])
        best = self.now - self.looked[oldest]
        asked = self.window()
        if asked is not None and asked.worth >= max(price_ms, best):
            self.requests += 1
            self.see_page(asked)
        elif best >= price_ms:
            self.requests += 1
            self.see(oldest, self.provider.get(oldest, self.now))

    def window(self) -> Window | None:
        wanted = [
            Wanted(each, self.provider.born[each], float(self.now - at))
            for each, at in self.looked.items()
            if each not in self.singly
        ]
        return choose(self.listing, wanted, now=self.now, page=PAGE) if self.lists else None

    def see_page(self, asked: Window) -> None:
        shown = self.provider.list(asked, self.now)
        result = reconcile(self.listing, asked, shown, known=self.working, now=self.now)
        self.listing = load(dump(result.listing))
        on_page = dict(filter(None, shown.rows))
        for each in self.looked:
            if each in on_page and on_page[each].progress is Progress.COMPLETED:
                assert each in result.seen, "an end that a page showed was missed"
        for each, seen in result.seen.items():
            assert each in on_page, "a look came out of absence"
            self.see(each, seen)
        self.singly |= set(result.absent)

    def see(self, name: str, seen: Seen) -> None:
        self.singly.discard(name)
        if seen.progress is Progress.RUNNING:
            self.looked[name] = self.now
            self.working[name] |= not seen.queued
        else:
            assert self.now >= self.provider.ends[name], "an end was made up"
            self.delays.append(self.now - self.provider.ends[name])
            del self.looked[name], self.working[name]


def lived(seed: int, habits: Habits, *, lists: bool) -> Account:
    """Let an account live until all it has tracked is over."""
    account = Account(Provider(seed, *habits), lists=lists)
    for tick in range(5000):
        account.tick(4000, creations=tick < 150 and tick % 4 == 0)
        if tick > 150 and not account.looked:
            return account
    raise AssertionError("somebody is waited for in vain")


def mean(values: list[int]) -> float:
    return sum(values) / len(values)


habits = st.tuples(
    st.sampled_from(["newest", "oldest", "shuffled"]),
    st.sampled_from([3, 10, 50, 100]),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([0.0, 0.3]),
)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), habits)
def test_no_habit_of_a_list_makes_looks_cost_more_or_ends_be_seen_later(
    seed: int, habits: Habits
) -> None:
    with_lists, singly = lived(seed, habits, lists=True), lived(seed, habits, lists=False)
    assert with_lists.requests <= 1.1 * singly.requests + 10
    assert mean(with_lists.delays) <= 1.4 * mean(singly.delays) + 500


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_an_orderly_list_shows_ends_much_sooner_for_fewer_requests(order: str) -> None:
    habits = (order, 100, 0.5, 0.0, 0.0)
    with_lists, singly = lived(7, habits, lists=True), lived(7, habits, lists=False)
    assert with_lists.requests < singly.requests
    assert mean(with_lists.delays) < 0.4 * mean(singly.delays)
