"""Runs a root as the compose file has it run, and looks at it as its users and an engine do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import httpx
import yaml
from e2b_dockerfile_utils import ShellLex

from detector_app.stream.demo import DemoSource
from tests.load.image.reading import duration_s
from tests.load.image.recipe import Health, Recipe, RecipeError
from tests.load.image.root import command_in, mounted

KEY = "an-open-secret-of-tests"
NOT_TRIED = {"build", "image", "mem_limit", "ports", "restart"}
"""Keys of the compose file that change nothing here: memory is measured, and not limited."""
DIES_ALONG = ("--pdeathsig", "KILL")
"""Options of setpriv: end with the parent. Said anew in the root, where the user changes."""
PRIVILEGES = {
    "cap_drop": {"ALL": ["--bounding-set=-all", "--inh-caps=-all"]},
    "security_opt": {"no-new-privileges:true": ["--no-new-privs"]},
}


@dataclass(frozen=True)
class Service:
    """What the compose file says of the container.

    Attributes:
        command: what follows the entry point.
        environment: added to the image's.
        writable: the volumes, beside /tmp, where the rest can only be read; None where it can be
            written to.
        restrictions: options of setpriv.
        processes: how many there may be.
        grace_s: how long it may take to end.
        health: command of the health check.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    writable: tuple[str, ...] | None
    restrictions: tuple[str, ...]
    processes: int
    grace_s: float
    health: tuple[str, ...]


def read_service(text: str, variables: Mapping[str, str]) -> Service:
    """The service `spyv4` of a compose file.

    Args:
        text: of the file.
        variables: of the shell that the file is used in.

    Raises:
        RecipeError: for a key or value that is not known here.
    """
    service = yaml.safe_load(text)["services"]["spyv4"]
    said = {key: value for key, value in service.items() if key not in NOT_TRIED}
    shell = ShellLex("\\", env=variables, skip_unset_env=False)
    restrictions = []
    for key, known in PRIVILEGES.items():
        for value in said.pop(key):
            if value not in known:
                raise RecipeError(f"{key} {value} is not known here; known: {', '.join(known)}")
            restrictions += known[value]
    folders = tuple(volume.split(":")[1] for volume in said.pop("volumes"))
    if (temporary := said.pop("tmpfs")) != ["/tmp"]:
        raise RecipeError(f"tmpfs {temporary} is not known here, /tmp is")
    kind, *health = said.pop("healthcheck")["test"]
    if kind != "CMD":
        raise RecipeError(f"a health check by {kind} is not known here, by CMD it is")
    environment = said.pop("environment").items()
    result = Service(
        command=tuple(said.pop("command")),
        environment={name: shell.process_word(value) for name, value in environment},
        writable=folders if said.pop("read_only") else None,
        restrictions=tuple(restrictions),
        processes=said.pop("pids_limit"),
        grace_s=duration_s(said.pop("stop_grace_period")),
        health=tuple(health),
    )
    if said:
        raise RecipeError(f"{min(said)} of the compose file is not known here")
    return result


@contextmanager
def running(
    recipe: Recipe, service: Service, root: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[..., list[str]]]]:
    """The entry point at work, with the words that run a command beside it; killed at the end.

    It is the first process of its own, as in a container: a signal that such a one does not handle
    is not delivered.

    Args:
        recipe: what the Dockerfile says.
        service: what the compose file says.
        root: the image.
    """
    environment = {**recipe.place.environment, **service.environment}
    place = replace(recipe.place, environment=environment)

    def words(*command: str) -> list[str]:
        return command_in(root, place, command, [*DIES_ALONG, *service.restrictions])

    start = ["setpriv", *DIES_ALONG, "unshare", "--pid", "--fork", f"--mount-proc={root / 'proc'}"]
    start += ["prlimit", f"--nproc={service.processes}"]
    start += words(*recipe.entrypoint, *service.command)
    with mounted(root, writable=service.writable):
        server = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        try:
            yield server, words
        finally:
            server.kill()  # and with it all that it started
            server.wait()


def stop_early(
    recipe: Recipe, service: Service, root: Path, after_s: float = 0.5
) -> dict[str, object]:
    """Start, and end amid the start."""
    with running(recipe, service, root) as (server, _):
        time.sleep(after_s)
        return end(server, service.grace_s)


