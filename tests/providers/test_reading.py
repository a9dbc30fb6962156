"""What a body says: every shape that Luma documents, and every shape that it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jmespath
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model import JsonObject, Progress, Same, Seen, Trouble
from worker.providers import reading
from worker.providers.reading import (
    parse_json,
    read_again,
    read_error,
    read_generation,
    read_id,
    read_rows,
)
from worker.providers.spec import load, parse, text_of

LUMA = load("luma")

QUEUED: JsonObject = {
    "id": "d290f1ee-6c54-4b01-90e6-d701748f0851",
    "generation_type": "video",
    "state": "queued",
    "failure_reason": None,
    "created_at": "2025-03-20T12:00:00.731114Z",
    "assets": None,
    "model": "ray-2",
    "request": {"generation_type": "video", "model": "ray-2", "prompt": "a fox", "loop": False},
}


def read(**changes: Any) -> Seen:
    answer = read_generation(LUMA, {**QUEUED, **changes})
    assert isinstance(answer, Seen)
    return answer


@given(st.recursive(st.none() | st.booleans() | st.integers(0, 99) | st.text(), st.lists))
def test_what_shows_the_same_again_is_the_same_and_whatever_differs_is_not(value: Any) -> None:
    seen = read(extra=1)

    again = read_again(LUMA, {**QUEUED, "extra": 1}, seen.mark)
    other = read_again(LUMA, {**QUEUED, "extra": value}, seen.mark)

    assert again == Same(created_at=seen.created_at)
    assert isinstance(other, Seen) is (value != 1 or value is True)


def test_what_is_the_same_is_read_anew_once_it_is_read_otherwise() -> None:
    seen = read_generation(LUMA, {**QUEUED, "state": "ready"})
    assert isinstance(seen, Seen)
    mended = parse("luma", text_of("luma").replace('["completed"]', '["completed", "ready"]'))

    again = read_again(mended, {**QUEUED, "state": "ready"}, seen.mark)

    assert (seen.progress, again.progress) == (Progress.RUNNING, Progress.COMPLETED)


def test_what_has_no_mark_is_read() -> None:
    assert isinstance(read_again(LUMA, QUEUED, None), Seen)


def test_a_queued_generation_is_read_whole() -> None:
    assert replace(read(), mark=None) == Seen(
        progress=Progress.RUNNING,
        provider_state="queued",
        model="ray-2",
        type="video",
        queued=True,
        created_at=1_742_472_000_731,
        kind=("ray-2", "video", "", ""),
        generation=QUEUED,
    )


@pytest.mark.parametrize(
    ("word", "progress"),
    [
        ("queued", Progress.RUNNING),
        ("dreaming", Progress.RUNNING),
        ("completed", Progress.COMPLETED),
        ("failed", Progress.FAILED),
        ("a word from next year", Progress.RUNNING),
        ("COMPLETED", Progress.RUNNING),
    ],
)
def test_only_the_documented_words_end_a_generation(word: str, progress: Progress) -> None:
    answer = read(state=word)
    assert (answer.progress, answer.provider_state) == (progress, word)


def test_the_reason_of_a_failure_is_kept() -> None:
    answer = read(state="failed", failure_reason="Advanced prompt moderation failed")
    assert answer.failure_reason == "Advanced prompt moderation failed"


@pytest.mark.parametrize(
    ("assets", "kept"),
    [
        (None, {}),
        ({}, {}),
        ("https://cdn.example/v.mp4", {"output": "https://cdn.example/v.mp4"}),
        (
            ["http://a.example/1", "ftp://a", "a poem", 7, None, [], {}, "https://a.example/2"],
            {"output": "http://a.example/1", "output_2": "https://a.example/2"},
        ),
        (
            [
                {"type": "image_a", "url": "https://a.example/1"},
                {"type": "image_a", "url": "https://a.example/2"},
                {"type": None, "url": "https://a.example/3"},
                {"type": "image_a", "url": None},
            ],
            {
                "image_a": "https://a.example/1",
                "image_a_2": "https://a.example/2",
                "output": "https://a.example/3",
            },
        ),
        ("a poem", {}),
        ({"video": "v", "image": None, "progress_video": ""}, {"video": "v"}),
        ({"video": {"url": "v"}, "image": "i", "count": 3}, {"image": "i"}),
        ({"new_kind": "n"}, {"new_kind": "n"}),
        ({"video": "v" * 4097, "image": "i" * 4096}, {"image": "i" * 4096}),
    ],
)
def test_assets_are_the_members_that_are_urls(assets: Any, kept: dict[str, str]) -> None:
    assert read(assets=assets).assets == kept


def test_at_most_fifty_assets_of_a_list_are_kept() -> None:
    assert len(read(assets=["https://a.example"] * 60).assets) == 50


@pytest.mark.parametrize(
    ("said", "fraction"),
    [(0, 0.0), (0.25, 0.25), (1, 1.0), (1.5, None), (-1, None), (True, None), ("0.5", None)],
)
def test_progress_is_a_number_from_0_to_1(said: Any, fraction: float | None) -> None:
    told = LUMA.model_copy(
        update={"read": LUMA.read.model_copy(update={"progress": "request.progress"})}
    )
    seen = read_generation(told, {"state": "dreaming", "request": {"progress": said}})
    assert isinstance(seen, Seen)
    assert seen.fraction == fraction


def test_an_expression_that_does_not_fit_what_is_there_finds_nothing() -> None:
    told = LUMA.model_copy(
        update={"read": LUMA.read.model_copy(update={"model": "join('-', request.tags)"})}
    )
    seen = read_generation(told, {"state": "dreaming", "request": {"tags": 7}})
    assert isinstance(seen, Seen)
    assert seen.model is None


def test_at_most_fifty_assets_are_kept() -> None:
    assert len(read(assets={f"a{i}": "u" for i in range(60)}).assets) == 50


@pytest.mark.parametrize("state", [None, "", 3, ["completed"], {"is": "completed"}, True])
def test_an_object_without_a_readable_state_is_trouble(state: Any) -> None:
    assert isinstance(read_generation(LUMA, {**QUEUED, "state": state}), Trouble)


@pytest.mark.parametrize("body", [None, [], [QUEUED], "completed", 7, True])
def test_json_that_is_not_an_object_is_trouble(body: Any) -> None:
    assert isinstance(read_generation(LUMA, body), Trouble)


def test_the_state_is_all_that_is_needed() -> None:
    answer = read_generation(LUMA, {"state": "completed"})
    assert isinstance(answer, Seen)
    assert answer.progress is Progress.COMPLETED


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"resolution": "720p", "duration": "5s"}, ("ray-2", "video", "720p", "5s")),
        ({"resolution": 720, "duration": ["5s"]}, ("ray-2", "video", "720", "")),
        ({"resolution": "x" * 99}, ("ray-2", "video", "x" * 32, "")),
        (None, ("ray-2", "video", "", "")),
    ],
)
def test_a_kind_is_what_durations_depend_on(request_: Any, kind: tuple[str, ...]) -> None:
    assert read(request=request_).kind == kind


def test_work_that_has_not_begun_is_queued() -> None:
    assert [read(state=word).queued for word in ("queued", "dreaming", "new")] == [
        True,
        False,
        False,
    ]


def test_the_model_and_type_may_stand_in_the_request_only() -> None:
    answer = read(model=None, generation_type=None)
    assert (answer.model, answer.type) == ("ray-2", "video")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-03-20T12:00:00Z", 1_742_472_000_000),
        ("2025-03-20T13:00:00+01:00", 1_742_472_000_000),
        ("2025-03-20T12:00:00", 1_742_472_000_000),
        ("9999-12-31T23:59:59-14:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", None),
        ("", None),
        (1_742_472_000, 1_742_472_000_000),
        (1_742_472_000_250, 1_742_472_000_250),
        (1_742_472_000.25, 1_742_472_000_250),
        (True, None),
        (0, None),
        (-5, None),
        (1e300, None),
        (None, None),
    ],
)
def test_created_at_is_read_where_it_is_a_date(text: Any, instant: int | None) -> None:
    assert read(created_at=text).created_at == instant


def test_what_is_kept_is_bounded() -> None:
    long = "ä" * 5_000
    answer = read(state=long, model=long, generation_type=long, failure_reason=long)
    assert len(answer.provider_state.encode()) <= 100
    assert len((answer.model or "").encode()) <= 100
    assert len((answer.type or "").encode()) <= 100
    assert len((answer.failure_reason or "").encode()) == 2048


def test_an_object_over_64_kib_gives_way_to_a_note_but_is_read() -> None:
    answer = read(state="completed", request={"prompt": "x" * 70_000})
    assert answer.progress is Progress.COMPLETED
    assert list(answer.generation) == ["omitted"]


@pytest.mark.parametrize("levels", [70, 300])
def test_an_object_nested_too_deeply_gives_way_to_a_note_but_is_read(levels: int) -> None:
    deep = parse_json(b'{"state":"failed","x":' + b"[" * levels + b"]" * levels + b"}")
    answer = read_generation(LUMA, deep)
    assert isinstance(answer, Seen)
    assert (answer.progress, list(answer.generation)) == (Progress.FAILED, ["omitted"])


def test_unknown_members_are_kept_verbatim() -> None:
    assert read(queue_position=4).generation["queue_position"] == 4


# --- lists, IDs, errors -------------------------------------------------------------------------


def test_a_page_is_read_row_by_row_and_unreadable_rows_are_none() -> None:
    rows = [QUEUED, None, {"id": "no-state"}, {"state": "queued"}, {"id": "b", "state": "failed"}]
    page = read_rows(LUMA, "generations", {"generations": rows, "count": 6, "has_more": False})
    assert isinstance(page, tuple)
    assert [row and (row[0], row[1].provider_state) for row in page] == [
        (QUEUED["id"], "queued"),
        None,
        None,
        None,
        ("b", "failed"),
    ]


@pytest.mark.parametrize("body", [{}, [], None, {"generations": None}, {"generations": {}}])
def test_a_page_without_rows_is_trouble_and_not_an_empty_page(body: Any) -> None:
    assert isinstance(read_rows(LUMA, "generations", body), Trouble)


def test_an_empty_page_is_an_empty_page() -> None:
    assert read_rows(LUMA, "generations", {"generations": []}) == ()


@pytest.mark.parametrize("body", [{}, None, {"id": None}, {"id": ""}, {"id": 7}])
def test_an_id_that_is_not_said_is_none(body: Any) -> None:
    assert read_id(LUMA, body) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "Invalid API key is provided"}, "Invalid API key is provided"),
        (
            {
                "detail": [
                    {"type": "uuid", "loc": ["path", "id"], "msg": "not a UUID"},
                    {"msg": "b"},
                ]
            },
            "not a UUID; b",
        ),
        ({"detail": ["a", "b"]}, "a; b"),
        ({"detail": []}, None),
        ({"detail": [{}, None, 3]}, None),
        ({"detail": {"msg": "x"}}, None),
        ({"detail": ""}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_an_errors_detail_may_be_a_sentence_or_a_list(body: Any, words: str | None) -> None:
    assert read_error(LUMA, body) == words


# --- parsing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (
            b'{"prompt": "cut \\ud83d", "state": "completed"}',
            {"prompt": "cut ?", "state": "completed"},
        ),
        (b'{"score": NaN, "state": "queued"}', {"score": None, "state": "queued"}),
        (b'\xef\xbb\xbf{"state": "queued"}', {"state": "queued"}),
        (b'{"prompt": "\xff", "state": "queued"}', {"prompt": "\ufffd", "state": "queued"}),
    ],
)
def test_one_damaged_character_does_not_hide_the_state(content: bytes, value: JsonObject) -> None:
    assert parse_json(content) == value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"{",
        b'{"state": "completed"',
        b"[" * 100_000,
        b"1" * 10_000,
        b"1e999",
        b"\xff",
    ],
)
def test_what_is_not_json_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["a", "a.b", "a || b", "a.b || b.a || c", "a||b", "a[].b", "a[0]", '"a"', "@"]),
    st.recursive(
        st.sampled_from([None, True, False, 0, 0.0, 1, "", "x", [], {}]),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
    ),
)
def test_what_is_found_is_what_jmespath_finds(expression: str, body: Any) -> None:
    assert repr(reading.find(expression, body)) == repr(jmespath.search(expression, body))


fields = st.sampled_from(
    ["id", "state", "model", "generation_type", "assets", "failure_reason", "created_at", "request"]
)


@settings(max_examples=300, deadline=None)
@given(json_values | st.dictionaries(fields, json_values))
def test_whatever_json_arrives_is_read_and_can_be_written_again(body: Any) -> None:
    parsed = parse_json(orjson.dumps(body))
    answer = read_generation(LUMA, parsed)
    read_rows(LUMA, "generations", parsed)
    read_error(LUMA, parsed)
    assert isinstance(answer, Seen | Trouble)
    if isinstance(answer, Seen):
        orjson.dumps(answer)
