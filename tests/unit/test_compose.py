"""The compose file: no key that is not one, and no service that may do much."""

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.helpers.manifests import COUNT, TEXT, TEXTS, closed, many

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "compose.yaml").read_text())
DURATION = {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}
HEALTH = closed(
    "test",
    test=many(TEXT),
    interval=DURATION,
    timeout=DURATION,
    start_period=DURATION,
    retries=COUNT,
)
SERVICE = closed(
    "image",
    profiles=many(TEXT),
    build=closed("context", context=TEXT, args=TEXTS),
    image=TEXT,
    command=many(TEXT),
    environment=TEXTS,
    secrets=many(TEXT),
    ports=many({"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}),
    healthcheck=HEALTH,
    read_only={"type": "boolean"},
    tmpfs=many(TEXT),
    volumes=many({"type": "string", "pattern": r"^(\./)?[\w./-]+:/[\w./-]+(:ro)?$"}),
    cap_drop=many(TEXT),
    security_opt=many(TEXT),
    mem_limit={"type": "string", "pattern": r"^\d+[kmg]$"},
    pids_limit=COUNT,
    restart={"enum": ["no", "always", "on-failure", "unless-stopped"]},
    stop_grace_period=DURATION,
)
FILE = closed(
    "services",
    services={"type": "object", "additionalProperties": SERVICE},
    secrets={"type": "object", "additionalProperties": closed("environment", environment=TEXT)},
    volumes={"type": "object", "additionalProperties": {"type": "null"}},
)
"""As far as the file uses it; what `docker compose config` says is asked where there is one."""


def test_the_file_is_as_compose_wants_it():
    jsonschema.validate(COMPOSE, FILE)


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("spyv4", "readonly", True),
        ("spyv4", "ports", ["8000:8000"]),
        ("prometheus", "secret", ["api-key"]),
        ("prometheus", "volumes", ["prometheus.yml"]),
        ("grafana", "environment", {"GF_ANALYTICS_REPORTING_ENABLED": False}),
        ("grafana", "mem_limit", 512),
    ],
)
def test_wrong_files_are_refused(service, key, value):
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"][service][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, FILE)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_services_may_do_little_and_what_they_name_is_there(name):
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "restart"} <= set(service)
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    sources = {volume.partition(":")[0] for volume in service.get("volumes", [])}
    assert {source for source in sources if "/" not in source} <= set(COMPOSE["volumes"])
    # Compose copies a secret of a variable into a container, which it refuses for a read-only one.
    assert not (service.get("secrets") and service.get("read_only"))


def test_the_server_comes_alone_unless_more_is_asked_for():
    alone = {name for name, service in COMPOSE["services"].items() if "profiles" not in service}
    assert alone == {"spyv4"}
