"""The Kubernetes objects: valid, least of rights, and about things that exist in the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda

from farm.settings import PREFIX, Settings, bounds_of
from ingest.guard import METRICS
from jobs.keys import Keys
from jobs.metrics import METRICS as ALL_METRICS
from jobs.metrics import POOL_DESIRED
from jobs.parts import Pool, Priority, queue_name

ROOT = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
#: Seconds that a pod has beyond its drain time: to give back, and to go.
MARGIN = 30

#: What says how many slots of a pool a pod has.
SLOTS = {
    Pool.HEAD: "REELFARM_HEAD_SLOTS",
    Pool.CPU: "REELFARM_SLOTS",
    Pool.GPU: "REELFARM_GPU_SLOTS",
}

Object = dict[str, Any]


@cache
def built(folder: str) -> tuple[Object, ...]:
    """What kustomize makes of a folder."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl on PATH, which has kustomize built in")
    run = subprocess.run(
        ("kubectl", "kustomize", str(ROOT / folder)), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return tuple(yaml.safe_load_all(run.stdout))


def with_lists(folder: Path) -> str:
    """The CPU overlay with the component for Redis lists, as its comment says."""
    shutil.copytree(ROOT, folder / "kubernetes")
    overlay = folder / "kubernetes" / "overlays" / "cpu"
    text = (overlay / "kustomization.yaml").read_text()
    with_component = text.replace("# components:", "components:").replace("#   - ..", "  - ..")
    (overlay / "kustomization.yaml").write_text(with_component)
    return str(overlay)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Object, ...]:
    return built(with_lists(tmp_path_factory.mktemp("deploy")))


@pytest.fixture(scope="module", params=["overlays/cpu", "overlays/nvidia", "lists"])
def objects(request: pytest.FixtureRequest) -> tuple[Object, ...]:
    if request.param == "lists":
        found: tuple[Object, ...] = request.getfixturevalue("listed")
        return found
    return built(request.param)


