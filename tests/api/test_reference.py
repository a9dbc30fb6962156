"""What the API says of itself: /openapi.json and /docs."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from worker.api import examples, reference, schemas
from worker.api.gate import OPEN_PATHS
from worker.model import EndpointEvent, EventType
from worker.requests import EndpointRequest, TrackRequest

OF_REQUESTS = {
    "TrackRequest": examples.TRACK,
    "SubmitRequest": examples.SUBMIT,
    "BatchRequest": examples.BATCH,
    "EndpointRequest": examples.ENDPOINT_REQUEST,
    "RotateRequest": examples.ROTATE,
    "RecoverRequest": examples.RECOVER,
}


@pytest.fixture
async def spec(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Visit every object of the document."""
    if isinstance(node, dict):
        yield node
        for each in node.values():
            yield from walk(each)
    elif isinstance(node, list):
        for each in node:
            yield from walk(each)


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in spec["paths"].items():
        for verb, operation in verbs.items():
            yield verb, path, operation


# --- openapi.json -------------------------------------------------------------------------------


def test_it_is_openapi_3_1(spec: dict[str, Any]) -> None:
    assert spec["openapi"] == "3.1.0"


def test_a_generator_can_read_it(spec: dict[str, Any]) -> None:
    validate(spec)


@pytest.mark.parametrize("name", [*examples.OF_ANSWERS, *OF_REQUESTS])
def test_an_example_is_what_its_type_says(spec: dict[str, Any], name: str) -> None:
    example = {**examples.OF_ANSWERS, **OF_REQUESTS}[name]
    schema = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    OAS31Validator(schema).validate(example)


def test_every_reference_leads_to_a_type_and_every_type_is_referred_to(
    spec: dict[str, Any],
) -> None:
    found = {node["$ref"] for node in walk(spec) if isinstance(node.get("$ref"), str)}
    assert found == {f"#/components/schemas/{name}" for name in spec["components"]["schemas"]}


def test_every_parameter_of_a_path_is_described(spec: dict[str, Any]) -> None:
    for _, path, operation in operations(spec):
        described = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path))


def test_every_route_has_a_name_of_its_own(spec: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(spec)]
    assert sorted(set(names)) == sorted(names)
    assert all(name.isidentifier() for name in names)


def test_whatever_needs_a_key_says_so(spec: dict[str, Any]) -> None:
    assert spec["security"] == [{"key": []}]
    assert spec["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for _, path, operation in operations(spec):
        assert ("security" in operation) == (path in OPEN_PATHS)
        assert ("401" in operation["responses"]) == (path not in OPEN_PATHS)


def test_every_refusal_is_described_as_a_problem(spec: dict[str, Any]) -> None:
    for _, path, operation in operations(spec):
        for status, answer in operation["responses"].items():
            if status == "204":
                assert "content" not in answer
                continue
            kinds = set(answer["content"])
            is_refusal = status >= "400" and path != "/readyz"
            usual = {"/v1/events": "text/event-stream", "/metrics": "text/plain"}
            of_route = usual.get(path, "application/json")
            assert kinds == {"application/problem+json" if is_refusal else of_route}


def test_what_may_be_sent_is_described(spec: dict[str, Any]) -> None:
    put = spec["paths"]["/v1/trackers/{account}/{generation_id}"]["put"]
    assert put["requestBody"]["required"] is False
    assert spec["paths"]["/v1/trackers"]["post"]["requestBody"]["required"] is True
    assert spec["paths"]["/v1/endpoints/{name}/recover"]["post"]["requestBody"]["required"] is True
    for model in (TrackRequest, EndpointRequest):
        fields = spec["components"]["schemas"][model.__name__]["properties"]
        assert set(fields) == set(model.model_fields)


def test_every_event_is_among_the_webhooks(spec: dict[str, Any]) -> None:
    assert set(spec["webhooks"]) == {*EventType, *EndpointEvent}
    for name, webhook in spec["webhooks"].items():
        headers = [each["name"] for each in webhook["post"]["parameters"]]
        assert headers == ["webhook-id", "webhook-timestamp", "webhook-signature"]
        body = webhook["post"]["requestBody"]["content"]["application/json"]["schema"]
        kind = "Notice" if name.startswith("endpoint.") else "Event"
        assert body == {"$ref": f"#/components/schemas/{kind}"}


def test_a_secret_is_shown_where_it_is_made_and_nowhere_else(spec: dict[str, Any]) -> None:
    shown = {
        (verb, path, status)
        for verb, path, operation in operations(spec)
        for status, answer in operation["responses"].items()
        if "EndpointAndSecret" in str(answer)
    }
    name = "/v1/endpoints/{name}"
    assert shown == {("put", name, "201"), ("post", f"{name}/rotate", "200")}


@pytest.mark.parametrize("name", examples.OF_ANSWERS)
def test_an_example_is_of_its_type(name: str) -> None:
    (model,) = [each for each in schemas.Answer.__subclasses__() if each.__name__ == name]
    model.model_validate(examples.OF_ANSWERS[name])


async def test_an_example_can_be_sent_as_it_is(client: httpx.AsyncClient) -> None:
    put = await client.put("/v1/trackers/luma/g-1", json=examples.TRACK)
    post = await client.post("/v1/trackers", json=examples.BATCH)
    assert put.status_code == 202
    assert [each["status"] for each in post.json()["results"]] == [202]
    mine = "/v1/endpoints/mine"
    assert (await client.put(mine, json=examples.ENDPOINT_REQUEST)).status_code == 201
    assert (await client.post(f"{mine}/rotate", json=examples.ROTATE)).status_code == 200
    assert (await client.post(f"{mine}/recover", json=examples.RECOVER)).status_code == 202


# --- docs ---------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Reads a page, and insists that every tag is closed in its turn."""

    VOID = ("meta", "br")
    OPTIONAL = ("html",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
async def docs(client: httpx.AsyncClient) -> httpx.Response:
    answer = await client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer


def test_the_page_is_well_formed_and_its_links_lead_somewhere(docs: httpx.Response) -> None:
    page = Page(docs.text)
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.links) - {f"#{each}" for each in page.ids} == {"/openapi.json"}


def test_the_page_loads_and_runs_nothing(docs: httpx.Response) -> None:
    page = Page(docs.text)
    assert not page.tags & {"script", "link", "img", "iframe", "form", "base"}
    assert not {"src", "style"} & page.names
    assert not any(name.startswith("on") for name in page.names)


def test_the_policy_allows_the_pages_own_style_and_nothing_else(docs: httpx.Response) -> None:
    policy = docs.headers["content-security-policy"]
    found = re.search(r"<style>(.*?)</style>", docs.text, re.DOTALL)
    assert found
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert re.findall(r"style-src ([^;]*)", policy) == [f"'sha256-{digest}'"]
    assert "unsafe" not in policy


def test_the_page_has_every_route_event_and_type(
    docs: httpx.Response, spec: dict[str, Any]
) -> None:
    ids = Page(docs.text).ids
    assert {operation["operationId"] for _, _, operation in operations(spec)} <= set(ids)
    assert set(spec["webhooks"]) <= set(ids)
    assert {f"type-{name}" for name in spec["components"]["schemas"]} <= set(ids)


def test_whatever_is_described_is_escaped(spec: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"

    def poison(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: evil if key in {"description", "summary"} else poison(each)
                for key, each in node.items()
            }
        return [poison(each) for each in node] if isinstance(node, list) else node

    page = reference.page(poison(spec))
    assert "&lt;script&gt;" in page
    assert "script" not in Page(page).tags
