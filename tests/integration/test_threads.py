"""Threads that do not spin: every command, and a detector beside a busy process."""

import os
import subprocess
import sys

import pytest
import torch

from spyv4.commandline import build_parser, run_command

BESIDE = """
import multiprocessing, time
from spyv4 import Detector

def spin():
    while True:
        pass

if __name__ == "__main__":
    detector = Detector.load(precision="float32")
    picture = bytes(detector_picture)
    detector.detect(picture, 2)

    def fastest_s():  # of some, since others may be busy here now and again
        times = []
        for _ in range(5):
            started = time.perf_counter()
            detector.detect(picture, 2)
            times.append(time.perf_counter() - started)
        return min(times)

    alone = fastest_s()
    other = multiprocessing.get_context("fork").Process(target=spin, daemon=True)
    other.start()
    beside = fastest_s()
    other.kill()
    print(beside / alone)
"""
PICTURE = """
import cv2
from detector_app.stream.demo import DemoSource
detector_picture = cv2.imencode(".jpg", DemoSource().frame(0))[1].tobytes()
"""


def run(code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize(
    "module", ["training.action", "training.learning", "detector_app.serving", "spyv4.bench"]
)
def test_openmp_waits_passively_whatever_is_imported_first(module):
    done = run(f"import {module}", OMP_DISPLAY_ENV="TRUE")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


def test_a_policy_that_the_user_chose_is_kept():
    done = run("import spyv4.detector", OMP_DISPLAY_ENV="TRUE", OMP_WAIT_POLICY="ACTIVE")
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in done.stderr


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_of_a_command_are_those_asked_for(monkeypatch, threads):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    parser = build_parser("command", "", "")
    assert run_command(parser, lambda _: None, ["--threads", str(threads)]) == 0
    assert run_command(parser, lambda _: None, []) == 0
    assert asked == [threads]


def test_no_threads_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run_command(build_parser("command", "", ""), lambda _: None, ["--threads", "0"])
    assert "--threads: must be a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_one_busy_process_beside_it_does_not_make_a_detector_many_times_slower():
    done = run(PICTURE + BESIDE)
    assert done.returncode == 0, done.stderr
    # A fair share of two cores is 2; threads that spin make it 20 to 50.
    assert float(done.stdout) < 8


SETTLE = """
import torch
from spyv4.threads import most_threads, settle_threads, use_threads
before = torch.get_num_threads()
ASKED
settle_threads(1)
print(torch.get_num_threads(), most_threads() if most_threads() != before else "before")
"""


@pytest.mark.parametrize(("asked", "expected"), [("", "1 before"), ("use_threads(7)", "7 7")])
def test_threads_that_are_enough_are_settled_unless_others_were_asked_for(asked, expected):
    done = run(SETTLE.replace("ASKED", asked))
    assert done.stdout.strip() == expected, done.stderr
