"""The manifests of deploy/: as their kinds are to be, and of one mind with the settings."""

import copy
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.version import Version

from detector_app.cluster.shape import Shape
from detector_app.http.connections import GRACE_S
from detector_app.settings import Settings
from spyv4.errors import ConfigError
from spyv4.validation import from_mapping
from tests.helpers.manifests import check, documents, templates

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
NAMES = sorted(path.name for path in KUBERNETES.glob("*.yaml"))
MANIFESTS = {
    (manifest["kind"], manifest.get("metadata", {}).get("name")): manifest
    for name in NAMES
    for manifest in documents(KUBERNETES / name)
}
WORKLOADS = (("Deployment", "spyv4"), ("RayService", "spyv4-ray"))
PODS = {
    template["spec"]["containers"][0]["name"]: template
    for workload in WORKLOADS
    for template in templates(MANIFESTS[workload])
}
KNOWN = {f"SPYV4_{name.upper()}" for name in Settings.__dataclass_fields__}


def at(manifest, path):
    """The mapping or list that holds what the path names, and its last key."""
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in way:
        manifest = manifest[step]
    return manifest, last


def ports_of(pod):
    return {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}


def test_the_config_of_ray_serve_says_known_settings():
    (application,) = yaml.safe_load((DEPLOY / "serve.yaml").read_text())["applications"]
    module, _, name = application["import_path"].partition(":")
    assert f"def {name}(" in (DEPLOY.parent / f"{module.replace('.', '/')}.py").read_text()
    said = application["args"]
    assert from_mapping(Shape, said.pop("shape")).limits == (1, 8)
    assert from_mapping(Settings, said).source == "none"


