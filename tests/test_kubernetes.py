"""The manifests are what Kubernetes takes, and fit the image, the settings and each other."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.test_deploy import SAMPLES
from worker.config import Settings
from worker.jobs import GRACE_S, STEP_S
from worker.running import REDIS_PATIENCE_S
from worker.wiring_redis import CONNECT_S, TIMEOUT_S

FOLDER = Path(__file__).parent.parent / "deploy/kubernetes"
FILES = {path.name: [*yaml.safe_load_all(path.read_text())] for path in FOLDER.glob("*.yaml")}
OBJECTS = {
    f"{each['kind']} {each['metadata']['name']}": each
    for name, each in ((name, each) for name, found in FILES.items() for each in found)
    if name not in {"kustomization.yaml", "keda.yaml"}
}
DEPLOYMENTS = [each for each in OBJECTS.values() if each["kind"] == "Deployment"]
(KUSTOMIZATION,), (KEDA,) = FILES["kustomization.yaml"], FILES["keda.yaml"]

deployments = pytest.mark.parametrize(
    "deployment", DEPLOYMENTS, ids=lambda each: each["metadata"]["name"]
)


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_as_the_newest_kubernetes_wants_it(name: str) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


def test_what_is_applied_is_there_and_the_rest_is_not_applied() -> None:
    applied = set(KUSTOMIZATION["resources"])
    assert set(FILES) - applied == {"kustomization.yaml", "secret.example.yaml", "keda.yaml"}
    assert applied <= set(FILES)
    assert KUSTOMIZATION["images"][0]["name"] == pod(DEPLOYMENTS[0])["containers"][0]["image"]


@deployments
def test_a_container_may_do_no_more_than_it_needs(deployment: dict[str, Any]) -> None:
    spec = pod(deployment)
    assert spec["securityContext"]["runAsNonRoot"]
    user = re.search(r"^USER (\d+)$", (FOLDER.parents[1] / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert spec["securityContext"]["runAsUser"] == int(user[1])
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert {"livenessProbe", "readinessProbe"} <= set(container)


@deployments
def test_no_service_of_the_namespace_can_set_a_setting(deployment: dict[str, Any]) -> None:
    # The Service `dreamhook` would set DREAMHOOK_PORT=tcp://… in every container.
    assert pod(deployment)["enableServiceLinks"] is False


def test_a_worker_that_is_stopped_has_the_time_that_it_takes() -> None:
    spec = pod(OBJECTS["Deployment workers"])
    assert spec["terminationGracePeriodSeconds"] > GRACE_S + STEP_S


@deployments
def test_what_waits_for_its_redis_gives_up_before_a_probe_does(deployment: dict[str, Any]) -> None:
    (container,) = pod(deployment)["containers"]
    probe = container.get("startupProbe") or container["livenessProbe"]
    ended_after_s = probe.get("initialDelaySeconds", 0) + probe["periodSeconds"] * (
        probe.get("failureThreshold", 3) - 1
    )
    assert ended_after_s > REDIS_PATIENCE_S + CONNECT_S + TIMEOUT_S


@deployments
def test_a_disruption_budget_and_the_constraints_speak_of_the_same_pods(
    deployment: dict[str, Any],
) -> None:
    name, labels = deployment["metadata"]["name"], deployment["spec"]["selector"]["matchLabels"]
    assert deployment["spec"]["template"]["metadata"]["labels"] == labels
    assert OBJECTS[f"PodDisruptionBudget {name}"]["spec"]["selector"]["matchLabels"] == labels
    (constraint,) = pod(deployment)["topologySpreadConstraints"]
    assert constraint["labelSelector"]["matchLabels"] == labels


def test_the_service_finds_the_api_at_its_port() -> None:
    service, api = OBJECTS["Service dreamhook"]["spec"], OBJECTS["Deployment api"]
    assert service["selector"] == api["spec"]["selector"]["matchLabels"]
    (port,) = pod(api)["containers"][0]["ports"]
    assert service["ports"][0]["targetPort"] == port["name"]
    assert OBJECTS["ConfigMap dreamhook"]["data"]["DREAMHOOK_PORT"] == str(port["containerPort"])


def test_all_settings_together_can_be_used() -> None:
    secret, settings = OBJECTS["Secret dreamhook"], OBJECTS["ConfigMap dreamhook"]
    given = {**settings["data"], **secret["stringData"]}
    assert Settings.load(given).accounts
    known = {field.alias for field in Settings.model_fields.values()}
    assert set(given) <= known


def test_the_way_out_leads_to_no_private_network() -> None:
    rules = OBJECTS["NetworkPolicy way-out"]["spec"]["egress"]
    blocks = [to["ipBlock"] for rule in rules for to in rule["to"] if "ipBlock" in to]
    (everywhere,) = [block for block in blocks if block["cidr"] == "0.0.0.0/0"]
    shut = [ip_network(each) for each in everywhere["except"]]
    for private in ("10.1.2.3/32", "172.31.0.1/32", "192.168.1.1/32", "169.254.169.254/32"):
        assert any(ip_network(private).subnet_of(each) for each in shut)  # type: ignore[arg-type]


def test_keda_scales_the_workers_by_metrics_that_exist() -> None:
    target = KEDA["spec"]["scaleTargetRef"]["name"]
    assert f"Deployment {target}" in OBJECTS
    for trigger in KEDA["spec"]["triggers"]:
        assert trigger["type"] == "prometheus"
        assert trigger["metricType"] in {"AverageValue", "Value"}
        assert {"serverAddress", "threshold", "query"} == set(trigger["metadata"])
        assert float(trigger["metadata"]["threshold"]) > 0
        named = set(re.findall(r"dreamhook_[a-z_]+", trigger["metadata"]["query"]))
        assert named
        assert named <= set(SAMPLES)
