"""Whatever is sent, the answer is an answer: never a 5xx, and every refusal is a problem."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.api import schemas
from worker.requests import TrackRequest

SETTINGS = settings(
    max_examples=50,
    deadline=None,
    # One house for all examples: what one leaves behind is there for the next, as in life.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

texts = st.text(max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
names = st.from_regex(r"[A-Za-z0-9._~:@+=-]{1,20}", fullmatch=True) | texts
urls = st.builds("{}://{}{}".format, st.sampled_from(["http", "https", "ftp"]), texts, texts)
fields = {
    "callback_url": urls | anything,
    "endpoint": anything,
    "events": st.lists(st.sampled_from(["generation.completed", "generation.updated"])) | anything,
    "metadata": st.dictionaries(texts, anything, max_size=4) | anything,
    "deadline_s": st.floats() | anything,
    "headers": st.dictionaries(texts, texts, max_size=4) | anything,
    "more": anything,
}
requests = st.fixed_dictionaries({}, optional=fields)
endpoints = st.fixed_dictionaries(
    {},
    optional={
        "url": urls | anything,
        "events": st.lists(st.sampled_from(["generation.failed", "endpoint.disabled"])) | anything,
        "headers": st.dictionaries(texts, texts, max_size=4) | anything,
        "concurrency": st.integers(0, 65) | anything,
        "refresh_assets": st.booleans() | anything,
        "enabled": st.booleans() | anything,
        "overlap_s": st.floats() | anything,
        "since": st.datetimes().map("{}Z".format) | anything,
    },
)
items = st.fixed_dictionaries(
    {"account": st.just("luma") | anything, "generation_id": names | anything}, optional=fields
)
bodies = st.binary(max_size=50) | (requests | anything).map(lambda each: json.dumps(each).encode())
PATHS = ["trackers", "deliveries", "endpoints", "trackers/luma/g-1"]
parameters = st.dictionaries(
    st.sampled_from(["state", "account", "model", "limit", "cursor", "fresh", "generation_id"])
    | texts,
    texts | st.sampled_from(["luma", "completed", "1", "MQ", "true"]),
    max_size=4,
)


def assert_answered(answer: httpx.Response, *, good: set[int]) -> None:
    assert answer.status_code in good | {404, 405, 409, 422}, answer.text
    if answer.status_code not in good:
        assert answer.headers["content-type"] == "application/problem+json"
        assert schemas.Problem.model_validate_json(answer.content).status == answer.status_code


def path_of(*segments: str) -> str:
    """Build a path. Dots alone would be resolved by the client before they were sent."""
    return "/".join(["/v1", *(quote(s, safe="").replace(".", "%2E") for s in segments)])


@SETTINGS
@given(body=bodies)
async def test_any_body_of_one(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.put("/v1/trackers/luma/g-1", content=body)
    assert_answered(answer, good={200, 202})
    if answer.is_success:
        shown = schemas.Tracker.model_validate_json(answer.content)
        json.loads(answer.content, parse_constant=pytest.fail)  # NaN is not JSON
        sent = TrackRequest.model_validate_json(body or b"{}")
        assert sent.metadata == shown.metadata


@SETTINGS
@given(sent=st.lists(items | anything, max_size=5))
async def test_any_items_of_many(client: httpx.AsyncClient, sent: list[Any]) -> None:
    body = json.dumps({"trackers": sent}).encode()
    answer = await client.post("/v1/trackers", content=body)
    assert_answered(answer, good={200})
    if answer.is_success:
        results = schemas.Outcomes.model_validate_json(answer.content).results
        assert len(results) == len(sent)
        assert all((each.tracker is None) == (each.status >= 400) for each in results)


@SETTINGS
@given(body=bodies)
async def test_any_body_of_many(client: httpx.AsyncClient, body: bytes) -> None:
    assert_answered(await client.post("/v1/trackers", content=body), good={200})


@SETTINGS
@given(account=st.just("luma") | texts, name=names, verb=st.sampled_from(["GET", "PUT", "DELETE"]))
async def test_any_name(client: httpx.AsyncClient, account: str, name: str, verb: str) -> None:
    answer = await client.request(verb, path_of("trackers", account, name))
    assert_answered(answer, good={200, 202})


@SETTINGS
@given(
    name=st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True) | texts,
    action=st.sampled_from(["", "/rotate", "/test", "/recover"]),
    verb=st.sampled_from(["PUT", "GET", "POST", "DELETE"]),
    body=(endpoints | anything).map(lambda each: json.dumps(each).encode()) | st.just(b""),
)
async def test_anything_about_an_endpoint(
    client: httpx.AsyncClient, name: str, action: str, verb: str, body: bytes
) -> None:
    for each in (name, "mine"):
        path = path_of("endpoints", each) + action
        answer = await client.request(verb, path, content=body)
        assert_answered(answer, good={200, 201, 202, 204})


@SETTINGS
@given(query=parameters, path=st.sampled_from(PATHS))
async def test_any_parameters(client: httpx.AsyncClient, query: dict[str, str], path: str) -> None:
    await client.put("/v1/trackers/luma/g-1")
    answer = await client.get(f"/v1/{path}?{urlencode(query)}")
    assert_answered(answer, good={200})
