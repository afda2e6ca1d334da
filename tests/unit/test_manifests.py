"""The files of deploy/ for clusters: well formed, and of one mind with the settings."""

from pathlib import Path

import pytest
import yaml

from detector_app.cluster.shape import Shape
from detector_app.http.connections import GRACE_S
from detector_app.settings import Settings
from spyv4.errors import ConfigError
from spyv4.validation import from_mapping

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_config_of_ray_serve_says_known_settings():
    (application,) = yaml.safe_load((DEPLOY / "serve.yaml").read_text())["applications"]
    module, _, name = application["import_path"].partition(":")
    assert f"def {name}(" in (DEPLOY.parent / f"{module.replace('.', '/')}.py").read_text()
    said = application["args"]
    assert from_mapping(Shape, said.pop("shape")).limits == (1, 8)
    assert from_mapping(Settings, said).source == "none"


def test_pods_are_asked_as_the_server_answers():
    deployment, service = yaml.safe_load_all(
        (DEPLOY / "kubernetes" / "deployment.yaml").read_text()
    )
    spec = deployment["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == spec["selector"]["matchLabels"]
    assert GRACE_S < pod["terminationGracePeriodSeconds"] < 2 * GRACE_S
    paths = {name: container[name]["httpGet"]["path"] for name in container if "Probe" in name}
    assert paths.pop("readinessProbe") == "/api/ready"
    assert set(paths.values()) == {"/api/health"}
    known = {f"SPYV4_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert {item["name"] for item in container["env"]} <= known
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_replica_number_is_one_or_two():
    assert Shape(replicas="3").scaling() == {"num_replicas": 3}
    scaling = Shape(replicas="1-8").scaling()["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (1, 8)
    for wrong in ("0", "8-1", "two", "1-"):
        with pytest.raises(ConfigError, match="replicas must"):
            Shape(replicas=wrong)