def of_kind(objects: tuple[Object, ...], kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object, Object]]:
    """Each Deployment's name, pod and only container."""
    for name, deployment in of_kind(objects, "Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield name, pod, container


def environment(objects: tuple[Object, ...], container: Object) -> dict[str, str | None]:
    """Its variables; None for those that come from a Secret."""
    variables: dict[str, str | None] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            variables |= of_kind(objects, "ConfigMap")[source["configMapRef"]["name"]]["data"]
        else:
            variables |= dict.fromkeys(secret()[source["secretRef"]["name"]])
    for each in container.get("env", ()):
        variables[each["name"]] = each.get("value")
        if "valueFrom" in each:
            wanted = each["valueFrom"]["secretKeyRef"]
            assert wanted["key"] in secret()[wanted["name"]]
    return variables


@cache
def secret() -> dict[str, dict[str, str]]:
    documents = yaml.safe_load_all((ROOT / "secret.example.yaml").read_text())
    return {each["metadata"]["name"]: each["stringData"] for each in documents}


def test_every_object_is_valid(objects: tuple[Object, ...]) -> None:
    version = kubernetes_validate.latest_version()
    for each in objects:
        if each["apiVersion"].startswith("keda.sh/"):
            read = getattr(keda, each["kind"]).model_validate(each)
            # The models pass over fields that they do not know, such as misspelt ones.
            assert read.model_dump(by_alias=True, exclude_unset=True, mode="json") == each
        else:
            kubernetes_validate.validate(each, version, strict=True)
    for each in yaml.safe_load_all((ROOT / "secret.example.yaml").read_text()):
        kubernetes_validate.validate(each, version, strict=True)


def test_what_keda_names_is_there(objects: tuple[Object, ...]) -> None:
    deployments, logins = of_kind(objects, "Deployment"), of_kind(objects, "TriggerAuthentication")
    for name, each in of_kind(objects, "ScaledObject").items():
        target = deployments[each["spec"]["scaleTargetRef"]["name"]]
        assert name == target["metadata"]["name"]
        assert "replicas" not in target["spec"], "that is KEDA's business"
        for trigger in each["spec"]["triggers"]:
            assert trigger["authenticationRef"]["name"] in logins
    for each in logins.values():
        for wanted in each["spec"]["secretTargetRef"]:
            assert wanted["key"] in secret()[wanted["name"]]


@pytest.mark.parametrize("overlay", ["overlays/cpu", "overlays/nvidia"])
def test_keda_reads_a_metric_that_there_is_for_pods_of_that_many_slots(overlay: str) -> None:
    objects = built(overlay)
    container = {name: container for name, _, container in pods(objects)}
    services = of_kind(objects, "Service")
    scaled = of_kind(objects, "ScaledObject")
    assert {"worker-head", "worker-cpu"} <= set(scaled)
    for name, each in scaled.items():
        (trigger,) = each["spec"]["triggers"]
        metadata, pool = trigger["metadata"], name.removeprefix("worker-")
        assert metadata["valueLocation"] == f'{POOL_DESIRED.name}{{pool="{Pool(pool)}"}}'
        assert POOL_DESIRED in ALL_METRICS
        assert POOL_DESIRED.labels == ("pool",)
        url = re.fullmatch(r"http://([\w-]+)\.reelfarm\.svc:(\d+)(/\w+)", metadata["url"])
        assert url is not None
        assert url[3] == METRICS
        assert int(url[2]) in [port["port"] for port in services[url[1]]["spec"]["ports"]]
        assert container[name]["args"] == ["worker", "--pool", pool]
        variables = environment(objects, container[name])
        assert metadata["targetValue"] == variables[SLOTS[Pool(pool)]]
        decides = environment(objects, container["autoscaler"])
        bounds = bounds_of(decides[f"REELFARM_AUTOSCALE_{pool.upper()}"] or "")
        replicas = each["spec"]["minReplicaCount"], each["spec"]["maxReplicaCount"]
        assert bounds == tuple(count * int(metadata["targetValue"]) for count in replicas)


def test_redis_lists_are_those_of_the_farm(listed: tuple[Object, ...]) -> None:
    for name, each in of_kind(listed, "ScaledObject").items():
        pool = Pool(name.removeprefix("worker-"))
        names = {trigger["metadata"]["listName"] for trigger in each["spec"]["triggers"]}
        keys = Keys(str(Settings.model_fields["namespace"].default))
        assert names == {keys.queue(queue_name(pool, priority)) for priority in Priority}


def test_every_variable_is_a_setting_and_does(
    objects: tuple[Object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name, pod, container in pods(objects):
        variables = environment(objects, container)
        ours = {key: value for key, value in variables.items() if key.startswith(PREFIX)}
        assert set(ours) <= known, name
        with monkeypatch.context() as patched:
            for key, value in ours.items():
                if value is not None:
                    patched.setenv(key, value)
            settings = Settings()
        grace = pod["terminationGracePeriodSeconds"]
        if "autoscaler" not in name:
            assert grace >= settings.drain_timeout + MARGIN
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert any(settings.data_dir.is_relative_to(mount) for mount in mounts), name
        if settings.source_cache:
            (volume,) = pod["volumes"]
            room = re.fullmatch(r"(\d+)Gi", volume["emptyDir"]["sizeLimit"])
            assert room is not None
            assert int(room[1]) * 2**30 > settings.source_cache


def test_nobody_gets_more_rights_or_secrets_than_needed(objects: tuple[Object, ...]) -> None:
    for name, pod, container in pods(objects):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all("emptyDir" in volume for volume in pod["volumes"])
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
        if name != "api":
            assert "REELFARM_API_TOKEN" not in environment(objects, container)
    assert not of_kind(objects, "Secret"), "secrets are referred to, never built"


def test_health_is_asked_for_where_it_is_told(objects: tuple[Object, ...]) -> None:
    (api,) = (container for name, _, container in pods(objects) if name == "api")
    probes = {kind: api[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    paths = {kind: probe["path"] for kind, probe in probes.items()}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    (port,) = api["ports"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert environment(objects, api)["REELFARM_PORT"] == str(port["containerPort"])
    assert api["readinessProbe"]["timeoutSeconds"] > 5


def test_every_deployment_has_a_budget(objects: tuple[Object, ...]) -> None:
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert set(budgets) == set(of_kind(objects, "Deployment"))
    for name, each in budgets.items():
        assert each["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/component": name}


def test_a_gpu_pool_that_is_scaled_to_nothing_is_waited_for() -> None:
    objects = built("overlays/nvidia")
    pod, container = next((pod, each) for name, pod, each in pods(objects) if name == "worker-gpu")
    assert pod["runtimeClassName"] == "nvidia"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for name, _, each in pods(objects):
        assert environment(objects, each)["REELFARM_ENCODER"] == "nvenc", name
