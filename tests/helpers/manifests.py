"""Manifests held against schemas, without a cluster and its tools.

Kinds of Kubernetes have theirs from `kubernetes-validate`; those that others bring are described
here, as far as our manifests use them. Whatever is not described is refused.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANYTHING: dict[str, Any] = {}


def closed(required: str, **fields: Any) -> dict[str, Any]:
    """Schema of a mapping that has no other keys; `required` names those that must be there."""
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def many(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


def document(version: str, kind: str, required: str = "", **fields: Any) -> dict[str, Any]:
    heads = {"apiVersion": {"const": version}, "kind": {"const": kind}}
    return closed(f"apiVersion kind {required}", **heads, **fields)


METADATA = closed("name namespace", name=TEXT, namespace=TEXT)
HEAD = closed("rayStartParams template", rayStartParams=TEXTS, template=ANYTHING)
WORKERS = closed(
    "groupName minReplicas maxReplicas rayStartParams template",
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=TEXTS,
    template=ANYTHING,
)
AUTOSCALER = closed(
    "", idleTimeoutSeconds=COUNT, securityContext=ANYTHING, volumeMounts=many(ANYTHING)
)
CLUSTER = closed(
    "rayVersion headGroupSpec workerGroupSpecs",
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=AUTOSCALER,
    headGroupSpec=HEAD,
    workerGroupSpecs=many(WORKERS),
)
RAY_SERVICE = document(
    "ray.io/v1",
    "RayService",
    "metadata spec",
    metadata=METADATA,
    spec=closed("serveConfigV2 rayClusterConfig", serveConfigV2=TEXT, rayClusterConfig=CLUSTER),
)
ENDPOINT = closed(
    "port authorization",
    port=TEXT,
    interval={"type": "string", "pattern": r"^\d+s$"},
    authorization=closed("credentials", credentials=closed("name key", name=TEXT, key=TEXT)),
)
POD_MONITOR = document(
    "monitoring.coreos.com/v1",
    "PodMonitor",
    "metadata spec",
    metadata=METADATA,
    spec=closed(
        "selector podMetricsEndpoints",
        selector=closed("matchLabels", matchLabels=TEXTS),
        podMetricsEndpoints=many(ENDPOINT),
    ),
)
KUSTOMIZATION = document(
    "kustomize.config.k8s.io/v1beta1",
    "Kustomization",
    "namespace resources",
    namespace=TEXT,
    resources=many(TEXT),
)
OTHERS = {"RayService": RAY_SERVICE, "PodMonitor": POD_MONITOR, "Kustomization": KUSTOMIZATION}


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def check(manifest: Any) -> None:
    """Raise `jsonschema.ValidationError` unless this is a manifest as its kind is to be."""
    schema = OTHERS.get(manifest["kind"])
    if schema is None:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        return
    jsonschema.validate(manifest, schema)
    for template in templates(manifest):
        check({"apiVersion": "v1", "kind": "PodTemplate", "template": template})


def templates(manifest: Any) -> Iterator[Any]:
    """What the pods of a Deployment or a RayService are made from."""
    if manifest["kind"] == "Deployment":
        yield manifest["spec"]["template"]
    elif manifest["kind"] == "RayService":
        cluster = manifest["spec"]["rayClusterConfig"]
        yield cluster["headGroupSpec"]["template"]
        for group in cluster["workerGroupSpecs"]:
            yield group["template"]
