"""The files of deploy/, as far as they can be tried without systemd and Docker."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from detector_app.commands.serve import serve_parser
from detector_app.http.connections import GRACE_S
from detector_app.settings import load_settings
from tests.helpers.sessions import PATIENCE_S

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "spyv4.service"
COMPOSE = ROOT / "deploy" / "compose.yaml"
KEY = "an-open-secret-of-tests"
PROGRAM = Path(sys.executable).with_name("spyv4-serve")


@pytest.fixture(scope="module")
def service():
    """The section [Service]; of keys that are there twice the last."""
    unit = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes="#")
    unit.optionxform = str
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    return unit["Service"]


@pytest.fixture(scope="module")
def container():
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["spyv4"]


def variables(service):
    return dict(pair.split("=", 1) for pair in shlex.split(service["Environment"]))


def check_settings(monkeypatch, options, environment):
    """Options and variables are known, and what they say is valid."""
    arguments = vars(serve_parser().parse_args(options))
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    settings = load_settings(arguments)
    known = {f"SPYV4_{name.upper()}" for name in type(settings).__dataclass_fields__}
    assert {name for name in environment if name.startswith("SPYV4_")} <= known
    return settings


def test_the_service_knows_its_options(service, monkeypatch):
    program, *options = shlex.split(service["ExecStart"])
    assert Path(program).name == PROGRAM.name
    settings = check_settings(monkeypatch, options, variables(service))
    assert settings.source == "none"
    settings.require_guard()


def test_the_service_waits_as_long_as_the_server_takes(service):
    assert GRACE_S < float(service["TimeoutStopSec"]) < 2 * GRACE_S
    assert service["Restart"] == "on-failure"


@pytest.mark.skipif(not PROGRAM.is_file(), reason="spyv4-serve is not installed here")
def test_what_the_service_starts_serves_whoever_has_the_key(service, weights, tmp_path):
    (tmp_path / "api-key").write_text(f"{KEY}\n")
    text = service["ExecStart"].replace("%d", str(tmp_path))
    environment = variables(service) | {"SPYV4_WEIGHTS": str(weights), "SPYV4_PORT": "0"}
    with subprocess.Popen(
        [PROGRAM, *shlex.split(text)[1:]],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd="/",
    ) as process:
        try:
            url = process.stdout.readline().split()[3].partition("/?")[0]
            assert httpx.get(f"{url}/metrics").status_code == 401
            headers = {"Authorization": f"Bearer {KEY}"}
            assert httpx.get(f"{url}/metrics", headers=headers).status_code == 200
            process.terminate()
            stopped = process.wait(PATIENCE_S)
        finally:
            process.kill()
    assert stopped in (0, -15, int(service["SuccessExitStatus"]))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path):
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/spyv4/bin/spyv4-serve", shutil.which("true")))
    for check in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(
            ["systemd-analyze", *check, str(copy)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-300:] + done.stderr
        assert done.stderr == ""


def test_the_container_knows_its_options(container, monkeypatch):
    said = {"SPYV4_API_KEY": KEY, "SPYV4_SOURCE": "none"}
    assert set(said) == set(container["environment"])
    settings = check_settings(monkeypatch, container["command"], said)
    assert (settings.log_format, settings.api_key) == ("json", KEY)
    assert container["environment"]["SPYV4_API_KEY"].startswith("${SPYV4_API_KEY:?")


def test_the_container_may_do_little_and_is_reached_from_here_alone(container):
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "devices"} & set(container)
    assert container["volumes"] == ["cache:/home/spyv4/.cache"]  # all that outlives it
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (port,) = container["ports"]
    assert port.startswith("127.0.0.1:")
    assert f"SPYV4_PORT={port.rpartition(':')[2]}" in dockerfile
    assert (COMPOSE.parent / container["build"]["context"] / "Dockerfile").is_file()
    assert GRACE_S < float(container["stop_grace_period"].removesuffix("s")) < 2 * GRACE_S


def test_the_container_is_healthy_while_the_server_answers(container, url):
    kind, program, *arguments = container["healthcheck"]["test"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert (kind, f'CMD ["{program}", "-c"' in dockerfile) == ("CMD", True)
    for address, expected in ((url, 0), ("http://127.0.0.1:9", 1)):
        command = [text.replace("http://127.0.0.1:8000", address) for text in arguments]
        assert command != arguments
        done = subprocess.run([sys.executable, *command], capture_output=True, check=False)
        assert done.returncode == expected


def has_compose():
    docker = shutil.which("docker")
    return (
        docker is not None
        and not subprocess.run(
            [docker, "compose", "version"], capture_output=True, check=False
        ).returncode
    )


@pytest.mark.skipif(not has_compose(), reason="there is no docker compose")
def test_docker_takes_the_compose_file():
    command = ["docker", "compose", "--file", str(COMPOSE), "config", "--quiet"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SPYV4_API_KEY": KEY},
    )
    assert (done.returncode, done.stderr) == (0, "")
