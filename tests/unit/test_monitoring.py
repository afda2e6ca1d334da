"""Prometheus and Grafana ask for what the server exports, and get it with the key."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from detector_app.cluster.front import Rules
from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.helpers.manifests import COUNT, TEXT, TEXTS, closed, many
from tests.helpers.promql import asked, finds
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.serving import serving
from tests.unit.detector_app.test_front import Chosen, ask

DEPLOY = Path(__file__).parents[2] / "deploy"
KEY = "an-open-secret-of-tests"
AS_SECRET = {"Authorization": f"Bearer {KEY}"}


SECONDS = {"type": "string", "pattern": r"^\d+[sm]$"}
FOUND = closed(
    "names", names=many(TEXT), type={"enum": ["A"]}, port=COUNT, refresh_interval=SECONDS
)
SCHEMAS = {
    "prometheus.yml": closed(
        "rule_files scrape_configs",
        **{"global": closed("", scrape_interval=SECONDS, evaluation_interval=SECONDS)},
        rule_files=many(TEXT),
        scrape_configs=many(
            closed(
                "job_name",
                job_name=TEXT,
                authorization=closed("credentials_file", credentials_file=TEXT),
                dns_sd_configs=many(FOUND),
            )
        ),
    ),
    "alerts.yml": closed(
        "groups",
        groups=many(
            closed(
                "name rules",
                name=TEXT,
                rules=many(
                    closed(
                        "alert expr labels annotations",
                        **{"for": SECONDS},
                        alert=TEXT,
                        expr=TEXT,
                        labels=TEXTS,
                        annotations=TEXTS,
                    )
                ),
            )
        ),
    ),
    "grafana/datasources.yaml": closed(
        "apiVersion datasources",
        apiVersion={"const": 1},
        datasources=many(
            closed(
                "name type url",
                name=TEXT,
                type=TEXT,
                url=TEXT,
                isDefault={"type": "boolean"},
                jsonData=closed("", timeInterval=SECONDS),
            )
        ),
    ),
    "grafana/dashboards.yaml": closed(
        "apiVersion providers",
        apiVersion={"const": 1},
        providers=many(
            closed("name type options", name=TEXT, type=TEXT, options=closed("path", path=TEXT))
        ),
    ),
}
"""As far as the files use them; promtool knows the rest where it is there."""


def loaded(name):
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


DASHBOARD = json.loads((DEPLOY / "grafana" / "spyv4.json").read_text(encoding="utf-8"))
TARGETS = {
    f"{panel['title']}-{panel['type']}-{target['refId']}": target
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
(GROUP,) = loaded("alerts.yml")["groups"]
ALERTS = {rule["alert"]: rule for rule in GROUP["rules"]}
EXPRESSIONS = {name: target["expr"] for name, target in TARGETS.items()} | {
    name: rule["expr"] for name, rule in ALERTS.items()
}
(JOB,) = loaded("prometheus.yml")["scrape_configs"]
OWN = {"job": JOB["job_name"], "instance": "10.0.0.2:8000"}
MADE = [("up", OWN)] + [("ALERTS", {"alertname": name, "alertstate": "firing"}) for name in ALERTS]
"""What Prometheus makes by itself."""


@pytest.fixture(scope="module")
def server():
    with serving(create_app(Settings(api_key=KEY), lively_detector())) as url:
        yield url


@pytest.fixture(scope="module")
def samples(server):
    """All that Prometheus has of a server, and of a front before it."""

    replica = Chosen(server.removeprefix("http://"))
    answers = [
        httpx.get(f"{server}/metrics", headers=AS_SECRET),
        ask(replica, "GET", "/metrics", Rules(1000, key=KEY), headers=AS_SECRET),
    ]
    return MADE + [
        (sample.name, sample.labels | OWN)
        for answer in answers
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    ]


def missing(expression, samples, *more):
    """Series and labels that an expression asks for, and labels shown, without a sample."""
    wanted = asked(expression)
    found = [
        [labels for name, labels in samples if finds(series, name, labels)]
        for series in wanted.series
    ]
    known = {label for each in found for labels in each for label in labels}
    nothing = [series[0] for series, each in zip(wanted.series, found, strict=True) if not each]
    return nothing + sorted((wanted.labels | set(more)) - known)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_what_is_asked_for_is_there(name, samples):
    shown = TARGETS[name]["legendFormat"] if name in TARGETS else json.dumps(ALERTS[name])
    labels = re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", shown)
    assert missing(EXPRESSIONS[name], samples, *labels) == []


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("spyv4_viewer > 0", ["spyv4_viewer"]),
        ('rate(spyv4_frames_total{fate="lost"}[1m])', ["spyv4_frames_total"]),
        ('spyv4_latency_seconds{of=~"live",percentile="0.5"}', ["spyv4_latency_seconds"]),
        ("sum by (camera) (spyv4_viewers)", ["camera"]),
        ("spyv4_viewers unless ignoring (kind) spyv4_replicas", ["kind"]),
    ],
)
def test_what_is_not_there_is_found_out(expression, wanted, samples):
    assert missing(expression, samples) == wanted


def test_what_is_no_expression_is_found_out():
    with pytest.raises(ValueError, match="unclosed"):
        asked("sum(spyv4_viewers")


def test_everything_that_is_exported_is_shown(samples):
    shown = {series[0] for target in TARGETS.values() for series in asked(target["expr"]).series}
    assert {name for name, _ in samples if not name.endswith("_created")} == shown


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_are_as_prometheus_and_grafana_want_them(name):
    jsonschema.validate(loaded(name), SCHEMAS[name])
    wrong = loaded(name)
    wrong["group"] = []
    with pytest.raises(jsonschema.ValidationError, match="group"):
        jsonschema.validate(wrong, SCHEMAS[name])


def test_alerts_know_the_size_of_the_queue():
    usual = Settings()
    expression = ALERTS["SPYv4QueueFull"]["expr"]
    assert f"spyv4_queue_waiting > 0.9 * {usual.queue_size} " in expression
    assert expression.endswith(f"spyv4_queue_reads > 0.9 * {usual.queue_reads}")


def test_prometheus_comes_by_address_with_the_key(server):
    """By a name it would be turned away, and without the key too."""
    compose = loaded("compose.yaml")
    (secret,) = compose["services"]["prometheus"]["secrets"]
    assert JOB["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
    (found,) = JOB["dns_sd_configs"]
    (name,) = found["names"]
    (port,) = compose["services"][name]["ports"]
    assert found["type"] == "A"
    assert port.endswith(f":{found['port']}")
    variable = compose["secrets"][secret]["environment"]
    assert compose["services"][name]["environment"][variable].startswith(f"${{{variable}:?")
    metrics = f"{server}/metrics"
    assert httpx.get(metrics, headers=AS_SECRET).status_code == 200
    assert httpx.get(metrics).status_code == 401
    named = AS_SECRET | {"Host": f"{name}:{found['port']}"}
    assert httpx.get(metrics, headers=named).status_code == 421


def test_grafana_finds_its_files_and_prometheus():
    services = loaded("compose.yaml")["services"]
    mounted = {}
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            source, target, *_ = volume.split(":")
            mounted[target] = source
            assert not source.startswith("./") or (DEPLOY / source).is_file()
    folder = Path("/etc/prometheus")
    assert {str(folder / rules) for rules in loaded("prometheus.yml")["rule_files"]} <= set(mounted)
    (provider,) = loaded("grafana/dashboards.yaml")["providers"]
    assert mounted[f"{provider['options']['path']}/spyv4.json"] == "./grafana/spyv4.json"
    (source,) = loaded("grafana/datasources.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["isDefault"] is True  # which the dashboard takes unless another is chosen
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", source["type"])
    password = services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert password == f"/run/secrets/{services['grafana']['secrets'][0]}"


def test_panels_have_places_of_their_own():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_promtool_takes_the_files(tmp_path):
    (tmp_path / "api-key").write_text(KEY)
    text = (DEPLOY / "prometheus.yml").read_text(encoding="utf-8")
    config = tmp_path / "prometheus.yml"
    config.write_text(text.replace("/run/secrets/api-key", str(tmp_path / "api-key")))
    shutil.copy(DEPLOY / "alerts.yml", tmp_path)
    command = ["promtool", "check", "config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