def serve(recipe: Recipe, service: Service, root: Path, built_s: float) -> dict[str, object]:
    """From the start of the entry point to its end.

    Args:
        recipe: what the Dockerfile says.
        service: what the compose file says.
        root: the image.
        built_s: how long to wait for the compiled network.
    """
    url = f"http://127.0.0.1:{recipe.ports[0]}"
    with running(recipe, service, root) as (server, words):
        result = wait_healthy(words(*recipe.health.command), recipe.health, server)
        started = time.perf_counter()
        subprocess.run(words(*service.health), timeout=recipe.health.timeout_s, check=True)
        result["health_of_compose_s"] = round(time.perf_counter() - started, 2)
        result |= ask(url, service.environment["SPYV4_API_KEY"])
        result |= wait_built(url, server.pid, root / "tmp", built_s)
        return result | end(server, service.grace_s)


def wait_healthy(
    check: list[str], health: Health, server: "subprocess.Popen[bytes]"
) -> dict[str, object]:
    """Ask as an engine does, only more often, until the answer is good."""
    started = time.perf_counter()
    until = started + health.start_period_s + health.retries * health.interval_s
    tries = 0
    while time.perf_counter() < until and server.poll() is None:
        tries += 1
        asked = time.perf_counter()
        try:
            subprocess.run(check, timeout=health.timeout_s, stderr=subprocess.DEVNULL, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            time.sleep(1)
            continue
        now = time.perf_counter()
        passed = {"healthy_s": now - started, "health_check_s": now - asked}
        return {name: round(seconds, 2) for name, seconds in passed.items()} | {"checks": tries}
    raise RuntimeError(f"not healthy after {tries} checks; its log is on the standard error")


def ask(url: str, key: str) -> dict[str, object]:
    """Send a picture, without and with the key."""
    data = cv2.imencode(".jpg", DemoSource().frame(0))[1].tobytes()
    refused = httpx.post(f"{url}/detect", content=data, timeout=60)
    started = time.perf_counter()
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{url}/detect", content=data, headers=headers, timeout=60)
    taken_s = round(time.perf_counter() - started, 2)
    if (refused.status_code, answer.status_code) != (401, 200):
        raise RuntimeError(f"/detect: {refused.status_code} without key, {answer.text} with it")
    boxes = answer.json()["detections"]
    return {"without_key": refused.status_code, "detect_s": taken_s, "boxes": len(boxes)}


def wait_built(url: str, pid: int, temporary: Path, seconds: float) -> dict[str, object]:
    """Wait until the network is compiled, and see meanwhile what the container takes.

    Args:
        url: of the server.
        pid: what it was started by.
        temporary: the folder in memory.
        seconds: how long to wait; 0 for not at all.

    Raises:
        RuntimeError: if compiling fails or takes longer.
    """
    started, most_mib, most_threads, most_temporary_mib = time.perf_counter(), 0.0, 0, 0.0
    while True:
        mib, threads = taken(pid)
        space = os.statvfs(temporary)
        temporary_mib = (space.f_blocks - space.f_bfree) * space.f_frsize / 2**20
        most_mib, most_threads = max(most_mib, mib), max(most_threads, threads)
        most_temporary_mib = max(most_temporary_mib, temporary_mib)
        engine = httpx.get(f"{url}/api/health", timeout=10).json()["engine"]
        passed = time.perf_counter() - started
        if engine["build"] == "done" or seconds == 0:
            return {
                "engine": engine,
                "built_s": round(passed, 1),
                "peak_mib": round(most_mib),
                "peak_tmp_mib": round(most_temporary_mib),
                "peak_threads": most_threads,
            }
        if engine["build"] == "failed" or passed > seconds:
            raise RuntimeError(f"after {passed:.0f} s the network is not compiled: {engine}")
        time.sleep(0.5)


def taken(pid: int) -> tuple[float, int]:
    """Proportional memory in MiB, and threads, of all that a process started."""
    mib, threads = 0.0, 0
    for child in children(pid):
        try:
            rows = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()[1:]
            count = len(list(Path(f"/proc/{child}/task").iterdir()))
            below = taken(child)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        (kib,) = (int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        mib, threads = mib + kib / 1024 + below[0], threads + count + below[1]
    return mib, threads


def children(pid: int) -> list[int]:
    """What a process started."""
    folder = Path(f"/proc/{pid}/task")
    return [
        int(word) for task in folder.iterdir() for word in (task / "children").read_text().split()
    ]


def end(server: "subprocess.Popen[bytes]", grace_s: float) -> dict[str, object]:
    """Ask the first process of the container to end, as an engine does.

    Raises:
        RuntimeError: if it takes too long, or ends as if something had failed.
    """
    (first,) = children(server.pid)
    started = time.perf_counter()
    os.kill(first, signal.SIGTERM)
    try:
        code = server.wait(grace_s)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it did not end within {grace_s} s of SIGTERM") from None
    if code:
        raise RuntimeError(f"after SIGTERM its exit code is {code}; expected 0")
    return {"end_s": round(time.perf_counter() - started, 2)}
