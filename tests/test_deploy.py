"""What `deploy/` and the profile `observe` name is there: metrics, labels, files, runbooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from worker import figures
from worker.api.exposition import Snapshot, exposed, of_cells, of_this_process
from worker.model import DeliveryState, Health, State

ROOT = Path(__file__).parent.parent
DASHBOARD = json.loads((ROOT / "deploy/grafana/dreamhook.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"][0]["rules"]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def snapshot() -> Snapshot:
    """Every metric there is, with one sample at least."""
    counts: dict[str, int] = {}
    for metric in figures.METRICS:
        labels = ["luma" for _ in metric.labels]
        counts |= metric.took(0.1, *labels) if metric.buckets else {metric.times(*labels): 1}
    found = figures.Figures(
        now=0,
        trackers={"luma": dict.fromkeys(State, 0)},
        deliveries=dict.fromkeys(DeliveryState, 0),
        looks_due={"luma": 0},
        lanes_due=0,
        accounts_due=0,
        oldest_due=None,
        health={"luma": Health()},
        workers=[],
        troubled=0,
        troubled_longest=[],
        holds={},
        account_holds={},
        receivers_held=0,
        used_bytes=0,
        max_bytes=None,
    )
    return Snapshot(found, counts, {"luma": 5.0})


def samples() -> dict[str, set[str]]:
    """The names of all samples, each with its labels, as a deployment with cells has them."""
    text = exposed("", of_cells({"a": snapshot()}), of_this_process(0))[0].decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


SAMPLES = samples() | {"up": {"job"}, "process_cpu_seconds_total": {"job", "instance"}}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


EXPRESSIONS = dict(expressions())


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_metric_that_is_queried_exists(expression: str) -> None:
    named = set(re.findall(r"\b(?:dreamhook|process)_[a-z_]+|\bup\b", expression))
    assert named
    assert named <= set(SAMPLES)


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_label_that_is_queried_exists(expression: str) -> None:
    for name, matchers in re.findall(r"([a-z_]+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)!?=", matchers)) <= SAMPLES[name]
    grouped = {
        label
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in re.split(r",\s*", group)
    }
    known = set().union(*(SAMPLES[name] for name in SAMPLES if name in expression))
    assert grouped <= known


def test_replicas_are_never_added_up() -> None:
    for expression in EXPRESSIONS.values():
        for inner in re.findall(r"sum(?: by \([^)]*\) )?\((\w+)", expression):
            assert inner == "max"


def test_what_is_added_up_is_added_up_over_cells() -> None:
    for expression in EXPRESSIONS.values():
        for inner in re.findall(r"sum(?: by \([^)]*\) )?\(max by \(([^)]*)\)", expression):
            assert "cell" in inner.split(", ")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_section_of_the_runbook_that_begins_with_it(rule: dict[str, Any]) -> None:
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    sections = re.split(r"^## ", (ROOT / path).read_text(), flags=re.MULTILINE)
    named = {each.partition("\n")[0].lower().replace(" ", "-"): each for each in sections}
    assert f"\n\n`{rule['alert']}`" in named[anchor]
    assert {"**Look.**", "**Do.**"} <= set(re.findall(r"\*\*\w+\.\*\*", named[anchor]))
    assert rule["labels"]["severity"] in {"warning", "critical"}


def test_every_alert_is_in_the_document() -> None:
    text = (ROOT / "docs/monitoring.md").read_text()
    assert {rule["alert"] for rule in RULES} <= set(re.findall(r"`(Dreamhook\w+)`", text))


def test_every_metric_is_in_the_document() -> None:
    text = (ROOT / "docs/monitoring.md").read_text()
    ours = {name for name in samples() if name.startswith("dreamhook_")}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    assert set(re.findall(r"`(dreamhook_\w+)`", text)) == ours


def test_panels_do_not_overlap_and_have_names_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_who_observes_is_pinned_asked_for_and_finds_its_files(name: str) -> None:
    service = COMPOSE["services"][name]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["profiles"] == ["observe"]
    for volume in service["volumes"]:
        source = volume.partition(":")[0]
        assert (
            (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]
        )
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_every_process_of_the_deployment_has_a_health_check() -> None:
    for name in ("redis", "serve", "work"):
        assert "healthcheck" in COMPOSE["services"][name]