def test_kuberay_runs_the_same_application_and_has_room_for_it():
    spec = MANIFESTS["RayService", "spyv4-ray"]["spec"]
    config = yaml.safe_load(spec["serveConfigV2"])
    assert config == yaml.safe_load((DEPLOY / "serve.yaml").read_text())
    shape = from_mapping(Shape, config["applications"][0]["args"]["shape"])
    cluster = spec["rayClusterConfig"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"] is True
    (workers,) = cluster["workerGroupSpecs"]
    cores = int(PODS["ray-worker"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    least, most = (cores * workers[name] // shape.cores for name in ("minReplicas", "maxReplicas"))
    assert least >= shape.limits[0]
    assert most > shape.limits[1], "a rollout needs room for one more"
    head = PODS["ray-head"]["spec"]["containers"][0]
    assert cluster["autoscalerOptions"]["securityContext"] == head["securityContext"]
    (mount,) = cluster["autoscalerOptions"]["volumeMounts"]
    assert mount in head["volumeMounts"]


@pytest.mark.parametrize("key", MANIFESTS, ids=lambda key: "-".join(filter(None, key)))
def test_manifests_are_as_their_kinds_are_to_be(key):
    check(MANIFESTS[key])


@pytest.mark.parametrize(
    ("key", "path", "value"),
    [
        (("Deployment", "spyv4"), "spec.selector", None),
        (("Deployment", "spyv4"), "spec.template.spec.containers.0.volumeMount", []),
        (("Deployment", "spyv4"), "spec.template.spec.terminationGracePeriodSeconds", "15s"),
        (("Service", "spyv4"), "spec.ports.0.port", "80"),
        (("HorizontalPodAutoscaler", "spyv4"), "spec.minReplica", 2),
        (("NetworkPolicy", "spyv4"), "spec.policyTypes", "Ingress"),
        (("RayService", "spyv4-ray"), "spec.serveConfig", "applications: []"),
        (("RayService", "spyv4-ray"), "spec.rayClusterConfig.headGroupSpec.rayStartParams", None),
        (
            ("RayService", "spyv4-ray"),
            "spec.rayClusterConfig.headGroupSpec.rayStartParams.num-cpus",
            0,
        ),
        (
            ("RayService", "spyv4-ray"),
            "spec.rayClusterConfig.workerGroupSpecs.0.template.spec.tolerate",
            [],
        ),
        (("PodMonitor", "spyv4"), "spec.selector", None),
        (("PodMonitor", "spyv4"), "spec.podMetricsEndpoints.0.bearerTokenFile", "/key"),
        (("Kustomization", None), "namespaces", "spyv4"),
    ],
)
def test_wrong_manifests_are_refused(key, path, value):
    wrong = copy.deepcopy(MANIFESTS[key])
    holder, last = at(wrong, path)
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    with pytest.raises(jsonschema.ValidationError):
        check(wrong)


def test_all_are_in_one_namespace_or_get_it():
    kustomization = MANIFESTS["Kustomization", None]
    assert set(kustomization["resources"]) < set(NAMES)
    namespace = kustomization["namespace"]
    assert ("Namespace", namespace) in MANIFESTS
    for name in set(NAMES) - {"kustomization.yaml", *kustomization["resources"]}:
        for manifest in documents(KUBERNETES / name):
            assert manifest["metadata"]["namespace"] == namespace


def test_whoever_selects_pods_finds_them_and_their_ports():
    pods = [(pod["metadata"]["labels"], ports_of(pod)) for pod in PODS.values()]
    kubernetes = {"ray.io/node-type": "head"}  # KubeRay labels its pods
    pods.append((PODS["ray-head"]["metadata"]["labels"] | kubernetes, ports_of(PODS["ray-head"])))
    deployment = MANIFESTS["Deployment", "spyv4"]["spec"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    chosen = {}
    for (kind, name), manifest in MANIFESTS.items():
        spec = manifest.get("spec", {})
        if kind == "Service":
            chosen[kind, name] = spec["selector"], [spec["ports"][0]["targetPort"]]
        elif kind == "PodMonitor":
            wanted = [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]]
            chosen[kind, name] = spec["selector"]["matchLabels"], wanted
        elif kind == "PodDisruptionBudget":
            chosen[kind, name] = spec["selector"]["matchLabels"], []
        elif kind == "NetworkPolicy":
            wanted = [port["port"] for rule in spec["ingress"] for port in rule.get("ports", [])]
            chosen[kind, name] = spec["podSelector"]["matchLabels"], wanted
    assert len(chosen) == 6
    for key, (labels, wanted) in chosen.items():
        found = [ports for said, ports in pods if labels.items() <= said.items()]
        known = {port for ports in found for pair in ports.items() for port in pair}
        assert found, f"{key} selects no pod"
        assert set(wanted) <= known, f"{key} wants ports that its pods have not"
    target = MANIFESTS["HorizontalPodAutoscaler", "spyv4"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in MANIFESTS
    assert "replicas" not in deployment, "the autoscaler says how many"


@pytest.mark.parametrize("name", PODS)
def test_pods_may_do_little_and_know_the_key(name):
    pod = PODS[name]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {v["name"] for v in pod["volumes"]} == {v["name"] for v in container["volumeMounts"]}
    said = {item["name"]: item for item in container["env"]}
    assert {each for each in said if not each.startswith("RAY_")} <= KNOWN
    secret = said["SPYV4_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert secret == {"name": "spyv4", "key": "api-key"}
    for monitor in ("spyv4", "spyv4-ray"):
        (endpoint,) = MANIFESTS["PodMonitor", monitor]["spec"]["podMetricsEndpoints"]
        assert endpoint["authorization"]["credentials"] == secret
    hosts = said["SPYV4_ALLOWED_HOST"]["value"].split(",")
    assert Settings(allowed_host=tuple(hosts)).allowed_host
    for probe in (value for field, value in container.items() if field.endswith("Probe")):
        port = probe["httpGet"]["port"]
        assert port == 52365 or port in ports_of(PODS[name]), "nothing listens on that port"


def test_pods_are_asked_as_the_server_answers():
    pod = PODS["spyv4"]["spec"]
    (container,) = pod["containers"]
    assert GRACE_S < pod["terminationGracePeriodSeconds"] < 2 * GRACE_S
    paths = {name: container[name]["httpGet"]["path"] for name in container if "Probe" in name}
    assert paths.pop("readinessProbe") == "/api/ready"
    assert set(paths.values()) == {"/api/health"}


def test_the_image_for_ray_is_built_with_it():
    dockerfile = (DEPLOY.parent / "Dockerfile").read_text(encoding="utf-8")
    assert "ARG EXTRAS=app,onnx\n" in dockerfile
    assert '--editable ".[${EXTRAS}]"' in dockerfile
    text = (KUBERNETES / "rayservice.yaml").read_text(encoding="utf-8")
    image = PODS["ray-head"]["spec"]["containers"][0]["image"]
    assert f"docker build --build-arg EXTRAS=ray,onnx -t {image} ." in text
    assert image == PODS["ray-worker"]["spec"]["containers"][0]["image"]
    extras = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))
    (least,) = re.findall(
        r"ray\[.*\]>=(.+)", "\n".join(extras["project"]["optional-dependencies"]["ray"])
    )
    said = MANIFESTS["RayService", "spyv4-ray"]["spec"]["rayClusterConfig"]["rayVersion"]
    assert Version(said) >= Version(least)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_kustomize_puts_the_set_together():
    command = ["kubectl", "kustomize", str(KUBERNETES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    built = list(yaml.safe_load_all(done.stdout))
    assert {manifest["kind"] for manifest in built} == {
        "Namespace",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    for manifest in built:
        check(manifest)


def test_a_replica_number_is_one_or_two():
    assert Shape(replicas="3").scaling() == {"num_replicas": 3}
    scaling = Shape(replicas="1-8").scaling()["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (1, 8)
    for wrong in ("0", "8-1", "two", "1-"):
        with pytest.raises(ConfigError, match="replicas must"):
            Shape(replicas=wrong)
