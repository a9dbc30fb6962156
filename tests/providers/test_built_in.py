"""The providers that come with Dreamhook: what each reads from the answers in its own file.

The simulator fills the examples in, so that what is read here is what it says.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model import Missing, Progress, Seen, Trouble
from worker.providers.reading import parse_json, read_error, read_generation, read_id
from worker.providers.spec import built_in, load
from worker.simulator import Generation, Outcome, filled

NAMES = built_in()
ENDS = {"completed": Progress.COMPLETED, "failed": Progress.FAILED}
ORIGIN = "http://127.0.0.1:8090"
BORN_S = 1_767_225_600.25
ID = "an:app:g-1"


def answer(name: str, stage: Any) -> Any:
    generation = Generation(
        id=ID,
        generation_type="video",
        model="m",
        request={},
        born=BORN_S,
        queued_s=0,
        dreaming_s=0,
        outcome=Outcome.COMPLETED,
        failure_reason="No",
    )
    return parse_json(filled(load(name).examples[stage], generation, ORIGIN))


def read(name: str, body: Any) -> Seen:
    seen = read_generation(load(name), body)
    assert isinstance(seen, Seen)
    return seen


@pytest.mark.parametrize("stage", ["queued", "running", "completed", "failed"])
@pytest.mark.parametrize("name", NAMES)
def test_each_example_is_read_as_what_it_is(name: str, stage: str) -> None:
    assert read(name, answer(name, stage)).progress is ENDS.get(stage, Progress.RUNNING)


@pytest.mark.parametrize("name", [name for name in NAMES if load(name).states.queued])
def test_a_queued_generation_is_known_from_one_at_work(name: str) -> None:
    queued, running = (read(name, answer(name, stage)) for stage in ("queued", "running"))
    assert (queued.queued, running.queued) == (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_the_id_in_an_answer_is_the_one_that_is_tracked_or_its_last_part(name: str) -> None:
    found = read_id(load(name), answer(name, "running"))
    assert found is not None
    assert found.replace("/", ":") in (ID, "g-1")


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_says_why(name: str) -> None:
    assert read(name, answer(name, "failed")).failure_reason


@pytest.mark.parametrize(
    ("name", "assets"),
    [
        ("bfl", {"image": "an:app:g-1.png"}),
        ("kling", {"video": "g-1.mp4"}),
        ("luma", {"video": "an:app:g-1.mp4", "image": "an:app:g-1.png"}),
        ("luma-agents", {"image": "an:app:g-1_0.png", "image_2": "an:app:g-1_1.png"}),
        ("minimax", {"video": "an:app:g-1.mp4"}),
        ("replicate", {"output": "an:app:g-1_0.png", "output_2": "an:app:g-1_1.png"}),
        ("runway", {"output": "an:app:g-1.mp4"}),
        ("veo", {"video": "g-1.mp4"}),
    ],
)
def test_assets_are_found_and_named(name: str, assets: dict[str, str]) -> None:
    shown = {kind: f"{ORIGIN}/assets/{file}" for kind, file in assets.items()}
    assert read(name, answer(name, "completed")).assets == shown


def test_of_fal_the_asset_is_where_the_result_is() -> None:
    seen = read("fal", answer("fal", "completed"))
    assert seen.assets == {"response": f"{ORIGIN}/an/app/g-1"}
    assert read("fal", answer("fal", "running")).assets == {}


@pytest.mark.parametrize("name", ["kling", "luma", "luma-agents", "replicate", "runway"])
def test_the_birth_is_read_whatever_its_form(name: str) -> None:
    assert read(name, answer(name, "queued")).created_at == 1_767_225_600_250


def test_runway_says_how_far_it_is() -> None:
    assert read("runway", answer("runway", "running")).fraction == 0.4


@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [
        ("luma-agents", "generation_failed", True),
        ("luma-agents", "output_not_found", True),
        ("luma-agents", "rate_limited", True),
        ("luma-agents", "content_moderated", False),
        ("luma-agents", "budget_exhausted", False),
        ("luma-agents", "image_too_large", False),
        ("luma-agents", "unsupported_format", False),
        ("luma-agents", "corrupt_input", False),
        ("luma-agents", "invalid_request", False),
        ("luma-agents", "struck_by_lightning", None),
        ("luma-agents", None, None),
    ],
)
def test_a_failure_code_says_whether_to_try_again(
    name: str, code: str | None, *, retryable: bool | None
) -> None:
    seen = read(name, {**answer(name, "failed"), "failure_code": code})
    assert (seen.failure_code, seen.retryable) == (code, retryable)


def test_a_code_stands_for_those_below_it() -> None:
    failed = answer("runway", "failed")
    assert read("runway", failed).retryable is False
    assert read("runway", {**failed, "failureCode": "SAFETYNET"}).retryable is None


def test_bfl_does_not_know_a_task_in_its_own_way() -> None:
    assert read_generation(load("bfl"), {"id": "g-1", "status": "Task not found"}) == Missing(
        "Task not found"
    )


def test_of_veo_a_video_that_was_filtered_is_a_failure() -> None:
    filtered = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["Violence"]}
    body = {"name": "o", "done": True, "response": {"generateVideoResponse": filtered}}
    seen = read("veo", body)
    assert (seen.progress, seen.failure_reason) == (Progress.FAILED, "Violence")
    assert seen.retryable is False


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("veo", {"error": {"code": 500, "message": "oh"}}, "the answer has no state: oh"),
        ("kling", {"code": 1303, "message": "too many"}, "the answer has no state: too many"),
        ("fal", {"error": "gateway"}, "the answer has no state: gateway"),
        (
            "minimax",
            {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            "the answer has no state: insufficient balance",
        ),
    ],
)
def test_an_error_with_status_200_is_no_end(name: str, body: Any, words: str) -> None:
    assert read_generation(load(name), body) == Trouble(words)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "veo"])
def test_a_state_that_nobody_has_heard_of_is_running(name: str) -> None:
    running = answer(name, "running")
    word = read(name, running).provider_state
    strange = parse_json(orjson.dumps(running).replace(f'"{word}"'.encode(), b'"HIBERNATING"'))
    seen = read(name, strange)
    assert (seen.progress, seen.provider_state) == (Progress.RUNNING, "HIBERNATING")


@pytest.mark.parametrize("name", NAMES)
def test_only_a_promise_of_the_provider_is_an_expiry(name: str) -> None:
    promised = {"bfl": 600, "kling": 30 * 86_400, "luma-agents": 3600, "replicate": 3600}
    promised["runway"] = 86_400
    assert read(name, answer(name, "completed")).asset_lifetime_s == promised.get(name)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, Any]:
    """An answer of some provider, of which one member at any depth is something else."""
    name = draw(st.sampled_from(NAMES))
    body = answer(name, draw(st.sampled_from(["queued", "running", "completed", "failed"])))
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(keys))
        if draw(st.booleans()) or not isinstance(place[key], dict | list) or not place[key]:
            break
        place = place[key]
    place[key] = draw(values)
    return name, body


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_whatever_a_member_is_the_rest_is_read_without_an_error(case: tuple[str, Any]) -> None:
    name, body = case
    seen = read_generation(load(name), body)
    assert isinstance(seen, Seen | Missing | Trouble)
    read_error(load(name), body)
    read_id(load(name), body)
